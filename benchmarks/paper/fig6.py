"""Figures 6 and S3: how information of the feedback matrices reaches the forward weights.

Nothing is drawn by hand: the graph, the places of its nodes, the path in bold and the numbers at
the edges follow from the terms of the rule, the layers in which they act, and the pathway (see
`benchmarks.paper.flow`). The numbers are iterations of learning, where the paper numbers the steps
of its explanation. Each is also measured, in a network that learns with and without a change of
the feedback matrix.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.paper import style
from benchmarks.paper.claims import Claim, Finding, Verdict, all_of, judged
from benchmarks.paper.flow import (
    B,
    Kind,
    Letter,
    Node,
    W,
    arrivals,
    information_flow,
    measured_reach,
    reach,
    shortest_edges,
)
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.figures.look import BLUE, GREY, VERMILLION
from rulesearch.notation import Pool

# --- the panels --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One network with a rule, and the path that is looked at.

    Attributes:
        key: for tables, such as 6a.
        title: which rule acts where.
        pool: the terms.
        depth: layers of weights.
        source: the feedback matrix whose information is followed.
        target: the weights that would align with its transpose.
    """

    key: str
    title: str
    pool: Pool
    depth: int
    source: Node
    target: Node

    @property
    def graph(self) -> nx.DiGraph:
        """What depends on what in it."""
        return information_flow(self.pool, self.depth)


def _rule(*hebbian: int) -> Pool:
    """F0 in all layers, and F2, the error term of eHebb (Eq. 8), in these."""
    if not hebbian:
        return Pool(F0="-e_post*y_pre")
    return Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", where={"F2": hebbian})


FIG6 = (
    Panel("6a", "(a) F0 in both layers", _rule(), 2, B(2, 1), W(2)),
    Panel("6b", "(b) eHebb in the second layer", _rule(2), 2, B(2, 1), W(2)),
)
FIGS3 = (
    Panel("S3a", "(a) F0 in all layers", _rule(), 3, B(3, 2), W(3)),
    Panel("S3b", "(b) eHebb in the third layer", _rule(3), 3, B(3, 2), W(3)),
    Panel("S3c", "(c) eHebb in the second layer", _rule(2), 3, B(2, 1), W(2)),
)


# --- drawing -----------------------------------------------------------------------------------

#: How the kinds of edges look, in the paper's colours: blue for propagation, red where feedback
#: reaches forward weights. Gates carry no information of their own, and stand back.
COLOURS: Mapping[Kind, str] = {
    "forward": BLUE,
    "backward": BLUE,
    "gate": GREY,
    "activity": BLUE,
    "error": VERMILLION,
}
DASHES: Mapping[Kind, Literal["-", "--", ":"]] = {
    "forward": "-",
    "backward": "-",
    "gate": ":",
    "activity": "--",
    "error": "-",
}
#: In the legend; forward and backward look alike.
NAMES: Mapping[Kind, str] = {
    "forward": "forward and backward propagation",
    "activity": "activity read by the rule",
    "error": "error read by the rule",
    "gate": "gate of an error, σ'",
}
#: Far enough apart that the edges from errors to weights pass between the activities.
ROWS: Mapping[Letter, float] = {"W": 0.0, "y": 1.4, "e": 2.9, "B": 3.9}
NODE = 330.0  # points², the area of a node


def layout(graph: nx.DiGraph) -> dict[Node, tuple[float, float]]:
    """Places in the plane: a layer's quantities at its number, a matrix between its layers."""
    return {node: (sum(node.layers) / len(node.layers), ROWS[node.letter]) for node in graph}


def circled(number: int) -> str:
    """1 to 20 as ① to ⑳."""
    return chr(ord("①") + number - 1)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """One panel: the graph, the shortest path in bold, and the iterations at the rule's edges."""
    graph, places = panel.graph, layout(panel.graph)
    bold = shortest_edges(graph, panel.source, panel.target)
    for kind in DASHES:
        edges = [edge for edge in graph.edges if graph.edges[edge]["kind"] == kind]
        nx.draw_networkx_edges(
            graph,
            places,
            edgelist=edges,
            width=[2.0 if edge in bold else 0.7 for edge in edges],
            edge_color=COLOURS[kind],
            style=DASHES[kind],
            arrowsize=7,
            node_size=1.2 * NODE,
            ax=axes,
        )
    for letters, shape, colour in (("ye", "o", "white"), ("WB", "s", "#EFEFEF")):
        nodes = [node for node in graph if node.letter in letters]
        nx.draw_networkx_nodes(
            graph,
            places,
            nodelist=nodes,
            node_shape=shape,
            node_color=colour,
            edgecolors="black",
            linewidths=[1.8 if node in (panel.source, panel.target) else 0.6 for node in nodes],
            node_size=NODE,
            ax=axes,
        )
    nx.draw_networkx_labels(
        graph, places, {node: node.latex for node in graph}, font_size=7, ax=axes
    )
    for edge, step in arrivals(graph, panel.source).items():
        (x, from_y), (to_x, to_y) = (places[node] for node in edge)
        activity = edge[0].letter == "y"
        right = to_x > x and not activity
        share = 0.5 if activity else 0.3 if right else 0.17
        axes.annotate(
            f"{circled(step)} {', '.join(graph.edges[edge]['terms'])}",
            (x + share * (to_x - x), from_y + share * (to_y - from_y)),
            xytext=(4 if right else -4, 0),  # beside the edge, where no other one runs
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=6,
            color=COLOURS[graph.edges[edge]["kind"]],
        )
    axes.set_title(panel.title)
    axes.margins(0.12)
    axes.set_axis_off()
    told = [
        f"{b.latex}: " + ", ".join(f"{w.latex} {circled(n)}" for (c, w), n in found if c == b and n)
        for found in [list(reach(graph).items())]
        for b in dict.fromkeys(c for (c, _), _ in found)
    ]
    axes.text(
        0.5, -0.02, "\n".join(told), ha="center", va="top", fontsize=7, transform=axes.transAxes
    )


@style.look()
def draw(panels: Sequence[Panel]) -> Figure:
    """The panels, two in a row."""
    figure, axes = style.figure(-(-len(panels) // 2), 2, height=2.5)
    for place in axes.ravel()[len(panels) :]:
        place.set_axis_off()
    for place, panel in zip(axes.ravel(), panels, strict=False):
        draw_panel(place, panel)
    figure.legend(
        handles=[
            Line2D([], [], color=COLOURS[kind], linestyle=DASHES[kind], label=text)
            for kind, text in NAMES.items()
        ],
        loc="outside upper center",
        ncols=len(NAMES),
    )
    return figure


# --- numbers, claims, targets --------------------------------------------------------------------

Iterations = Mapping[tuple[Node, Node], int | None]


@dataclass(frozen=True)
class Routes:
    """How long information takes from feedback matrices to weights, in two ways.

    Attributes:
        derived: iterations by the graph's shortest paths.
        measured: iterations in a network that learns.
    """

    derived: Iterations
    measured: Iterations


def routes(panel: Panel) -> Routes:
    """Both for a panel."""
    return Routes(reach(panel.graph), measured_reach(panel.pool, panel.depth))


def columns(panels: Sequence[Panel], found: Mapping[str, Routes]) -> dict[str, list[object]]:
    """A row for each panel, feedback matrix and matrix of weights."""
    rows: list[tuple[object, ...]] = [
        (p.key, b.text, w.text, n, found[p.key].measured.get((b, w)))
        for p in panels
        for (b, w), n in found[p.key].derived.items()
    ]
    names = ("panel", "from", "to", "iterations by the graph", "iterations in a network")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


#: What the paper's text and captions say of each panel, in iterations.
PUBLISHED: Mapping[str, Iterations] = {
    "6a": {(B(2, 1), W(1)): 1, (B(2, 1), W(2)): 2},
    "6b": {(B(2, 1), W(1)): 1, (B(2, 1), W(2)): 1},
    "S3a": {
        (B(2, 1), W(1)): 1, (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1,
        (B(2, 1), W(2)): 2, (B(2, 1), W(3)): 2, (B(3, 2), W(3)): 2,
    },
    "S3b": {
        (B(2, 1), W(1)): 1, (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1, (B(3, 2), W(3)): 1,
        (B(2, 1), W(2)): 2, (B(2, 1), W(3)): 2,
    },
    "S3c": {
        (B(2, 1), W(1)): 1, (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1, (B(2, 1), W(2)): 1,
        (B(2, 1), W(3)): 2, (B(3, 2), W(3)): 2,
    },
}  # fmt: skip


def as_published(panel: str, found: Mapping[str, Routes]) -> Finding:
    """Whether information takes the iterations that the paper says, on every route of a panel."""
    parts = {}
    for route, claimed in PUBLISHED[panel].items():
        ours = found[panel].derived[route], found[panel].measured[route]
        verdicts: tuple[Verdict, ...] = ("does not hold", "holds in part", "holds")
        verdict = verdicts[sum(n == claimed for n in ours)]
        source, target = route
        name = f"{source.text} to {target.text}"
        unit = "iteration" if ours[0] == 1 else "iterations"
        parts[name] = Finding("", verdict, float(ours[0] or "nan"), unit=unit)
    statistic = (
        "iterations: shortest path in the derived graph, and first change of a network's weights "
        "to the bit when the matrix is another (both must be as claimed)"
    )
    return all_of(statistic, parts)


def _claim(panel: str, section: str, text: str) -> Claim[Mapping[str, Routes]]:
    return Claim(f"fig{panel}-routes", section, text, lambda found: as_published(panel, found))


CLAIMS: Mapping[str, Sequence[Claim[Mapping[str, Routes]]]] = {
    "fig6": (
        _claim(
            "6a",
            "2.2.2, Fig. 6a",
            "With F0 alone, B21 reaches W01 at once, and W12 only in the second iteration, by the "
            "activities of layer 1",
        ),
        _claim(
            "6b",
            "2.2.2, Fig. 6b",
            "With F2 in the second layer, B21 reaches W12 in the same iteration",
        ),
    ),
    "figS3": (
        _claim(
            "S3a",
            "Supplement, Fig. S3a",
            "With F0 alone, B21 and B32 reach the weights below them at once, and the ones beside "
            "and above only in the second iteration",
        ),
        _claim(
            "S3b",
            "Supplement, Fig. S3b",
            "F2 in the third layer opens a way from B32 to W23 in the same iteration; the others "
            "stay as they are",
        ),
        _claim(
            "S3c",
            "Supplement, Fig. S3c",
            "F2 in the second layer opens a way from B21 to W12 in the same iteration; the others "
            "stay as they are",
        ),
    ),
}

CAPTION = (
    "Which quantities depend on which, derived from the rule, the layers in which its terms act, "
    "and the pathway; no data. ①, ②: the iteration in which an edge of the rule first carries "
    "information of the feedback matrix with the bold frame; bold: the shortest way from it to the "
    "weights that would align with it. Below: iterations from each feedback matrix to each matrix "
    "of weights, the same in a network that learned with another value of that matrix."
)


def _make(name: str, panels: Sequence[Panel], setting: Setting) -> Produced:
    begun = time.perf_counter()
    found = {panel.key: routes(panel) for panel in panels}
    return Produced(
        caption=CAPTION,
        figures=tuple(style.save(draw(panels), setting, name, CAPTION)),
        tables=(write_csv(setting, name, columns(panels, found)),),
        judged=judged(CLAIMS[name], found),
        seconds=time.perf_counter() - begun,
    )


TARGETS: Mapping[str, Target] = {
    "fig6": Target(
        "fig6",
        "Information flow in two layers, with F0 and with eHebb",
        lambda setting: _make("fig6", FIG6, setting),
    ),
    "figS3": Target(
        "figS3",
        "Information flow in three layers, with F0 and with eHebb",
        lambda setting: _make("figS3", FIGS3, setting),
    ),
}
