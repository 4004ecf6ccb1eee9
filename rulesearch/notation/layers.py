"""Where terms act: layers by number, and which terms meet in one.

Layers are counted from 1, as in the paper: layer l is W_{l-1,l}. Negative numbers count from the
last, -1, so that a grammar file need not know the depth of a network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

from rulesearch.errors import closest
from rulesearch.notation.vocabulary import named

Layers = tuple[int, ...]


def in_order(layers: Iterable[int]) -> Layers:
    """Each number once: those from the first layer on, then those from the last.

    Example:
        >>> in_order([-1, 3, 2, 3])
        (2, 3, -1)
    """
    return tuple(sorted({int(n) for n in layers}, key=lambda n: (n < 0, n)))


def in_network(layers: Iterable[int], depth: int) -> Layers:
    """The same layers counted from 1, in a network of this many.

    Example:
        >>> in_network((1, -1), depth=5)
        (1, 5)
    """
    return in_order(n if n > 0 else depth + 1 + n for n in layers)


def where_faults(where: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """What is wrong with the layers given to the terms of these names, a line each."""
    for name, layers in where.items():
        if name not in names:
            hint = closest(name, names) or f"; the terms are {named(names)}"
            yield f"where {name}: no such term{hint}"
        elif not isinstance(layers, Collection) or isinstance(layers, str | bytes | Mapping):
            yield f"where {name}: {layers!r} is not a list of layers; write one such as [2, 3]"
        elif len(layers) == 0:
            yield f"where {name}: names no layer; give at least one, or leave {name} out"
        elif strange := [n for n in layers if not _is_layer(n)]:
            yield (
                f"where {name}: {strange[0]!r} is not a layer; they are counted from 1, or from "
                "-1 at the last"
            )


def _is_layer(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and number != 0


def depth_faults(where: Mapping[str, Layers], depth: int) -> Iterator[str]:
    """The terms that are to act in layers that a network of this depth does not have."""
    for name, layers in where.items():
        if strange := [n for n in layers if abs(n) > depth]:
            yield (
                f"term {name}: acts in layer {strange[0]}, and the network has {depth}; name "
                f"layers from 1 to {depth}, or from -{depth} to -1, in its where"
            )


def meetings(names: Sequence[str], where: Mapping[str, Layers]) -> dict[str, tuple[str, ...]]:
    """Terms that share a layer whatever the depth, by a text that says where.

    A number stands for one layer, so all that name it meet there, with the terms that act
    everywhere. That a layer is both the second and the last only a depth can tell.

    Example:
        >>> meetings(["A", "B", "C"], {"B": (1, 2), "C": (2,)})
        {' in layer 1': ('A', 'B'), ' in layer 2': ('A', 'B', 'C')}
    """
    numbers = in_order(n for layers in where.values() for n in layers)
    if not numbers:
        return {"": tuple(names)}
    return {
        f" in layer {number}": tuple(n for n in names if number in where.get(n, (number,)))
        for number in numbers
    }
