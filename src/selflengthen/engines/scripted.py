"""An engine without a model: a script says the whole answer, the engine streams it. For tests and dry runs.

Deterministic: a request has one answer, cut into pieces of a fixed size; a token is one Chinese character (or full-width mark), or up to four
other characters. What does not live here: the little writer that plays the recipes (`pretend`).
"""

import asyncio
import importlib
import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from selflengthen.engines.base import Capabilities, Completion, Finish, Request, RequestRefused, Watch
from selflengthen.engines.stops import StopGuard
from selflengthen.errors import ConfigError, EngineError
from selflengthen.records import Adapter
from selflengthen.text.verdict import Verdict

Script = Callable[[Request], str | Exception]
"""Answers a request with the whole text, or with an error (returned or raised) that the request fails with."""

_WIDE = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
_TOKEN = re.compile(f"[{_WIDE}]|[^{_WIDE}]{{1,4}}")


class ScriptedEngine:
    """Plays `script`, `chunk` tokens at a time, `delay_seconds` apart."""

    def __init__(
        self,
        script: Script | str = "selflengthen.engines.pretend:pretend",
        *,
        delay_seconds: float = 0.0,
        chunk: int = 8,
        concurrency: int = 16,
        context_tokens: int = 32768,
    ) -> None:
        self._script = load_script(script) if isinstance(script, str) else script
        self._delay_seconds = delay_seconds
        self._chunk = chunk
        self._room: asyncio.Semaphore | None = None
        self._loaded: dict[str, Adapter] = {}
        self._closed: asyncio.Event | None = None
        self._capabilities = Capabilities(
            prefill=True, adapters=True, seed=True, streaming=True, context_tokens=context_tokens, concurrency=concurrency
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def __aenter__(self) -> Self:
        self._room = asyncio.Semaphore(self._capabilities.concurrency)
        self._closed = asyncio.Event()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._room = None
        if self._closed is not None:
            self._closed.set()

    async def load(self, adapter: Adapter) -> None:
        if adapter.name in self._loaded:
            raise EngineError(f"adapter {adapter.name!r} is already loaded; a name is used once")
        self._loaded[adapter.name] = adapter

    async def unload(self, name: str) -> None:
        if self._loaded.pop(name, None) is None:
            raise EngineError(f"adapter {name!r} is not loaded; loaded: {', '.join(self._loaded) or 'none'}")

    async def rest(self) -> bool:
        return True

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        if self._room is None:
            raise EngineError("the scripted engine is not open: use it as `async with`")
        if request.adapter is not None and request.adapter not in self._loaded:
            raise EngineError(f"adapter {request.adapter!r} is not loaded; loaded: {', '.join(self._loaded) or 'none'}")
        prompt_tokens = sum(count_tokens(message.content) for message in request.messages) + count_tokens(request.prefill)
        room = self._capabilities.context_tokens - prompt_tokens
        if room <= 0:
            raise RequestRefused(
                f"the prompt has {prompt_tokens} tokens, the context {self._capabilities.context_tokens}: no room for an answer", context_full=True
            )
        async with self._room:
            await self._pause(0)
            answer = self._script(request)
            if isinstance(answer, Exception):
                raise answer
            return await self._play(answer, request, watch, prompt_tokens, min(request.sampling.max_tokens, room))

    async def _play(self, answer: str, request: Request, watch: Watch | None, prompt_tokens: int, limit: int) -> Completion:
        """Stream the answer; `limit` is in tokens."""
        guard = StopGuard(request.sampling.stop)
        tokens = _TOKEN.findall(answer)
        # The end of the turn is a token of its own, as it is with a model: an answer of exactly `limit` tokens is cut before it.
        finish = Finish.STOP if len(tokens) < limit else Finish.LENGTH
        tokens = tokens[:limit]
        text, done = "", 0
        for piece in self._pieces(tokens):
            await self._pause(self._delay_seconds)
            for token in piece:
                done += 1
                delta = guard.push(token)
                text += delta
                if verdict := _feed(watch, delta):
                    return Completion(text, Finish.WATCHED, prompt_tokens, done, verdict)
                if guard.hit:
                    return Completion(text, Finish.STOP, prompt_tokens, done)
        rest = guard.rest()
        if verdict := _feed(watch, rest):
            return Completion(text + rest, Finish.WATCHED, prompt_tokens, done, verdict)
        return Completion(text + rest, finish, prompt_tokens, done + (finish is Finish.STOP))

    def _pieces(self, tokens: list[str]) -> Iterator[list[str]]:
        for start in range(0, len(tokens), self._chunk):
            yield tokens[start : start + self._chunk]

    async def _pause(self, seconds: float) -> None:
        """Let others run, for `seconds`; an engine that is left meanwhile ends the request."""
        assert self._closed is not None
        if seconds > 0:
            await asyncio.wait([closing := asyncio.ensure_future(self._closed.wait())], timeout=seconds)
            closing.cancel()
        else:
            await asyncio.sleep(0)
        if self._closed.is_set():
            raise EngineError("the engine was closed while this request ran")


def _feed(watch: Watch | None, delta: str) -> Verdict | None:
    return watch.feed(delta) if watch is not None and delta else None


def count_tokens(text: str) -> int:
    """Length of a text in this engine's tokens."""
    return len(_TOKEN.findall(text))


def load_script(name: str) -> Script:
    """The script named `module:function`."""
    module_name, _, function_name = name.partition(":")
    try:
        script = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"script {name!r} cannot be loaded: {error}; name it as 'module:function'") from error
    if not callable(script):
        raise ConfigError(f"script {name!r} is not a function")
    return script  # type: ignore[no-any-return]
