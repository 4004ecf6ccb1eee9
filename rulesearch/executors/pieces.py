"""Pieces of work and their answers, whatever carries them out; what goes to workers and how.

Workers have the heavy objects that many pieces read, such as images. A value that refers to these
is packed: pickled with their numbers in their place.
"""

from __future__ import annotations

import io
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from rulesearch.errors import RuleSearchError

Answer = TypeVar("Answer")

#: Workers that may die under a piece before it is given up: by then it is the piece.
MOST_DEATHS = 4


@dataclass(frozen=True)
class Piece:
    """Work that hangs on no other.

    Attributes:
        label: what it is called.
        task: all that it takes, to be pickled.
    """

    label: str
    task: Any


@dataclass(frozen=True)
class GivenUp:
    """In the place of an answer: the piece's workers have died, each time.

    Attributes:
        label: of the piece.
        deaths: how many workers that were.
    """

    label: str
    deaths: int

    @property
    def line(self) -> str:
        """What is said of it."""
        return (
            f"{self.label}: {self.deaths} workers have died of it, by a signal or for want of "
            "memory; take fewer workers, which need less"
        )


@dataclass(frozen=True)
class Packed:
    """A value, pickled, with the shared objects by their numbers; see `unpacked`."""

    token: str
    content: bytes


@dataclass(frozen=True, eq=False)
class Shared:
    """The objects that each worker has.

    Attributes:
        objects: in their order.
        token: a name for them that nothing else has.
        packed: what was packed before.
    """

    objects: Sequence[object]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    packed: dict[int, tuple[object, Packed]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Executor:
    """Carries pieces out, see `rulesearch.executors.started`; after an exception it is spent.

    Attributes:
        shared: what its workers have.
    """

    shared: Shared

    def answers(
        self, work: Callable[[Any], Answer], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Answer | GivenUp]]:
        """`work(task)` of every piece, as they come: the number of the piece, and its answer.

        A piece whose worker died runs again; what kills `MOST_DEATHS` of them is given up.
        """
        raise NotImplementedError

    def map(self, work: Callable[[Any], Answer], pieces: Sequence[Piece]) -> list[Answer]:
        """The answers in the order of the pieces.

        Raises:
            RuleSearchError: one was given up.
        """
        found: dict[int, Answer] = {}
        for number, answer in self.answers(work, pieces):
            if isinstance(answer, GivenUp):
                raise RuleSearchError(answer.line)
            found[number] = answer
        return [found[number] for number in range(len(pieces))]

    def packed(self, value: object) -> Packed:
        """A value as workers take it, made once for each object."""
        known = self.shared.packed.get(id(value))
        if known is None:
            content = _pickled(value, self.shared.objects)
            # The value is kept beside it: nothing else can have its id.
            known = self.shared.packed[id(value)] = value, Packed(self.shared.token, content)
        return known[1]


def _pickled(value: object, shared: Sequence[object]) -> bytes:
    numbers = {id(each): number for number, each in enumerate(shared)}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> int | None:
            return numbers.get(id(obj))

    stream = io.BytesIO()
    Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


# --- in a worker ---------------------------------------------------------------------------------

#: Token -> what this process was given, itself or pickled; empty but in workers.
_given: dict[str, Sequence[object] | bytes] = {}


def give(token: str, objects: Sequence[object] | bytes) -> None:
    """Let this process have the shared objects; bytes are read when they are needed."""
    _given[token] = objects


def take_back(token: str) -> None:
    """Let go of the objects, and of what was unpacked with them."""
    _given.pop(token, None)
    unpacked.cache_clear()


@lru_cache(maxsize=64)
def unpacked(packed: Packed) -> Any:
    """The value, in a worker: the same object each time, so nobody may change it."""
    objects = _given[packed.token]
    if isinstance(objects, bytes):
        objects = _given[packed.token] = pickle.loads(objects)

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> object:
            return objects[number]

    return Unpickler(io.BytesIO(packed.content)).load()
