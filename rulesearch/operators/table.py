"""The table of operators: what a term may call, each with all that the rooms know of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sympy
from sympy import Expr, Function, Heaviside, Integer, Max, Min, Symbol

from rulesearch.operators import intervals
from rulesearch.operators.intervals import ANYTHING, Interval
from rulesearch.operators.quantities import SCALAR, Axis, Index

Target = Literal["torch", "numpy", "jax", "numba", "vector"]


# --- sums over the other neurons of a layer --------------------------------------------------


class NeuronSum(Function):  # type: ignore[misc]
    """A sum over all neurons on one side of the layer; the summand is read at each of them.

    SymPy's own `diff` and `subs` confuse the bound index with the outer one, so both refuse to
    cross a sum; `lowering` gives every sum a symbol of its own before it differentiates.
    """

    nargs = (1,)
    is_real = True
    is_commutative = True
    is_number = False  # the sum of a constant depends on the size of the layer
    axis: Axis

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        if symbol not in self.free_symbols:
            return Integer(0)
        raise TypeError(f"diff does not cross {self.func.__name__}(...)")

    def _eval_subs(self, old: Expr, new: Expr) -> Expr | None:
        if self.has(old):
            raise TypeError(f"subs does not cross {self.func.__name__}(...)")
        return None


class sum_pre(NeuronSum):  # noqa: N801, the name in a term
    """`sum_pre(expr)`: over all pre-neurons of the layer. Index set of `expr`, less {pre}."""

    axis: Axis = "pre"


class sum_post(NeuronSum):  # noqa: N801, the name in a term
    """`sum_post(expr)`: over all post-neurons of the layer. Index set of `expr`, less {post}."""

    axis: Axis = "post"


# --- rows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """One row of the table of operators.

    Attributes:
        name: as written in a term.
        function: what builds the SymPy expression.
        arity: fewest and most arguments (None: any number).
        partials: arguments -> the derivative with respect to each. Jumps are stated, not SymPy's
            deltas.
        spelling: for each target, a template of one argument or, where any number is allowed,
            of two (it is folded).
        smooth: False where the value jumps, so that the derivative stated is 0: left out of
            claims about finite differences.
        within: maps any real expression to one inside the domain; the property tests use it.
        drops: the index that a sum takes away.
        definition: for an operator given as an expression of others.
        image: ranges of the arguments -> that of the value; by default it may be anything.
    """

    name: str
    function: Callable[..., Expr]
    arity: tuple[int, int | None]
    partials: Callable[..., tuple[Expr, ...]]
    spelling: Mapping[Target, str]
    smooth: bool = True
    within: Callable[[Expr], Expr] = lambda x: x
    drops: Index = SCALAR
    definition: Callable[..., Expr] | None = None
    image: Callable[..., Interval] = lambda *_: ANYTHING

    def arity_text(self) -> str:
        """How many arguments it takes, in words."""
        fewest, most = self.arity
        if most is None:
            return f"at least {fewest} arguments"
        return "1 argument" if most == 1 else f"{most} arguments"

    def arguments(self, call: Expr) -> tuple[Expr, ...]:
        """The arguments as a term writes them: SymPy's Heaviside carries its value at 0 as well."""
        return tuple(call.args[: self.arity[1]])

    def plain(self, call: Expr) -> bool:
        """Whether the call says no more than its arguments; `Heaviside(x, 0)` does."""
        most = self.arity[1]
        if most is None or len(call.args) == most:
            return True
        usual = self.function(*(Symbol(f"x{i}", real=True) for i in range(most)))
        return bool(call.args[most:] == usual.args[most:])


_X = Symbol("x", real=True)


def _everywhere(
    name: str, numpy: str | None = None, vector: str | None = None, jax: str | None = None
) -> dict[Target, str]:
    return {
        "torch": f"torch.{name}({{0}})",
        "numpy": f"numpy.{numpy or name}({{0}})",
        "jax": jax or f"jnp.{numpy or name}({{0}})",
        "numba": f"math.{name}({{0}})",
        "vector": f"{vector or f'vector_{name}'}({{0}})",
    }


def _smooth(
    name: str,
    function: Callable[..., Expr],
    *,
    numpy: str | None = None,
    vector: str | None = None,
    jax: str | None = None,
    within: Callable[[Expr], Expr] = lambda x: x,
    image: Callable[..., Interval],
) -> Operator:
    """A row of one argument with SymPy's own derivative, named alike everywhere."""
    slope = function(_X).diff(_X)
    return Operator(
        name,
        function,
        (1, 1),
        lambda x: (slope.xreplace({_X: x}),),
        _everywhere(name, numpy, vector, jax),
        within=within,
        image=image,
    )


def _largest(*arguments: Expr) -> tuple[Expr, ...]:
    """Partials of Max, folded from the left as it is spelled.

    A half at a tie, as Heaviside(0) = 1/2: the mean of the one-sided derivatives. Folding keeps
    the partials a convex combination where more than two arguments tie, as they do at the
    pixels that are 0.
    """
    partials: list[Expr] = [Integer(1)]
    for i, argument in enumerate(arguments[1:], start=1):
        before = Max(*arguments[:i])
        partials = [p * Heaviside(before - argument) for p in partials]
        partials.append(Heaviside(argument - before))
    return tuple(partials)


def _smallest(*arguments: Expr) -> tuple[Expr, ...]:
    return _largest(*(-a for a in arguments))


def _sum_row(cls: type[NeuronSum]) -> Operator:
    def refuse(x: Expr) -> tuple[Expr, ...]:
        raise TypeError(f"the adjoint of {cls.__name__} is a broadcast, made in lowering")

    return Operator(cls.__name__, cls, (1, 1), refuse, {}, drops=frozenset({cls.axis}))


OPERATORS: Mapping[str, Operator] = {
    row.name: row
    for row in (
        _smooth("tanh", sympy.tanh, image=intervals.rising(math.tanh)),
        _smooth("sin", sympy.sin, image=intervals.waving),
        _smooth("cos", sympy.cos, image=intervals.waving),
        # NumPy has none of its own, and exported code should need nothing but NumPy.
        _smooth(
            "erf",
            sympy.erf,
            numpy="vectorize(math.erf, otypes=[float])",
            jax="jax.scipy.special.erf({0})",
            image=intervals.rising(math.erf),
        ),
        _smooth("atan", sympy.atan, numpy="arctan", image=intervals.rising(math.atan)),
        _smooth("exp", sympy.exp, image=intervals.rising(math.exp)),
        _smooth(
            "log",
            sympy.log,
            within=lambda x: 1 + x**2,
            image=intervals.rising(math.log),
        ),
        _smooth(
            "sqrt",
            sympy.sqrt,
            vector="root",
            within=lambda x: 1 + x**2,
            image=intervals.rising(math.sqrt),
        ),
        Operator(
            "Abs",
            sympy.Abs,
            (1, 1),
            lambda x: (sympy.sign(x),),
            {
                "torch": "torch.abs({0})",
                "numpy": "numpy.abs({0})",
                "jax": "jnp.abs({0})",
                "numba": "abs({0})",
                "vector": "magnitude({0})",
            },
            image=intervals.magnitude,
        ),
        Operator(
            "sign",
            sympy.sign,
            (1, 1),
            lambda x: (Integer(0),),
            {
                "torch": "torch.sign({0})",
                "numpy": "numpy.sign({0})",
                "jax": "jnp.sign({0})",
                "numba": "sign({0})",
                "vector": "vector_sign({0})",
            },
            smooth=False,
            image=intervals.between(-1.0, 1.0),
        ),
        Operator(
            "Heaviside",
            Heaviside,
            (1, 1),
            lambda x: (Integer(0),),
            {
                "torch": "(0.5*(1 + torch.sign({0})))",
                "numpy": "(0.5*(1 + numpy.sign({0})))",
                "jax": "(0.5*(1 + jnp.sign({0})))",
                "numba": "heaviside({0})",
                "vector": "vector_heaviside({0})",
            },
            smooth=False,
            image=intervals.between(0.0, 1.0),
        ),
        Operator(
            "Max",
            Max,
            (2, None),
            _largest,
            {
                "torch": "torch.maximum({0}, {1})",
                "numpy": "numpy.maximum({0}, {1})",
                "jax": "jnp.maximum({0}, {1})",
                "numba": "maximum({0}, {1})",
                "vector": "vector_maximum({0}, {1})",
            },
            image=intervals.largest,
        ),
        Operator(
            "Min",
            Min,
            (2, None),
            _smallest,
            {
                "torch": "torch.minimum({0}, {1})",
                "numpy": "numpy.minimum({0}, {1})",
                "jax": "jnp.minimum({0}, {1})",
                "numba": "minimum({0}, {1})",
                "vector": "vector_minimum({0}, {1})",
            },
            image=intervals.smallest,
        ),
        _sum_row(sum_pre),
        _sum_row(sum_post),
    )
}

_BY_CLASS: Mapping[Any, Operator] = {row.function: row for row in OPERATORS.values()}


def operator_of(function: Any) -> Operator | None:
    """The row of a SymPy function class, or None where the table has none.

    The row of an operator of one's own is an attribute of its class.
    """
    row = _BY_CLASS.get(function) or getattr(function, "row", None)
    return row if isinstance(row, Operator) else None
