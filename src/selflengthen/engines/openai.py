"""Answers through servers that speak the OpenAI protocol: vLLM, SGLang, llama.cpp, hosted ones; one or many.

This is its face: a request gets a server, its answer is watched while it streams, and closing the stream makes the server drop it. What goes wrong
with a server is no fault of the request: it waits, or goes on elsewhere from where it was. What does not live here: the parts
(`engines.served`), each of which says what it is, and starting servers (`engines.vllm`).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from selflengthen.address import base_url
from selflengthen.engines.base import Capabilities, Completion, Finish, Request, RequestRefused, Watch
from selflengthen.engines.served.answer import Answer
from selflengthen.engines.served.endpoint import Endpoint, Stream, open_session
from selflengthen.engines.served.faults import Busy, Faulty, ServerFault
from selflengthen.engines.served.fleet import Fleet
from selflengthen.engines.served.hearing import Hearing
from selflengthen.engines.served.identity import Memory, fingerprint
from selflengthen.engines.served.known import Known, learn
from selflengthen.engines.served.pace import Pace
from selflengthen.engines.served.probe import cards, choose_card
from selflengthen.engines.served.shelf import Shelf
from selflengthen.engines.served.wire import Mode
from selflengthen.errors import EngineError
from selflengthen.records import Adapter

if TYPE_CHECKING:
    import aiohttp


TRIES = 8
"""Exchanges of one request that may fail; a request that fails so often does so by itself."""
PAUSE_SECONDS = 0.05
"""After an exchange that failed, doubled with each."""
LONG_SECONDS = 300.0
"""For a server to move its weights."""


class OpenAIEngine:
    """Answers through the servers at `urls`, which all serve the same model."""

    def __init__(
        self,
        *,
        urls: Sequence[str],
        model: str,
        served_name: str = "",
        prefill: str = "auto",
        api_key: str | None = None,
        api_key_env: str = "",
        context_tokens: int = 0,
        concurrency: int = 0,
        silence_seconds: float = 60.0,
        wait_seconds: float = 600.0,
        memory: Path | None = None,
        own_servers: bool = False,
        on_notice: Callable[[str], None] = lambda _text: None,
        on_down: Callable[[str, str], None] = lambda _url, _why: None,
    ) -> None:
        """`model`: folder or hub name, for its tokenizer. `served_name`: what the servers call it, empty to find out.

        `api_key`, or the environment variable `api_key_env` that holds it. `context_tokens`: if the servers do not tell. `concurrency`: most
        requests in flight per server, 0 to find it out. `memory`: file that keeps how the model is recognised. `own_servers`: nobody else
        loads adapters there, so their names can be ours. `on_notice`: told what people should know; `on_down`: of the URL of a server that
        fell, and why.
        """
        self._urls = list(dict.fromkeys(map(base_url, urls)))
        self._model, self._served_name, self._prefill = model, served_name, prefill
        self._key = api_key or os.environ.get(api_key_env, "").strip() or None
        if self._key is not None and not (self._key.isascii() and self._key.isprintable()):
            raise EngineError(f"the key in {api_key_env or 'api_key'} has characters that no key has, a line break perhaps: set it anew")
        self._context_tokens, self._concurrency = context_tokens, concurrency
        self._silence, self._wait = silence_seconds, wait_seconds
        self._memory_file = memory
        self._on_notice, self._on_down = on_notice, on_down
        self._session: aiohttp.ClientSession | None = None
        self._fleet: Fleet | None = None
        self._memory: Memory | None = None
        self._known: Known | None = None
        self._shelf = Shelf(own_servers=own_servers)
        self._running: set[asyncio.Task[Completion]] = set()

    # -- opening and closing ----------------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        known, fleet = self._known, self._fleet
        if known is None or fleet is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return Capabilities(
            prefill=True,
            adapters=known.adapters,
            seed=known.abilities.seed,
            streaming=True,
            context_tokens=known.context_tokens,
            concurrency=fleet.concurrency,
        )

    @property
    def known(self) -> Known:
        """What was found out about the servers."""
        if self._known is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._known

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def _open(self) -> None:
        self._session = session = open_session(self._key)
        self._memory = Memory(self._memory_file)
        endpoints = [Endpoint(url, Pace(self._concurrency), session) for url in self._urls]
        self._fleet = Fleet(
            endpoints, self._prepare, silence_seconds=self._silence, wait_seconds=self._wait, on_down=self._fell, on_back=self._is_back
        )
        for endpoint in endpoints:
            try:
                await self._prepare(endpoint)
                endpoint.up = True
            except ServerFault as fault:
                endpoint.why = str(fault)
        if not any(endpoint.up for endpoint in endpoints):
            said = "; ".join(f"{endpoint.url}: {endpoint.why}" for endpoint in endpoints)
            raise EngineError(f"no server answers ({said}). Start one, or see to engine.urls")
        for endpoint in endpoints:
            if not endpoint.up:
                self._on_notice(f"{endpoint.url} does not answer ({endpoint.why}); it will be used once it does")
                self._fleet.await_return(endpoint)
        self._shelf.stand_in(self._fleet, loadable=self.known.abilities.loads_adapters)
        for note in self.known.abilities.notes:
            self._on_notice(note)

    async def _close(self) -> None:
        fleet, session, running = self._fleet, self._session, [*self._running]
        self._fleet = self._session = self._known = None
        self._shelf.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if fleet is not None:
            await fleet.close()
        if session is not None:
            await session.close()

    def _fell(self, endpoint: Endpoint, why: str) -> None:
        others = any(each.up for each in self._opened().endpoints)
        patience = "" if self._wait == float("inf") else f", for {self._wait:.0f} s at most (engine.wait_seconds)"
        self._on_notice(f"{endpoint.url} is down ({why}); {'what ran there goes on elsewhere' if others else f'waiting for it{patience}'}")
        self._on_down(endpoint.url, why)

    def _is_back(self, endpoint: Endpoint) -> None:
        self._on_notice(f"{endpoint.url} is back")

    async def _prepare(self, endpoint: Endpoint) -> None:
        """A server that answers: the same model as before, with all adapters. The first one tells what it can do."""
        found = await cards(endpoint)
        known = self._known
        card = choose_card(found, self._served_name or (known.card.name if known else ""), self._model, endpoint.url)
        if known is None:
            tokens, notice = self._context_tokens, self._on_notice
            known = await learn(endpoint, card, found, model=self._model, prefill=self._prefill, context_tokens=tokens, on_notice=notice)
        now = await fingerprint(endpoint, known.card.name, known.mode, card.context_tokens or 0, known.question())
        assert self._memory is not None
        self._memory.check(endpoint.url, now)
        self._known = known
        endpoint.adapters = {each.name for each in found if each.name != card.name}
        await self._shelf.put_all_on(endpoint)

    async def load(self, adapter: Adapter) -> None:
        self._opened()
        await self._shelf.load(adapter)

    async def unload(self, name: str) -> None:
        self._opened()
        await self._shelf.unload(name)

    async def rest(self) -> bool:
        return True  # nothing here holds a device

    # -- for whoever runs the servers -------------------------------------------------------------------------------------------------

    def is_up(self, url: str) -> bool:
        """Whether the server at a base URL is used now."""
        return self._opened().at(url).up

    async def is_healthy(self, url: str) -> bool:
        """Whether the server there says that it lives."""
        return await self._opened().at(url).healthy(min(10.0, self._silence))

    def completed(self, url: str) -> int:
        """Answers that came to their end there."""
        return self._opened().at(url).completed

    def lose(self, url: str, why: str) -> None:
        """The server there is gone."""
        fleet = self._opened()
        fleet.fell(fleet.at(url), why)

    def forget(self, url: str) -> None:
        """The server there is gone for good; others go on."""
        fleet = self._opened()
        fleet.forget(fleet.at(url))

    def fail(self, error: Exception) -> None:
        """No server will come back: every request ends with `error`."""
        self._opened().fail(error)

    async def post_to_all(self, path: str) -> list[str]:
        """POST to the root of every server that is up, all at once. Returns the URLs of those that did not take it."""
        asked = [endpoint for endpoint in self._opened().endpoints if endpoint.up]
        took = await asyncio.gather(*(self._takes(endpoint, path) for endpoint in asked))
        return [endpoint.url for endpoint, taken in zip(asked, took, strict=True) if not taken]

    async def _takes(self, endpoint: Endpoint, path: str) -> bool:
        try:
            await endpoint.post(path, {}, root=True, seconds=LONG_SECONDS)
        except (ServerFault, RequestRefused):
            return False
        return True

    # -- answering --------------------------------------------------------------------------------------------------------------------

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        self._opened()
        if request.adapter is not None:
            self._shelf.served_name(request.adapter)
        task = asyncio.ensure_future(self._answer(request, watch))
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            here = asyncio.current_task()
            if self._fleet is None and here is not None and not here.cancelling():
                raise EngineError("the engine was closed while this request ran") from None
            raise
        finally:
            self._running.discard(task)

    async def _answer(self, request: Request, watch: Watch | None) -> Completion:
        """One answer, by as many exchanges as it takes."""
        fleet, answer = self._opened(), Answer(request, watch)
        failed, fault, endpoint = 0, None, None
        while answer.finish is None:
            try:
                # Before a place is taken: a prompt that is encoded for long holds none.
                if (body := await self._body(answer)) is None:
                    break
                endpoint = await fleet.take(first=fault is not None, avoids=endpoint if isinstance(fault, Faulty) else None)
                try:
                    await self._exchange(fleet, endpoint, answer, body)
                except EngineError as error:
                    fleet.fail(error)
                    raise
                finally:
                    fleet.leave(endpoint)
            except RequestRefused as refused:
                if not refused.context_full or not answer.text:
                    raise
                answer.end(Finish.LENGTH)  # what was heard before its server was lost fills the context
            except ServerFault as met:
                fault = met
                failed += not isinstance(fault, Busy)
                if failed >= TRIES:
                    raise RequestRefused(f"{failed} exchanges failed, the last one: {fault}") from fault
                if isinstance(fault, Faulty):
                    await asyncio.sleep(PAUSE_SECONDS * 2**failed)
        return answer.completion()

    async def _body(self, answer: Answer) -> dict[str, Any] | None:
        """What is sent for the next exchange; None when the answer has all the tokens it may have, and so is over."""
        known, request = self.known, answer.request
        opening = answer.begin(strips_blank=known.mode is Mode.CHAT)
        left = request.sampling.max_tokens - answer.generated_before
        if left <= 0:
            answer.end(Finish.LENGTH)
            return None
        name = known.card.name if request.adapter is None else self._shelf.served_name(request.adapter)
        return await known.body(request, opening, left, name)

    async def _exchange(self, fleet: Fleet, endpoint: Endpoint, answer: Answer, body: dict[str, Any]) -> None:
        """One exchange with one server; `answer` is finished, or a ServerFault says what became of it."""
        mode = self.known.mode
        here, now = asyncio.current_task(), asyncio.get_running_loop().time()
        assert here is not None
        stream = Stream(here, body.get("max_tokens", self.known.context_tokens), now, now)
        hearing = Hearing(answer, lambda: fleet.began(endpoint, stream))
        fault: ServerFault | None = None
        endpoint.streams.add(stream)
        try:
            try:
                await endpoint.converse(mode.path, body, stream, hearing.take)
            except RequestRefused as refused:
                if not refused.context_full or mode is Mode.COMPLETIONS or "max_tokens" not in body:
                    raise
                # How long the prompt is only the server knows: without a limit it gives what is left.
                del body["max_tokens"]
                await endpoint.converse(mode.path, body, stream, hearing.take)
        except asyncio.CancelledError:
            if stream.fault is None or here.uncancel() > 0:
                raise
            fault = stream.fault
        except ServerFault as met:
            fault = met
        finally:
            endpoint.streams.discard(stream)  # first of all: what its trouble does to the others there must not strike its own task
        if fault is not None and not hearing.over():
            if fault is not stream.fault:
                fleet.trouble(endpoint, stream, fault)
            raise fault
        fleet.completed(endpoint, stream, answer.generated_now)

    def _opened(self) -> Fleet:
        if self._fleet is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._fleet
