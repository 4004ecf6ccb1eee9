"""Operators of one's own, given as expressions of those in the table."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import sympy
from sympy import Expr, Float, Function, Rational, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.letters import as_read
from rulesearch.operators.calculus import derivative, stranger
from rulesearch.operators.quantities import QUANTITIES, OwnSymbol, definition_of
from rulesearch.operators.table import OPERATORS, NeuronSum, Operator, operator_of

_CONSTANTS = ("pi", "E")


def operator(name: str, definition: Callable[..., Expr]) -> Any:
    """A new operator, given as an expression of others; nothing else is needed.

    Args:
        name: as it will be printed; an identifier that is not in the tables.
        definition: arguments -> expression, for one neuron or synapse.

    Returns:
        A SymPy function class to be used in terms; the same one for the same name and definition,
        whatever the arguments are called.

    Raises:
        RuleSearchError: the definition takes no argument or any number of them; and see `defined`.

    Example:
        >>> from rulesearch.notation import Abs, operator, y_pre
        >>> softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
        >>> softsign(y_pre)
        softsign(y_pre)
    """
    check_name(name)
    name = as_read(name)
    if not callable(definition):
        raise RuleSearchError(
            f"operator {name}: {definition!r} is no function; give one, as in "
            f"operator({name!r}, lambda x: x**2)"
        )
    parameters = inspect.signature(definition).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in positional for p in parameters):
        raise RuleSearchError(
            f"operator {name}: the definition must take a fixed number of arguments, as in "
            f"operator({name!r}, lambda x: x/(1 + Abs(x)))"
        )
    arguments = [Symbol(p.name, real=True) for p in parameters]
    try:
        body = definition(*arguments)
    except (TypeError, ValueError, AttributeError) as error:
        raise RuleSearchError(
            f"operator {name}: {type(error).__name__}, {error}; write it by what "
            "rulesearch.notation has, such as exp, Abs, Max"
        ) from None
    return defined(name, arguments, body)


def check_name(name: str) -> None:
    """Refuse what cannot be an operator's name.

    Raises:
        RuleSearchError: not an identifier, or a name in the tables.
    """
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise RuleSearchError(f"operator {name!r}: not a name; use letters, digits and _")
    if name in OPERATORS or name in QUANTITIES or name in _CONSTANTS:
        raise RuleSearchError(f"operator {name}: the name is taken; choose another")


def defined(name: str, arguments: Sequence[Symbol], body: Expr) -> Any:
    """The operator of this name whose value is `body`, an expression of its arguments.

    Raises:
        RuleSearchError: the definition calls what is not in the table, reads more than its
            arguments, or sums over neurons.
    """
    body = sympy.sympify(body)
    if not isinstance(body, Expr):
        raise RuleSearchError(
            f"operator {name}: the definition gives {body}, not an expression; write one such as "
            f"operator({name!r}, lambda x: x/(1 + Abs(x)))"
        )
    if strange := sorted(s.name for s in body.free_symbols - set(arguments)):
        raise RuleSearchError(
            f"operator {name}: {strange[0]} in {body} is not an argument; make it one"
        )
    if body.has(NeuronSum):
        raise RuleSearchError(
            f"operator {name}: {body} sums over neurons; an operator acts on one value, so write "
            "the sum in the term"
        )
    if (call := stranger(body)) is not None:
        raise RuleSearchError(
            f"operator {name}: unknown operator {call.func.__name__} in {body}; use "
            f"{', '.join(n for n, row in OPERATORS.items() if not row.drops)}"
        )
    # Exact numbers and arguments without names: the same operator from Python and from text.
    exact: dict[Expr, Expr] = {f: Rational(repr(float(f))) for f in body.atoms(Float)}
    places = _places(len(arguments))
    body = body.xreplace({**exact, **dict(zip(arguments, places, strict=True))})
    # Multiplied out, as 1/(2*(x + 1)) would come back from its text as 1/(2*x + 2).
    return _class_of(name, places, sympy.expand_mul(body))


def _places(count: int) -> tuple[Symbol, ...]:
    return tuple(Symbol(f"x{i}", real=True) for i in range(count))


def definitions_of(expressions: Iterable[Expr]) -> Mapping[str, tuple[tuple[Symbol, ...], Expr]]:
    """The operators of one's own that expressions and what they read call: name -> arguments, body.

    Those that a definition calls stand before it.

    Raises:
        RuleSearchError: two operators of the same name.

    Example:
        >>> from rulesearch.notation import Abs, operator, y_pre
        >>> softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
        >>> dict(definitions_of([softsign(y_pre)]))
        {'softsign': ((x0,), x0/(Abs(x0) + 1))}
    """
    found: dict[str, tuple[tuple[Symbol, ...], Expr]] = {}
    for name, called in (each for e in expressions for each in _called(e)):
        if found.setdefault(name, called) != called:
            raise RuleSearchError(
                f"operator {name}: has two definitions, {found[name][1]} and {called[1]}; "
                "give each a name of its own"
            )
    return found


def _called(expression: Expr) -> Iterator[tuple[str, tuple[tuple[Symbol, ...], Expr]]]:
    """The operators of one's own that one expression calls, and those that its quantities do."""
    for symbol in sorted(expression.atoms(OwnSymbol), key=str):
        yield from _called(definition_of(symbol))
    for call in sorted(expression.atoms(Function), key=str):
        row = operator_of(call.func)
        if row is not None and row.definition is not None:
            arguments = _places(len(call.args))
            body = row.definition(*arguments)
            yield from _called(body)
            yield row.name, (arguments, body)


@cache
def _class_of(name: str, arguments: tuple[Symbol, ...], body: Expr) -> Any:
    # Cached, so that terms of a grammar file read twice are equal.
    def definition(*values: Expr) -> Expr:
        return body.xreplace(dict(zip(arguments, values, strict=True)))

    def partials(*values: Expr) -> tuple[Expr, ...]:
        replaced = dict(zip(arguments, values, strict=True))
        return tuple(derivative(body, a).xreplace(replaced) for a in arguments)

    def evaluated(call: Expr, precision: int) -> Expr:
        # Without it SymPy looks for a function of this name in mpmath.
        return definition(*call.args)._eval_evalf(precision)

    count = len(arguments)
    members = {"nargs": (count,), "is_real": True, "_eval_evalf": evaluated}
    cls = type(name, (Function,), members)
    cls.row = Operator(  # type: ignore[attr-defined]
        name, cls, (count, count), partials, {}, definition=definition
    )
    return cls


#: Given here, and known to every term; a grammar file may define its own by the same name. Each is
#: safe at any argument, and so is its derivative, which follows from the definition: half a step
#: of relu at 0, as of Max. sigmoid and all derivatives are right in their last digits far below 0
#: too; softplus is 0 there where 1 and its exponential cannot be told apart.
COMMON: Mapping[str, Any] = {
    "sigmoid": operator(
        "sigmoid", lambda x: sympy.exp(sympy.Min(x, 0)) / (1 + sympy.exp(-sympy.Abs(x)))
    ),
    "relu": operator("relu", lambda x: sympy.Max(x, 0)),
    "softplus": operator(
        "softplus", lambda x: sympy.Max(x, 0) + sympy.log(1 + sympy.exp(-sympy.Abs(x)))
    ),
}
