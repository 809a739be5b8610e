"""One request under way: its tokens, its text, its chances, and who waits for it. What does not live here: which slot it runs in (`batch`)."""

import asyncio
import random
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field

from selflengthen.engines.base import Completion, Finish, Request, Watch
from selflengthen.engines.embedded.dialogue import Dialogue
from selflengthen.engines.embedded.streaming import TextStream
from selflengthen.engines.stops import StopGuard
from selflengthen.text.verdict import Verdict


@dataclass(slots=True)
class Reply:
    """The future that a caller awaits in its own event loop, settled from the engine's thread."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Completion]"

    def settle(self, outcome: Completion | BaseException) -> None:
        # The caller's loop may be closed already: then nobody waits.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, outcome)

    def _set(self, outcome: Completion | BaseException) -> None:
        if self.future.done():
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


@dataclass(slots=True, eq=False)
class Row:
    """A request and how far it is. After the first token, all but the last of `tokens` are in the cache."""

    request: Request
    watch: Watch | None
    reply: Reply
    tokens: list[int]
    """Prompt and answer."""
    limit: int
    """New tokens at most."""
    stream: TextStream
    guard: StopGuard
    dice: random.Random
    prompt_tokens: int
    pieces: list[str] = field(default_factory=list)
    cancelled: bool = False
    done: bool = False

    @classmethod
    def of(cls, request: Request, watch: Watch | None, reply: Reply, *, prompt: list[int], limit: int, dialogue: Dialogue) -> "Row":
        return cls(
            request=request,
            watch=watch,
            reply=reply,
            tokens=list(prompt),
            limit=limit,
            stream=TextStream(dialogue.decode, prompt),
            guard=StopGuard(request.sampling.stop),
            dice=random.Random(request.seed),
            prompt_tokens=len(prompt),
        )

    @property
    def generated(self) -> int:
        """Tokens of the answer, the end of the turn counted."""
        return len(self.tokens) - self.prompt_tokens

    def accept(self, token: int, ends: AbstractSet[int]) -> None:
        """Take the next token; `done` says afterwards whether it was the last."""
        self.tokens.append(token)
        try:
            if token in ends:
                self._finish(Finish.STOP)
            elif verdict := self._say(self.guard.push(self.stream.push(token))):
                self._finish(Finish.WATCHED, verdict)
            elif self.guard.hit:
                self._finish(Finish.STOP)
            elif self.generated >= self.limit:
                self._finish(Finish.LENGTH)
        except Exception as error:  # noqa: BLE001 - the one place: a watch is the caller's code, and its error the caller's alone
            self.fail(error)

    def _say(self, text: str) -> Verdict | None:
        if not text:
            return None
        self.pieces.append(text)
        return self.watch.feed(text) if self.watch is not None else None

    def _finish(self, finish: Finish, verdict: Verdict | None = None) -> None:
        if verdict is None and (verdict := self._say(self.guard.rest())):
            finish = Finish.WATCHED
        self.done = True
        self.reply.settle(Completion("".join(self.pieces), finish, self.prompt_tokens, self.generated, verdict))

    def fail(self, error: BaseException) -> None:
        """End without an answer."""
        self.done = True
        self.reply.settle(error)
