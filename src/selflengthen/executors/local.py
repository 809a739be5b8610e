"""Runs work in this process: one task per item in flight, as many as the engine answers at once, which may change while it runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from selflengthen.executors.base import ItemWork, OpenEngine

ROOM_SECONDS = 0.25
"""While there is no room, the engine is asked this often whether it has found more."""


class LocalExecutor:
    """Asyncio tasks over one engine. `concurrency` 0 takes the engine's own."""

    def __init__(self, concurrency: int = 0) -> None:
        self.concurrency = concurrency

    async def map(self, work: ItemWork, items: AsyncIterator[Any], open_engine: OpenEngine) -> AsyncIterator[tuple[Any, Any]]:
        """See `Executor.map`."""
        async with open_engine() as engine:
            running: dict[asyncio.Task[Any], Any] = {}
            pull: asyncio.Task[Any] | None = None
            exhausted = False
            try:
                while not exhausted or running:
                    room = self.concurrency or engine.capabilities.concurrency
                    if pull is None and not exhausted and len(running) < room:
                        pull = asyncio.ensure_future(_next(items))
                    waiting = {*running, *([pull] if pull else [])}
                    full = pull is None and not exhausted
                    done, _ = await asyncio.wait(waiting, timeout=ROOM_SECONDS if full else None, return_when=asyncio.FIRST_COMPLETED)
                    if pull in done:
                        assert pull is not None
                        item, exhausted = pull.result()
                        pull = None
                        if not exhausted:
                            running[asyncio.ensure_future(work(item, engine))] = item
                    for task in done & running.keys():
                        yield running.pop(task), task.result()
            finally:
                left = [*running, *([pull] if pull else [])]
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)


async def _next(items: AsyncIterator[Any]) -> tuple[Any, bool]:
    """The next item and False, or None and True when there is none left."""
    try:
        return await anext(items), False
    except StopAsyncIteration:
        return None, True
