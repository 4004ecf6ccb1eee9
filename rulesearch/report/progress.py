"""Meta-steps as they are made: the line on the terminal, and the row that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rulesearch.result import (
    significant,
)

if TYPE_CHECKING:  # so that a pool can be shown without torch
    from rulesearch.meta import StepRecord


def history_row(record: StepRecord) -> dict[str, Any]:
    """A meta-step as a row of `history.jsonl`, as the figures read it.

    `angles` are the degrees per layer between the feedback's errors and backprop's, from the
    observable `angle`; without it there are none.
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
    }


def progress_line(record: StepRecord, names: Sequence[str]) -> str:
    """A meta-step in one line: stage, step, loss, accuracy, the coefficients that are not zero.

    Args:
        record: the meta-step.
        names: terms, in the order in which they are to be shown.
    """
    parts = [
        f"{record.label}  {record.step}/{record.steps}",
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


@contextmanager
def progress(
    console: Console, quiet: bool = False, every: int = 50
) -> Iterator[Callable[[StepRecord | str], None]]:
    """Show meta-steps as they are made; gives the function that takes each record.

    On a terminal one line stays up to date, and each finished stage leaves its last line. Where
    the output is a file or a pipe, every `every`-th meta-step and each stage's last is a line.
    A text in place of a record says what is under way, and is shown on a terminal alone.

    Args:
        console: where to.
        quiet: show nothing.
        every: meta-steps between two lines of a file.
    """
    if quiet:
        yield lambda record: None
    elif not console.is_terminal:

        def update(record: StepRecord | str) -> None:
            if not isinstance(record, str) and record.step in (
                record.steps,
                *range(0, record.steps, every),
            ):
                line = Text(progress_line(record, tuple(record.theta)))
                console.print(line, soft_wrap=True)

        yield update
    else:
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def update_live(record: StepRecord | str) -> None:
                if isinstance(record, str):
                    live.update(Text(f"{record} ..."))
                    return
                line = Text(progress_line(record, tuple(record.theta)))
                if record.step == record.steps:
                    live.console.print(line)
                live.update(line)

            yield update_live


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
    trials = len({row["stage"] for row in rows})
    return (
        f"trials: accuracy {accuracy}, loss {loss}, mean over meta-steps {steps} of {trials} "
        f"trial{'s' if trials > 1 else ''}, {sum(r['diverged'] for r in rows)} lifetimes diverged"
    )
