"""A rule as a class that trains a torch model, in one file that needs torch alone."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

from rulesearch.choices import ActivationName
from rulesearch.export.heading import docstring, heading
from rulesearch.export.layers import Code, Places, errors_back, indented
from rulesearch.export.spelling import WORDS
from rulesearch.export.written import View, Written

_PLACES = Places(
    row="[:, None, :]",
    column="[:, :, None]",
    weights="self.linears[{layer}].weight",
    feedback="self.feedback[{layer}].mT",
    biases="self.linears[{layer}].bias",
    count="{matrix}.new_tensor({n})",
)

#: The module of each activation.
MODULES: dict[ActivationName, str] = {
    "softplus": "Softplus",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "ReLU",
    "identity": "Identity",
}

_USE = """
    model = initialised(model)  # weights as the rule was searched with; or leave your own
    rule = Rule(model)
    for x, label in examples:
        rule.step(x, label)
"""

_OUTER = '''

def outer(post, pre):
    """The mean over a batch of post*pre, [post, pre], without a matrix for each example."""
    return post[:, :, 0].mT @ pre[:, 0] / max(len(post), len(pre))
'''

_EXACT = '''

def exact(softplus, dtype):
    """Refuse a Softplus that is not log(1 + exp(10 z))/10 to the last digit; torch's may not be."""
    top, digits = softplus.threshold, torch.finfo(dtype)
    if softplus.beta != 10:
        raise ValueError(f"model: Softplus(beta={softplus.beta}); the rule is for beta=10")
    if not 2*math.exp(-top) <= digits.eps*top or top > math.log(digits.max):
        raise ValueError(
            f"model: Softplus with threshold {top} is not exact in {dtype}: it is the identity "
            "above the threshold; give torch.nn.Softplus(beta=10, threshold=40)"
        )
'''

_FITTING = Template('''

def fitting(model):
    """The Linear layers of a model, and its activations; ValueError where it does not fit."""
    layers = [layer for layer in model if not isinstance(layer, torch.nn.Flatten)]
    linears, activations = layers[::2], layers[1::2]
    wanted = [torch.nn.Linear, torch.nn.$module]*len(layers)
    if len(layers) % 2 == 0 or not all(map(isinstance, layers, wanted)):
        raise ValueError(
            "model: give a torch.nn.Sequential of Linear, $module, Linear, ..., Linear; "
            "it ends with the potentials of the outputs, without a Softmax"
        )
$deep    for number, linear in enumerate(linears, start=1):
        if (linear.bias is not None) is not $biased:
            raise ValueError(
                f"model: the rule has ${some}biases; give Linear layer {number} bias=$biased"
            )$check
    return linears, activations


def initialised(model):
    """The model with Xavier-uniform weights$and_biases."""
    for linear in fitting(model)[0]:
        torch.nn.init.xavier_uniform_(linear.weight)$zero
    return model
''')

_DEEP = """\
    if len(linears) < {0}:
        raise ValueError(f"model: {{len(linears)}} Linear layers; the rule names layer {0}")
"""

_CHECK = """
    for softplus in activations:
        exact(softplus, linears[0].weight.dtype)"""

_ZERO = """
        torch.nn.init.zeros_(linear.bias)"""

_CLASS = Template('''

class Rule:
    """Trains a Sequential of Linear layers in place, one step for each example or batch.

    Args:
        model: a torch.nn.Sequential, on the device where it is to be trained.$feedback
    """

    def __init__(self, model$and_feedback):
        self.linears, self.activations = fitting(model)$matrices
        self.steps = 0
''')

_MATRICES = Template("""
        self.feedback = self.drawn() if feedback is None else list(feedback)
        for layer, (R, linear) in enumerate(zip(self.feedback, self.linears)):
            wanted = (linear.weight.shape[1], $source)
            if tuple(R.shape) != wanted:
                raise ValueError(f"feedback[{layer}]: shape {tuple(R.shape)}; give {wanted}")""")

_DRAWN = Template(
    '''
    def drawn(self):
        """Feedback to begin with, Xavier-$law."""
        made = []
        for linear in self.linears:
            shape = (linear.weight.shape[1], $source)
            made.append(linear.weight.detach().new_empty(shape))
        return [torch.nn.init.xavier_$law_(R) for R in made]
'''.replace("$law_", "${law}_")
)


def in_torch(step: Written) -> str:
    """The code of a class `Rule(model, feedback)` whose `step(x, label)` trains a `Sequential`."""
    code = Code(step, WORDS["torch"], _PLACES, batch=True)
    body = [*_fitting(step), *_class(code)]
    functions = [*code.definitions()]
    if any("outer(" in line for line in body):
        functions = [*_OUTER.splitlines(), *functions]
    if any("reciprocal(" in line for line in (*body, *functions)):
        functions = [*code.reciprocal(), *functions]
    imports = ["import torch"]
    if any("math." in line for line in body):
        imports = ["import math", "", *imports]
    said = [*heading(step), *_USE.splitlines()]
    return "\n".join([*docstring(said), "", *imports, *functions, *body, ""])


def _fitting(step: Written) -> list[str]:
    module, biased = MODULES[step.rule.network.activation], step.model.bias
    text = _FITTING.substitute(
        module=module,
        deep=_DEEP.format(step.deepest) if step.deepest > 1 else "",
        biased=biased,
        some="" if biased else "no ",
        check=_CHECK if module == "Softplus" else "",
        and_biases=", and biases of 0" if biased else "",
        zero=_ZERO if biased else "",
    )
    return [*(_EXACT.splitlines() if module == "Softplus" else ()), *text.splitlines()]


def _class(code: Code) -> Iterator[str]:
    step = code.step
    tied = step.path.tied
    linear = "self.linears[-1]" if step.direct else "linear"
    source = f"{linear}.weight.shape[0]"
    shape = f"[pre, {'outputs' if step.direct else 'post'}]"
    says = (
        f"\n        feedback: list over layers of {shape}, the first into the input; drawn without."
    )
    text = _CLASS.substitute(
        feedback="" if tied else says,
        and_feedback="" if tied else ", feedback=None",
        matrices="" if tied else _MATRICES.substitute(source=source),
    )
    yield from text.splitlines()
    for view in step.views:
        yield from _begun(code, view)
    if not tied:
        law = step.rule.network.feedback_init
        yield from _DRAWN.substitute(source=source, law=law).splitlines()
    yield ""
    yield from indented([*_step(code)], 1)


def _begun(code: Code, view: View) -> Iterator[str]:
    """The traces before the first step."""
    if not view.traces:
        return
    matrix, own = ("linear.weight.detach()", "linear in self.linears")
    if view.at_output:
        matrix, own = "R.mT", "R in self.feedback"
    yield f"        self.{_traces(view)} = ["
    yield "            {"
    yield from indented([*code.begun(view, matrix)], 4)
    yield "            }"
    yield f"            for {own}"
    yield "        ]"


def _traces(view: View) -> str:
    return "feedback_traces" if view.at_output else "traces"


def _step(code: Code) -> Iterator[str]:
    step = code.step
    noise = ", noise=None" if step.model.noise else ""
    yield "@torch.no_grad()"
    yield f"def step(self, x, label{noise}):"
    yield from indented(docstring(_of_step(step)), 1)
    body: list[str] = ["depth = len(self.linears)"]
    if any(t.initial is None for view in step.views for t in view.traces):
        body.append("first = torch.tensor(self.steps == 0, device=self.linears[0].weight.device)")
    body += _forward(code)
    if step.errors:
        body += errors_back(code)
    body.append("for layer, linear in enumerate(self.linears):")
    for view in step.views:
        name = _traces(view)
        kept = f'self.{name}[layer]["{{key}}"] = {{called}}'
        inner = [*code.reads(view), *code.values(view, f"self.{name}[layer]", kept)]
        body += indented([*inner, *code.changes(view)], 1)
    if "W" in step.changes:
        body.append(f"    W.copy_({code.changed('W', 'W')})")
    if "B" in step.changes:
        body.append(f"    self.feedback[layer] = ({code.changed('B', 'B')}).mT")
    if "b" in step.changes:
        body.append(f"    linear.bias.copy_(({code.changed('b', 'b_post')})[:, 0])")
    body += ["self.steps += 1", "return loss.mean()"]
    yield from indented(body, 1)


def _of_step(step: Written) -> list[str]:
    lines = [
        "One step: of an example, or of the mean over a batch of what each would change alone.",
        "",
        "Args:",
        "    x: the example, [inputs], or [batch, inputs].",
        "    label: its class number, [] or [batch], integer; or what the outputs should answer,",
        "        [outputs] or [batch, outputs], as floating-point numbers.",
    ]
    if step.model.noise:
        lines.append(
            "    noise: list over layers of [batch, post], standard normal; drawn without."
        )
    return [*lines, "", "Returns:", "    The loss before the step, a mean over the batch."]


def _forward(code: Code) -> Iterator[str]:
    step = code.step
    yield "label = torch.as_tensor(label, device=x.device)"
    yield "label = label.to(x.dtype) if label.is_floating_point() else label.long()"
    yield "if label.is_floating_point() and label.shape[-1:] != self.linears[-1].weight.shape[:1]:"
    yield "    raise ValueError("
    yield '        "label: give a class number, an integer, or a number for each output"'
    yield "    )"
    yield "batch = label.shape[0] if label.ndim == 1 + label.is_floating_point() else 1"
    yield "x = x.reshape(batch, -1)"
    if step.model.noise:
        yield "if noise is None:"
        yield "    sizes = [(batch, linear.out_features) for linear in self.linears]"
        yield "    noise = [torch.randn(size, dtype=x.dtype, device=x.device) for size in sizes]"
    yield "# The examples on their way through the network: potentials z, activities y."
    yield "y, z = [x], [x]"
    yield "for layer, linear in enumerate(self.linears):"
    added = f" + {step.model.noise!r}*noise[layer]" if step.model.noise else ""
    yield f"    z.append(linear(y[layer]){added})"
    yield "    if layer + 1 < depth:"
    yield "        y.append(self.activations[layer](z[-1]))"
    loss = step.model.loss
    lines = [f"y.append({code.at_output(loss.output)})"]
    lines += [f"error = {code.at_output(loss.error)}"] if step.errors else []
    lines += [f"loss = {code.at_output(loss.value)}"]
    yield "# What the outputs should answer, of a class number a 1 at the class."
    yield "t = label.reshape(batch, -1)"
    yield "if not label.is_floating_point():"
    yield "    t = torch.nn.functional.one_hot(t[:, 0], z[-1].shape[1]).to(x)"
    if any("top" in line for line in lines):
        yield "top = z[-1].amax(-1, keepdim=True)"
    yield from lines
