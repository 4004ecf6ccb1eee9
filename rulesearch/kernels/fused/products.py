"""Which products of Λ give the derivatives by the coefficients of terms that are zero.

A term matrix ⊙ (post ⊗ pre) that is zero has one number to give, Σ_kj post_j · M_kj · pre_k with
M = Λ ⊙ matrix. A *dot* (M post, for all k at once) or a *gather* (Σ_k pre_k M_k) serves all terms
that share the factor; what is left for each term is a product of two vectors. Of the pairs of
factors that are asked for, at least one side must be taken: the fewest that will do are a least
vertex cover of the graph whose edges are the pairs, which a largest matching gives (Kőnig).
Of all monomials of degree three it takes those of degree one or none, on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx
from networkx.algorithms import bipartite

from rulesearch.kernels.fused.savings import group_is_dark, sum_is_dark
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.lowering import Group, Plan, Sum
from rulesearch.operators import POST, PRE, SYNAPSE, Index

#: The local of the vector of ones on a side, and of one that is written and never read.
ONES = {"pre": "ones_pre", "post": "ones_post"}
SPARE = {"pre": "spare_pre", "post": "spare_post"}
#: Dots and gathers are taken so many at a time.
AT_ONCE = 3


@dataclass(frozen=True)
class Pass:
    """One pass over the rows of a layer.

    Attributes:
        level: of the schedule, whose values must be known before.
        matrix: name of a value on synapses; None for ones.
        by_lambda: whether Λ ⊙ matrix is taken, or the matrix itself.
        lit: whether the rows of dark pixels may be left out.
        dots: names of a vector on the post side, and of what the products of the rows with it are.
        gathers: names of a vector on the pre side, and of the sum of the rows weighted by it.
    """

    level: int
    matrix: str | None
    by_lambda: bool
    lit: bool
    dots: tuple[tuple[str, str], ...]
    gathers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pair:
    """A product of two vectors on one side, times a layer-wide value or one."""

    side: str
    left: str
    right: str
    scalar: str | None


@dataclass(frozen=True)
class Products:
    """All products that some terms need.

    Attributes:
        schedule: their schedule.
        passes: in order.
        pairs: distinct.
        parts: for every part of a term: the term, its coefficient and the position of its pair.
        vectors: names of the vectors that passes and pairs make, beside the plan's, and where they
            live.
    """

    schedule: Schedule
    passes: tuple[Pass, ...]
    pairs: tuple[Pair, ...]
    parts: tuple[tuple[int, float, int], ...]
    vectors: tuple[tuple[str, Index], ...]

    @property
    def operands(self) -> tuple[tuple[str, Index], ...]:
        """Every vector that is read or written, and where it lives."""
        plan = self.schedule.plan
        read = [(name, plan.index[name]) for name in sorted(plan.quantities) if name != "W"]
        nodes = [(n.name, n.index) for n in plan.nodes if n.index != SYNAPSE]
        own = [(ONES["pre"], PRE), (ONES["post"], POST), (SPARE["pre"], PRE), (SPARE["post"], POST)]
        return (*own, *read, *nodes, *self.vectors)


def products_of(schedule: Schedule) -> Products:
    """The products that the terms of a schedule need, all of them zero.

    Example:
        >>> from rulesearch.kernels.fused.schedule import schedule_of
        >>> from rulesearch.lowering import lower
        >>> from rulesearch.notation import Pool
        >>> pool = Pool(a="y_post*y_pre", b="y_post*e_pre", c="e_post*y_pre", d="e_post**2*y_pre")
        >>> found = products_of(schedule_of(lower(pool)))
        >>> for taken in found.passes:
        ...     print(taken.dots, taken.gathers)
        (('y_post', 'dot0_0'),) (('y_pre', 'gather0_0'),)
        >>> for pair in found.pairs:
        ...     print(pair.left, pair.right)
        dot0_0 y_pre
        dot0_0 e_pre
        gather0_0 e_post
        gather0_0 q0
    """
    passes = list(_sums(schedule))
    vectors: list[tuple[str, Index]] = []
    pairs: dict[Pair, int] = {}
    parts: list[tuple[int, float, int]] = []
    by_matrix: dict[str | None, list[Group]] = {}
    for group in schedule.groups:
        by_matrix.setdefault(group.matrix, []).append(group)
    for matrix, groups in by_matrix.items():
        posts, pres = _cover(groups)
        number = len(passes)
        dots: dict[str | None, str] = {n: f"dot{number}_{i}" for i, n in enumerate(posts)}
        gathers: dict[str | None, str] = {n: f"gather{number}_{i}" for i, n in enumerate(pres)}
        vectors += [*((v, PRE) for v in dots.values()), *((v, POST) for v in gathers.values())]
        lit = all(group_is_dark(schedule.plan, group) for group in groups)
        passes.append(
            Pass(
                len(schedule.levels) - 1,
                matrix,
                by_lambda=True,
                lit=lit,
                dots=tuple((n or ONES["post"], to) for n, to in dots.items()),
                gathers=tuple((n or ONES["pre"], to) for n, to in gathers.items()),
            )
        )
        for group in groups:
            for part in group.parts:
                if group.post in dots:
                    pair = Pair("pre", dots[group.post], part.pre or ONES["pre"], part.scalar)
                else:
                    pair = Pair("post", gathers[part.pre], group.post or ONES["post"], part.scalar)
                place = pairs.setdefault(pair, len(pairs))
                parts.append((part.term, float(part.coefficient), place))
    return Products(schedule, tuple(passes), tuple(pairs), tuple(parts), tuple(vectors))


def _sums(schedule: Schedule) -> Iterator[Pass]:
    """The passes that the sums of each level need, one for each matrix."""
    for i, level in enumerate(schedule.levels):
        by_matrix: dict[str | None, list[Sum]] = {}
        for node in level.weight_sums + level.synapse_sums:
            by_matrix.setdefault(node.matrix, []).append(node)
        for matrix, sums in by_matrix.items():
            yield Pass(
                i,
                matrix,
                by_lambda=False,
                lit=all(sum_is_dark(schedule.plan, node) for node in sums),
                dots=tuple((n.vector or ONES["post"], n.name) for n in sums if n.axis == "post"),
                gathers=tuple((n.vector or ONES["pre"], n.name) for n in sums if n.axis == "pre"),
            )


def _cover(groups: Sequence[Group]) -> tuple[list[str | None], list[str | None]]:
    """The fewest post-side and pre-side factors of which every pair has one."""
    posts = list(dict.fromkeys(group.post for group in groups))
    pres = list(dict.fromkeys(part.pre for group in groups for part in group.parts))
    # Numbers and not names, whose order in a set hangs on the process.
    graph = nx.Graph()
    graph.add_edges_from(
        (posts.index(group.post), len(posts) + pres.index(part.pre))
        for group in groups
        for part in group.parts
    )
    matching = bipartite.hopcroft_karp_matching(graph, range(len(posts)))
    chosen = sorted(bipartite.to_vertex_cover(graph, matching, range(len(posts))))
    return (
        [posts[i] for i in chosen if i < len(posts)],
        [pres[i - len(posts)] for i in chosen if i >= len(posts)],
    )


def factors(plan: Plan) -> tuple[int, int]:
    """How many distinct factors there are on the post and on the pre side, sums included."""
    posts = {group.post for group in plan.groups}
    pres = {part.pre for group in plan.groups for part in group.parts}
    return len(posts), len(pres)
