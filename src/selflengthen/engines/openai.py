"""Answers through servers that speak the OpenAI protocol: vLLM, SGLang, llama.cpp, hosted ones; one or many.

This is its face: a request gets a server, its answer is watched while it streams, and closing the stream makes the server drop it. What goes wrong
with a server is no fault of the request: it waits, or goes on elsewhere from where it was. What does not live here: the parts
(`engines.served`), each of which says what it is, and starting servers (`engines.vllm`).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from selflengthen.engines.base import Capabilities, Completion, Finish, Request, RequestRefused, Watch
from selflengthen.engines.served.answer import Answer
from selflengthen.engines.served.endpoint import Endpoint, Stream, base_url, open_session
from selflengthen.engines.served.faults import Busy, Faulty, ServerFault
from selflengthen.engines.served.fleet import Fleet
from selflengthen.engines.served.hearing import Hearing
from selflengthen.engines.served.pace import Pace
from selflengthen.engines.served.shelf import Shelf
from selflengthen.engines.served.wire import Mode, chat_fields, sampling_fields, stream_fields
from selflengthen.errors import EngineError
from selflengthen.records import Adapter, Sampling

if TYPE_CHECKING:
    import aiohttp

    from selflengthen.engines.served.identity import Memory
    from selflengthen.engines.served.probe import Abilities, Card
    from selflengthen.engines.served.tokenizer import Local

TRIES = 8
"""Exchanges of one request that may fail; a request that fails so often does so by itself."""
LONG_SECONDS = 300.0
"""For a server to move its weights."""
_GREEDY = Sampling(temperature=0)
LONG_PROMPT = 4000
"""Characters from which a prompt is encoded in another thread, beside the streams."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the servers once one of them was asked."""

    card: "Card"
    abilities: "Abilities"
    local: "Local"
    context_tokens: int

    @property
    def mode(self) -> Mode:
        """How answers are asked for."""
        assert self.abilities.mode is not None
        return self.abilities.mode


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
        self._urls = list(dict.fromkeys(base_url(url) for url in urls))
        self._model, self._served_name, self._prefill = model, served_name, prefill
        self._key = api_key or os.environ.get(api_key_env, "").strip() or None
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
        can = known.abilities
        return Capabilities(
            prefill=True,
            adapters=can.loads_adapters or known.card.parent is not None,
            seed=can.seed,
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
        from selflengthen.engines.served.identity import Memory

        self._session = session = open_session(self._key)
        self._memory = Memory(self._memory_file)
        endpoints = [Endpoint(url, Pace(self._concurrency), session) for url in self._urls]
        self._fleet = Fleet(endpoints, self._prepare, silence_seconds=self._silence, wait_seconds=self._wait, on_down=self._fell)
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
        self._on_notice(f"{endpoint.url} is down ({why}); what ran there goes on elsewhere, or waits for it")
        self._on_down(endpoint.url, why)

    async def _prepare(self, endpoint: Endpoint) -> None:
        """A server that answers: the same model as before, with all adapters. The first one tells what it can do."""
        from selflengthen.engines.served import identity
        from selflengthen.engines.served.probe import QUESTION, Probe, cards, choose_card
        from selflengthen.engines.served.tokenizer import read_local

        found = await cards(endpoint)
        known = self._known
        card = choose_card(found, self._served_name or (known.card.name if known else ""), self._model, endpoint.url)
        if known is None:
            local = await asyncio.to_thread(read_local, self._model)
            abilities = await Probe(endpoint, card.name, local.dialogue, local.why_not).abilities(self._prefill)
            if abilities.mode is None:
                raise EngineError(f"{endpoint.url} cannot go on with an answer that has begun, which the method needs. {abilities.refusal}")
            known = Known(card, abilities, local, self._context(card, local, endpoint.url))
        ids: list[int] = []
        if known.mode is Mode.COMPLETIONS:
            dialogue = known.local.dialogue
            assert dialogue is not None
            ids = dialogue.encode(dialogue.prompt(Request(QUESTION, _GREEDY, 0)))
        now = await identity.fingerprint(endpoint, known.card.name, known.mode, card.context_tokens or known.context_tokens, ids)
        assert self._memory is not None
        self._memory.check(endpoint.url, now)
        self._known = known
        endpoint.adapters = {each.name for each in found if each.name != card.name}
        await self._shelf.put_all_on(endpoint)

    def _context(self, card: "Card", local: "Local", url: str) -> int:
        said = [tokens for tokens in (card.context_tokens, self._context_tokens) if tokens]
        if said:
            return min(said)
        if local.context_tokens:
            self._on_notice(f"{url} does not tell its context; taken from model.path: {local.context_tokens} tokens (engine.context_tokens sets it)")
            return local.context_tokens
        raise EngineError(f"{url} does not tell how many tokens prompt and answer may have together; say it in engine.context_tokens")

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
        fleet, answer, failed = self._opened(), Answer(request, watch), 0
        first = False
        while answer.finish is None:
            endpoint = await fleet.take(first=first)
            try:
                await self._exchange(fleet, endpoint, answer)
            except ServerFault as fault:
                first = True
                failed += not isinstance(fault, Busy)
                if failed >= TRIES:
                    raise RequestRefused(f"{failed} exchanges failed, the last one: {fault}") from fault
                if isinstance(fault, Faulty):
                    await asyncio.sleep(0.05 * 2**failed)
            finally:
                fleet.leave(endpoint)
        return answer.completion()

    async def _exchange(self, fleet: Fleet, endpoint: Endpoint, answer: Answer) -> None:
        """One exchange with one server; `answer` is finished, or a ServerFault says what became of it."""
        mode = self.known.mode
        body = await self._body(answer, answer.begin(strips_blank=mode is Mode.CHAT))
        if body is None:
            return
        here, now = asyncio.current_task(), asyncio.get_running_loop().time()
        assert here is not None
        stream = Stream(here, body.get("max_tokens", self.known.context_tokens), now, now)
        hearing = Hearing(answer, lambda: fleet.began(endpoint, stream))
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
            if not hearing.over():
                raise stream.fault from None
        except ServerFault as fault:
            if not hearing.over():
                endpoint.streams.discard(stream)  # a server that falls ends its streams, by cancelling their tasks: not this one, which goes on
                fleet.trouble(endpoint, stream, fault)
                raise
        except EngineError as error:
            fleet.fail(error)
            raise
        finally:
            endpoint.streams.discard(stream)
        fleet.completed(endpoint, stream, answer.generated_now)

    async def _body(self, answer: Answer, opening: str) -> dict[str, Any] | None:
        """What is sent to go on from `opening`; None when there is no room left for more, and the answer so is over."""
        known, request = self.known, answer.request
        left = request.sampling.max_tokens - answer.generated_before
        prompt: dict[str, Any]
        if known.mode is Mode.COMPLETIONS:
            assert known.local.dialogue is not None
            rendered = known.local.dialogue.prompt(Request(request.messages, request.sampling, 0, prefill=opening))
            encode = known.local.dialogue.encode
            ids = encode(rendered) if len(rendered) < LONG_PROMPT else await asyncio.to_thread(encode, rendered)
            room = known.context_tokens - len(ids)
            if room <= 0 and not answer.text:
                raise RequestRefused(
                    f"the prompt has {len(ids)} tokens, the context {known.context_tokens}: no room for an answer", context_full=True
                )
            left, prompt = min(left, room), {"prompt": ids}
        else:
            prompt = chat_fields(request.messages, opening)
        if left <= 0:
            answer.end(Finish.LENGTH)
            return None
        # A server refuses a limit beyond its context, whatever the prompt.
        limit = {"max_tokens": left} if left < known.context_tokens else {}
        name = known.card.name if request.adapter is None else self._shelf.served_name(request.adapter)
        extras = known.abilities.extras
        return {
            "model": name,
            **prompt,
            **limit,
            **sampling_fields(request.sampling, request.seed, sorted(known.local.ends), extras),
            **stream_fields(extras),
        }

    def _opened(self) -> Fleet:
        if self._fleet is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._fleet
