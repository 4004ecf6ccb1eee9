"""Which searches a sweep has: every pool in every world with every seed, each with its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any

from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError, closest
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.search.config import Config, called, layers_shown

#: Options of a search that a sweep gives each of its own.
OWN = {"seed": "seeds", "executor": "executor", "workers": "workers"}
OPTIONS = tuple(entry.name for entry in fields(Config) if entry.name not in (*OWN, "scale_ranges"))


@dataclass(frozen=True)
class Planned:
    """One search of a sweep.

    Attributes:
        pool: what the pool is called,
        world: and the world, a data set and a network, or several.
        config: the options, with the seed.
    """

    pool: str
    world: str
    config: Config

    @property
    def name(self) -> str:
        """Of its run directory."""
        return f"{self.pool}-{self.world}-{self.config.seed}"


def planned(
    pools: Iterable[str],
    worlds: Sequence[str | Mapping[str, Any]],
    seeds: Sequence[int],
    options: Mapping[str, Any],
) -> tuple[Planned, ...]:
    """Every search, world by world, and in each pool by pool.

    Args:
        pools: what they are called.
        worlds: each a data set, or options of a search and perhaps a `name`; empty for that of the
            options.
        seeds: of each.
        options: of all searches, where a world does not say otherwise.

    Raises:
        RuleSearchError: a line for each option that cannot be, or for two of one name.

    Example:
        >>> worlds = ["digits", {"dataset": "mnist", "layers": [130, 70], "name": "shallow"}]
        >>> [each.name for each in planned(["mine"], worlds, [0, 1], {"effort": "quick"})]
        ['mine-digits-0', 'mine-digits-1', 'mine-shallow-0', 'mine-shallow-1']
    """
    names = _checked_names("pool", pools)
    faults: list[str] = []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            faults.append(f"seeds: {seed!r}; give whole numbers, not negative")
    if not names:
        faults.append("no pool; give grammar files, as in pools = ['grammar/paper_pool.py']")
    if not seeds:
        faults.append("no seed; give some, as in seeds = [0, 1, 2]")
    if not faults and len(set(seeds)) < len(seeds):
        faults.append("seeds: one is given twice; give each once")
    common = {name: value for name, value in options.items() if name != "name"}
    configs: list[tuple[str, Config]] = []
    for number, world in enumerate(worlds or [{}], start=1):
        own = {"dataset": world} if isinstance(world, str) else world
        if not isinstance(own, Mapping):
            faults.append(f"world {number}: {world!r}; give a data set, or a table of options")
            continue
        label = f"world {own.get('name', number)}: " if worlds else ""
        own = {name.replace("-", "_"): value for name, value in own.items()}
        try:
            configs.append((str(own.pop("name", "")), _config({**common, **own})))
        except RuleSearchError as error:
            faults += [f"{label}{line}" for line in error.lines]
    if faults:
        raise RuleSearchError(*dict.fromkeys(faults))
    called_so = _checked_names("world", _world_names(configs))
    return tuple(
        Planned(pool, world, replace(config, seed=int(seed)))
        for world, (_, config) in zip(called_so, configs, strict=True)
        for pool in names
        for seed in seeds
    )


def _config(options: Mapping[str, Any]) -> Config:
    """The options of a search from what a file or a person gives."""
    faults = []
    given = {"begin" if name == "from" else name: value for name, value in options.items()}
    for name in given:
        if name in OWN:
            faults.append(f"{name}: of the whole sweep; give {OWN[name]} beside pools and worlds")
        elif name not in OPTIONS:
            hint = closest(name, OPTIONS) or f"; give {', '.join(OPTIONS)}"
            faults.append(f"{name}: no option of a search{hint}")
    if faults:
        raise RuleSearchError(*faults)
    if isinstance(given.get("dataset"), list | tuple):
        given["dataset"] = ",".join(map(str, given["dataset"]))
    # Whole paths: a worker may stand in another folder.
    if isinstance(given.get("dataset"), str):
        given["dataset"] = ",".join(map(_whole, names_in(given["dataset"])))
    if isinstance(given.get("data_root"), str | PurePath):
        given["data_root"] = str(Path(given["data_root"]).absolute())
    if given.get("begin") is not None and not isinstance(given["begin"], Mapping):
        given["begin"] = _rule(given["begin"])
    try:
        return from_plain(Config, to_plain(given))
    except TypeError as error:
        raise RuleSearchError(str(error)) from None


def _whole(dataset: str) -> str:
    return str(Path(dataset).absolute()) if dataset.lower().endswith(".npz") else dataset


def _rule(given: Any) -> Any:
    """A rule to begin at as plain data."""
    from rulesearch.given_rule import load_rule
    from rulesearch.rule import rule_to_plain

    try:
        return to_plain(rule_to_plain(load_rule(given)))
    except RuleSearchError as error:
        raise error.located("from") from None


def _world_names(configs: Sequence[tuple[str, Config]]) -> list[str]:
    """What worlds are called: by their data, and by their layers where that is not enough."""
    short = [name or "+".join(map(called, config.datasets)) for name, config in configs]
    names = []
    for (name, config), data in zip(configs, short, strict=True):
        layers = layers_shown(config.layers).replace(",", "-").replace("/", "+")
        names.append(data if name or short.count(data) == 1 else f"{data}-{layers}")
    return names


def _checked_names(kind: str, given: Iterable[str]) -> tuple[str, ...]:
    """Names that tell folders apart.

    Raises:
        RuleSearchError: one that no folder can have, or two that are the same.
    """
    names = tuple(given)
    faults = [
        f"{kind} {name!r}: no name for a folder; give one of letters and digits"
        for name in names
        if not name or name.startswith(".") or set(name) & set("/\\\0\n")
    ]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            another = "a name" if kind == "world" else "another name"
            faults.append(f"{kind} {name}: two are called so; give each {another} of its own")
    if faults:
        raise RuleSearchError(*faults)
    return names
