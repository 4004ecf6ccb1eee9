"""Packages whose names are imported when they are first used.

torch, SymPy, SciPy and matplotlib take seconds to import, and most of what a person asks of a
command line needs none of them: its help, its version, or that a path is misspelled.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazily(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` (PEP 562) of a package that imports its names when asked.

    Args:
        package: its `__name__`.
        homes: name -> module that defines it; one that names itself is a module.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(homes[name])
        value = module if homes[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    return get, names


def callable_as(package: str, home: str) -> None:
    """Make a package the function of its own name, which is imported when it is called.

    Args:
        package: its `__name__`, as in `rulesearch.search`.
        home: module that defines the function.
    """
    name = package.rpartition(".")[2]

    class Callable(ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return getattr(import_module(home), name)(*arguments, **options)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(getattr(import_module(home), name))

        def __reduce__(self) -> tuple[Any, ...]:
            return import_module, (package,)

    sys.modules[package].__class__ = Callable
