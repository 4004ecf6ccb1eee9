"""Text to expression, by walking Python's own syntax tree with a whitelist; nothing is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import sympy
from sympy import Expr, Integer, Rational

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import (
    HIGHEST_POWER,
    unknown_operator,
    unknown_symbol,
)
from rulesearch.operators import OPERATORS, QUANTITIES, Operator, operator_of

MOST_CHARACTERS = 2_000
DEEPEST = 40
MOST_DIGITS = 40

_CONSTANTS: Mapping[str, Expr] = {"pi": sympy.pi, "E": sympy.E}

_BINARY: Mapping[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def parse(text: str, operators: Mapping[str, Any] | None = None) -> Expr:
    """The SymPy expression that a text term says, as written (not yet canonical).

    Args:
        text: one expression in the notation of a term.
        operators: a grammar's own operators by name, beside those of the table.

    Raises:
        RuleSearchError: a syntax error, an unknown symbol or operator, a wrong number of
            arguments, a form that a term cannot have, or a text too long, deep or large.

    Example:
        >>> parse("-e_post * tanh(y_pre)**2 / 2")
        -e_post*tanh(y_pre)**2/2
    """
    text = text.strip()
    if not text:
        raise RuleSearchError("is empty; write an expression such as -e_post*y_pre")
    if len(text) > MOST_CHARACTERS:
        raise RuleSearchError(f"{len(text)} characters; at most {MOST_CHARACTERS}")
    if "\n" in text or "\0" in text:
        raise RuleSearchError("has more than one line; write it on one")
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise RuleSearchError(_syntax(text, error)) from None
    except (RecursionError, MemoryError):
        raise RuleSearchError(f"nested too deep; at most {DEEPEST} levels") from None
    own = {name: operator_of(function) for name, function in (operators or {}).items()}
    table = {**OPERATORS, **{name: row for name, row in own.items() if row}}
    try:
        return _walk(tree.body, text, table, 0)
    except RuleSearchError as error:
        # Echo what was written, so that the fault can be found in it.
        raise RuleSearchError(*(_echo(line, text) for line in error.lines)) from None


def _echo(line: str, text: str) -> str:
    head, bracket, tail = line.partition(" (a term may ")
    head, mark, hint = head.partition("; ")
    return f"{head} in {text}{mark}{hint}{bracket}{tail}"


def _syntax(text: str, error: SyntaxError) -> str:
    place = f" at column {error.offset}" if error.offset else ""
    return f"syntax error{place} in {text}; write one expression, such as -e_post*y_pre"


def _walk(node: ast.expr, text: str, table: Mapping[str, Operator], depth: int) -> Expr:
    if depth > DEEPEST:
        raise RuleSearchError(f"nested too deep; at most {DEEPEST} levels")

    def inner(child: ast.expr) -> Expr:
        return _walk(child, text, table, depth + 1)

    match node:
        case ast.Constant(value=bool()):
            raise RuleSearchError(f"{node.value} is not a number; use numbers")
        case ast.Constant(value=int() | float() as number):
            return _number(number)
        case ast.Name(id=name):
            if name in QUANTITIES:
                return QUANTITIES[name].symbol
            if name in _CONSTANTS:
                return _CONSTANTS[name]
            if name in table:
                raise RuleSearchError(f"operator {name} without arguments; write {name}(...)")
            raise RuleSearchError(unknown_symbol(name))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -inner(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(inner(left), inner(right))
        case ast.BinOp(op=ast.BitXor()):
            raise RuleSearchError("^ is not a power; write **")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](inner(left), inner(right))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, [inner(a) for a in arguments], table)
    fragment = ast.get_source_segment(text, node) or text
    raise RuleSearchError(f"{fragment} is not something a term can say; use + - * / ** and calls")


def _number(number: int | float) -> Expr:
    if len(digits := repr(number)) > MOST_DIGITS:
        raise RuleSearchError(f"a number of {len(digits)} digits; at most {MOST_DIGITS}")
    if number != number or number in (float("inf"), float("-inf")):
        raise RuleSearchError("a number too large; use a finite one")
    return Integer(number) if isinstance(number, int) else Rational(repr(number))


def _power(base: Expr, exponent: Expr) -> Expr:
    # Before SymPy sees it: W**9**9 would be computed at once, a larger tower would not come back.
    if exponent.is_number and not (exponent.is_real and abs(exponent) <= HIGHEST_POWER):
        raise RuleSearchError(f"a power of {exponent}; at most {HIGHEST_POWER}")
    return base**exponent


def _call(name: str, arguments: list[Expr], table: Mapping[str, Operator]) -> Expr:
    row = table.get(name)
    if row is None:
        own = tuple(n for n in table if n not in OPERATORS)
        raise RuleSearchError(unknown_operator(name, own))
    fewest, most = row.arity
    if len(arguments) < fewest or (most is not None and len(arguments) > most):
        raise RuleSearchError(f"{name} takes {row.arity_text()}, not {len(arguments)}")
    return row.function(*arguments)
