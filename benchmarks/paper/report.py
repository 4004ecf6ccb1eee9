"""Verdicts on disk, one file a target, and RESULTS.md, made of all that are there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.paper.claims import LEVEL, RESAMPLES, Finding, Judged, Verdict
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.errors import RuleSearchError

#: What the machine's own numbers are called; those that differ from call to call stay out.
MACHINE = ("processor", "cores", "threads", "python", "torch", "numba", "numpy")
VERDICTS: tuple[Verdict, ...] = ("holds", "holds in part", "does not hold")


@dataclass(frozen=True)
class Kept:
    """A target that was run, as its file has it.

    Attributes:
        name: of the target.
        title: of the target.
        options: trials, meta_steps, seed, as they were asked for.
        machine: name -> value, of the machine that drew it.
        wall: seconds of the longest call with these options; later ones read back what is there.
        produced: what came of it, with files relative to the folder of the verdicts' parent; its
            seconds, too, are those of the longest call.
    """

    name: str
    title: str
    options: Mapping[str, int]
    machine: Mapping[str, str]
    wall: float
    produced: Produced


def keep(setting: Setting, target: Target, produced: Produced, wall: float) -> Kept:
    """Write `verdicts/TARGET.json`."""
    options = {"trials": setting.trials, "meta_steps": setting.meta_steps, "seed": setting.seed}
    path = setting.out / "verdicts" / f"{target.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and (before := _read(path)).options == options:
        wall = max(wall, before.wall)
        seconds = max(produced.seconds, before.produced.seconds)
        produced = replace(produced, seconds=seconds)
    relative = replace(
        produced,
        figures=tuple(_below(setting.out, file) for file in produced.figures),
        tables=tuple(_below(setting.out, file) for file in produced.tables),
    )
    known = machine()
    named = {name: known[name] for name in MACHINE if name in known}
    kept = Kept(target.name, target.title, options, named, wall, relative)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(kept), indent=1, default=str) + "\n", encoding="utf-8")
    temporary.replace(path)
    return kept


def _below(folder: Path, file: Path) -> Path:
    return file.relative_to(folder) if file.is_relative_to(folder) else file


def _read(path: Path) -> Kept:
    """A target's file.

    Raises:
        RuleSearchError: it is damaged.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        made = plain["produced"]
        produced = Produced(
            caption=made["caption"],
            figures=tuple(map(Path, made["figures"])),
            tables=tuple(map(Path, made["tables"])),
            judged=tuple(
                Judged(j["key"], j["section"], j["text"], _finding(j["finding"]))
                for j in made["judged"]
            ),
            seconds=made["seconds"],
            skipped=made["skipped"],
        )
        return Kept(**{**plain, "produced": produced})
    except (ValueError, KeyError, TypeError) as fault:
        raise RuleSearchError(
            f"{path}: damaged ({fault}); delete it, and run its target again"
        ) from None


def _finding(plain: Mapping[str, Any]) -> Finding:
    parts = tuple((name, _finding(part)) for name, part in plain["parts"])
    return Finding(**{**plain, "interval": tuple(plain["interval"]), "parts": parts})


# --- RESULTS.md ----------------------------------------------------------------------------------


def write_results(setting: Setting, names: Sequence[str]) -> Path:
    """Write RESULTS.md from the verdicts of all targets that were run so far.

    Args:
        setting: says where.
        names: of the targets, in the order in which they are to be told.
    """
    files = {name: setting.out / "verdicts" / f"{name}.json" for name in names}
    kept = [_read(path) for path in files.values() if path.exists()]
    path = setting.out / "RESULTS.md"
    path.write_text("\n".join(results(kept)) + "\n", encoding="utf-8")
    return path


def results(kept: Sequence[Kept]) -> Iterator[str]:
    """The lines of RESULTS.md."""
    claims = [(target, judged) for target in kept for judged in target.produced.judged]
    told = tally(judged for _, judged in claims)
    yield "# The paper's claims, and what was measured"
    yield ""
    yield "Shervani-Tabar & Rosenbaum, *Meta-learning biologically plausible plasticity rules with"
    yield "random feedback pathways* (2023). Written by `python -m benchmarks.paper`; every verdict"
    yield "is made by code from the numbers of `tables/`, and none by hand."
    yield ""
    yield f"{len(claims)} claims: {told}."
    yield ""
    yield (
        f"Measurements are means over trials with {LEVEL:.0%} bootstrap intervals ({RESAMPLES} "
        "samples). *Holds*: the interval is on the claimed side; *holds in part*: only the mean "
        "is, or some of the claim's parts; *does not hold*: neither. For a number that the paper "
        "prints, the mean must be within the tolerance that the statistic names, and *holds in "
        "part* means that the interval reaches into it."
    )
    yield ""
    yield "## Claims"
    yield ""
    yield "| claim | section | statistic | measured | verdict | again |"
    yield "|---|---|---|---|---|---|"
    for target, judged in claims:
        finding = judged.finding
        yield _row(
            judged.text,
            judged.section,
            finding.statistic,
            _measured(finding),
            f"**{finding.verdict}**",
            f"`{target.name}`",
        )
    yield ""
    yield "*Again*: `python -m benchmarks.paper TARGET --data-root DIR`, with this target."
    yield ""
    yield "## Figures and tables"
    for target in kept:
        yield ""
        yield from _target(target)
    yield ""
    yield "## Time and machine"
    yield ""
    yield "| target | trials | meta-steps | seed | seconds alone | seconds in the whole |"
    yield "|---|---|---|---|---|---|"
    for target in kept:
        options = target.options
        yield _row(
            target.name,
            *(str(options[name]) for name in ("trials", "meta_steps", "seed")),
            f"{target.produced.seconds:.0f}",
            f"{target.wall:.0f}",
        )
    whole = sum(target.wall for target in kept)
    yield _row("all", "", "", "", "", f"{whole:.0f}")
    yield ""
    yield (
        "*Alone*: with every experiment that a target shares with others, such as backprop and "
        "feedback alignment. *In the whole*: what it took after the targets above it."
    )
    yield ""
    for known in dict.fromkeys(tuple(target.machine.items()) for target in kept):
        yield ", ".join(f"{name} {value}" for name, value in known) + "."


def tally(judged: Iterable[Judged]) -> str:
    """How many claims have which verdict, in words.

    Example:
        >>> tally([])
        '0 hold, 0 hold in part, 0 do not hold'
    """
    found = Counter(claim.finding.verdict for claim in judged)
    words = ("hold", "hold in part", "do not hold")
    return ", ".join(f"{found[v]} {word}" for v, word in zip(VERDICTS, words, strict=True))


def _measured(finding: Finding) -> str:
    """The measurement, each part with its verdict where they are not all the same."""
    if len({part.verdict for _, part in finding.parts}) < 2:
        return finding.measurement
    return "; ".join(f"{name}: {part.measurement} ({part.verdict})" for name, part in finding.parts)


def _target(target: Kept) -> Iterator[str]:
    yield f"### {target.name}: {target.title}"
    yield ""
    if target.produced.skipped:
        yield f"Skipped: {target.produced.skipped}"
        return
    yield target.produced.caption
    yield ""
    yield from (f"![{target.name}]({p})" for p in target.produced.figures if p.suffix == ".svg")
    files = (*target.produced.figures, *target.produced.tables)
    yield ""
    yield ", ".join(f"[{path.name}]({path})" for path in files)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
