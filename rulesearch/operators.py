"""The two tables: operators and local quantities.

Everything that knows an operator or a quantity reads it here: the parser, the index rule, the
derivative, the printers of every target, and the strategies of the property tests. A row is data;
a grammar file adds its own operator with `operator`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sympy
from sympy import Expr, Function, Heaviside, Integer, Max, Min, Pow, Symbol
from sympy.printing.pycode import PythonCodePrinter

from rulesearch.errors import RuleSearchError

Axis = Literal["pre", "post"]
Target = Literal["torch", "numpy", "numba"]
Index = frozenset[Axis]

SCALAR: Index = frozenset()
PRE: Index = frozenset({"pre"})
POST: Index = frozenset({"post"})
SYNAPSE: Index = frozenset({"pre", "post"})


# --- local quantities -----------------------------------------------------------------------


@dataclass(frozen=True)
class LocalQuantity:
    """One row of the table of local quantities.

    Attributes:
        name: as written in a term.
        index: which of {pre, post} it depends on.
        meaning: for tables and documentation.
        latex: with the fields `{pre}` and `{post}` for the indices.
        need: what having it asks of a synapse beyond its own two cells ("" or "global").
        error: whether it belongs to the error populations (`foreign` under separate neurons).
    """

    name: str
    index: Index
    meaning: str
    latex: str
    need: Literal["", "global"] = ""
    error: bool = False

    @property
    def symbol(self) -> Symbol:
        """The real SymPy symbol of this name."""
        return Symbol(self.name, real=True)


QUANTITIES: Mapping[str, LocalQuantity] = {
    row.name: row
    for row in (
        LocalQuantity(
            "y_pre", PRE, "activity of the pre-neuron (a pixel in layer 0)", "y_{{{pre}}}"
        ),
        LocalQuantity("e_pre", PRE, "error of the pre-neuron", "e_{{{pre}}}", error=True),
        LocalQuantity("y_post", POST, "activity of the post-neuron", "y_{{{post}}}"),
        LocalQuantity("e_post", POST, "error of the post-neuron", "e_{{{post}}}", error=True),
        LocalQuantity("W", SYNAPSE, "weight of the synapse", "W_{{{post}{pre}}}"),
        LocalQuantity(
            "z_pre", PRE, "potential of the pre-neuron (a pixel in layer 0)", "z_{{{pre}}}"
        ),
        LocalQuantity("z_post", POST, "potential of the post-neuron, W y", "z_{{{post}}}"),
        LocalQuantity(
            "n_pre", SCALAR, "fan-in, the number of pre-neurons", "n_{{\\mathrm{{pre}}}}"
        ),
        LocalQuantity(
            "n_post", SCALAR, "fan-out, the number of post-neurons", "n_{{\\mathrm{{post}}}}"
        ),
        LocalQuantity("L", SCALAR, "loss of the step, a third factor", "L", need="global"),
    )
}


# --- sums over the other neurons of a layer --------------------------------------------------


class NeuronSum(Function):
    """A sum over all neurons on one side of the layer; the summand is read at each of them.

    SymPy's own `diff` and `subs` confuse the bound index with the outer one, so both refuse to
    cross a sum; `lowering` gives every sum a symbol of its own before it differentiates.
    """

    nargs = (1,)
    is_real = True
    is_commutative = True
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


# --- operators ------------------------------------------------------------------------------


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
        smooth: False where the derivative jumps or vanishes: left out of claims about finite
            differences.
        within: maps any real expression to one inside the domain; the property tests use it.
        drops: the index that a sum takes away.
        definition: for an operator given as an expression of others.
        latex: template of the arguments' LaTeX, joined by commas; "" for SymPy's own.
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
    latex: str = ""

    def arity_text(self) -> str:
        """How many arguments it takes, in words."""
        fewest, most = self.arity
        if most is None:
            return f"at least {fewest} arguments"
        return "1 argument" if most == 1 else f"{most} arguments"


def _everywhere(name: str, math: str | None = None) -> dict[Target, str]:
    return {
        "torch": f"torch.{name}({{0}})",
        "numpy": f"numpy.{name}({{0}})",
        "numba": f"math.{math or name}({{0}})",
    }


def _smooth(name: str, function: Any, **more: Any) -> Operator:
    return Operator(
        name, function, (1, 1), lambda x: (function(x).fdiff(1),), _everywhere(name), **more
    )


def _largest(*arguments: Expr) -> tuple[Expr, ...]:
    # A half at a tie, as Heaviside(0) = 1/2: the mean of the one-sided derivatives.
    return tuple(
        sympy.Mul(*(Heaviside(a - b) for j, b in enumerate(arguments) if j != i))
        for i, a in enumerate(arguments)
    )


def _smallest(*arguments: Expr) -> tuple[Expr, ...]:
    return _largest(*(-a for a in arguments))


def _sum_row(cls: type[NeuronSum]) -> Operator:
    def refuse(x: Expr) -> tuple[Expr, ...]:
        raise TypeError(f"the adjoint of {cls.__name__} is a broadcast, made in lowering")

    return Operator(cls.__name__, cls, (1, 1), refuse, {}, drops=frozenset({cls.axis}))


OPERATORS: Mapping[str, Operator] = {
    row.name: row
    for row in (
        _smooth("tanh", sympy.tanh),
        _smooth("sin", sympy.sin),
        _smooth("cos", sympy.cos),
        _smooth("erf", sympy.erf),
        Operator(
            "atan",
            sympy.atan,
            (1, 1),
            lambda x: (1 / (1 + x**2),),
            {"torch": "torch.atan({0})", "numpy": "numpy.arctan({0})", "numba": "math.atan({0})"},
        ),
        _smooth("exp", sympy.exp),
        _smooth("log", sympy.log, within=lambda x: 1 + x**2),
        Operator(
            "sqrt",
            sympy.sqrt,
            (1, 1),
            lambda x: (1 / (2 * sympy.sqrt(x)),),
            _everywhere("sqrt"),
            within=lambda x: 1 + x**2,
        ),
        Operator(
            "Abs",
            sympy.Abs,
            (1, 1),
            lambda x: (sympy.sign(x),),
            {"torch": "torch.abs({0})", "numpy": "numpy.abs({0})", "numba": "abs({0})"},
        ),
        Operator(
            "sign",
            sympy.sign,
            (1, 1),
            lambda x: (Integer(0),),
            {
                "torch": "torch.sign({0})",
                "numpy": "numpy.sign({0})",
                "numba": "sign({0})",
            },
            smooth=False,
        ),
        Operator(
            "Heaviside",
            sympy.Heaviside,
            (1, 1),
            lambda x: (Integer(0),),
            {
                "torch": "(0.5*(1 + torch.sign({0})))",
                "numpy": "(0.5*(1 + numpy.sign({0})))",
                "numba": "heaviside({0})",
            },
            smooth=False,
        ),
        Operator(
            "Max",
            Max,
            (2, None),
            _largest,
            {
                "torch": "torch.maximum({0}, {1})",
                "numpy": "numpy.maximum({0}, {1})",
                "numba": "maximum({0}, {1})",
            },
        ),
        Operator(
            "Min",
            Min,
            (2, None),
            _smallest,
            {
                "torch": "torch.minimum({0}, {1})",
                "numpy": "numpy.minimum({0}, {1})",
                "numba": "minimum({0}, {1})",
            },
        ),
        _sum_row(sum_pre),
        _sum_row(sum_post),
    )
}

_BY_CLASS: Mapping[Any, Operator] = {row.function: row for row in OPERATORS.values()}


def operator(name: str, definition: Callable[..., Expr]) -> Any:
    """A new operator, given as an expression of others; nothing else is needed.

    Args:
        name: as it will be printed; an identifier that is not in the tables.
        definition: arguments -> expression.

    Returns:
        A SymPy function class to be used in terms.

    Raises:
        RuleSearchError: the name is taken or not an identifier, the definition takes no argument
            or any number of them, or calls what is not in the table.

    Example:
        >>> from rulesearch.notation import Abs, operator, y_pre
        >>> softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
        >>> softsign(y_pre)
        softsign(y_pre)
    """
    if not name.isidentifier():
        raise RuleSearchError(f"operator {name!r}: not a name; use letters, digits and _")
    if name in OPERATORS or name in QUANTITIES:
        raise RuleSearchError(f"operator {name}: the name is taken; choose another")
    parameters = inspect.signature(definition).parameters.values()
    if not parameters or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
        raise RuleSearchError(
            f"operator {name}: the definition must take a fixed number of arguments, as in "
            f"operator({name!r}, lambda x: x/(1 + Abs(x)))"
        )
    arity = len(parameters)
    dummies = [Symbol(f"x{i}", real=True) for i in range(arity)]
    body = sympy.sympify(definition(*dummies))
    for call in body.atoms(Function, Max, Min):
        if operator_of(call.func) is None:
            raise RuleSearchError(f"operator {name}: unknown operator {call.func.__name__}")
    if strange := body.free_symbols - set(dummies):
        raise RuleSearchError(f"operator {name}: {min(map(str, strange))} is not an argument")

    def substituted(*arguments: Expr) -> Expr:
        return body.xreplace(dict(zip(dummies, arguments, strict=True)))

    def partials(*arguments: Expr) -> tuple[Expr, ...]:
        return tuple(
            derivative(body, d).xreplace(dict(zip(dummies, arguments, strict=True)))
            for d in dummies
        )

    cls = type(name, (Function,), {"nargs": (arity,), "is_real": True})
    cls.row = Operator(  # type: ignore[attr-defined]
        name,
        cls,
        (arity, arity),
        partials,
        {},
        definition=substituted,
    )
    return cls


def operator_of(function: Any) -> Operator | None:
    """The row of a SymPy function class, or None where the table has none."""
    return _BY_CLASS.get(function) or getattr(function, "row", None)


def index_of(expression: Expr, known: Mapping[str, Index] | None = None) -> Index:
    """The index set of an expression: indices unite, and a sum drops its own.

    Args:
        expression: over local quantities, and the symbols of `known`.
        known: further symbols, such as the nodes of a plan, and their index sets.

    Example:
        >>> from rulesearch.notation import W, sum_post, y_post
        >>> sorted(index_of(sum_post(y_post * W)))
        ['pre']
    """
    if isinstance(expression, Symbol):
        if known and expression.name in known:
            return known[expression.name]
        row = QUANTITIES.get(expression.name)
        return row.index if row else SCALAR
    united: Index = frozenset().union(*(index_of(a, known) for a in expression.args))
    row_ = operator_of(expression.func)
    return united - row_.drops if row_ else united


def without_definitions(expression: Expr) -> Expr:
    """The expression with every operator that is given by others replaced by its definition."""
    if not expression.args:
        return expression
    arguments = [without_definitions(a) for a in expression.args]
    row = operator_of(expression.func)
    if row and row.definition:
        return without_definitions(row.definition(*arguments))
    return expression.func(*arguments)


def derivative(expression: Expr, symbol: Symbol) -> Expr:
    """The derivative of an elementwise expression, by the chain rule over the table.

    Raises:
        TypeError: a sum stands in the way; it must have been given a symbol before.

    Example:
        >>> from rulesearch.notation import Abs, y_pre
        >>> derivative(y_pre * Abs(y_pre), y_pre)
        y_pre*sign(y_pre) + Abs(y_pre)
    """
    if expression == symbol:
        return Integer(1)
    if symbol not in expression.free_symbols:
        return Integer(0)
    arguments = expression.args
    inner = [derivative(a, symbol) for a in arguments]
    if expression.is_Add:
        return sympy.Add(*inner)
    if expression.is_Mul:
        return sympy.Add(
            *(
                sympy.Mul(*arguments[:i], d, *arguments[i + 1 :])
                for i, d in enumerate(inner)
                if d != 0
            )
        )
    if isinstance(expression, Pow):
        base, exponent = arguments
        if exponent.is_number:
            return exponent * base ** (exponent - 1) * inner[0]
        return sympy.log(base) * expression * inner[1]
    row = operator_of(expression.func)
    if row is None:
        raise TypeError(f"{expression.func} is not in the table of operators")
    return sympy.Add(*(p * d for p, d in zip(row.partials(*arguments), inner, strict=True)))


class TargetPrinter(PythonCodePrinter):  # type: ignore[misc]
    """SymPy's Python printer, with every operator spelled by the table; always strict.

    Args:
        target: the column of the table.
        rename: symbol name -> text, e.g. a transposed view; others print as their name.
    """

    def __init__(self, target: Target, rename: Mapping[str, str] | None = None) -> None:
        super().__init__({"strict": True})
        self._target = target
        self._rename = rename or {}

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if expr.is_number and not expr.is_Rational:
            return repr(float(expr))  # sqrt(2), pi: no target's functions take a plain number
        row = operator_of(getattr(expr, "func", None))
        if row is not None and not isinstance(expr, Pow):
            return self._call(row, expr.args)
        return str(super()._print(expr, **kwargs))

    def _call(self, row: Operator, arguments: tuple[Expr, ...]) -> str:
        if row.definition:
            return f"({self._print(row.definition(*arguments))})"
        template = row.spelling[self._target]
        if "{1}" not in template:
            return template.format(self._print(arguments[0]))
        # Numbers come last and are lifted: torch.maximum takes no Python number.
        ordered = sorted(arguments, key=lambda a: bool(a.is_number))
        text = self._print(ordered[0])
        for argument in ordered[1:]:
            other = self._print(argument)
            if self._target == "torch" and argument.is_number:
                other = f"torch.full_like({text}, {other})"
            text = template.format(text, other)
        return text

    def _print_Symbol(self, expr: Symbol) -> str:
        return self._rename.get(expr.name, expr.name)

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        base, exponent = expr.args
        if exponent == sympy.Rational(1, 2):
            return OPERATORS["sqrt"].spelling[self._target].format(self._print(base))
        if exponent == -1:
            return f"(1.0/({self._print(base)}))"
        return f"(({self._print(base)})**({self._print(exponent)}))"


def spell(expression: Expr, target: Target, rename: Mapping[str, str] | None = None) -> str:
    """The expression as source code of a target.

    Example:
        >>> from sympy import Max
        >>> from rulesearch.notation import y_pre, z_post
        >>> spell(2 * Max(y_pre, z_post) ** 2, "numpy")
        '2*((numpy.maximum(y_pre, z_post))**(2))'
    """
    return str(TargetPrinter(target, rename).doprint(expression))
