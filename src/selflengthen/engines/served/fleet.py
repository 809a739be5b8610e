"""All servers of an engine: which one gets the next request, who is silent, who is down, who is back.

A request waits here until a server has room, first come first served; one that lost its server goes first. Of the servers with room the least
loaded gets it. What does not live here: what is asked (`engines.openai`), and starting servers (`engines.vllm`).
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from selflengthen.engines.base import RequestRefused
from selflengthen.engines.served.endpoint import Endpoint, Stream
from selflengthen.engines.served.faults import Broken, Busy, Down, Faulty, Lost, ServerFault
from selflengthen.errors import EngineError

WATCH_SHARE = 0.1
"""The watch looks around ten times in a silence."""
STALLED = 5.0
"""A stream that was silent for this many silences is given up, though its server lives."""
SLOWEST_SPEED = 2.0
"""Tokens per second of one answer, until speeds were seen: a server that does not stream is silent until its end."""
IDLE_SECONDS = 60.0
"""A server where nothing ran for so long may be another one by now, and no connection broke that would tell: it is prepared before it is used."""
QUEUE_SECONDS = 1.0
REVIVE_SECONDS, REVIVE_MOST_SECONDS = 0.2, 3.0
_METRIC = re.compile(rb"^vllm:num_requests_(running|waiting)(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)

Prepare = Callable[[Endpoint], Awaitable[None]]
"""Makes a server ready that is up again: it serves the model it served, with the adapters. Raises ServerFault while it does not,
EngineError when it never will."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A request that waits for a place."""

    place: asyncio.Future[Endpoint]
    avoids: Endpoint | None
    """Where it just failed: it goes elsewhere as long as there is an elsewhere, be it that it waits longer."""


class Fleet:
    """The servers. `on_down` is told of one that fell, with the reason."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        prepare: Prepare,
        *,
        silence_seconds: float,
        wait_seconds: float,
        on_down: Callable[[Endpoint, str], None] = lambda _endpoint, _why: None,
        on_back: Callable[[Endpoint], None] = lambda _endpoint: None,
    ) -> None:
        self.endpoints = list(endpoints)
        self.fatal: Exception | None = None
        self._prepare, self._on_down, self._on_back = prepare, on_down, on_back
        self._silence, self._wait = silence_seconds, wait_seconds
        self._waiting: deque[Waiter] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._speed = SLOWEST_SPEED
        self._none_up_since: float | None = None
        self._clock = asyncio.get_running_loop().time
        self._spawn(self._watch())
        self._spawn(self._ask_queues())

    @property
    def concurrency(self) -> int:
        """Requests that have room now."""
        return max(1, sum(int(endpoint.pace.limit) for endpoint in self.endpoints if endpoint.up))

    def at(self, url: str) -> Endpoint:
        """The server at a base URL."""
        return next(endpoint for endpoint in self.endpoints if endpoint.url == url)

    async def close(self) -> None:
        """End the watch; whoever still waits is cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiter in self._waiting:
            waiter.place.cancel()

    def fail(self, error: Exception) -> None:
        """Nothing will be answered any more."""
        self.fatal = self.fatal or error
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.place.done():
                waiter.place.set_exception(self.fatal)
        for endpoint in self.endpoints:
            for stream in endpoint.streams:
                stream.abort(Down(str(error)))

    # -- a place for a request ------------------------------------------------------------------------------------------------------

    async def take(self, *, first: bool = False, avoids: Endpoint | None = None) -> Endpoint:
        """Wait for a server with room and take a place there. `first`: before those who waited longer. Raises EngineError."""
        if self.fatal:
            raise self.fatal
        for each in self.endpoints:
            if each.unsure:
                self._doubt(each)
        if not self._waiting and (endpoint := self._free(avoids)):
            endpoint.taken += 1
            return endpoint
        place: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        waiter = Waiter(place, avoids)
        (self._waiting.appendleft if first else self._waiting.append)(waiter)
        try:
            self.serve()  # the one who goes first may be the only one for whom there is room
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave(place.result())
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def leave(self, endpoint: Endpoint) -> None:
        """Give a place back."""
        endpoint.taken -= 1
        endpoint.idle_since = self._clock() if endpoint.taken == 0 else None
        self.serve()

    def serve(self) -> None:
        """Give free places to those who wait."""
        for waiter in [*self._waiting]:
            if endpoint := self._free(waiter.avoids):
                self._waiting.remove(waiter)
                if not waiter.place.done():
                    endpoint.taken += 1
                    waiter.place.set_result(endpoint)
            elif waiter.avoids is None:
                return  # nor is there room for anybody behind

    def _free(self, avoids: Endpoint | None) -> Endpoint | None:
        now = self._clock()
        up = [each for each in self.endpoints if each.up]
        free = [each for each in up if (each is not avoids or up == [avoids]) and not each.suspect and each.pace.room(each.taken, now)]
        return min(free, key=lambda each: each.taken / each.pace.limit) if free else None

    # -- what is learnt from exchanges ------------------------------------------------------------------------------------------------

    def began(self, endpoint: Endpoint, stream: Stream) -> None:
        """An answer's first event came."""
        stream.begun = True
        before = int(endpoint.pace.limit)
        endpoint.pace.began(stream.heard_at - stream.sent_at, endpoint.taken)
        if int(endpoint.pace.limit) > before:
            self.serve()

    def completed(self, endpoint: Endpoint, stream: Stream, tokens: int) -> None:
        """An answer came to its end: its speed tells what may be expected of others."""
        endpoint.completed += 1
        seconds = max(1e-3, self._clock() - stream.sent_at)
        if tokens >= 16:
            self._speed += 0.1 * (tokens / seconds - self._speed)

    def trouble(self, endpoint: Endpoint, stream: Stream, fault: ServerFault) -> None:
        """An exchange failed: what that says of the server."""
        match fault:
            case Busy():
                endpoint.pace.busy(stream.sent_at, self._clock(), fault.seconds)
                asyncio.get_running_loop().call_later(max(0.0, endpoint.pace.paused_until - self._clock()) + 1e-3, self.serve)
            case Down() | Lost():
                self.fell(endpoint, str(fault))
            case Broken():
                endpoint.unsure = True
                self._doubt(endpoint)
            case _:
                self._doubt(endpoint)

    def fell(self, endpoint: Endpoint, why: str) -> None:
        """A server is down: what runs there goes elsewhere at once, and it is asked now and then whether it is back."""
        if not endpoint.up:
            return
        endpoint.up, endpoint.why, endpoint.unsure = False, why, False
        endpoint.adapters.clear()
        for stream in endpoint.streams:
            stream.abort(Down(why))
        if not any(each.up for each in self.endpoints):
            self._none_up_since = self._clock()
        self._on_down(endpoint, why)
        self.await_return(endpoint)

    def await_return(self, endpoint: Endpoint) -> None:
        """Ask a server that is not up now and then, and use it once it is."""
        self._spawn(self._revive(endpoint))

    def forget(self, endpoint: Endpoint) -> None:
        """A server that is down will not come back: who takes its address is a stranger, to whom nothing is sent."""
        self.endpoints.remove(endpoint)

    def _doubt(self, endpoint: Endpoint) -> None:
        """Something broke: ask at once whether the server lives, so that nothing is sent to a dead one, nor to one that took its place."""
        if endpoint.up and not endpoint.suspect:
            endpoint.suspect = True
            self._spawn(self._examine(endpoint))

    async def _examine(self, endpoint: Endpoint) -> None:
        try:
            if not await endpoint.healthy(min(10.0, self._silence)):
                self.fell(endpoint, "it does not answer when asked whether it lives")
            while endpoint.unsure:
                endpoint.unsure = False
                await self._prepare(endpoint)
        except ServerFault as fault:
            self.fell(endpoint, str(fault))
        except EngineError as error:
            self.fail(error)
        finally:
            endpoint.suspect = False
            self.serve()

    async def _revive(self, endpoint: Endpoint) -> None:
        pause = REVIVE_SECONDS
        while not endpoint.up:
            await asyncio.sleep(pause)
            if endpoint not in self.endpoints:
                return
            pause = min(REVIVE_MOST_SECONDS, 1.6 * pause)
            try:
                if await endpoint.healthy(min(10.0, self._silence)):
                    await self._prepare(endpoint)
                    endpoint.up = True
            except ServerFault as fault:
                endpoint.why = str(fault)
            except EngineError as error:
                self.fail(error)
                return
        self._none_up_since = None
        self._on_back(endpoint)
        self.serve()

    # -- the watch --------------------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look for silence: of a stream, and of all servers."""
        while True:
            await asyncio.sleep(max(0.02, WATCH_SHARE * self._silence))
            now = self._clock()
            for endpoint in self.endpoints:
                silent = [stream for stream in endpoint.streams if now - stream.heard_at > self._silence]
                if silent:
                    self._doubt(endpoint)
                if endpoint.taken == 0 and endpoint.idle_since is not None and now - endpoint.idle_since > IDLE_SECONDS:
                    endpoint.unsure, endpoint.idle_since = True, None
                for stream in silent:
                    if now - stream.heard_at > self._patience(stream):
                        stream.abort(Faulty(f"silent for {now - stream.heard_at:.0f} s, though the server lives"))
                        endpoint.pace.busy(stream.sent_at, now, 0.0)
            if self._none_up_since is not None and now - self._none_up_since > self._wait and not any(each.up for each in self.endpoints):
                said = "; ".join(f"{each.url}: {each.why}" for each in self.endpoints)
                self.fail(EngineError(f"no server has answered for {self._wait:.0f} s ({said}). Nothing is lost; start one and run again to go on"))

    def _patience(self, stream: Stream) -> float:
        """Seconds that a stream may be silent while its server lives.

        Before its beginning the prompt is read and others come first, and a server that does not stream says nothing until the end: the tokens
        asked for and the speed seen count.
        """
        patience = STALLED * self._silence
        return patience if stream.begun else patience + 2 * stream.tokens / max(self._speed, 0.01)

    async def _ask_queues(self) -> None:
        """Ask servers that can tell how many requests wait there."""
        while True:
            await asyncio.sleep(QUEUE_SECONDS)
            asked = [each for each in self.endpoints if each.up and each.tells_queue and each.streams]
            await asyncio.gather(*(self._ask_queue(each) for each in asked))

    async def _ask_queue(self, endpoint: Endpoint) -> None:
        try:
            found = _METRIC.findall(await endpoint.get("/metrics", root=True, seconds=5.0))
        except (Down, Faulty, Busy):  # the watch will see to that
            return
        except (ServerFault, RequestRefused, EngineError):
            found = []
        if not found:
            endpoint.tells_queue = False
            return
        told = {name: sum(float(value) for key, value in found if key == name) for name in (b"running", b"waiting")}
        endpoint.pace.queued(int(told[b"running"]), int(told[b"waiting"]))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fail(error)  # a bug in the watch comes out of every request, instead of leaving them waiting for ever
