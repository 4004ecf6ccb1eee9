"""A result in words: the equation, and the tables of its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from rulesearch.records.plain import Number
from rulesearch.report.hall import choice_text, hall_table
from rulesearch.report.joining import joining_table
from rulesearch.report.tables import DIM, Expression, Kind, Sheet, Trimmed
from rulesearch.result import (
    NO_RULE,
    EvaluationRecord,
    Result,
    definition_lines,
    equation,
    layers_text,
)
from rulesearch.words import in_words, interval_text, percent, significant

EQUATION_WIDTH = 80
#: What is said of terms that a hall of fame has and the rule has not.
SMALLEST = "From so many terms on: the smallest rule of the hall of fame that has the term."
#: Of a pool of more terms, those that were zero in search have no line.
MOST_LISTED = 40


def _layers_column(wanted: bool) -> dict[str, Kind]:
    return {"layers": "text"} if wanted else {}


def pool_table(
    rows: Iterable[tuple[str, str, str, str]], layers: Mapping[str, Sequence[int]] | None = None
) -> Sheet:
    """The pool before a search.

    Args:
        rows: name, expression, needs, and how it is lowered, all as text.
        layers: those in which a term acts, by name; one that is not there acts in all. Without
            any there is no such column.
    """
    table = Sheet(
        "Pool",
        {
            "term": "text",
            "expression": "text",
            **_layers_column(bool(layers)),
            "needs": "text",
            "lowers to": "text",
        },
    )
    for name, expression, needs, lowering in rows:
        acts = [layers_text(layers.get(name, ()))] if layers else []
        table.add(name, Expression(expression), *acts, needs or "-", Expression(lowering))
    return table


def locality_table(allowed: Mapping[str, int]) -> Sheet:
    """How many terms of a pool there are for what may be given as `--locality`."""
    table = Sheet("Locality", {"--locality": "name", "allows": "number"})
    for needs, terms in allowed.items():
        table.add(needs, f"{terms:,} term{'s' * (terms != 1)}")
    return table


def print_pool(
    console: Console,
    rows: Iterable[tuple[str, str, str, str]],
    layers: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Print `pool_table` of these."""
    console.print(pool_table(rows, layers))


def coefficient_table(result: Result) -> Sheet:
    """The coefficient of each term with its interval, or what became of it."""
    limited = any(entry.layers for entry in result.pool)
    by_hall = bool(result.hall)
    screened = "Trials: how many of the L1 search kept the term."
    trials: dict[str, Kind] = {"trials": "number"}
    drawn, refits = "lifetimes drawn anew", "refits"
    edge = " They end where the region looked at around the rule does, and may be too narrow."
    table = Sheet(
        "Coefficients",
        {
            "term": "text",
            "expression": "text",
            **_layers_column(limited),
            "needs": "text",
            "theta": "number",
            "95 % interval": "interval",
            **({} if by_hall else trials),
        },
        f"Intervals are over {drawn if by_hall else refits}, conditional on the support."
        f"{edge if by_hall else ''} {SMALLEST if by_hall else screened}",
    )
    ended = [trial for trial in result.trials if not trial.failed]
    count = Counter(name for trial in ended for name in trial.support)
    listed = [entry for entry in result.pool if _listed(result, entry.name, count[entry.name])]
    if more := len(result.pool) - len(listed):
        where = "are in none of its rules" if by_hall else "were zero in search"
        table.caption += f" {more:,} more terms {where}."
    for entry in listed:
        inside = entry.name in result.support
        kept = count[entry.name]
        table.add(
            entry.name,
            Expression(entry.shown),
            *([layers_text(entry.layers)] if limited else []),
            ", ".join(entry.needs) or "-",
            significant(result.theta.get(entry.name, 0.0)),
            _fate(result, entry.name, kept, len(ended)),
            *(() if by_hall else (f"{kept} of {len(ended)}",)),
            style="" if inside else DIM,
        )
    return table


def _listed(result: Result, name: str, kept: int) -> bool:
    """Whether a term has a line; in a large pool one that was always zero has none."""
    few = len(result.pool) <= MOST_LISTED
    found = any(name in entry.support for entry in result.hall) if result.hall else bool(kept)
    return few or found or name in result.support or name in result.fails


def _fate(result: Result, name: str, kept: int, ended: int) -> str:
    """What became of a term: the interval of its coefficient, or where it was left.

    Args:
        result: of the search.
        name: of the term.
        kept: trials that kept it,
        ended: of so many that were not given up.
    """
    if name in result.support:
        interval = result.theta_interval.get(name)
        return interval_text(interval) if interval else "not settled" if result.hall else "none"
    if name in result.fails:
        layer, step = result.fails[name]
        return f"not finite (layer {layer}, step {step})" if layer else "no derivative"
    if result.hall:
        sizes = [len(entry.support) for entry in result.hall if name in entry.support]
        return f"from {min(sizes)} terms on" if sizes else "in no rule"
    if any(step.kept and step.dropped == name for step in result.elimination):
        return "dropped"
    if not kept:
        return "zero in search"
    # Half of the trials are enough for the elimination; there the whole support gained nothing.
    return "in too few trials" if 2 * kept < ended else "gains nothing"


def elimination_table(result: Result) -> Sheet:
    """The tries to do without a term, in their order; the one that led to the rule is marked."""
    arrived = all(step.arrived for step in result.elimination)
    unknown = "" if arrived else " ? no refit has arrived: the cost is at most that."
    rules = [step for step in result.elimination if {*step.support} == {*result.support}]
    marks = " > marks the rule chosen." if rules else ""
    if result.hall and not rules and result.support:
        marks = " The rule chosen left by another try than these, or grew."
    cheap = any(not step.refitted for step in result.elimination)
    cheaply = " * clearly cheap, so dropped without a refit." if cheap else ""
    # Of accepted steps there is no full support that was fitted for its own sake.
    whose = "the best of its round" if result.hall else "the full support, both refitted"
    table = Sheet(
        "Elimination",
        {
            "": "name",
            "without": "text",
            "left": "text",
            "loss": "number",
            "cost": "number",
            "95 % interval": "text",
            "of gain": "number",
        },
        f"Cost: the loss of what is left minus that of {whose}.{cheaply}{marks}{unknown}",
    )
    for step in result.elimination:
        table.add(
            f"{'>' if rules and step is rules[-1] else ' '} {'dropped' if step.kept else 'tried'}",
            step.dropped,
            ", ".join(step.support),
            significant(step.loss),
            significant(step.cost) + " *" * (not step.refitted) + " ?" * (not step.arrived),
            interval_text(step.cost_interval),
            # A share of what is no learning says nothing.
            percent(step.share_of_gain) if result.learns else "-",
            style="" if step.kept else DIM,
        )
    return table


def evaluation_tables(result: Result) -> list[Sheet]:
    """The final evaluation; of several worlds, each apart, then all together."""
    intervals = (
        "Intervals are over tasks, conditional on these images; "
        "a lifetime that diverged, which is to end worse than untrained, counts as the worse of "
        "chance and untrained."
    )
    if not result.worlds:
        return [_evaluation("Evaluation", result.evaluation, intervals)]
    each = [
        _evaluation(
            f"Evaluation: {name}",
            world.evaluation,
            f"Layers {'-'.join(map(str, world.sizes))}; untrained, the loss is "
            f"{significant(world.untrained, 4)}.",
        )
        for name, world in result.worlds.items()
    ]
    shares = f"{intervals} Losses together are shares of the untrained loss of their world."
    return [*each, _evaluation("Evaluation: all worlds", result.evaluation, shares)]


def _evaluation(title: str, evaluation: Mapping[str, EvaluationRecord], caption: str) -> Sheet:
    table = Sheet(
        title,
        {
            "": "text",
            "accuracy": "number",
            "95 % interval": "interval",
            "loss": "number",
            "lifetimes": "number",
            "diverged": "number",
            "rate": "number",
        },
        caption,
    )
    for name, entry in evaluation.items():
        table.add(
            in_words(name),
            significant(entry.accuracy),
            interval_text(entry.accuracy_interval),
            significant(entry.loss),
            str(entry.lifetimes),
            str(entry.diverged),
            "" if entry.rate is None else significant(entry.rate),
        )
    return table


def _beside(evaluation: Mapping[str, EvaluationRecord]) -> str:
    """How the rule's loss lies beside that of each rival, on the same lifetimes."""
    parts = []
    for name, entry in evaluation.items():
        low, high = entry.gained_interval
        if name == "rule" or entry.gained is None or low is None or high is None:
            continue
        parts.append(f"{in_words(name)} {0.0 - entry.gained:+.3f} {interval_text((-high, -low))}")
    if not parts:
        return ""
    return f"Its loss minus a rival's, on the same lifetimes: {', '.join(parts)}."


def paired_tables(result: Result) -> list[Sheet]:
    """How much less loss the rule has than each rival, on the same lifetimes; a table a world."""
    worlds = {f": {name}": world.evaluation for name, world in result.worlds.items()}
    # In its own world, of several, a loss is in nats again.
    in_one = replace(result, worlds={}).unit
    unit = f", {in_one}" if in_one else ""
    sheets = []
    for where, evaluation in (worlds or {"": result.evaluation}).items():
        table = Sheet(
            f"The rule beside each rival{where}",
            {"": "text", "loss of the rule minus its": "number", "95 % interval": "interval"},
            f"On the same lifetimes{unit}; below zero the rule is better, and clearly so if the "
            "whole interval is.",
        )
        for name, entry in evaluation.items():
            low, high = entry.gained_interval
            if name == "rule" or entry.gained is None or low is None or high is None:
                continue
            table.add(in_words(name), f"{0.0 - entry.gained:+.3f}", interval_text((-high, -low)))
        if table.rows:
            sheets.append(table)
    return sheets


def gap_closed(evaluation: Mapping[str, EvaluationRecord]) -> Number:
    """The share of the gap from feedback alignment to backprop by SGD that a rule closes.

    In accuracy; None where a record is missing, a number is not finite, or backprop is not clearly
    the better one: where the intervals of the two meet there is no gap to be told by.
    """
    names = ("rule", "backprop_sgd", "feedback_alignment")
    if not all(name in evaluation for name in names):
        return None
    rule, best, worst = (evaluation[name].accuracy for name in names)
    if rule is None or best is None or worst is None or best <= worst:
        return None
    low = evaluation["backprop_sgd"].accuracy_interval[0]
    high = evaluation["feedback_alignment"].accuracy_interval[1]
    if low is None or high is None or low <= high:
        return None
    return (rule - worst) / (best - worst)


@dataclass(frozen=True)
class _Rule:
    """The equation on one line where it fits, else a term a line; below it what it reads."""

    result: Result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(EQUATION_WIDTH, options.max_width)
        lines = [equation(self.result.pool, self.result.theta)]
        if len(lines[0]) > width:
            terms = equation(self.result.pool, self.result.theta, break_with="\n   ").split("\n")
            lines = ["\n       ".join(Expression(t).lines(width - 7)) for t in terms]
        yield Trimmed(Text("\n".join(lines), style="bold", overflow="fold"))
        entries = [entry for entry in self.result.pool if self.result.theta.get(entry.name)]
        texts = [text for entry in entries for text in entry.updates.values()]
        for line in definition_lines(self.result.definitions, texts):
            yield Trimmed(Text(line, overflow="fold"))


def result_text(result: Result, run_directory: Path) -> RenderableType:
    """The rule, its coefficients, the hall of fame or the elimination, the evaluation, and where.

    Fits the console's width; what is too wide is wrapped, never cropped. What was selected but
    does not learn is no rule, and is not printed as one.
    """
    first = _Rule(result) if result.learns else Text(NO_RULE, style="bold")
    parts: list[RenderableType] = [first]
    if result.message:
        parts.append(Text(result.message))
    parts += [Text(), coefficient_table(result)]
    if result.joining:
        parts += [Text(), joining_table(result)]
    if result.hall:
        parts += [Text(), hall_table(result), Text(choice_text(result))]
    elif result.elimination:
        parts += [Text(), elimination_table(result)]
    if result.evaluation:
        for sheet in evaluation_tables(result):
            parts += [Text(), sheet]
    closed = gap_closed(result.evaluation)
    if closed is not None and result.learns:
        share = f"{percent(closed)} of the gap from feedback alignment to backprop by SGD"
        parts.append(Text(f"The rule closes {share}."))
    if result.learns and not result.worlds and (beside := _beside(result.evaluation)):
        parts.append(Text(beside))
    parts.append(Text())
    if result.lifetimes:
        gradient, forward = (result.lifetimes[which] for which in ("gradient", "forward"))
        parts.append(Text(f"lifetimes: {gradient:,} with derivatives, {forward:,} without"))
    parts += [Text(f"images for {use}: {which}") for use, which in result.images.items()]
    parts.append(Text(f"kept in {run_directory}", overflow="fold"))
    return Trimmed(Group(*parts))
