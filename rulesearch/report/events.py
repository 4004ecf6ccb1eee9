"""Meta-steps as TensorBoard's event files, for those who watch a search there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesearch.records.documents import writing
from rulesearch.runs.kept import file_stem, go_on

if TYPE_CHECKING:
    from rulesearch.meta import StepRecord

#: Seconds that a meta-step may wait before it is in its file.
FLUSH = 10


@contextmanager
def events(run: Path) -> Iterator[Callable[[StepRecord | str], None]]:
    """Write meta-steps into `run/tensorboard` as they are made; gives the function that takes them.

    Each stage has a folder of its own, which TensorBoard shows as a run, so that stages lie over
    each other, step by step. A search that goes on adds to what is there; of a step that is made
    again the later one is shown. A text in place of a record says that a stage begins, and so that
    all before it have ended.

    Args:
        run: the run directory.

    Raises:
        RuleSearchError: a file cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder, way_out = run / "tensorboard", go_on(run)
    writers: dict[str, Any] = {}

    def close() -> None:
        while writers:
            writers.popitem()[1].close()

    def take(told: StepRecord | str) -> None:
        with writing(folder, way_out):
            if isinstance(told, str):
                close()
                return
            if told.label not in writers:
                place = folder.joinpath(*map(file_stem, told.label.split("/")))
                writers[told.label] = SummaryWriter(place, purge_step=told.step, flush_secs=FLUSH)
            for tag, value in scalars(told).items():
                writers[told.label].add_scalar(tag, value, told.step)

    try:
        yield take
    finally:
        with writing(folder, way_out):
            close()


def scalars(record: StepRecord) -> dict[str, float]:
    """What is drawn of a meta-step, by its tag: loss, accuracy, coefficients by name of term.

    Of a descent also the size of its steps, and whether this one was accepted.
    """
    found = {"loss": record.loss, "accuracy": record.accuracy, "diverged": record.diverged}
    if record.taken is not None:
        found |= {"size": record.size, "accepted": record.taken}
    return {
        name: float(value)
        for name, value in {**found, **{f"theta/{n}": x for n, x in record.theta.items()}}.items()
    }
