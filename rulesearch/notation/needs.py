"""What having a value asks of a synapse beyond its own two cells, from the expression alone."""

from __future__ import annotations

from typing import Literal

from sympy import Expr

from rulesearch.errors import RuleSearchError
from rulesearch.notation.vocabulary import closest
from rulesearch.operators import QUANTITIES, NeuronSum

Need = Literal["dendritic", "retrograde", "global", "foreign"]

#: In the order in which they are printed.
NEEDS: tuple[Need, ...] = ("dendritic", "retrograde", "global", "foreign")
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


def need_of_sum(total: NeuronSum) -> Need:
    """What a sum over other synapses needs: those of one of the two cells, or of the layer."""
    if any(inner.axis != total.axis for a in total.args for inner in a.atoms(NeuronSum)):
        return "global"
    return "dendritic" if total.axis == "pre" else "retrograde"


def needs_of(form: Expr) -> frozenset[Need]:
    """The needs of a canonical form, errors being in the same cells as activities.

    Example:
        >>> from rulesearch.notation import L, W, sum_post, y_post, y_pre
        >>> sorted(needs_of(y_pre * sum_post(y_post * W))), sorted(needs_of(L * y_pre))
        (['retrograde'], ['global'])
    """
    if isinstance(form, NeuronSum):
        scalars = (QUANTITIES[s.name].need for s in form.free_symbols)
        return frozenset([need_of_sum(form), *(n for n in scalars if n)])
    if form.is_Symbol:
        need = QUANTITIES[form.name].need
        return frozenset([need] if need else [])
    return frozenset[Need]().union(*map(needs_of, form.args))
