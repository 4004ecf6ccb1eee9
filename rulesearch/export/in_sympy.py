"""A rule as SymPy expressions, in a file that needs SymPy alone."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

import sympy
from sympy import Expr, Function, Symbol
from sympy.printing.str import StrPrinter

from rulesearch.export.heading import docstring, heading
from rulesearch.export.written import Written
from rulesearch.notation.own import own_symbols
from rulesearch.operators import (
    OPERATORS,
    PARAMETERS,
    NeuronSum,
    OwnSymbol,
    definition_of,
    definitions_of,
    operator_of,
)

_KNOWN = """\
def real(names):
    \"\"\"Symbols of real numbers.\"\"\"
    return sympy.symbols(names, real=True)


#: Sums over all pre-neurons, and over all post-neurons, of the layer.
sum_pre, sum_post = sympy.Function("sum_pre", real=True), sympy.Function("sum_post", real=True)
"""

_TAKEN = {"sympy", "real", "quantities", "traces", "theta", "where", "dW", "dB", "db"}


class _Printer(StrPrinter):  # type: ignore[misc]
    """SymPy's text, by the names of the file; rationals stay exact when Python reads it."""

    def __init__(self) -> None:
        super().__init__({"sympy_integers": False})

    def _print(self, expr: Any, **kwargs: Any) -> str:
        row = operator_of(getattr(expr, "func", None))
        if row is not None and not isinstance(expr, sympy.Pow):
            named = row.definition is not None or isinstance(expr, NeuronSum)
            called = _name(row.name) if named else f"sympy.{row.name}"
            arguments = [
                f"sympy.Integer({each})" if named and each.is_Integer else self._print(each)
                for each in row.arguments(expr)
            ]
            return f"{called}({', '.join(arguments)})"
        if isinstance(expr, Symbol):
            return _name(expr.name)
        if isinstance(expr, sympy.Rational) and expr.q != 1:
            return f"sympy.Rational({expr.p}, {expr.q})"
        if isinstance(expr, sympy.NumberSymbol):
            return f"sympy.{expr}"
        if isinstance(expr, sympy.Pow) and expr.exp.is_Rational and expr.exp.q == 2:
            root = f"sympy.sqrt({self._print(expr.base)})"
            return root if expr.exp.p == 1 else f"{root}**({expr.exp.p})"
        return str(super()._print(expr, **kwargs))


def in_sympy(step: Written) -> str:
    """The code of `dW`, `dB`, `db`: of each parameter, term -> its change, for one synapse.

    `theta` has the coefficients, `where` the layers of terms that do not act in all, `quantities`
    and `traces` what the rule's own symbols are.
    """
    rule, shown = step.rule, _Printer().doprint
    updates = {(t.name, p): e for t in rule.pool for p, e in t.updates}
    own = own_symbols(updates.values())
    read = _symbols([*updates.values(), *map(definition_of, own.values())])
    lines = ["import sympy", "", "", *_KNOWN.splitlines(), ""]
    lines += [f'{_name(name)} = real("{name}")' for name in (*read, *own)]
    for name, (arguments, body) in definitions_of(updates.values()).items():
        called = ", ".join(a.name for a in arguments)
        lines += ["", "", f"def {_name(name)}({called}):", f"    return {shown(body)}", ""]
    lines += ["", "#: What the rule's own quantities are, of this step.", "quantities = {"]
    for symbol in own.values():
        if symbol.row.memory is None:
            lines.append(f"    {_name(symbol.name)}: {shown(definition_of(symbol))},")
    lines += ["}", "#: Of each trace what it follows, its decay a step, and what it begins with;"]
    lines += ["#: None for the first of what it follows.", "traces = {"]
    for symbol in own.values():
        if (memory := symbol.row.memory) is not None:
            followed = shown(definition_of(symbol))
            kept = f"({followed}, {memory.decay!r}, {memory.initial!r})"
            lines.append(f"    {_name(symbol.name)}: {kept},")
    lines += ["}", "#: Coefficients, and the layers, from 1, of terms that do not act in all."]
    lines += [f"theta = {rule.coefficients!r}", f"where = {dict(rule.pool.where)!r}"]
    lines += ["#: The change of each parameter by each term, without its coefficient."]
    for parameter in PARAMETERS:
        terms = [(t, e) for (t, p), e in updates.items() if p == parameter]
        if terms:
            lines.append(f"d{parameter} = {{")
            lines += [f'    "{term}": {shown(e)},' for term, e in terms]
            lines.append("}")
    return "\n".join([*docstring(heading(step)), "", *lines, ""])


def _name(name: str) -> str:
    """A name of the rule in the code, clear of the code's own."""
    return f"{name}_" if name in _TAKEN or hasattr(builtins, name) else name


def _symbols(expressions: list[Expr]) -> list[str]:
    return sorted(
        {s.name for e in expressions for s in e.free_symbols if not isinstance(s, OwnSymbol)}
    )


# --- is it the same rule -------------------------------------------------------------------------


def faults_of(source: str, step: Written) -> Iterator[str]:
    """What the expressions of an export say otherwise than the rule."""
    made: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source, "<exported>", "exec"), made)  # our own printer's text
    own = own_symbols([e for t in step.rule.pool for _, e in t.updates])
    for term in step.rule.pool:
        for parameter, expression in term.updates:
            said = _ours(sympy.sympify(made[f"d{parameter}"][term.name]), own)
            if not _same(said, expression):
                yield f"{term.name} is {said}"
    for name, symbol in own.items():
        key, memory = made[_name(name)], symbol.row.memory
        if memory is None:
            said = made["quantities"][key]
        else:
            said, *rest = made["traces"][key]
            if rest != [memory.decay, memory.initial]:
                yield f"{name} moves by {rest}"
        if not _same(_ours(sympy.sympify(said), own), definition_of(symbol)):
            yield f"{name} is {said}"
    theta, where = step.rule.coefficients, dict(step.rule.pool.where)
    if (made["theta"], made["where"]) != (theta, where):
        yield f"theta is {made['theta']}, where {made['where']}"


def _same(said: Expr, meant: Expr) -> bool:
    """Whether two expressions are one, however they are written: 1/(3*(x + 1)) and 1/(3*x + 3)."""
    one, other = _defined(said), _defined(meant)
    return bool(one == other or sympy.simplify(one - other) == 0)


def _defined(expression: Expr) -> Expr:
    """The expression with operators of one's own as they are defined; quantities stay."""
    if not expression.args:
        return expression
    row = operator_of(expression.func)
    arguments = [_defined(a) for a in expression.args]
    if row is not None and row.definition is not None:
        return _defined(row.definition(*arguments))
    return expression.func(*arguments)


def _ours(expression: Expr, own: Mapping[str, OwnSymbol]) -> Expr:
    """The export's symbols and sums as the package's."""
    if isinstance(expression, Symbol):
        return own.get(expression.name, expression)
    if not expression.args:
        return expression
    arguments = [_ours(a, own) for a in expression.args]
    name = expression.func.__name__
    if isinstance(expression, Function) and name in ("sum_pre", "sum_post"):
        return OPERATORS[name].function(*arguments)
    return expression.func(*arguments)
