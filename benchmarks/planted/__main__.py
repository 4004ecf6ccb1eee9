"""Teachers, students, tables: the whole benchmark, or a small part of it.

    python -m benchmarks.planted [--small] [--out DIR] [--only answers,weights,nulls]

Every run is kept under `--out` and read back, so that an interrupted benchmark goes on where it
was. The tables are printed, and written to `RESULTS.md` there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.ending import end_with
from benchmarks.machine import machine
from benchmarks.planted.recorded import LIFETIMES
from benchmarks.planted.runs import (
    FRESH,
    METHODS,
    OURS,
    beats_truth,
    from_answers,
    from_nulls,
    from_weights,
)
from benchmarks.planted.table import by_teacher, of_answers, of_nulls, of_weights
from benchmarks.planted.teachers import TEACHERS, read_teachers
from rulesearch.errors import RuleSearchError

PARTS = ("answers", "weights", "nulls")
#: Seeds on which others run beside ours, where networks are known and where not.
PEER_SEEDS = {True: 1, False: 0}
#: Seeds of students that do not know the teacher's networks, and of those who see weights.
UNKNOWN_SEEDS, WEIGHT_SEEDS = 1, 1
#: Seeds of the nulls, each for both kinds and all three pools.
NULL_SEEDS = 41
#: Of a quick look: teachers, and seeds of everything.
SMALL = (2, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables; where it was interrupted, exit code 130."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--small", action="store_true", help="two teachers, one seed of each")
    parser.add_argument("--out", type=Path, default=Path("runs/planted"))
    parser.add_argument("--teachers", type=Path, default=TEACHERS, help="a file of your own")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    given = parser.parse_args(arguments)
    parts = given.only.split(",")
    try:
        if wrong := [part for part in parts if part not in PARTS]:
            raise RuleSearchError(f"--only {wrong[0]}: give any of {', '.join(PARTS)}")
        lines = list(tables(given.out, given.teachers, parts, small=given.small))
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {given.out}", file=sys.stderr)
        return 130
    text = "\n".join(lines)
    print(text)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "RESULTS.md").write_text(text + "\n")
    return 0


def tables(out: Path, file: Path, parts: Sequence[str], *, small: bool) -> Iterator[str]:
    """The lines of all tables; runs what is missing."""
    found = read_teachers(file)
    teachers = found.teachers[: SMALL[0]] if small else found.teachers
    every = list(METHODS)

    def seeds(count: int) -> tuple[int, ...]:
        return found.seeds[: min(count, SMALL[1]) if small else count]

    on = ", ".join(f"{what} {value}" for what, value in machine().items())
    yield "# Planted rules\n"
    yield "Made by `python -m benchmarks.planted`; what it says is in docs/planted.md.\n"
    yield f"{on}; seeds {', '.join(map(str, found.seeds))}.\n"
    if "answers" in parts:
        for known in (True, False):
            count = len(found.seeds) if known else UNKNOWN_SEEDS
            runs = [
                *from_answers(out, known, [OURS], teachers, seeds(count)),
                *from_answers(out, known, every, teachers, seeds(PEER_SEEDS[known])),
            ]
            runs = list({(r.method, r.teacher, r.seed): r for r in runs}.values())
            how = "known" if known else "not known"
            yield f"## Answers alone, initial weights and feedback {how}\n"
            yield from of_answers(runs)
            yield from by_teacher(runs)
            if not known:
                by_name = {teacher.name: teacher for teacher in teachers}
                ours = [run for run in runs if run.method == OURS]
                ahead = sum(beats_truth(run, by_name[run.teacher]) for run in ours)
                yield (
                    f"In {ahead} of {len(ours)} runs the rule that {OURS} found has a clearly "
                    "lower loss than the true one, as the student sees it.\n"
                )
    if "weights" in parts:
        for known in (True, False):
            how = "known" if known else "not known"
            yield f"## Weights along the way of {LIFETIMES} lifetimes, feedback {how}\n"
            runs = list(from_weights(out, known, teachers, seeds(WEIGHT_SEEDS)))
            yield from of_weights(runs)
            yield from by_teacher([run for run in runs if run.noise == 0])
    if "nulls" in parts:
        yield "## Nulls\n"
        yield from of_nulls(list(from_nulls(out, range(SMALL[1] if small else NULL_SEEDS))))
    yield (
        "Exact: the same terms, or the same function. Ours on these: exact supports of "
        f"{OURS} on the same teachers and seeds. Error: of the coefficients, median. Loss: at "
        f"{FRESH} new initialisations, as a share of that of untrained networks, median. "
        "Lifetimes: in forward ones, of which a gradient is three."
    )


if __name__ == "__main__":
    end_with(main)
