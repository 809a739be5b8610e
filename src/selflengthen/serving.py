"""The engine that serves a run: opened when something is owed, with the adapters an iteration works with, and kept open as long as it may be.

Starting a server takes longer than many a stage. So one engine serves all stages between two trainings, and stays through a training too
where it needs nothing that the trainer needs. What does not live here: what is asked of it (`stages`), and when (`pipeline`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selflengthen.config import Config, resolve_model
from selflengthen.engines import Engine, open_engine
from selflengthen.engines.metered import Metered
from selflengthen.engines.served.orphans import end_orphans
from selflengthen.errors import EngineError
from selflengthen.records import Adapter

Notice = Callable[[str], None]


class Serving:
    """A run's engine, and the event loop it lives in. A context manager: leaving it closes what is open."""

    def __init__(self, config: Config, folder: Path | None = None, on_notice: Notice = lambda _text: None) -> None:
        """`folder`: of the run, for logs and for what an engine must remember from one start to the next."""
        self._config, self._folder, self._on_notice = config, folder, on_notice
        self._runner: asyncio.Runner | None = None
        self._engine: Engine | None = None
        self._adapters: dict[str, Adapter] = {}

    def __enter__(self) -> Self:
        if self._folder is not None:
            # Whatever the run owes: a training needs the memory that a server of an earlier start still holds.
            for ended in end_orphans(self._folder):
                self._on_notice(f"ended a server that an earlier start had left: {ended}")
        self._runner = asyncio.Runner()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        runner, self._runner = self._runner, None
        assert runner is not None
        with runner:
            runner.run(self._close())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that uses the engine to its end."""
        assert self._runner is not None, "serving is not entered"
        self._runner.run(work)

    def make_way(self) -> None:
        """A training begins: the engine gives its memory back, or is closed, unless the trainer does not need what it holds."""
        self.run(self._make_way())

    @asynccontextmanager
    async def engine(self, adapters: Sequence[Adapter]) -> AsyncIterator[Engine]:
        """The engine, open, with exactly these adapters loaded."""
        engine = await self._opened()
        wanted = {adapter.name: adapter for adapter in adapters}
        if wanted and not engine.capabilities.adapters:
            raise EngineError(f"engine.kind = {self._config.engine.kind!r} takes no adapters, which the method needs after its first training")
        for name in self._adapters.keys() - wanted.keys():
            del self._adapters[name]
            await engine.unload(name)
        for name, adapter in wanted.items():
            if name not in self._adapters:
                await engine.load(adapter)
                self._adapters[name] = adapter
        yield engine

    async def _opened(self) -> Engine:
        if self._engine is None:
            engine = Metered(engine_for(self._config, self._folder, self._on_notice))
            await engine.__aenter__()
            self._engine = engine
            if not engine.capabilities.prefill:
                raise EngineError(f"engine.kind = {self._config.engine.kind!r} cannot go on with an answer that has begun, which the method needs")
        return self._engine

    async def _make_way(self) -> None:
        if self._engine is not None and not await self._engine.rest():
            await self._close()

    async def _close(self) -> None:
        engine, self._engine = self._engine, None
        self._adapters.clear()
        if engine is not None:
            await engine.__aexit__(None, None, None)


def engine_for(config: Config, folder: Path | None = None, on_notice: Notice = lambda _text: None) -> Engine:
    """The engine that settings name, not entered yet."""
    settings, model = config.engine, config.model
    memory = folder / "server.json" if folder else None
    if settings.kind == "scripted":
        return open_engine("scripted", script=settings.script, delay_seconds=settings.delay_seconds, concurrency=settings.max_batch)
    if settings.kind == "openai":
        return open_engine(
            "openai",
            urls=settings.urls,
            model=resolve_model(model.path),
            served_name=settings.served_name,
            prefill=settings.prefill,
            api_key_env=settings.api_key_env,
            context_tokens=settings.context_tokens,
            concurrency=settings.concurrency,
            silence_seconds=settings.silence_seconds,
            wait_seconds=settings.wait_seconds,
            memory=memory,
            on_notice=on_notice,
        )
    if settings.kind == "vllm":
        return open_engine(
            "vllm",
            model=resolve_model(model.path),
            dtype=model.dtype,
            settings=settings.vllm,
            lora_rank=config.train.rank,
            trainer_device=model.device,
            prefill=settings.prefill,
            concurrency=settings.concurrency,
            silence_seconds=settings.silence_seconds,
            folder=folder,
            memory=memory,
            on_notice=on_notice,
        )
    return open_engine(
        "transformers",
        model=resolve_model(model.path),
        device=model.device,
        dtype=model.dtype,
        max_batch=settings.max_batch,
        threads=settings.threads or None,
    )
