"""Source of the biases of a model: their update, and Λ of them."""

from __future__ import annotations

from collections.abc import Iterator

from rulesearch.kernels.fused.names import (
    adjoint,
    at_work,
    bind_scalars,
    function,
    indented,
    is_number,
    local,
    multiplied,
    offsets,
    read,
)
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.spelling import number
from rulesearch.kernels.fused.values import part_share
from rulesearch.operators import SCALAR

_LOOP = "for j in range(size_post):"

_QUERY_BIASES = '''\
@compiled
def query_biases(s, at, queries):
    """Λ of the biases, where `query_adjoint` has left the adjoints of all potentials."""
    for l in range(1, len(at)):
        a_z, a_bias, width = pointer(s, at[l, Q_A]), pointer(s, at[l, A_BIAS]), at[l, WIDTH]
        clear(a_bias, width)
        for q in range(queries):
            for j in range(0, width, LANES):
                store(a_bias, j, add(load(a_bias, j), load(a_z, q * width + j)))
'''


def source(schedule: Schedule) -> list[str]:
    """The functions of biases: Λ of a query, the update, if there is any, and its adjoint."""
    return [_QUERY_BIASES, *("\n".join(lines) + "\n" for lines in _functions(schedule))]


def _functions(schedule: Schedule) -> Iterator[list[str]]:
    if schedule.biases:
        yield _change_biases(schedule)
        yield _change_biases_adjoint(schedule)
    body = ["for j in range(size_post):", "    a_bias[j] += a_z_post[j] + a_b_post[j]"]
    yield function(
        schedule, "biases_adjoint", "Λ of biases before the step.", body, offsets(schedule)
    )


def _shares(schedule: Schedule) -> list[str]:
    """Lines that bind the scalars of the update of biases, and the factor of each group."""
    scalars = [p.scalar for g in schedule.biases for p in g.parts if p.scalar]
    factors = [
        f"c{g} = {' + '.join(part_share(schedule, p) for p in group.parts)}"
        for g, group in enumerate(schedule.biases)
    ]
    return [*bind_scalars(schedule, scalars), *factors]


def _change_biases(schedule: Schedule) -> list[str]:
    body, terms = _shares(schedule), []
    for g, group in enumerate(schedule.biases):
        if not group.post:
            terms.append(f"c{g}")
            continue
        post = local(group.post)
        if not schedule.plan.bounded(group.post):
            body.append(f"u{g} = {post} if {at_work(group.parts)} else zeros")
            post = f"u{g}"
        terms.append(f"c{g} * {post}[j]")
    body += [f"{_LOOP}", f"    bias[j] += {' + '.join(terms)}"]
    doc = "The update of biases; those before the step are in its frame."
    return function(schedule, "change_biases", doc, body, offsets(schedule))


def _change_biases_adjoint(schedule: Schedule) -> list[str]:
    body = _shares(schedule)
    for g, group in enumerate(schedule.biases):
        wild = not schedule.plan.bounded(group.post)
        inside, after = ["d = a_bias[j]"], list[str]()
        body.append(f"i{g} = F(0.0)")
        if group.post:
            inside.append(f"i{g} += d * {local(group.post)}[j]")
            inside.append(f"{adjoint(group.post)}[j] += {multiplied(f'c{g}', 'd', delicate=False)}")
        else:
            inside.append(f"i{g} += d")
        for part in group.parts:
            c = number(part.coefficient)
            factor = f"{c} * {read(part.scalar, SCALAR)}" if part.scalar else c
            name = schedule.plan.terms[part.term].name
            after.append(f"a_theta[{part.term}] += {factor} * i{g}  # {name}")
            if part.scalar and not is_number(part.scalar):
                share = multiplied(f"theta[{part.term}] * {c}", f"i{g}", delicate=wild)
                after.append(f"{adjoint(part.scalar)}[0] += {share}")
        body += [_LOOP, *indented(inside), *after]
    doc = "Adjoint of `change_biases`; adds to the gradient of θ."
    return function(schedule, "change_biases_adjoint", doc, body, offsets(schedule))
