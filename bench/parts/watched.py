"""An engine whose work is looked at: what was asked and how much came, of requests that were cancelled too. No measuring of time here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from selflengthen.engines import Capabilities, Completion, Engine, Finish, Request, Watch
from selflengthen.records import Adapter
from selflengthen.text import Verdict


@dataclass(frozen=True)
class Asked:
    """A request that was answered, and its tokens."""

    request: Request
    prompt_tokens: int
    tokens: int


class WatchedEngine:
    """`engine`, with its answers noted. Cancelled requests are counted by the pieces that were heard of them, which are tokens or a few of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.asked: list[Asked] = []
        self.in_flight = 0
        self.cancelled_characters = 0
        self.characters = 0

    @property
    def tokens(self) -> int:
        """All that were generated. Those of cancelled requests are estimated by their characters."""
        told = sum(each.tokens for each in self.asked)
        return told + (round(told * self.cancelled_characters / self.characters) if self.characters else 0)

    @property
    def capabilities(self) -> Capabilities:
        return self.engine.capabilities

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """It is somebody else's to close."""

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        heard = _Heard(watch)
        self.in_flight += 1
        try:
            completion = await self.engine.generate(request, heard)
        except BaseException:
            self.cancelled_characters += heard.characters
            raise
        finally:
            self.in_flight -= 1
        self.characters += heard.characters
        self.asked.append(Asked(request, completion.prompt_tokens, completion.generated_tokens))
        return completion

    async def load(self, adapter: Adapter) -> None:
        await self.engine.load(adapter)

    async def unload(self, name: str) -> None:
        await self.engine.unload(name)

    async def rest(self) -> bool:
        return await self.engine.rest()


class _Heard:
    """Counts what a watch is fed."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch, self.characters = watch, 0

    def feed(self, delta: str) -> Verdict | None:
        self.characters += len(delta)
        return self.watch.feed(delta) if self.watch else None


Alone = Callable[[Asked], Awaitable[int]]
"""Has one request answered to exactly the tokens it had, and says how many came."""


def exactly(asked: Asked) -> Request:
    """The same request, to be ended by its limit where it ended before."""
    return replace(asked.request, sampling=asked.request.sampling.model_copy(update={"max_tokens": asked.tokens}))


async def by_engine(engine: Engine, asked: Asked) -> int:
    """`Alone` by the engine itself."""
    completion = await engine.generate(exactly(asked))
    assert completion.finish in {Finish.LENGTH, Finish.STOP}
    return completion.generated_tokens
