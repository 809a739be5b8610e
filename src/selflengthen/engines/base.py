"""The seam to a model that answers: what a request is, what comes back, what an engine can do. No back-end lives here.

An engine is an async context manager: entering it starts what it needs, leaving it stops exactly that. Any number of `generate` calls may be
in flight; the engine batches them as it likes.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from selflengthen.records import Adapter, Message, Sampling, Spent
from selflengthen.text.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; a run refuses an engine that lacks what the method needs."""

    prefill: bool
    """Continues an opened assistant turn."""
    adapters: bool
    """Answers with LoRA adapters, chosen per request."""
    seed: bool
    """The same request with the same seed gives the same text."""
    streaming: bool
    """Feeds a watch while it generates."""
    context_tokens: int
    """Prompt and answer together."""
    concurrency: int
    """Requests worth having in flight now. An engine that finds its own limit says another number as it learns: ask again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One turn to answer. The chat template comes from the model's tokenizer, never from here."""

    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int
    prefill: str = ""
    """The opening of the assistant's turn, already written; the answer goes on from its last character."""
    adapter: str | None = None
    """The name of a loaded adapter; None is the base model."""


class Finish(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    """The model ended its turn, or a stop string came."""
    LENGTH = "length"
    """The token limit or the end of the context was reached."""
    WATCHED = "watched"
    """The watch stopped it; see `Completion.verdict`."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered. `text` never includes the prefill, nor a stop string."""

    text: str
    finish: Finish
    prompt_tokens: int
    generated_tokens: int
    verdict: Verdict | None = None
    cached_tokens: int = field(default=0, compare=False)
    """Of the prompt, those the engine had computed before; 0 where it does not say."""
    engine_seconds: float = field(default=0.0, compare=False)
    """This request's share of the time the engine was at work; filled in by `engines.metered`."""

    @property
    def spent(self) -> Spent:
        """What it cost, as rows say it."""
        return Spent(prompt=self.prompt_tokens, cached=self.cached_tokens, generated=self.generated_tokens, seconds=round(self.engine_seconds, 6))


class Watch(Protocol):
    """Fed the text as it streams; pure. A verdict stops the generation within one decoding step."""

    def feed(self, delta: str) -> Verdict | None:
        """Take the next piece of text (never a part of a character); say why to stop, or None."""
        ...


class Engine(Protocol):
    """A model that answers. Errors: `EngineError` when it cannot start or has died; `RequestRefused` for one request."""

    @property
    def capabilities(self) -> Capabilities:
        """Known once the engine is entered."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        """Answer one request. Cancelling the awaiting task cancels the generation within one decoding step."""
        ...

    async def load(self, adapter: Adapter) -> None:
        """Make `adapter.name` usable in requests. A name can be loaded once, with one set of weights."""
        ...

    async def unload(self, name: str) -> None:
        """Forget an adapter that no request in flight uses, and give its memory back. EngineError when it is not loaded."""
        ...

    async def rest(self) -> bool:
        """Nothing is asked for a while, and another process wants the device. True: what it needs is free, and the next request wakes this engine.

        False: only closing would free it.
        """
        ...


class RequestRefused(Exception):
    """The engine will not answer this request (it does not fit the context, for one). Not for people: it becomes a rejection row."""

    def __init__(self, detail: str, *, context_full: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context_full = context_full
