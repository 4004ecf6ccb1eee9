"""The values of terms in random layers: which are finite nowhere, and which seem to be no use."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, reduce
from typing import Any

import numpy as np
import scipy.linalg
from sympy import Expr, Integer, Symbol

from rulesearch.notation.dependence import MOST_NAMED, Updates, equation, updates_of
from rulesearch.notation.drawn import (
    KINDS,
    Values,
    sizes_of_layers,
    unusual,
    usual,
    with_potential,
)
from rulesearch.notation.own import own_symbols
from rulesearch.notation.vocabulary import named
from rulesearch.operators import (
    OPERATORS,
    QUANTITIES,
    Axis,
    NeuronSum,
    OwnSymbol,
    definition_of,
    operator_of,
    without_definitions,
)

#: Values of the parts of expressions in one layer.
Known = dict[Expr, Values]

_W = QUANTITIES["W"].symbol
#: Under which a layer that was drawn says how often it was.
_DRAWS = Symbol("draws")

#: Post- and pre-neurons of the layers tried: more than one, or a factor n_pre would be a number.
LAYERS = ((5, 4), (4, 7), (3, 5), (6, 3), (2, 6), (7, 2))
#: How often each of them is drawn at least, and how many synapses of a draw are looked at.
FEWEST_DRAWS, SYNAPSES = 12, 5
#: Points for each draw.
_A_DRAW = len(LAYERS) * len(KINDS) * SYNAPSES
#: Points for each term at which it is tried first.
FEW = 1.5
#: The layers in which a term must be finite somewhere, and how often each is drawn: as wide as a
#: small network's, so that what is drawn with both signs has both in every layer.
WIDE, DRAWS = ((12, 13), (13, 12)), 16
#: Numerical rank: what is left of a column is zero below this share of the largest.
RANK = 1e-9
#: What stands in front of a term in a dependence is zero below this share of the largest.
WEIGHT = 1e-7


def values_of(expression: Expr, quantities: Mapping[str, Values]) -> Values:
    """The value of an expression in one layer, in NumPy.

    Args:
        expression: over local quantities.
        quantities: by name, each broadcastable to [..., post, pre]: `y_pre` [..., 1, pre],
            `y_post` [..., post, 1], `W` and `B` [..., post, pre], `L` [..., 1, 1]; `n_pre` and
            `n_post` follow from W. Traces too; other quantities of one's own are computed.

    Returns:
        An array that broadcasts to [..., post, pre]; not finite outside an operator's domain.

    Raises:
        KeyError: a quantity that is read and not given.
    """
    own = own_symbols([expression])
    post, pre = quantities["W"].shape[-2:]
    values: dict[str, Any] = {"n_pre": np.float64(pre), "n_post": np.float64(post), **quantities}
    known = {
        own[name] if name in own else QUANTITIES[name].symbol: value
        for name, value in values.items()
        if name in own or name in QUANTITIES  # traces that it does not read may be there too
    }
    with np.errstate(all="ignore"):
        return _evaluated(expression, known)


def _drawn(quantities: Mapping[str, Values]) -> Known:
    """A layer that was drawn, [draws, post, pre]."""
    draws, post, pre = quantities["W"].shape
    values: dict[str, Any] = {"n_pre": np.float64(pre), "n_post": np.float64(post), **quantities}
    return {**{QUANTITIES[n].symbol: v for n, v in values.items()}, _DRAWS: np.float64(draws)}


def _evaluated(part: Expr, known: Known) -> Values:
    """The value of a part; those of calls and sums are kept in `known`, for the terms that follow.

    All values are NumPy's, also those of numbers: Python's own stop at 1/0.
    """
    if (value := known.get(part)) is not None:
        return value
    if part.is_number:
        return np.asarray(float(without_definitions(part)))
    if part.is_Symbol:
        value = _of_ones_own(part, known)
        known[part] = value
        return value
    row = operator_of(part.func)
    if row and row.definition:
        value = _evaluated(row.definition(*part.args), known)
    else:
        arguments = [_evaluated(a, known) for a in (row.arguments(part) if row else part.args)]
        if part.is_Add:
            return reduce(np.add, arguments)
        if part.is_Mul:
            return reduce(np.multiply, arguments)
        if isinstance(part, NeuronSum):
            value = _summed(arguments[0], part.axis, known[_W].shape)
        elif row:
            function = _function(row.name)
            value = reduce(function, arguments) if row.arity[1] is None else function(*arguments)
        else:
            base, exponent = arguments
            # A plain number: NumPy squares, inverts and takes roots faster than it takes powers.
            value = base ** (float(exponent) if part.exp.is_number else exponent)
    known[part] = value
    return value


def _of_ones_own(symbol: Symbol, known: Known) -> Values:
    """The value of a quantity of one's own, by its definition.

    A trace that nobody gave lies between values of other draws: it hangs on what was, and of what
    is now it may be anything that its definition can be.
    """
    if not isinstance(symbol, OwnSymbol) or (symbol.row.memory and _DRAWS not in known):
        raise KeyError(symbol.name)
    value = _evaluated(definition_of(symbol), known)
    if symbol.row.memory is None:
        return value
    draws = int(known[_DRAWS])
    earlier = np.broadcast_to(value, (draws, *np.atleast_2d(value).shape[-2:]))
    rng = np.random.default_rng(zlib.crc32(f"{symbol.name} {symbol.row.meaning}".encode()))
    share: Values = rng.uniform(size=(draws, 1, 1))
    first, second = (earlier[rng.permutation(draws)] for _ in range(2))
    mixed: Values = share * first + (1 - share) * second
    return mixed


def _summed(summand: Values, axis: Axis, shape: tuple[int, ...]) -> Values:
    along = -1 if axis == "pre" else -2
    spread = np.ones((1, shape[-1]) if axis == "pre" else (shape[-2], 1))
    return np.asarray((summand * spread).sum(axis=along, keepdims=True))


@cache
def _function(name: str) -> Callable[..., Values]:
    """An operator of the table in NumPy, as it is spelled there."""
    source = f"lambda a, b=None: {OPERATORS[name].spelling['numpy'].format('a', 'b')}"
    function: Callable[..., Values] = eval(source, {"numpy": np, "math": math})
    return function


@lru_cache(maxsize=16_384)
def finite_somewhere(expression: Expr) -> bool:
    """Whether an expression has a finite value at any synapse of the layers tried.

    Quantities are drawn zero, small, of order one and up to LARGEST, of both signs, and the sizes
    of the layer from 2 to MOST_NEURONS.
    """
    with np.errstate(all="ignore"):
        return any(np.isfinite(_evaluated(expression, dict(known))).any() for known in _wide())


@cache
def _wide() -> tuple[Known, ...]:
    rng = np.random.default_rng(20230208)
    layers = []
    for post, pre in WIDE:
        mixed = unusual(rng, DRAWS, post, pre)
        # All small together, for exponentials that are summed over the layer.
        size = np.geomspace(1e-3, 1, DRAWS)[:, None, None]
        small = with_potential({name: value * size for name, value in mixed.items()})
        for layer in (usual(rng, DRAWS, post, pre), mixed, small):
            sizes = {n: sizes_of_layers(rng, DRAWS) for n in ("n_pre", "n_post")}
            layers.append(_drawn({**layer, **sizes}))
    return tuple(layers)


def notes(groups: Mapping[str, Mapping[str, Expr | Updates]]) -> Iterator[str]:
    """What the values of terms that meet say of those that may add nothing, a line each.

    Args:
        groups: where terms meet, as in " in layer 2" ("" for everywhere) -> name -> expression.
    """
    said = set()
    for place, weights in vanishing(groups):
        # One expression may stand under several names, and meet others in many layers.
        if (key := frozenset(weights)) not in said:
            said.add(key)
            yield _note(weights, place)


def _note(weights: Mapping[str, float], place: str) -> str:
    """The dependence, solved for its last term."""
    *others, last = weights
    if not others:
        return f"term {last}: was zero wherever tried"
    right = {name: -weights[name] / weights[last] for name in others}
    what = f"{last} = {equation(right)}"
    if len(right) >= MOST_NAMED:
        what = f"it was a sum of {named(others, MOST_NAMED)}"
    return f"term {last}: may add nothing to the pool{place}; wherever tried, {what}"


def vanishing(
    groups: Mapping[str, Mapping[str, Expr | Updates]],
) -> Iterator[tuple[str, dict[str, float]]]:
    """Sums of expressions that were zero wherever tried: the place, and name -> weight.

    Layers are drawn as a network has them, and with exact zeros, small, large and negative values;
    where the terms of a dependence are finite at more points than all terms are, it must hold
    there as well. What is no dependence at a few points is none at more, so that only what is
    left after a few is looked at again.

    Args:
        groups: place -> name -> expression, or all that its coefficient multiplies; the changes
            of each parameter are looked at apart.
    """
    changes = {
        place: {name: updates_of(change) for name, change in group.items()}
        for place, group in groups.items()
    }
    distinct = list(dict.fromkeys(e for group in changes.values() for e in group.values()))
    at = {expression: i for i, expression in enumerate(distinct)}
    few = _columns(distinct, math.ceil(FEW * len(distinct) / _A_DRAW))
    doubtful: set[Updates] = set()
    for group in changes.values():
        expressions = list(group.values())
        places = _doubtful(few[:, [at[expression] for expression in expressions]])
        doubtful.update(expressions[i] for i in places)
    if not doubtful:
        return
    distinct = [expression for expression in distinct if expression in doubtful]
    at = {expression: i for i, expression in enumerate(distinct)}
    # A layer-wide sum has one value a draw, so of each kind there are more draws than terms.
    values = _columns(distinct, math.ceil((len(distinct) + 4) / len(LAYERS)) + 1)
    for place, group in changes.items():
        names = [name for name, expression in group.items() if expression in doubtful]
        columns = values[:, [at[group[name]] for name in names]]
        dead = _dead(columns)
        yield from ((place, {names[i]: 1.0}) for i in np.flatnonzero(dead))
        live = np.flatnonzero(~dead)
        for weights in _null_vectors(columns[:, live]):
            yield place, {names[live[i]]: weight for i, weight in weights.items()}


def _dead(columns: Values) -> Values:
    """Which columns are zero wherever they are finite."""
    return np.asarray(((columns == 0) | ~np.isfinite(columns)).all(axis=0))


def _doubtful(columns: Values) -> set[int]:
    """The places of columns that these points do not tell from zero or from a sum of others."""
    terms = columns.shape[1]
    dead = _dead(columns)
    live = np.flatnonzero(~dead)
    spanned = _spanned(columns[:, live], least=1)
    if spanned is None:
        return set(range(terms))
    used = {int(live[i]) for weights in spanned for i in weights}
    return used | set(map(int, np.flatnonzero(dead)))


def _null_vectors(columns: Values) -> Iterator[dict[int, float]]:
    """Place -> weight of the terms of each dependence among columns of values."""
    for weights in _spanned(columns) or []:
        used = sorted(weights)
        # Where others are not finite these may be, and differ.
        again = _spanned(columns[:, used]) or []
        if len(again) == 1:
            yield {used[i]: weight for i, weight in sorted(again[0].items())}


def _spanned(columns: Values, least: int = 4) -> list[dict[int, float]] | None:
    """For each column that others span at all points where all are finite, the null vector.

    None where that cannot be told, as there are fewer such points than `least` times the columns.
    """
    values = columns[np.isfinite(columns).all(axis=1)]
    # Rows and columns to one size: what differs at small values only differs as much.
    # Where all are smaller than any normal number, rounding is all that they differ by.
    values = values[(np.abs(values) >= np.finfo(values.dtype).tiny).any(axis=1)]
    values = values / np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    points, terms = values.shape
    if not terms:
        return []
    if points < least * terms:
        return None
    scale = np.linalg.norm(values, axis=0)
    if not scale.all():
        return None
    # In steps: pivoting is slow, and the triangle has far fewer rows.
    triangle = np.linalg.qr(values / scale, mode="r")
    condition, _ = scipy.linalg.lapack.dtrcon(triangle)
    if condition > RANK * terms:  # of all in one bound: no diagonal below is as small as RANK
        return []
    triangle, order = scipy.linalg.qr(triangle, mode="r", pivoting=True)
    sizes = np.abs(np.diagonal(triangle))
    rank = int((sizes > RANK * sizes[0]).sum())
    basis = scipy.linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])
    found = []
    for place, right in zip(order[rank:], basis.T, strict=True):
        strong = [(int(i), float(w)) for i, w in zip(order, right, strict=False) if abs(w) > WEIGHT]
        weights = {i: w / float(scale[i]) for i, w in strong}
        found.append({**weights, int(place): -1.0 / float(scale[place])})
    return found


def _columns(changes: Sequence[Updates], draws: int) -> Values:
    """Values at synapses of random layers, [points, terms]; of each draw some synapses.

    Of several parameters each has points of its own, where what does not change it is zero.
    """
    parameters = dict.fromkeys(p for updates in changes for p, _ in updates) or ("W",)
    blocks = [
        _values([dict(updates).get(parameter, Integer(0)) for updates in changes], draws)
        for parameter in parameters
    ]
    return np.concatenate(blocks)


def _values(expressions: Sequence[Expr], draws: int) -> Values:
    rng = np.random.default_rng(20230208)
    draws = max(FEWEST_DRAWS, draws)
    blocks = []
    for post, pre in LAYERS:
        for drawn in KINDS:
            layer = drawn(rng, draws, post, pre)
            known, shape = _drawn(layer), (draws, post, pre)
            chosen = rng.permuted(np.tile(np.arange(post * pre), (draws, 1)), axis=1)[:, :SYNAPSES]
            at = (np.arange(draws)[:, None], chosen // pre, chosen % pre)
            block = np.empty((draws * chosen.shape[1], len(expressions)))
            for i, expression in enumerate(expressions):
                with np.errstate(all="ignore"):
                    value = _evaluated(expression, known)
                block[:, i] = np.broadcast_to(value, shape)[at].ravel()
            blocks.append(block)
    return np.concatenate(blocks)
