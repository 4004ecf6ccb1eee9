"""What rooms hand to each other is never changed: it is hashed, kept in caches and compared."""

import dataclasses
import inspect
import pkgutil
from importlib import import_module

import pytest

ROOMS = (
    "operators",
    "notation",
    "locality",
    "model",
    "lowering",
    "data",
    "population",
    "mixture",
    "meta",
    "statistics",
    "selection",
    "pursuit",
    "result",
)


def modules(room):
    package = import_module(f"rulesearch.{room}")
    inner = pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}.")
    return [package, *(import_module(each.name) for each in inner)]


@pytest.mark.parametrize("room", ROOMS)
def test_records_are_frozen(room):
    records = {
        value
        for module in modules(room)
        for value in vars(module).values()
        if inspect.isclass(value)
        and dataclasses.is_dataclass(value)
        and value.__module__.startswith(f"rulesearch.{room}")
    }
    assert [r.__qualname__ for r in records if not r.__dataclass_params__.frozen] == []
    assert records
