"""The one runner: what is owed, do one item, write it down. It resumes by construction, since what is owed is asked of the disk.

The arrows of a flow share the engine. Whenever there is room the latest arrow that has work ready goes first, so texts that are nearly done are
finished before new ones are begun, and no arrow waits for another to end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selflengthen.engines.base import Engine
from selflengthen.executors import Executor, ItemWork, OpenEngine
from selflengthen.records import Record
from selflengthen.stages.base import Arrow

Observe = Callable[[Arrow, Record], None]
"""Told of each row that was written, after it was."""


@dataclass(frozen=True, slots=True)
class Owed:
    """An item, and the stage that wants it done."""

    stage: str
    item: Any


@dataclass(frozen=True, slots=True)
class Works:
    """What each stage does to one item. Picklable, unlike the arrows: it may run elsewhere."""

    by_stage: Mapping[str, ItemWork]

    async def __call__(self, owed: Owed, engine: Engine) -> Any:
        """Do one item."""
        return await self.by_stage[owed.stage](owed.item, engine)


class Flow:
    """Runs arrows, given in the order of the method, until nothing is owed."""

    def __init__(self, arrows: Sequence[Arrow], observe: Observe) -> None:
        self.arrows = {arrow.stage: arrow for arrow in arrows}
        self.observe = observe
        self._in_flight = 0
        self._changed = asyncio.Event()

    async def run(self, executor: Executor, open_engine: OpenEngine) -> None:
        """Do all that is owed, then mark the slots done. An engine is opened only when something is owed."""
        if first := self._next():
            works = Works({stage: arrow.work for stage, arrow in self.arrows.items()})
            async for owed, outcome in executor.map(works, self._owed(first), open_engine):
                self._write_down(owed, outcome)
        for arrow in self.arrows.values():
            assert arrow.complete, f"{arrow.stage} stopped while something was owed"
            arrow.finish()

    async def _owed(self, first: Owed) -> AsyncIterator[Owed]:
        """What is owed: each time one is asked for, the most advanced item that is ready; waits while work in flight may make some."""
        yield first
        while True:
            if owed := self._next():
                yield owed
            elif not self._in_flight:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def _next(self) -> Owed | None:
        for stage, arrow in reversed(self.arrows.items()):
            item = arrow.take()
            if item is not None:
                self._in_flight += 1
                return Owed(stage, item)
        return None

    def _write_down(self, owed: Owed, outcome: Any) -> None:
        arrow = self.arrows[owed.stage]
        for row in arrow.settle(owed.item, outcome):
            self.observe(arrow, row)
        self._in_flight -= 1
        self._changed.set()
