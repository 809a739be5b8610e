"""The embedded engine: any Hugging Face causal language model with a chat template, on a CPU or one GPU, in this process.

This is its face: requests come in from asyncio, one thread runs all of them together (`engines.embedded`), a finished or stopped one frees its
place at once. What does not live here: the parts, each of which says what it is.

The same request with the same seed gives the same text, as far as rounding allows: products over another number of rows may differ in the last
bit, and a draw on the edge may then fall otherwise.
"""

import asyncio
import gc
import os
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Self

from selflengthen.engines.base import Capabilities, Completion, Request, RequestRefused, Watch
from selflengthen.errors import EngineError
from selflengthen.records import Adapter

if TYPE_CHECKING:
    from selflengthen.engines.embedded.loading import Loaded
    from selflengthen.engines.embedded.loop import DecodingLoop

PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Where nobody said otherwise, torch's threads sleep while they wait. Spinning (the default) is a little faster on idle cores, and up to eight times
slower as soon as another process wants one of them."""
MEMORY_SHARE = {"cpu": 0.3, "cuda": 0.85}
"""Of the memory (on a GPU: of what the model leaves), how much the cache may take when no bound is given."""


class TransformersEngine:
    """Answers with a model of the transformers library."""

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_batch: int = 32,
        max_batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> None:
        """`max_batch`: rows at once; `max_batch_tokens`: bound on rows times the longest row, None: by memory.

        `threads`: of torch on a CPU, None: as torch has them. A small model on a shared machine is as fast with one as with two.
        """
        self._model, self._device, self._dtype = model, device, dtype
        self._max_batch, self._max_batch_tokens, self._threads = max_batch, max_batch_tokens, threads
        self._loaded: Loaded | None = None
        self._loop: DecodingLoop | None = None
        self._capabilities: Capabilities | None = None
        self._adapters: set[str] = set()

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._capabilities

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException as error:
            _forget(error)
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _open(self) -> None:
        for name, value in PATIENT.items():
            os.environ.setdefault(name, value)  # read when torch is first imported, which is now or never
        from selflengthen.engines.embedded.batch import Batch
        from selflengthen.engines.embedded.loading import load
        from selflengthen.engines.embedded.loop import DecodingLoop

        loaded = await asyncio.to_thread(load, self._model, self._device, self._dtype)
        max_tokens = self._max_batch_tokens or self._memory_bound(loaded)
        context = min(loaded.context_tokens, max_tokens)
        self._loaded = loaded
        self._loop = DecodingLoop(self._threads)
        self._loop.start(lambda: Batch(loaded, max_rows=self._max_batch, max_tokens=max_tokens, context_tokens=context))
        self._capabilities = Capabilities(prefill=True, adapters=True, seed=True, streaming=True, context_tokens=context, concurrency=self._max_batch)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        loop, self._loop, self._loaded, self._capabilities = self._loop, None, None, None
        self._adapters.clear()
        if loop is not None:
            await asyncio.to_thread(loop.stop)
        del loop
        _free_memory()

    async def load(self, adapter: Adapter) -> None:
        loop = self._open_loop()
        await asyncio.wrap_future(loop.order(lambda batch: batch.bank.add(adapter)))
        self._adapters.add(adapter.name)

    async def unload(self, name: str) -> None:
        loop = self._open_loop()
        if name not in self._adapters:
            raise EngineError(f"adapter {name!r} is not loaded; loaded: {', '.join(sorted(self._adapters)) or 'none'}")
        self._adapters.discard(name)
        await asyncio.wrap_future(loop.order(lambda batch: batch.bank.remove(name)))

    async def rest(self) -> bool:
        return False

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        from selflengthen.engines.embedded.row import Reply, Row

        loop, loaded = self._open_loop(), self._loaded
        assert loaded is not None
        if request.adapter is not None and request.adapter not in self._adapters:
            raise EngineError(f"adapter {request.adapter!r} is not loaded; loaded: {', '.join(sorted(self._adapters)) or 'none'}")
        prompt = loaded.dialogue.encode(loaded.dialogue.prompt(request))
        if not prompt:
            raise RequestRefused("the prompt is empty")
        room = self.capabilities.context_tokens - len(prompt)
        if room <= 0:
            raise RequestRefused(
                f"the prompt has {len(prompt)} tokens, the context {self.capabilities.context_tokens}: no room for an answer", context_full=True
            )
        here = asyncio.get_running_loop()
        future: asyncio.Future[Completion] = here.create_future()
        limit = min(request.sampling.max_tokens, room)
        row = Row.of(request, watch, Reply(here, future), prompt=prompt, limit=limit, dialogue=loaded.dialogue)
        loop.submit(row)
        try:
            return await future
        except asyncio.CancelledError:
            row.cancelled = True
            loop.wake()
            raise

    def _open_loop(self) -> "DecodingLoop":
        if self._loop is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._loop

    def _memory_bound(self, loaded: "Loaded") -> int:
        """Tokens the cache may hold: the whole context for each row where memory allows."""
        import torch

        on_gpu = loaded.device.type == "cuda"
        free = torch.cuda.mem_get_info(loaded.device)[0] if on_gpu else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        share = MEMORY_SHARE.get(loaded.device.type, 0.3)
        return max(1024, min(self._max_batch * loaded.context_tokens, int(free * share) // loaded.cache_bytes_per_token))


def _forget(error: BaseException | None) -> None:
    """Let an error go on without the variables of the calls it came through, which would keep a half-opened model alive."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
