"""Text to expression: Python's own syntax tree, walked with a whitelist; nothing is evaluated."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Integer, Rational, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import built
from rulesearch.notation.characters import strange_character
from rulesearch.notation.refusals import (
    MOST_DIGITS,
    check_calls,
    check_number,
    check_power,
    check_tanh,
)
from rulesearch.notation.views import seen_from_pre
from rulesearch.notation.vocabulary import echo, unknown_operator, unknown_symbol
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES, Operator, OwnSymbol, operator_of

MOST_CHARACTERS = 20_000
DEEPEST = 60

#: Numbers that have a name.
CONSTANTS: Mapping[str, Expr] = {"pi": sympy.pi, "E": sympy.E}

_CHAINED: Mapping[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def parse(
    text: str,
    operators: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Symbol] | None = None,
    *,
    quantities: Mapping[str, OwnSymbol] | None = None,
) -> Expr:
    """The SymPy expression that a text term says, as written (not yet canonical).

    Args:
        text: one expression in the notation of a term.
        operators: a grammar's own operators by name, beside those of the table.
        arguments: the symbols that the definition of an operator reads, by name; a term, without
            them, reads the local quantities.
        quantities: those of a grammar's own by name, beside those of the table; one of the
            post-neuron, `theta_post`, can be read as `theta_pre` as well.

    Raises:
        RuleSearchError: a syntax error, an unknown symbol or operator, a wrong number of
            arguments, a form that a term cannot have, or a text too long, deep or large.

    Example:
        >>> parse("-e_post * tanh(y_pre)**2 / 2")
        -e_post*tanh(y_pre)**2/2
    """
    text = text.strip()
    if not text:
        raise RuleSearchError("the text is empty; write an expression such as -e_post*y_pre")
    if len(text) > MOST_CHARACTERS:
        raise RuleSearchError(f"{len(text)} characters in {echo(text)}; at most {MOST_CHARACTERS}")
    if len(text.splitlines()) > 1 or "\0" in text:
        raise RuleSearchError(f"{echo(text.splitlines()[0])}... goes on; write it on one line")
    own = {
        name: operator_of(function) for name, function in {**COMMON, **(operators or {})}.items()
    }
    table = {**OPERATORS, **{name: row for name, row in own.items() if row}}
    known = [*own, *(arguments or {}), *(quantities or {})]
    if (fault := strange_character(text, known)) is not None:
        what, _, advice = fault.partition("; ")
        raise RuleSearchError(f"{what} of {echo(text)}; {advice}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # 1if, 1_or: refused below
            tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        place = f" at column {error.offset}" if error.offset else ""
        raise RuleSearchError(
            f"syntax error{place} in {echo(text)}; write one expression, such as -e_post*y_pre"
        ) from None
    except (RecursionError, MemoryError):
        raise RuleSearchError(f"{echo(text)} has too many parts; make it shorter") from None
    return _Walk(text, table, arguments or {}, quantities or {}).value(tree.body)


def _too_deep(text: str) -> RuleSearchError:
    return RuleSearchError(f"{echo(text)} is nested too deep; at most {DEEPEST} levels")


@dataclass(frozen=True)
class _Walk:
    """The walk over one text: what it may call, and what it echoes."""

    text: str
    table: Mapping[str, Operator]
    arguments: Mapping[str, Symbol]
    quantities: Mapping[str, OwnSymbol]

    def value(self, node: ast.expr, depth: int = 0) -> Expr:
        value = self._value(node, depth)
        if value.is_number:
            check_calls(value, echo(self.text))
            # From the inside out: SymPy would not come back from sin(exp(1e30)).
            check_number(value, echo(self.text))
        return value

    def _value(self, node: ast.expr, depth: int) -> Expr:
        if depth > DEEPEST:
            raise _too_deep(self.text)
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return self._number(number, node)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(operand, depth + 1)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.value(operand, depth + 1)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                base, exponent = self.value(left, depth + 1), self.value(right, depth + 1)
                # Before SymPy works it out: W**9**9 would, and a larger tower not come back.
                # A definition may raise an argument to another: the term that calls it is checked.
                if exponent.is_number or not self.arguments:
                    check_power(base, exponent, echo(self.text))
                return base**exponent
            case ast.BinOp(op=ast.BitXor()):
                raise RuleSearchError(f"^ in {echo(self.text)} is not a power; write **")
            case ast.BinOp(op=op) if type(op) in _CHAINED:
                return self._chain(node, depth)
            case ast.Call(func=ast.Name(id=name)) if name not in self.table:
                # Before its arguments: those of Piecewise are nothing a term can say either.
                raise RuleSearchError(unknown_operator(name, self.text, self._own()))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, [self.value(a, depth + 1) for a in arguments])
        fragment = ast.get_source_segment(self.text, node) or self.text
        place = "" if fragment == self.text else f" in {echo(self.text)}"
        raise RuleSearchError(
            f"{echo(fragment)}{place} is not something a term can say; use + - * / ** and calls"
        )

    def _chain(self, node: ast.expr, depth: int) -> Expr:
        """A sum or product a + b - c + …: one level, however long."""
        links: list[tuple[Callable[[Expr, Expr], Expr], ast.expr]] = []
        while isinstance(node, ast.BinOp) and type(node.op) in _CHAINED:
            links.append((_CHAINED[type(node.op)], node.right))
            node = node.left
        value = self.value(node, depth + 1)
        for combined, right in reversed(links):
            value = combined(value, self.value(right, depth + 1))
        return value

    def _number(self, number: int | float, node: ast.expr) -> Expr:
        if isinstance(number, float) and number in (float("inf"), float("-inf")):
            raise RuleSearchError(f"a number too large in {echo(self.text)}; use a smaller one")
        mantissa = (ast.get_source_segment(self.text, node) or "").lower().partition("e")[0]
        if number == 0 and any(digit in "123456789" for digit in mantissa):
            raise RuleSearchError(f"a number too small in {echo(self.text)}; use a larger one")
        exact = Integer(number) if isinstance(number, int) else Rational(repr(number))
        if max(abs(exact.p), exact.q) >= 10**MOST_DIGITS:
            raise RuleSearchError(
                f"a number too long in {echo(self.text)}; at most {MOST_DIGITS} digits"
            )
        return exact

    def _name(self, name: str) -> Expr:
        if name in self.arguments:
            return self.arguments[name]
        if name in QUANTITIES and not self.arguments:
            return QUANTITIES[name].symbol
        if not self.arguments:
            if name in self.quantities:
                return self.quantities[name]
            stem = name.removesuffix("_pre")
            if name != stem and (post := self.quantities.get(f"{stem}_post")) is not None:
                return seen_from_pre(post)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in self.table:
            raise RuleSearchError(
                f"operator {name} without arguments in {echo(self.text)}; write {name}(...)"
            )
        raise RuleSearchError(unknown_symbol(name, self.text, self.arguments, self.quantities))

    def _own(self) -> list[str]:
        return [name for name in self.table if name not in OPERATORS and name not in COMMON]

    def _call(self, name: str, arguments: list[Expr]) -> Expr:
        row = self.table[name]
        fewest, most = row.arity
        if len(arguments) < fewest or (most is not None and len(arguments) > most):
            raise RuleSearchError(
                f"{name} takes {row.arity_text()}, not {len(arguments)}, in {echo(self.text)}"
            )
        if row.function is sympy.exp and arguments[0].has(sympy.log):
            # SymPy makes a**9 of exp(9*log(a)) at once.
            for part in sympy.Add.make_args(arguments[0]):
                check_power(sympy.E, part.as_coeff_Mul()[0], echo(self.text))
        if row.function is sympy.tanh:
            check_tanh(sympy.tanh(arguments[0], evaluate=False), echo(self.text))
        try:
            return built(row.function, *arguments)
        except RuleSearchError as error:
            raise RuleSearchError(f"{echo(self.text)} {error}") from None
