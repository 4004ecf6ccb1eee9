"""The functions of a CPU's module, rewritten for the threads of a block.

What `layers`, `values`, `synapses`, `models` and `program` write is both targets' form: Python of a
few kinds of statements. Here they are read again, and written with threads:

- A loop over neurons, or over the places of a row in vectors, is shared out: one thread an element.
  What it adds up in a local is added up over the threads when it ends.
- A loop over the rows of a list is shared out to warps, and the loop over a row's places to lanes.
  What it adds to a vector, each warp adds up for itself, in shared memory.
- Everything else is done by all threads alike; where it writes, by one of them.

A vector's name becomes its place in `s`. Between a write and what other threads read, or a read and
what another thread writes, threads wait for each other; no function is left before that.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rulesearch.kernels.batch import Unsupported
from rulesearch.kernels.fused.cuda.rows import THREADS
from rulesearch.kernels.fused.cuda.statements import (
    ANY,
    accumulations,
    assigned,
    called,
    copied,
    expression,
    gathered_by,
    loaded,
    name_of,
    read_by,
    share_of,
    stores,
)
from rulesearch.kernels.fused.names import indented

#: Arguments that are arrays of their own, and not places in `s`.
ARRAYS = frozenset(
    [
        "at",
        "order",
        "x",
        "slopes",
        "noise",
        "labels",
        "query_labels",
        "answers",
        "targets",
        "asked",
        "starts",
        "out",
        "table",
    ]
)
#: Functions that know nothing of `s`.
_PURE = frozenset(
    [
        "F",
        "range",
        "len",
        "abs",
        "min",
        "max",
        "frame",
        "use_weights",
        "use_matrices",
        "sign",
        "heaviside",
        "maximum",
        "minimum",
        "product",
        "reciprocal",
        "clipped",
        "within",
        "kept",
        "signed",
    ]
)
#: Those that all threads call together and that leave nothing to wait for.
_TOGETHER = frozenset(("use_weights", "use_matrices"))
#: Words of vectors -> the same of numbers.
_SIGNS = {"mul": ast.Mult, "add": ast.Add, "sub": ast.Sub, "div": ast.Div, "vector_power": ast.Pow}
_NAMES = {
    **{f"vector_{name}": f"math.{name}" for name in ("exp", "log", "tanh", "sin", "cos", "atan")},
    **{f"vector_{n}": n for n in ("maximum", "minimum", "sign", "heaviside", "product")},
    "vector_erf": "math.erf",
    "vector_reciprocal": "reciprocal",
    "magnitude": "abs",
    "root": "math.sqrt",
}
#: Vectors that nothing writes during a lifetime.
_CONSTANT = frozenset(("theta", "ones_pre", "ones_post", "zeros"))


def rewritten(text: str) -> tuple[str, int, int]:
    """Functions of a CPU's module for the threads of a block.

    Returns:
        Their text; how many sums over threads it takes at once, and how many vectors its warps add
        up for themselves.

    Raises:
        Unsupported: a statement that is none of the known kinds.
    """
    texts, sums, gathers = [], 0, 0
    for definition in ast.parse(text).body:
        assert isinstance(definition, ast.FunctionDef), "functions only"
        names = frozenset(argument.arg for argument in definition.args.args)
        writer = _Writer(definition.name, ARRAYS & names)
        texts.append("\n".join(writer.function(definition)) + "\n")
        sums, gathers = max(sums, writer.sums), max(gathers, writer.gathers)
    return "\n\n".join(texts), sums, gathers


@dataclass
class _Writer:
    """One function on its way.

    Attributes:
        name: of the function, for what is refused.
        arrays: its arguments that are arrays of their own.
        sums: sums over threads that are taken at once, at most,
        gathers: and vectors that warps add up for themselves.
        written: vectors that have been written since threads last waited; of one thread's writes
            the name, of those that are shared out `name[]`.
        seen: vectors that every thread has read since.
        rows: local -> the array and the row of it that it stands for.
        zero: locals that are zero.
        own: locals that are another in every thread.
    """

    name: str
    arrays: frozenset[str]
    sums: int = 0
    gathers: int = 0
    written: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    rows: dict[str, tuple[str, ast.expr]] = field(default_factory=dict)
    zero: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)

    def function(self, definition: ast.FunctionDef) -> list[str]:
        """The lines of the function."""
        names = [a.arg for a in definition.args.args]
        taken = ", ".join(["s", "sh", *(n for n in names if n != "s")])
        if definition.name in _PURE:
            taken = ", ".join(names)
        body = self.statements(definition.body)
        doc = body[:1] if ast.get_docstring(definition) else []
        body = [*body[len(doc) :], *self.wait()]
        return [
            "@device",
            f"def {definition.name}({taken}):",
            *indented([*doc, *THREADS, *body]),
        ]

    # --- waiting

    def wait(self) -> list[str]:
        """The line that waits for all threads, where something is to be waited for."""
        waits = bool(self.written or self.seen)
        self.written, self.seen = set(), set()
        return ["sync()"] if waits else []

    def before_reading(self, node: ast.AST) -> list[str]:
        """What comes before all threads read what a statement reads."""
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if names & self.own:
            raise self.refused(node)
        read = {name for name in read_by(node, self.arrays) if name not in _CONSTANT}
        lines = self.wait() if read and self.written else []
        self.seen |= read
        return lines

    def before_writing(self, names: Iterable[str]) -> list[str]:
        """What comes before one thread writes what others may still be reading."""
        return self.wait() if self.seen & {*names, ANY} else []

    # --- statements by all threads alike

    def statements(self, statements: Sequence[ast.stmt]) -> list[str]:
        """Lines for statements that all threads come to."""
        return [line for one in statements for line in self.statement(one)]

    def statement(self, node: ast.stmt) -> list[str]:
        """Lines for one of them."""
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=to)], value=ast.Tuple(elts=values)):
                pairs = zip(to, values, strict=True)
                return self.statements([ast.Assign([a], b, lineno=0) for a, b in pairs])
            case ast.Assign(targets=[target], value=value):
                return self.assignment(target, value)
            case ast.AugAssign(target=ast.Name(id=name)):
                self.zero.discard(name)
                return [*self.before_reading(node.value), ast.unparse(self.translated(node))]
            case ast.AugAssign(target=target):
                value = ast.BinOp(loaded(target), node.op, node.value)
                return self.written_by_one(target, value, [node.value])
            case ast.Expr(value=ast.Constant()):
                return [ast.unparse(node)]
            case ast.Expr(value=ast.Call() as call):
                return [*self.wait(), ast.unparse(self.translated(call))]
            case ast.If(test=ast.Compare(left=ast.Name(id="idle"))):
                return []  # idle terms are not taken
            case ast.If():
                return self.either(node)
            case ast.For():
                return self.loop(node)
            case ast.Return(value=value):
                lines = self.before_reading(node)
                return [*lines, *self.wait(), f"return {ast.unparse(self.translated(value))}"]
            case ast.Break() | ast.Continue() | ast.Pass():
                return [*self.wait(), ast.unparse(node)]
        raise self.refused(node)

    def assignment(self, target: ast.expr, value: ast.expr) -> list[str]:
        """A local, or what one thread writes."""
        if isinstance(target, ast.Subscript):
            return self.written_by_one(target, value, [value])
        if called(value) == "pointer":
            assert isinstance(value, ast.Call)
            base, place = value.args
            if name_of(base) in self.arrays:
                assert isinstance(place, ast.BinOp), "the number of a row times its length"
                self.rows[name_of(target)] = name_of(base), place.left
                return []
        together = isinstance(value, ast.Call) and called(value) not in {*_PURE, ""} - _TOGETHER
        together = together and called(value) not in {*_SIGNS, *_NAMES, "pointer", "fma", "load"}
        together = together and called(value) not in {"splat", "zero", "total", "some"}
        lines = self.wait() if together else self.before_reading(value)
        if name_of(target):
            self.zero.discard(name_of(target))
            if ast.unparse(value) == "F(0.0)" or called(value) == "zero":
                self.zero.add(name_of(target))
        made = ast.unparse(self.translated(value))
        self.own -= assigned([ast.Assign([target], value)])
        return [*lines, f"{ast.unparse(target)} = {made}"]

    def written_by_one(
        self, target: ast.expr, value: ast.expr, read: Sequence[ast.AST]
    ) -> list[str]:
        """What one thread writes."""
        assert isinstance(target, ast.Subscript)
        name = name_of(target.value)
        if name == "at":
            wrote = f"if tid == 0: {ast.unparse(target)} = {ast.unparse(self.translated(value))}"
            return ["sync()", wrote, "sync()"]
        lines = [line for node in read for line in self.before_reading(node)]
        if name == "out":
            made = ast.unparse(self.translated(value))
            return [*lines, f"if tid == 0: {ast.unparse(target)} = {made}"]
        lines += self.before_writing([name])
        self.written.add(name)
        place = ast.unparse(self.place(target.value, target.slice))
        made = ast.unparse(self.translated(value))
        return [*lines, f"if tid == 0: st(s, {place}, {made})"]

    def either(self, node: ast.If) -> list[str]:
        """A branch that all threads take, or none."""
        lines = self.before_reading(node.test)
        test = ast.unparse(self.translated(node.test))
        written, seen = set(self.written), set(self.seen)
        then = self.statements(node.body) or ["pass"]
        after = self.written, self.seen
        self.written, self.seen = written, seen
        otherwise = self.statements(node.orelse)
        # Whoever comes from a branch that has waited need not, and waits with the others.
        self.written, self.seen = self.written | after[0], self.seen | after[1]
        lines += [f"if {test}:", *indented(then)]
        return [*lines, "else:", *indented(otherwise)] if otherwise else lines

    # --- loops

    def loop(self, node: ast.For) -> list[str]:
        """A loop of any kind."""
        first = node.body[0]
        if isinstance(first, ast.Assign) and ast.unparse(first.value).startswith("order["):
            return self.over_rows(node)
        if self.is_shared(node):
            return self.shared(node)
        lines = self.before_reading(node.iter)
        head = f"for {ast.unparse(node.target)} in {ast.unparse(self.translated(node.iter))}:"
        self.zero -= assigned(node.body)
        before = set(self.seen)
        self.turn(node.body)
        # What the end of a turn has read, the beginning of the next may write.
        self.seen |= before
        body = self.turn(node.body)
        self.seen |= before
        return [*lines, head, *indented(body)]

    def turn(self, statements: Sequence[ast.stmt]) -> list[str]:
        """Lines of one turn of a loop that all threads do alike; nothing is left unwritten."""
        lines = self.statements(statements)
        return [*lines, *(self.wait() if self.written else [])]

    def is_shared(self, node: ast.For) -> bool:
        """Whether every turn writes a place of its own, or adds to locals that are zero."""
        if called(node.iter) != "range" or not name_of(node.target):
            return False
        simple = all(
            isinstance(one, ast.Assign | ast.AugAssign)
            or called(getattr(one, "value", one)) == "store"
            for one in node.body
        )
        own = all(ast.unparse(place) == name_of(node.target) for _, place in stores(node.body))
        adds = accumulations(node.body)
        useful = bool(adds or stores(node.body))
        counts = any(name_of(t) in assigned(node.body) for t, _ in stores(node.body))
        return simple and own and useful and not counts and set(adds) <= self.zero

    def shared(self, node: ast.For) -> list[str]:
        """A loop of which every thread does some turns."""
        assert isinstance(node.iter, ast.Call)
        variable, bounds = name_of(node.target), node.iter.args
        stored = {name_of(vector) for vector, _ in stores(node.body)}
        lines = list[str]()
        elsewhere = {n for n in read_by(node, self.arrays, but=variable) if n not in _CONSTANT}
        if (elsewhere and self.written) or self.written & {
            *read_by(node, self.arrays),
            *stored,
            "s",
        }:
            lines += self.wait()
        lines += self.before_writing(stored)
        if elsewhere:
            self.seen.add(ANY)
        adds = accumulations(node.body)
        body = [ast.unparse(self.translated(one)) for one in self.spelled(node.body)]
        begin, end = (ast.Constant(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        end_text = ast.unparse(self.translated(end))
        lines.append(f"for {variable} in range(tid, {end_text}, threads):")
        if not (isinstance(begin, ast.Constant) and begin.value == 0):
            # The thread of a place is the same in every loop.
            lines.append(f"    if {variable} >= {ast.unparse(self.translated(begin))}:")
            body = indented(body)
        self.own |= assigned(node.body) - set(adds)
        self.written |= {f"{name}[]" for name in stored}
        return [*lines, *indented(body), *self.over_threads(adds)]

    def over_threads(self, names: Sequence[str]) -> list[str]:
        """Lines that add up over the threads what each has in these locals."""
        if not names:
            return []
        self.sums = max(self.sums, len(names))
        self.written, self.seen = set(), set()
        self.zero -= set(names)
        return [
            *(f"{name} = lane_sum({name})" for name in names),
            "if lane == 0:",
            *(f"    st(sh, {i} * warps + warp, {name})" for i, name in enumerate(names)),
            "sync()",
            *(f"{name} = over_warps(sh, {i}, 1, 0)" for i, name in enumerate(names)),
            "sync()",
        ]

    def over_rows(self, node: ast.For) -> list[str]:
        """A loop over the rows of a list, of which every warp does some."""
        assert isinstance(node.iter, ast.Call)
        which, end = (ast.unparse(bound) for bound in node.iter.args)
        (inner,) = (one for one in node.body if isinstance(one, ast.For))
        variable = name_of(inner.target)
        adds = accumulations(inner.body)
        begun = {n for n in adds if n in assigned([o for o in node.body if o is not inner])}
        across = [name for name in adds if name not in begun]
        if not set(across) <= self.zero:
            raise self.refused(node)
        gathered = list(dict.fromkeys(filter(None, map(gathered_by, inner.body))))
        self.gathers = max(self.gathers, len(gathered))
        lines = self.wait()
        clear = [f"st(sh, ({g} * warps + warp) * width + j, F(0.0))" for g in range(len(gathered))]
        if clear:
            lines += ["for j in range(lane, width, WARP):", *indented(clear)]
        body = []
        for one in inner.body:
            if name := gathered_by(one):
                place = f"({gathered.index(name)} * warps + warp) * width + {variable}"
                share = ast.unparse(self.translated(share_of(one)))
                body += [f"at_j = {place}", f"st(sh, at_j, ld(sh, at_j) + {share})"]
            else:
                body += [ast.unparse(self.translated(o)) for o in self.spelled([one])]
        row = [f"if left_out(order, {which}, k):", "    continue"]
        for one in node.body[1:]:
            if one is inner:
                row += [f"for {variable} in range(lane, width, WARP):", *indented(body)]
                row += [f"{name} = lane_sum({name})" for name in adds if name in begun]
            elif stores([one]):
                made = [ast.unparse(self.translated(o)) for o in self.spelled([one])]
                row += ["if lane == 0:", *indented(made)]
            else:
                row += ast.unparse(self.translated(one)).splitlines()
        lines += [f"for k in range(warp, {end}, warps):", *indented(row), "sync()"]
        if gathered:
            lines.append("for j in range(tid, width, threads):")
            for g, name in enumerate(gathered):
                place = f"{name} + j"
                lines.append(f"    st(s, {place}, ld(s, {place}) + over_warps(sh, {g}, width, j))")
            lines.append("sync()")
        return [*lines, *self.over_threads(across)]

    # --- expressions

    def spelled(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements that write by `st`."""
        out = list[ast.stmt]()
        for one in statements:
            match one:
                case ast.Assign(targets=[ast.Subscript(value=vector, slice=place)], value=value):
                    out.append(self.stored(vector, place, value))
                case ast.AugAssign(target=ast.Subscript(value=vector, slice=place) as target):
                    value = ast.BinOp(loaded(target), one.op, one.value)
                    out.append(self.stored(vector, place, value))
                case ast.Expr(value=ast.Call(args=[vector, place, value]) as call):
                    assert called(call) == "store"
                    out.append(self.stored(vector, place, value))
                case _:
                    out.append(one)
        return out

    def stored(self, vector: ast.expr, place: ast.expr, value: ast.expr) -> ast.stmt:
        """The statement that writes a value to a place of a vector."""
        where = self.place(vector, place)
        return ast.Expr(ast.Call(ast.Name("st"), [ast.Name("s"), where, value], []))

    def place(self, vector: ast.expr, index: ast.expr) -> ast.expr:
        """Where in `s` an element of a vector is."""
        index = expression(ast.unparse(self.translated(index)))
        if name_of(vector) == "s":
            return index
        start: ast.expr = self.translated(vector)
        if isinstance(index, ast.Constant) and index.value == 0:
            return start
        return ast.BinOp(start, ast.Add(), index)

    def translated(self, node: Any) -> Any:
        """A node in words of numbers, reading by `ld`."""
        return ast.fix_missing_locations(_Words(self).visit(copied(node)))

    def refused(self, node: ast.AST) -> Unsupported:
        """What is said of a statement of no known kind."""
        return Unsupported(f"{ast.unparse(node).splitlines()[0]} in {self.name}, on a GPU")


class _Words(ast.NodeTransformer):
    """Words of vectors to those of numbers, and what stands at a place of a vector to `ld`."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = name_of(node.value)
        if name in self._writer.rows:
            array, row = self._writer.rows[name]
            at = ast.Tuple([self.visit(row), self.visit(node.slice)], ast.Load())
            return ast.Subscript(ast.Name(array), at, ast.Load())
        if name in self._writer.arrays:
            return ast.Subscript(node.value, self.visit(node.slice), node.ctx)
        return self._read_at(node.value, node.slice)

    def _read_at(self, vector: ast.expr, place: ast.expr) -> ast.expr:
        where = self._writer.place(vector, place)
        return ast.Call(ast.Name("ld"), [ast.Name("s"), where], [])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name, given = called(node), node.args
        if name == "pointer":
            return self._writer.place(given[0], given[1])
        if name == "load":
            return self._read_at(given[0], given[1])
        if name in ("ld", "st"):
            return ast.Call(node.func, [given[0], given[1], *map(self.visit, given[2:])], [])
        arguments: list[ast.expr] = [self.visit(one) for one in given]
        if name in ("splat", "total"):
            return arguments[0]
        if name == "zero":
            return expression("F(0.0)")
        if name == "fma":
            product = ast.BinOp(arguments[0], ast.Mult(), arguments[1])
            return ast.BinOp(product, ast.Add(), arguments[2])
        if name in _SIGNS:
            return ast.BinOp(arguments[0], _SIGNS[name](), arguments[1])
        if name in _NAMES:
            return ast.Call(expression(_NAMES[name]), arguments, [])
        if name and name not in _PURE:
            others = [one for one in arguments if name_of(one) != "s"]
            return ast.Call(node.func, [ast.Name("s"), ast.Name("sh"), *others], [])
        return ast.Call(node.func, arguments, node.keywords)
