"""How a search is run again: its pool as a TOML file, and the command line."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any

import tomli_w

from rulesearch.choices import EffortLevel
from rulesearch.data.files import names_in
from rulesearch.records.plain import from_plain
from rulesearch.report.page import Again, without_source
from rulesearch.runs import RunConfig
from rulesearch.search.config import LEVELS, Config, flag, layers_shown

POOL, BEGIN = "pool.toml", "from.toml"
#: What the protocol and the effort fill in: said only where it is otherwise.
_FILLED = ("l1", "largest_scale", "trials", "meta_steps", "meta_batch")
#: What is measured, and what numbers do not hang on.
_UNSAID = ("scale_ranges", "kernel", "executor", "workers", "threads", "effort")


def again(kept: RunConfig) -> Again:
    """How to run the search of this request again, without the grammar file that it had.

    Args:
        kept: the request as the run keeps it. Files are named by their names alone, and the
            folder of the data is DATA.
    """
    config = from_plain(Config, kept.options)
    level = _level(config)
    note = "" if level else "The effort was given by its numbers, from Python; see every option."
    texts = {POOL: dict(kept.pool)}
    if config.begin is not None:
        texts[BEGIN] = without_source(config.begin)
    files = {name: tomli_w.dumps(plain) for name, plain in texts.items()}
    return Again(command_line(config, level), files, note)


def command_line(config: Config, level: EffortLevel | None = "normal") -> str:
    """The command line of a search of `pool.toml` with these options, resolved or not.

    Args:
        config: the options.
        level: the effort in a word; None where there is none.

    Example:
        >>> command_line(Config(dataset="emnist", data_root="images", seed=3).resolved())
        'rulesearch search pool.toml --dataset emnist --data-root DATA --seed 3'
    """
    usual = replace(Config(), dataset=config.dataset, protocol=config.protocol)
    usual = replace(usual, effort=level or config.effort).resolved()
    words = ["rulesearch", "search", POOL]
    for name in (entry.name for entry in fields(Config)):
        value = getattr(config, name)
        filled = getattr(usual if name in _FILLED else Config(), name)
        if name in _UNSAID or value in (None, filled):
            continue
        words += [flag(name)] if value is True else [flag(name), _shown(name, value)]
    if level not in ("normal", None):
        words += [flag("effort"), level]
    return shlex.join(words)


def _shown(name: str, value: Any) -> str:
    match name:
        case "data_root":
            return "DATA"
        case "begin":
            return BEGIN
        case "dataset":
            return ",".join(PurePath(dataset).name for dataset in names_in(value))
        case _:
            return layers_shown(value)


def _level(config: Config) -> EffortLevel | None:
    """The word that stands for these numbers, if one does; small ones may have several."""
    for level in sorted(LEVELS, key=lambda level: level != "normal"):
        if replace(config, effort=level).resolved().effort == config.effort:
            return level
    return None
