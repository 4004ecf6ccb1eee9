"""In which order a step computes a plan: values on neurons, then passes over the weights.

A sum over synapses needs a pass over all weights of the layer. Sums whose operands are known at
the same time share one: a *level* is what can be computed on neurons, followed by the sums that
read it. Values on synapses are never stored; they are computed where they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sympy import Symbol

from rulesearch.lowering import Carried, Elementwise, Group, Node, Plan, Sum
from rulesearch.operators import QUANTITIES, SYNAPSE


@dataclass(frozen=True)
class Level:
    """Values on neurons and layers, and the passes over synapses that follow.

    Attributes:
        values: elementwise nodes and plain sums, in topological order.
        weight_sums: sums over W times a vector.
        synapse_sums: sums over another value on synapses.
    """

    values: tuple[Node, ...]
    weight_sums: tuple[Sum, ...]
    synapse_sums: tuple[Sum, ...]


@dataclass(frozen=True)
class Schedule:
    """A plan in the order of its evaluation.

    Attributes:
        plan: the plan.
        levels: in order; the sums of one may be read from the next on.
        synapse: elementwise values on synapses, in topological order.
        outer: groups that separate, u ⊗ v.
        scalings: groups W ⊙ (u ⊗ v), where no pass over other values on synapses is needed.
        rest: all other groups.
        biases: groups of the update of biases, all of whose factors are on the post side.
        back: of the feedback's own matrices, where terms change them. Its plan says W of them,
            since they are the synapse's matrix there, and B of the weights.
        replays: whether updates are repeated from checkpoints, though they could be undone.
    """

    plan: Plan
    levels: tuple[Level, ...]
    synapse: tuple[Elementwise, ...]
    outer: tuple[Group, ...]
    scalings: tuple[Group, ...]
    rest: tuple[Group, ...]
    biases: tuple[Group, ...] = ()
    back: Schedule | None = None
    replays: bool = False

    @property
    def prefix(self) -> str:
        """What names of functions and columns begin with: those of W with nothing."""
        return "back_" if self.plan.changes == "B" else ""

    @property
    def limits(self) -> tuple[float, float] | None:
        """Between which numbers the matrix is kept."""
        return self.plan.model.limits(self.plan.changes)

    @property
    def post(self) -> str:
        """The source of the layer of the post-neurons."""
        return "at[l, SOURCE]" if self.plan.changes == "B" else "l + 1"

    @property
    def all(self) -> tuple[Schedule, ...]:
        """That of W, and that of the feedback's own matrices where terms change them."""
        return (self, self.back) if self.back else (self,)

    @property
    def quantities(self) -> frozenset[str]:
        """Names of what is read and not computed, for any parameter."""
        made = {node.name for node in self.plan.nodes}
        read = {name for g in self.biases for name in (g.post, *(p.scalar for p in g.parts))}
        beyond = self.back.quantities if self.back else frozenset()
        own = {name for name in read if name and name not in made}
        return self.plan.quantities | own | beyond

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups, in the order of their numbers."""
        return self.outer + self.scalings + self.rest

    @property
    def sums(self) -> tuple[Sum, ...]:
        """All sums over synapses."""
        return tuple(s for level in self.levels for s in level.weight_sums + level.synapse_sums)

    @property
    def values(self) -> tuple[Node, ...]:
        """All elementwise values and plain sums on neurons."""
        return tuple(v for level in self.levels for v in level.values)

    @property
    def undoes(self) -> bool:
        """Whether a step's update can be undone from the vectors that it was made of.

        Outer products are subtracted again. A scaling of all weights by one number is divided
        out; any other function of the weights would have to be inverted, synapse by synapse.
        """
        return (
            not self.replays
            and not self.rest
            and all(
                group.post is None and all(p.pre is None and p.scalar is None for p in group.parts)
                for group in self.scalings
            )
        )

    @property
    def undone_in(self) -> str:
        """Which pass of the adjoint takes an update back, so that it needs none of its own.

        The earliest that needs the weights: "groups" where groups scale them, else the "sums" of
        the last level that has any; "alone" otherwise.
        """
        if self.scalings:
            return "groups"
        return "alone" if self.synapse or self.last_sums is None else "sums"

    @property
    def last_sums(self) -> int | None:
        """The last level with a sum over W whose adjoint reads W."""
        return next(
            (
                i
                for i, level in reversed(list(enumerate(self.levels)))
                if any(node.vector for node in level.weight_sums)
            ),
            None,
        )

    @property
    def traces(self) -> tuple[Carried, ...]:
        """The traces of neurons and layers, which frames hold."""
        return tuple(t for t in self.plan.carried if t.index != SYNAPSE)

    @property
    def matrices(self) -> tuple[Carried, ...]:
        """The traces of synapses, each a matrix like that of the weights."""
        return tuple(t for t in self.plan.carried if t.index == SYNAPSE)

    @property
    def passes_synapses(self) -> bool:
        """Whether a step has a pass over values on synapses that changes a matrix."""
        return bool(self.rest or self.matrices)

    @property
    def remembered(self) -> frozenset[str]:
        """Names of the values on neurons and layers that traces are, and so are taped."""
        own = {value.name for value in self.values}
        return frozenset(trace.value for trace in self.traces) & own

    def behind(self, names: Iterable[str | None]) -> tuple[Elementwise, ...]:
        """The values on synapses that these need, themselves included, in order."""
        wanted = {n for n in names if n}
        for node in reversed(self.synapse):
            if node.name in wanted:
                wanted.update(node.reads)
        return tuple(node for node in self.synapse if node.name in wanted)


def schedule_of(plan: Plan) -> Schedule:
    """The schedule of a plan.

    Example:
        >>> from rulesearch.notation import Pool
        >>> from rulesearch.lowering import lower
        >>> pool = Pool(F6="-y_post*e_pre*sum_post(y_post*sum_pre(W*e_pre))")
        >>> schedule = schedule_of(lower(pool))
        >>> for level in schedule.levels:
        ...     print([str(v) for v in level.values], [str(s) for s in level.weight_sums])
        [] ['q0 = sum_pre(W*e_pre)']
        ['q1 = q0*y_post', 's0 = sum_post(q1)'] []
    """
    back = next((schedule_of(_turned(p)) for p in plan.beside if p.changes == "B"), None)
    plan, biases = _with_biases(plan)
    level_of: dict[str, int] = {}  # what is not computed is there from the first
    values: dict[int, list[Node]] = {}
    sums: dict[int, list[Sum]] = {}
    synapse: list[Elementwise] = []
    for node in plan.nodes:
        level = max((level_of.get(read, 0) for read in node.reads), default=0)
        if isinstance(node, Sum) and node.matrix:
            sums.setdefault(level, []).append(node)
            level += 1
        elif isinstance(node, Elementwise) and node.index == SYNAPSE:
            synapse.append(node)
        else:
            values.setdefault(level, []).append(node)
        level_of[node.name] = level
    depth = max([*values, *(level + 1 for level in sums), 0]) + 1
    levels = tuple(
        Level(
            tuple(values.get(i, ())),
            tuple(s for s in sums.get(i, ()) if s.matrix == "W"),
            tuple(s for s in sums.get(i, ()) if s.matrix != "W"),
        )
        for i in range(depth)
    )
    matrices = [g for g in plan.groups if g.matrix]
    # One pass for everything on synapses, if there is one at all.
    slow = bool(synapse)
    # A scaling is of the matrix itself.
    slow = slow or any(g.matrix != "W" for g in matrices)
    # Λ of weights is scaled when the step before is reached. What the feedback's own step adds to
    # it, where that reads weights, comes before, and is of weights that are not scaled yet.
    slow = slow or (back is not None and "B" in back.quantities)
    made = Schedule(
        plan,
        levels,
        tuple(synapse),
        outer=tuple(g for g in plan.groups if not g.matrix),
        scalings=() if slow else tuple(matrices),
        rest=tuple(matrices) if slow else (),
        biases=biases,
        back=back,
    )
    # What a trace of synapses was cannot be told from what it is; what is repeated of one matrix is
    # repeated of all.
    both = made.all
    if any(each.matrices or each.limits for each in both) or (
        back and not all(each.undoes for each in both)
    ):
        return replace(made, replays=True, back=back and replace(back, replays=True))
    return made


def _turned(plan: Plan) -> Plan:
    """The plan of B with W for B and B for W: the matrix of the synapse is called W."""
    other = {"W": "B", "B": "W"}
    W, B = QUANTITIES["W"].symbol, QUANTITIES["B"].symbol

    def turned(node: Node) -> Node:
        if isinstance(node, Elementwise):
            return replace(node, expression=node.expression.xreplace({W: B, B: W}))
        return replace(node, matrix=other.get(node.matrix or "", node.matrix))

    return replace(
        plan,
        nodes=tuple(map(turned, plan.nodes)),
        groups=tuple(replace(g, matrix=other.get(g.matrix or "", g.matrix)) for g in plan.groups),
    )


def _with_biases(plan: Plan) -> tuple[Plan, tuple[Group, ...]]:
    """The plan with the nodes of that of the biases, in names of their own; and its groups."""
    nodes, groups, carried = list(plan.nodes), list[Group](), {c.name: c for c in plan.carried}
    for other in plan.beside:
        if other.changes != "b":
            continue
        names: dict[str, str] = {}
        for node in other.nodes:
            made = _renamed(node, f"b{node.name}", names)
            same = next((n for n in nodes if _renamed(n, made.name, {}) == made), None)
            names[node.name] = same.name if same else made.name
            nodes += [] if same else [made]
        groups += [
            replace(
                group,
                post=names.get(group.post or "", group.post),
                parts=tuple(
                    replace(p, scalar=names.get(p.scalar or "", p.scalar)) for p in group.parts
                ),
            )
            for group in other.groups
        ]
        for trace in other.carried:
            carried.setdefault(
                trace.name, replace(trace, value=names.get(trace.value, trace.value))
            )
    joined = replace(plan, nodes=tuple(nodes), carried=tuple(carried.values()))
    return (joined if groups else plan), tuple(groups)


def _renamed(node: Node, name: str, names: Mapping[str, str]) -> Node:
    """The node in another name, what it reads renamed as told."""
    if isinstance(node, Sum):
        matrix = names.get(node.matrix or "", node.matrix)
        return Sum(name, node.axis, matrix, names.get(node.vector or "", node.vector))
    symbols = {Symbol(a, real=True): Symbol(b, real=True) for a, b in names.items()}
    return Elementwise(name, node.index, node.expression.xreplace(symbols))
