"""What having a value asks of a synapse beyond its own two cells, from the expression alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from sympy import Expr, Symbol

from rulesearch.errors import RuleSearchError, closest
from rulesearch.notation.canonical import by_potential, canonical
from rulesearch.operators import (
    QUANTITIES,
    Axis,
    NeuronSum,
    OwnSymbol,
    Parameter,
    definition_of,
    without_definitions,
)

Need = Literal["dendritic", "retrograde", "transport", "global", "foreign"]

#: In the order in which they are printed.
NEEDS: tuple[Need, ...] = ("dendritic", "retrograde", "transport", "global", "foreign")
SYNAPTIC = "synaptic"  # how "no needs" is written
_CHOICES = f"give {SYNAPTIC} for none, all, or any of {', '.join(NEEDS)}, with commas"


def parse_needs(text: str, option: str = "--locality") -> frozenset[Need]:
    """The needs that are allowed: names with commas, `synaptic` for none, `all`.

    Args:
        text: as a person wrote it.
        option: by which, for the messages.

    Raises:
        RuleSearchError: an unknown need, or none.

    Example:
        >>> sorted(parse_needs("dendritic,retrograde"))
        ['dendritic', 'retrograde']
    """
    words = [w.strip() for w in text.split(",") if w.strip()]
    choices = (SYNAPTIC, *NEEDS, "all")
    if strange := [w for w in words if w not in choices]:
        raise RuleSearchError(
            f"{option} {text}: unknown need {strange[0]}{closest(strange[0], choices)} ({_CHOICES})"
        )
    if not words:
        raise RuleSearchError(f"{option}: no need given; {_CHOICES}")
    return frozenset(n for n in NEEDS if n in words or "all" in words)


#: What a sum over other synapses asks of a change of each parameter. A feedback synapse runs from
#: the post-cell to the pre-cell, so that what ends at the pre-cell is at its own dendrite; a bias
#: belongs to the post-cell, and no synapse tells it of other cells of its layer.
_OF_SUM: Mapping[Parameter, Mapping[Axis, Need]] = {
    "W": {"pre": "dendritic", "post": "retrograde"},
    "B": {"pre": "retrograde", "post": "dendritic"},
    "b": {"pre": "dendritic", "post": "global"},
}
#: The weights that the change of a parameter does not have at hand.
_ANOTHERS: Mapping[Parameter, str] = {"W": "B", "B": "W", "b": "B"}


def need_of_sum(total: NeuronSum, changes: Parameter = "W") -> Need:
    """What a sum over other synapses needs: those of one of the two cells, or of the layer."""
    if any(inner.axis != total.axis for a in total.args for inner in _sums_in(a)):
        return "global"
    return _OF_SUM[changes][total.axis]


def _sums_in(form: Expr) -> Iterator[NeuronSum]:
    """The sums of an expression, and of what the quantities of one's own in it are."""
    yield from form.atoms(NeuronSum)
    for symbol in form.atoms(OwnSymbol):
        yield from _sums_in(definition_of(symbol))


def need_of_symbol(symbol: Symbol, changes: Parameter = "W") -> Need | None:
    """What a quantity of the table needs, errors being in the same cells as activities."""
    if symbol.name == _ANOTHERS[changes]:
        return "transport"
    return QUANTITIES[symbol.name].need or None


def needs_of(form: Expr, changes: Parameter = "W") -> frozenset[Need]:
    """The needs of a canonical form, errors being in the same cells as activities.

    Args:
        form: over the table's quantities and one's own, which need what their definitions do.
        changes: the parameter that it is the change of, or a factor of that.

    Example:
        >>> from rulesearch.notation import L, W, sum_post, y_post, y_pre
        >>> sorted(needs_of(y_pre * sum_post(y_post * W))), sorted(needs_of(L * y_pre))
        (['retrograde'], ['global'])
        >>> sorted(needs_of(sum_post(y_post * W), "B"))
        ['dendritic', 'transport']
    """
    return _needs(by_potential(canonical(without_definitions(form))), changes)


def _needs(form: Expr, changes: Parameter) -> frozenset[Need]:
    if isinstance(form, OwnSymbol):
        return needs_of(definition_of(form), changes)
    if isinstance(form, Symbol):
        need = need_of_symbol(form, changes)
        return frozenset([need] if need else [])
    if isinstance(form, NeuronSum):
        read = (_needs(s, changes) for s in form.free_symbols)
        return frozenset([need_of_sum(form, changes)]).union(*(n - _SIDES for n in read))
    return frozenset[Need]().union(*(_needs(a, changes) for a in form.args))


#: Part of what the sum around them needs.
_SIDES: frozenset[Need] = frozenset({"dendritic", "retrograde"})
