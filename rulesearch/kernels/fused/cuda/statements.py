"""What statements of the form that `threads` reads again call, read, write and add up."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

#: Stands for any vector.
ANY = "*"


def name_of(node: ast.AST) -> str:
    """The name of a node that is one; "" of another."""
    return node.id if isinstance(node, ast.Name) else ""


def called(node: ast.AST) -> str:
    """The name of the function that a node calls."""
    return name_of(node.func) if isinstance(node, ast.Call) else ""


def expression(text: str) -> ast.expr:
    """The expression that a text is."""
    return ast.parse(text, mode="eval").body


def copied(node: ast.AST) -> ast.AST:
    """A statement or an expression of the same text."""
    text = ast.unparse(ast.fix_missing_locations(node))
    return ast.parse(text).body[0] if isinstance(node, ast.stmt) else expression(text)


def loaded(target: ast.expr) -> ast.expr:
    """What stands at a target, read."""
    return expression(ast.unparse(target))


def assigned(statements: Iterable[ast.stmt]) -> set[str]:
    """Names that statements give a value to."""
    nodes = (node for one in statements for node in ast.walk(one))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def stores(statements: Sequence[ast.stmt]) -> list[tuple[ast.expr, ast.expr]]:
    """Vector and place of everything that statements write."""
    found = list[tuple[ast.expr, ast.expr]]()
    for node in (node for one in statements for node in ast.walk(one)):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.append((node.value, node.slice))
        if isinstance(node, ast.Call) and called(node) == "store":
            found.append((node.args[0], node.args[1]))
    return found


def accumulations(statements: Sequence[ast.stmt]) -> list[str]:
    """Locals that statements add to: `x += …`, `x = add(x, …)`."""
    found = []
    for one in statements:
        if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add) and name_of(one.target):
            found.append(name_of(one.target))
        if isinstance(one, ast.Assign) and called(one.value) == "add":
            assert isinstance(one.value, ast.Call)
            if name_of(one.targets[0]) and name_of(one.targets[0]) == name_of(one.value.args[0]):
                found.append(name_of(one.targets[0]))
    return list(dict.fromkeys(found))


def gathered_by(node: ast.stmt) -> str:
    """The vector that a statement adds to at the place of a row that it is at; "" if none."""
    match node:
        case ast.Expr(value=ast.Call(args=[to, _, ast.Call(args=[ast.Call(args=[of, _]), _])])):
            return (
                name_of(to)
                if name_of(to) == name_of(of) and not name_of(to).endswith("row")
                else ""
            )
    return ""


def share_of(node: ast.stmt) -> ast.expr:
    """What such a statement adds."""
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Call)
    assert isinstance(node.value.args[2], ast.Call)
    return node.value.args[2].args[1]


def read_by(node: ast.AST, arrays: frozenset[str], but: str = "") -> set[str]:
    """Vectors that a node reads; not what it reads at the place that a loop is at.

    A vector that is not read at its beginning may be another's part, and stands for any.
    """
    found = set[str]()
    for one in ast.walk(node):
        vector = place = None
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Load):
            vector, place = one.value, one.slice
        elif isinstance(one, ast.Call) and called(one) == "load":
            vector, place = one.args
        elif isinstance(one, ast.Call) and called(one) == "some":
            found.add(ANY)
        if vector is None or place is None or name_of(vector) in arrays:
            continue
        if but and ast.unparse(place) == but:
            continue
        plain = isinstance(place, ast.Constant) or (not but and isinstance(place, ast.Name))
        found.add(name_of(vector) if plain and name_of(vector) else ANY)
    return found
