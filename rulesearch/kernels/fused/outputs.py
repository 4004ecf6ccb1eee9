"""Source of the output layer of a loss that is not the paper's: loops over its neurons.

From the rows of the table of losses, and their derivatives.
"""

from __future__ import annotations

from rulesearch.kernels.fused.names import adjoint, indented, read, unpack
from rulesearch.kernels.fused.schedule import Schedule, schedule_of
from rulesearch.kernels.fused.values import adjoint_lines, value_lines
from rulesearch.lowering.output import Output

_SCORE = '''\
@compiled
def score_answers(s, at, targets):
    """Mean loss and accuracy from the potentials of a query; leaves the errors there."""
    last = len(at) - 1
    loss, correct, count = F(0.0), F(0.0), F(len(targets))
    n = at[last, SIZE]
    for q in range(len(targets)):
        z_post = pointer(s, at[last, Q_Y] + q * at[last, WIDTH])
        best, meant, finite = 0, 0, True
        for j in range(n):
            if z_post[j] > z_post[best]:
                best = j
            if targets[q, j] > targets[q, meant]:
                meant = j
            finite = finite and math.isfinite(z_post[j])
        if finite and best == meant:
            correct += F(1.0)
        judge(s, at, z_post, targets, q)
{places}
        loss += {loss}
        for j in range(n):
            z_post[j] = {error}
    if not all_finite(pointer(s, at[0, W]), at[0, LEARNED], s):
        return F(math.nan), F(0.0)
    return loss / count, correct / count
'''

_OUTPUT = '''\
@compiled
def output(s, at, f, answers, t):
    """Activity, loss and error of the output layer."""
    last = len(at) - 1
    z_post, y = pointer(s, f + at[last, Z]), pointer(s, f + at[last, Y])
    e = pointer(s, f + at[last, E])
    judge(s, at, z_post, answers, t)
{places}
    s[f + at[0, L]] = {loss}
    for j in range(at[last, SIZE]):
        y[j] = {activity}
        e[j] = {error}
'''


def source(output: Output) -> list[str]:
    """The functions of the output layer, for a step and for a query, and their adjoint."""
    schedule = schedule_of(output.plan)
    names = [output.activity, output.error, output.loss]
    activity, error, loss = (read(name, schedule.plan.index[name]) for name in names)
    if not schedule.plan.index[output.loss]:
        loss = f"{output.loss}[0]"
    used = {"activity": activity, "error": error, "loss": loss}
    texts = [_judge(schedule)]
    for template, fields, levels in (
        (_SCORE, ("error", "loss"), 2),
        (_OUTPUT, ("activity", "error", "loss"), 1),
    ):
        places = unpack([used[field] for field in fields], _places(schedule, "last"))
        texts.append(template.format(places="\n".join(indented(places, levels)), **used))
    return [*texts, _output_adjoint(schedule, output)]


def _places(schedule: Schedule, last: str) -> dict[str, str]:
    """Name of a value of the output layer, or of its adjoint -> the source of its offset."""
    names = [node.name for node in schedule.plan.nodes]
    every = ["top", *names, *map(adjoint, names)]
    return {name: f"at[0, OUT] + {i} * at[{last}, WIDTH]" for i, name in enumerate(every)}


def _judge(schedule: Schedule) -> str:
    """The function `judge`: all values of the output layer."""
    body = [line for node in schedule.plan.nodes for line in value_lines(schedule, node)]
    top = []
    if "top" in schedule.plan.quantities:
        top = [
            "best = 0",
            "for j in range(size_post):",
            "    if z_post[j] > z_post[best]:",
            "        best = j",
            "top[0] = z_post[best]",
        ]
    body = [*top, *body]
    if "t_post" in schedule.plan.quantities:
        body = ["t_post = pointer(targets, t * size_post)", *body]
    body = [*unpack([*body, "size_post"], _places(schedule, "l + 1")), *body]
    head = ["@compiled", "def judge(s, at, z_post, targets, t):"]
    doc = '    """The values of the output layer, from its potentials and what it should answer."""'
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(body)]) + "\n"


def _output_adjoint(schedule: Schedule, output: Output) -> str:
    """The function `output_adjoint`: from the adjoints of activity, error and loss."""
    count = len(schedule.plan.nodes)
    arriving = [(output.activity, "a_y[j]"), (output.error, "a_e[j]")]
    body = [
        "judge(s, at, z_post, answers, t)",
        f"clear(pointer(s, at[0, OUT] + {count + 1} * width), {count} * width)",
        "for j in range(size_post):",
        *(f"    {adjoint(name)}[j] += {share}" for name, share in arriving),
        f"{adjoint(output.loss)}[0] += s[b + at[0, A_L]]",
        *(line for node in reversed(schedule.plan.nodes) for line in adjoint_lines(schedule, node)),
    ]
    where = {
        **_places(schedule, "l + 1"),
        "z_post": "f + at[l + 1, Z]",
        "a_z_post": "b + at[l + 1, A_Z]",
        "a_y": "b + at[l + 1, A_Y]",
        "a_e": "b + at[l + 1, A_E]",
    }
    if "t_post" in schedule.plan.quantities:
        body = ["t_post = pointer(answers, t * size_post)", *body]
    head = ["@compiled", "def output_adjoint(s, at, f, b, answers, t):"]
    doc = '    """From the adjoints of activity, error and loss to that of the potential."""'
    lines = [*unpack(body, where), *body]
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(lines)]) + "\n"
