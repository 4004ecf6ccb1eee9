"""The worlds of a search: every data set with every network, each checked by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rulesearch.data import Data, load_data
from rulesearch.data.apart import in_common
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.population import Population
from rulesearch.search.config import Config
from rulesearch.search.premises import for_data

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class World:
    """A data set and a network.

    Attributes:
        name: what it is called in labels, tables and messages.
        data: the images.
        config: the options of the search, with this data set and this network alone.
    """

    name: str
    data: Data
    config: Config

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the layers, input first."""
        return self.config.sizes(self.data.inputs, self.data.classes)

    @property
    def depth(self) -> int:
        """Layers with weights."""
        return len(self.sizes) - 1

    def population(
        self, pool: Pool, *, pathway: str | None = None, held_out: bool = False
    ) -> Population:
        """Networks that learn by rules of a pool, on the images of the search or those set aside.

        Args:
            pool: the terms.
            pathway: another than the configuration's.
            held_out: whether tasks are drawn from the images set aside.
        """
        config = self.config
        return Population(
            pool,
            self.data.held_out if held_out else self.data.search,
            config.shape,
            self.sizes,
            pathway or config.pathway,
            config.kernel,
            config.device,
            config.torch_dtype(),
            feedback_init=config.feedback_init,
            model=config.model(pool),
        )


def _hidden(config: Config, data: Sequence[Data]) -> tuple[tuple[int, ...], ...]:
    """The hidden sizes of each network, of those that were given with the ends of the data too.

    Elsewhere the ends are others, and these would be hidden layers.
    """
    ends = {(each.inputs, each.classes) for each in data}

    def hidden(sizes: tuple[int, ...]) -> tuple[int, ...]:
        inner = sizes[1:-1]
        # What is left must not be taken for all sizes in its turn.
        both = inner and {(sizes[0], sizes[-1])} == ends != {(inner[0], inner[-1])}
        return inner if both else sizes

    return tuple(map(hidden, config.networks))


def data_of(config: Config) -> tuple[Data, ...]:
    """The data sets that options name, in their order, each divided and mapped as they say.

    Raises:
        RuleSearchError: see `load_data`.
    """
    return tuple(
        load_data(
            name,
            config.data_root,
            shape=config.shape,
            scale=scale,
            held_out_classes=config.held_out_classes,
        )
        for name, scale in zip(config.datasets, config.scales, strict=True)
    )


def worlds_for(config: Config, data: Sequence[Data]) -> tuple[Config, tuple[World, ...]]:
    """The options for these data, with every default filled in, and the worlds that they say.

    Args:
        config: the options.
        data: of each data set, in their order.

    Raises:
        RuleSearchError: a line for each option that says otherwise than the data.
    """
    own = config.dataset == Config().dataset  # not named: the data's own
    names = tuple(each.name for each in data) if own else config.datasets
    if len(names) != len(data):
        raise RuleSearchError(
            f"dataset={config.dataset!r}: {len(names)} data sets, and the data are {len(data)}; "
            "load each by load_data, and give them in the same order"
        )
    told = in_each(
        [*zip(names, data, strict=True)],
        lambda each: each[1].name,
        lambda each: for_data(replace(config, dataset=each[0]), each[1]),
    )
    if faults := [*in_common(data)]:
        raise RuleSearchError(*faults)
    ranges = tuple(each.scale_ranges[0] if each.scale_ranges else () for each in told)
    config = replace(
        config,
        layers=_hidden(config, data),
        dataset=",".join(each.name for each in data),
        scale=any(each.scale for each in told),
        scale_ranges=ranges if any(ranges) else (),
        held_out_classes=max(each.held_out_classes for each in told),
    ).resolved()
    if len(config.worlds) < len(data) * len(config.networks):
        raise RuleSearchError(
            f"dataset={config.dataset!r}: two worlds have one name; give each data set and each "
            "network once, and files names of their own"
        )
    return config, tuple(
        World(name, each, one)
        for each, of in zip(data, told, strict=True)
        for name, one in replace(
            config,
            dataset=of.dataset,
            scale=of.scale,
            scale_ranges=of.scale_ranges,
            held_out_classes=of.held_out_classes,
        ).worlds.items()
    )


def in_each(
    items: Sequence[Item], called: Callable[[Item], str], do: Callable[[Item], Answer]
) -> list[Answer]:
    """What is done with each of them, or the faults of all, each with the name of its own.

    Raises:
        RuleSearchError: the faults; without a name in front where there is only one item.
    """
    answers: list[Answer] = []
    faults: list[str] = []
    for item in items:
        try:
            answers.append(do(item))
        except RuleSearchError as error:
            one = len(items) == 1
            faults.extend(error.lines if one else error.located(called(item)).lines)
    if faults:
        raise RuleSearchError(*faults)
    return answers
