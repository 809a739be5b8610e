"""The seam to a place where work runs: an item, the work done to it, and the executor that does it. No back-end lives here.

An executor pulls the next item only when it has room for it. Whoever yields the items therefore decides at that moment what goes first, and
work in flight stays bounded by the executor's room.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from selflengthen.engines.base import Engine

OpenEngine = Callable[[], AbstractAsyncContextManager[Engine]]
"""Opens the engine that work runs on, with its adapters loaded."""


class Item(Protocol):
    """One piece of work. Picklable; holds all that is needed to do it."""

    @property
    def key(self) -> str:
        """What is worked on; names the outcome too."""
        ...


class ItemWork(Protocol):
    """All that is done to one item. Picklable; no I/O but the engine, no clock that matters, no global randomness."""

    async def __call__(self, item: Any, engine: Engine, /) -> Any:
        """The outcome: a row, a candidate or a rejection. What raises is a bug or a dead engine, and ends the run."""
        ...


class Executor(Protocol):
    """Runs work over a stream of items and yields outcomes as they finish; never writes."""

    def map(self, work: ItemWork, items: AsyncIterator[Any], open_engine: OpenEngine) -> AsyncIterator[tuple[Any, Any]]:
        """Yield (item, outcome) in the order of finishing. The first error ends the stream, after the others were cancelled."""
        ...
