"""Meta-steps as they are made: the line on the terminal, and the row that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rulesearch.words import significant

if TYPE_CHECKING:  # so that a pool can be shown without torch
    from rulesearch.meta import StepRecord


#: Where the word is first shown; what becomes of such a lifetime is in `rulesearch.scoring`.
DIVERGED = (
    "diverged: lifetimes that ended worse than untrained; they count as the worse of chance and "
    "untrained"
)


def history_row(record: StepRecord) -> dict[str, Any]:
    """A meta-step as a row of `history.jsonl`, as the figures read it.

    `angles` are the degrees per layer between the feedback's errors and backprop's, from the
    observable `angle`; without it there are none. What is `taken` and who `voted` is known of a
    descent only.
    """
    return {
        "stage": record.label,
        "step": record.step,
        "of": record.steps,
        "loss": record.loss,
        "accuracy": record.accuracy,
        "theta": dict(record.theta),
        "diverged": record.diverged,
        "left_out": record.left_out,
        "angles": list(record.observed.get("angle", ())),
        "taken": record.taken,
        "voted": record.voted,
    }


class Whereabouts(Protocol):
    """How far a search is: which of its phases is under way, and how long the rest may take."""

    @property
    def place(self) -> str:
        """Which phase of how many that is, as in `2/5`."""

    @property
    def done(self) -> str:
        """Which share is behind; "" where that is not known."""

    @property
    def left(self) -> str:
        """How long the rest may take, in words; "" where that is not known."""

    @property
    def best(self) -> str:
        """The best rule so far, in words; "" where there is none yet."""

    def follow(self, told: StepRecord | str) -> str:
        """Take note of a meta-step, or of a label; returns what begins by it, or ""."""


def progress_line(
    record: StepRecord, names: Sequence[str], whereabouts: Whereabouts | None = None
) -> str:
    """A meta-step in one line: stage, step, loss, accuracy, the coefficients that are not zero.

    Of a descent also whether the step was accepted, and how many lifetimes have voted for the next.

    Args:
        record: the meta-step.
        names: terms, in the order in which they are to be shown.
        whereabouts: if given, the phase comes first, and before the numbers what share is behind
            and an estimate of the rest.
    """
    parts = [
        whereabouts.place if whereabouts else "",
        f"{record.label}  {record.step}/{record.steps}",
        f"{whereabouts.done} done" if whereabouts and whereabouts.done else "",
        whereabouts.left if whereabouts else "",
        _accepted(record),
        f"loss {significant(record.loss)}",
        f"accuracy {significant(record.accuracy)}",
    ]
    parts += [
        f"{count} {what}"
        for count, what in ((record.diverged, "diverged"), (record.left_out, "left out"))
        if count
    ]
    values = ((name, record.theta.get(name, 0.0)) for name in names)
    parts.append(", ".join(f"{name} {significant(value)}" for name, value in values if value))
    return "  ".join(part for part in parts if part)


def _accepted(record: StepRecord) -> str:
    """What became of a step that had to be accepted; "" of any other."""
    if record.taken is None:
        return ""
    return f"{'accepted' if record.taken else 'not accepted'}, {record.voted} voted"


@contextmanager
def progress(
    console: Console,
    quiet: bool = False,
    every: int = 50,
    whereabouts: Whereabouts | None = None,
) -> Iterator[Callable[[StepRecord | str], None]]:
    """Show meta-steps as they are made; gives the function that takes each record.

    On a terminal one line stays up to date, with the best rule so far under it, and each finished
    stage leaves its last line. Where the output is a file or a pipe, every `every`-th meta-step and
    each stage's last is a line, and every phase begins with one, that says the best rule too. A
    text in place of a record says what is under way: what was so before has ended, be it before
    its last meta-step.

    Args:
        console: where to.
        quiet: show nothing.
        every: meta-steps between two lines of a file; of a descent, whose steps cost more, a fifth.
        whereabouts: told of everything, and asked where that is; None shows no phases.
    """
    explanations = iter([DIVERGED])
    unshown: dict[str, StepRecord] = {}  # the last record of each stage under way

    def unexplained(record: StepRecord | str) -> Iterator[str]:
        """What a reader must be told before this meta-step, once."""
        return iter(()) if isinstance(record, str) or not record.diverged else explanations

    if quiet:
        yield lambda record: None
    elif not console.is_terminal:

        def say(record: StepRecord) -> None:
            line = progress_line(record, tuple(record.theta), whereabouts)
            console.print(Text(line), soft_wrap=True)

        def update(record: StepRecord | str) -> None:
            if isinstance(record, str):
                for last in _taken_from(unshown):
                    say(last)
            for explanation in unexplained(record):
                console.print(Text(explanation), soft_wrap=True)
            if whereabouts and (begins := whereabouts.follow(record)):
                parts = (whereabouts.place, begins, whereabouts.best)
                console.print(Text("  ".join(filter(None, parts))), soft_wrap=True)
            if not isinstance(record, str):
                due = record.step == record.steps or record.step % _apart(record, every) == 0
                unshown.pop(record.label, None)
                if due:
                    say(record)
                else:
                    unshown[record.label] = record

        yield update
        for last in _taken_from(unshown):
            say(last)
    else:
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def update_live(record: StepRecord | str) -> None:
                if isinstance(record, str):
                    for last in _taken_from(unshown):
                        ended = progress_line(last, tuple(last.theta), whereabouts)
                        live.console.print(Text(ended))
                for explanation in unexplained(record):
                    live.console.print(Text(explanation))
                if whereabouts:
                    whereabouts.follow(record)
                if isinstance(record, str):
                    place = f"{whereabouts.place}  " if whereabouts else ""
                    live.update(_with_best(Text(f"{place}{record} ..."), whereabouts))
                    return
                line = Text(progress_line(record, tuple(record.theta), whereabouts))
                unshown[record.label] = record
                if record.step == record.steps:
                    live.console.print(line)
                    del unshown[record.label]
                live.update(_with_best(line, whereabouts))

            yield update_live


def _with_best(line: Text, whereabouts: Whereabouts | None) -> Text:
    """What stays up to date: where the search is, and the best rule so far."""
    best = whereabouts.best if whereabouts else ""
    return Text("\n").join([line, Text(best)]) if best else line


def _apart(record: StepRecord, every: int) -> int:
    """Meta-steps between two lines of a file."""
    return every if record.taken is None else max(1, every // 5)


def _taken_from(unshown: dict[str, StepRecord]) -> list[StepRecord]:
    """What is still to be shown; nothing is then."""
    records = list(unshown.values())
    unshown.clear()
    return records


def trial_means(history: Iterable[Mapping[str, Any]]) -> str:
    """Accuracy and loss of the trials, averaged over the last third of their meta-steps.

    The paper's figures show these curves; how noisy one meta-step is depends on the meta-batch.
    "" where there is no trial.
    """
    rows = [
        row
        for row in history
        if str(row["stage"]).startswith("trial ") and row["step"] > row["of"] - row["of"] // 3
    ]
    finite = [row for row in rows if row["loss"] is not None]
    if not finite:
        return ""
    accuracy, loss = (
        significant(sum(row[name] for row in finite) / len(finite)) for name in ("accuracy", "loss")
    )
    steps = f"{min(r['step'] for r in rows)} to {max(r['step'] for r in rows)}"
    trials = len({row["stage"].split(",")[0] for row in rows})  # "trial 0, on 1" is of trial 0
    return (
        f"trials: accuracy {accuracy}, loss {loss}, mean over meta-steps {steps} of {trials} "
        f"trial{'s' if trials > 1 else ''}, {sum(r['diverged'] for r in rows)} lifetimes diverged"
    )
