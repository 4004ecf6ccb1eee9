"""Cases of whole steps: terms of all parameters, a model, and what lifetimes start from."""

from dataclasses import dataclass, replace

import batches
import numpy as np
import oracle
import strategies
import sympy
import torch
import unrolled
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from rulesearch.kernels import KERNELS, Batch
from rulesearch.lowering import lower_terms
from rulesearch.model import PAPER, Model
from rulesearch.pathways import pathway


@dataclass(frozen=True, eq=False)
class Case:
    """Some lifetimes of a model.

    Attributes:
        terms: of W, B and b.
        model: what a step does beside them.
        start: weights, feedback and data; what is answered is labels, or numbers.
        xi: noise, list over layers of [lifetimes, steps, post].
        theta: [lifetimes, layers, terms].
    """

    terms: tuple
    model: Model
    start: batches.Given
    xi: list[Tensor]
    theta: Tensor

    def at(self, lifetimes):
        """These lifetimes alone, in this order."""
        return replace(
            self,
            start=self.start.at(lifetimes),
            xi=[each[lifetimes] for each in self.xi],
            theta=self.theta[lifetimes],
        )


def case(terms, model=PAPER, start=None, seed=0, answers="labels"):
    """A case with coefficients that change little in a step.

    Args:
        terms: of W, B and b.
        model: what a step does beside them.
        start: a batch of lifetimes; a small one where it is not given.
        seed: of the noise, of answers, and of the coefficients' signs.
        answers: labels, or given: probabilities, or numbers of either sign where the loss has them.
    """
    start = start or batches.given(seed)
    steps = start.train[0].shape[1]
    rng = np.random.default_rng(seed)
    if answers == "given":
        outputs = start.weights[-1].shape[1]
        start = replace(
            start,
            train=(start.train[0], _answers(rng, start.train[1].shape, outputs, model)),
            query=(start.query[0], _answers(rng, start.query[1].shape, outputs, model)),
        )
    xi = [torch.from_numpy(rng.normal(size=(len(w), steps, w.shape[1]))) for w in start.weights]
    shape = len(start.weights[0]), len(start.weights), len(terms)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.0, shape))
    made = Case(tuple(terms), model, start, xi, signs)
    return replace(made, theta=0.05 * signs / _first_updates(made).clamp(min=0.05))


def _answers(rng, shape, outputs, model):
    found = rng.normal(size=(*shape, outputs))
    if not model.loss.real:
        found = np.exp(found) / np.exp(found).sum(-1, keepdims=True)
    return torch.from_numpy(found)


def _first_updates(case):
    """The largest entry that each term changes anything by at the first step, [terms]."""
    sizes = []
    seen = next(_stages(case))[1]
    for term in case.terms:
        sizes += [
            max(
                float(unrolled.value(expression, at).abs().max())
                for parameter, expression in unrolled.updates_of(term)
                for (side, _), at in seen.items()
                if side == ("B" if parameter == "B" else "W")
            )
        ]
    return torch.tensor(sizes, dtype=torch.float64)


def _stages(case):
    """What is carried before each step, and what terms see at it: see `unrolled.views`."""
    start = case.start
    zeros = [torch.zeros_like(w[..., 0]) for w in start.weights]
    carried = unrolled.Carried(start.weights, start.feedback, zeros)
    for s in range(start.train[0].shape[1]):
        example = [t[:, s] for t in start.train]
        more = start.pathway, case.model, [each[:, s] for each in case.xi]
        yield carried, unrolled.views(case.terms, carried, *example, *more)
        carried = unrolled.stepped(case.terms, case.theta, carried, *example, *more)
    yield carried, {}


def reference(case):
    """Loss, gradient [lifetimes, layers, terms] and what is carried at the end, by autograd."""
    start = case.start
    return unrolled.whole_gradient(
        case.terms,
        case.theta,
        start.weights,
        start.feedback,
        start.train,
        start.query,
        start.pathway,
        case.model,
        xi=case.xi,
    )


def literally(case, lifetime, theta=None):
    """What a lifetime ends with by the oracle, and its query loss."""
    start = case.start
    x, answers = (t[lifetime].numpy() for t in start.train)
    lived = oracle.live(
        case.terms,
        (case.theta[lifetime] if theta is None else theta).numpy(),
        [w[lifetime].numpy() for w in start.weights],
        start.feedback and [b[lifetime].numpy() for b in start.feedback],
        x,
        answers,
        start.pathway,
        case.model,
        xi=[each[lifetime].numpy() for each in case.xi],
    )
    query = (t[lifetime].numpy() for t in start.query)
    return lived, oracle.query_loss(lived.weights, *query, case.model, lived.biases)


def written_out(expression):
    """The expression, and the definitions of what it reads."""
    yield expression
    for symbol in expression.free_symbols:
        if type(symbol).__name__ == "OwnSymbol":
            yield from written_out(symbol.row.definition)


def _delicate(expression):
    yield from batches.delicate(expression)
    for call in expression.atoms(sympy.Function):
        if type(call).__name__ == "relu":
            yield call.args[0]


def is_well_posed(case, largest=100.0):
    """Whether rounding cannot decide the answer: no value is large, none nearly at a jump or kink.

    Exactly there it may be.
    """
    read = {
        side: {
            whole
            for term in case.terms
            for p, expression in unrolled.updates_of(term)
            if (p == "B") == (side == "B")
            for whole in written_out(expression)
        }
        for side in "WB"
    }
    for carried, seen in _stages(case):
        kept = [*carried.weights, *carried.biases, *(carried.feedback or [])]
        if not all(bool((each.abs() < largest).all()) for each in kept):
            return False
        for (side, _), at in seen.items():
            parts = {p for whole in read[side] for p in sympy.preorder_traversal(whole)}
            if any(not (unrolled.value(p, at).abs() < largest).all() for p in parts):
                return False
            delicate = {a for whole in read[side] for a in _delicate(whole)}
            sizes = [unrolled.value(a, at).abs() for a in delicate]
            if case.model.activation.value.has(sympy.Max, sympy.Abs):
                sizes.append(at["z_post"].abs())
            if any(((s > 0) & (s < 1e-9)).any() for s in sizes):
                return False
    return True


@st.composite
def cases(draw, smooth=False, paths=strategies.PATHWAYS, steps=3, lifetimes=2):
    """Well-posed cases of small networks; a step is of order 0.05.

    Args:
        smooth: only operators whose value does not jump.
        paths: names of pathways.
        steps: of a lifetime.
        lifetimes: of a batch.
    """
    path = draw(st.sampled_from(paths))
    model = draw(strategies.models(("W", "b") if path == "symmetric" else ("W", "B", "b")))
    terms = draw(strategies.step_terms(path, model, smooth))
    changed = {p for term in terms for p, _ in term.updates}
    model = replace(model, bounds=tuple(b for b in model.bounds if b[0] in changed))
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    seed = draw(strategies.seeds)
    start = batches.given(seed % 2**31, sizes, path, lifetimes, steps)
    made = case(terms, model, start, seed, draw(st.sampled_from(["labels", "given"])))
    assume(is_well_posed(made))
    return made


# --- by the kernels -------------------------------------------------------------------------------


def batch_of(case):
    """The case as a kernel takes it."""
    start, model = case.start, case.model
    query_x, answers = start.query
    asked, targets, labels = (), None, answers
    if answers.is_floating_point():
        asked, targets, labels = (start.train[0].shape[1],), answers[:, None], answers.argmax(-1)
    return Batch(
        case.theta,
        start.weights,
        start.feedback,
        *start.train,
        query_x,
        labels,
        targets,
        asked,
        noise=case.xi if model.noise else None,
    )


def kernel_of(case, kernel="einsum"):
    """The kernel of a case, by name, or by a function that builds it."""
    build = KERNELS[kernel] if isinstance(kernel, str) else kernel
    sizes = tuple(case.start.weights[0].shape[-1:])
    sizes += tuple(w.shape[1] for w in case.start.weights)
    path = pathway(case.start.pathway, len(sizes) - 1)
    return build(lower_terms(case.terms, case.model), sizes, path)


def run(case, kernel="einsum", batch=None, **more):
    """What a kernel gives for a case."""
    batch = batch or batch_of(case)
    made = kernel_of(case, kernel)
    return made(batch, gradient=range(len(case.terms)), keep_weights=True, **more)


def apart(found, expected):
    """The largest difference of two tensors, in units of the larger entries, or of one."""
    assert found.shape == expected.shape
    if not found.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def distances(case, found):
    """How far an outcome is from autograd through the unrolled loop, by name."""
    loss, gradient, ended = reference(case)
    pairs = {"loss": [(found.loss, loss)], "gradient": [(found.gradient, gradient)]}
    pairs["weights"] = zip(found.weights, ended.weights, strict=True)
    if found.feedback is not None:
        pairs["feedback"] = zip(found.feedback, ended.feedback, strict=True)
    if found.biases is not None:
        pairs["biases"] = zip(found.biases, ended.biases, strict=True)
    pairs["memories"] = [
        _remembered(value, ended.traces["B" if changes == "B" else "W", layer][name])
        for (changes, layer, name), value in found.memories.items()
    ]
    return {name: max([apart(*pair) for pair in some], default=0) for name, some in pairs.items()}


def _remembered(found, expected):
    """A trace and what it should be, which stands as a column on the post side."""
    if found.shape[1:] != expected.shape[-2:]:
        expected = expected.mT
    return found, expected.expand(len(found), *expected.shape[-2:])


def distance(case, kernel="einsum", **more):
    """The largest of the distances of what a kernel gives for a case."""
    return max(distances(case, run(case, kernel, **more)).values())
