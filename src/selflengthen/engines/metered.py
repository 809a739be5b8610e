"""What a request cost in time: an engine around any engine, which says of each answer its fair share of the time the engine was at work.

Requests are answered side by side, so their own durations add up to many times what the engine worked. Here the time in which n requests are
in flight is shared by them equally: a virtual clock runs at 1/n, as in fair queueing, and a request's share is what passed on it. The shares
of all requests add up to the wall time in which there was one at least: the time of the engine as a whole, however many devices or servers it
has. A request is in flight from being asked to being answered, so what it waits inside the engine (for room, for a server that is down or
wakes up) is in it too. A request that is refused, fails or is cancelled has its share like any other, but gives no answer to say it in: that
part is in no row.

What does not live here: tokens, which every engine counts itself, and the sums (`report`).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from selflengthen.engines.base import Capabilities, Completion, Engine, Request, Watch
from selflengthen.records import Adapter

Clock = Callable[[], float]
"""Seconds, never going back."""


class Metered:
    """`engine`, with `Completion.engine_seconds` filled in. Not for use from several threads, as no engine is."""

    def __init__(self, engine: Engine, clock: Clock = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._in_flight = 0
        self._share = 0.0
        """The virtual clock: seconds that a request in flight from the beginning on would have been given."""
        self._read = 0.0
        """When it was read last."""

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def __aenter__(self) -> Self:
        await self._engine.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._engine.__aexit__(kind, error, trace)

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        before = self._shared()
        self._in_flight += 1
        try:
            completion = await self._engine.generate(request, watch)
        finally:
            share = self._shared() - before
            self._in_flight -= 1
        return replace(completion, engine_seconds=share)

    async def load(self, adapter: Adapter) -> None:
        await self._engine.load(adapter)

    async def unload(self, name: str) -> None:
        await self._engine.unload(name)

    async def rest(self) -> bool:
        return await self._engine.rest()

    def _shared(self) -> float:
        """The virtual clock, now. To be read before the number of requests in flight changes."""
        now = self._clock()
        if self._in_flight:
            self._share += (now - self._read) / self._in_flight
        self._read = now
        return self._share
