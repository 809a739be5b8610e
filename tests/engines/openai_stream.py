"""How an answer leaves a server of the tests: the engine's tokens become parts (`Ear`), and parts bytes on a connection (`Outlet`).

Faults strike here. What does not live here: what an event says (`openai_wire`), and which fault befalls whom (`openai_server`).
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web
from openai_asked import Asked, Refusal
from openai_quirks import STALL_EVENTS, Fault, Kind, Quirks, Where
from openai_wire import DONE, Part, Voice, error, event

from selflengthen.engines import Completion, Finish, RequestRefused
from selflengthen.engines.scripted import ScriptedEngine
from selflengthen.engines.stops import StopGuard
from selflengthen.records import Reason
from selflengthen.text.verdict import Verdict

LOOK_SECONDS = 0.01
"""How often it is looked whether a switch was taken back."""
Counts = Callable[[int, bool], dict[str, Any] | None]
"""The usage after so many tokens, and whether these are the last ones."""
STOPPED = Verdict(Reason.UNFINISHED, 0, 0, "a stop string")


class Broken(Exception):
    """The connection was closed on purpose; there is nothing more to say."""


class Ear:
    """Watches a generation: each token that comes goes into a part, and a stop string ends it.

    The stop strings are looked for here, not in the engine, so that each piece of text that comes is one token and can be counted.
    """

    def __init__(self, asked: Asked, give: Callable[[Part], None], tokens_per_event: int) -> None:
        self._guard = StopGuard(asked.stop)
        self._limit, self._most = asked.request.sampling.max_tokens, tokens_per_event
        self._give = give
        self._text, self._tokens, self._done = "", [], 0

    def feed(self, delta: str) -> Verdict | None:
        self._done += 1
        self._tokens.append(delta)
        self._text += self._guard.push(delta)
        finish = "stop" if self._guard.hit else "length" if self._done == self._limit else None
        if finish or len(self._tokens) == self._most:
            self._part(finish)
        return STOPPED if self._guard.hit else None

    def end(self, completion: Completion) -> None:
        """The engine has said all: the end of the turn is a token without text."""
        if completion.finish is Finish.STOP:
            self._done = completion.generated_tokens
            self._part("stop")

    def _part(self, finish: str | None) -> None:
        text = self._text + (self._guard.rest() if finish else "")
        self._give(Part(text, tuple(self._tokens), self._done, finish))
        self._text, self._tokens = "", []


async def parts_of(engine: ScriptedEngine, asked: Asked, tokens_per_event: int) -> AsyncIterator[Part]:
    """The answer, part by part, as the engine makes it; leaving ends the generation. Raises what the engine raises."""
    queue: asyncio.Queue[Part | None] = asyncio.Queue()
    ear = Ear(asked, queue.put_nowait, tokens_per_event)

    async def generate() -> None:
        try:
            ear.end(await engine.generate(asked.request, ear))
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(generate())
    try:
        while (part := await queue.get()) is not None:
            yield part
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Outlet:
    """One streamed answer on its way out."""

    def __init__(self, http: web.Request, quirks: Quirks, fault: Fault | None) -> None:
        self._http, self._quirks, self._fault = http, quirks, fault
        self._response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        self._kept = b""
        self._events = 0

    async def send(self, asked: Asked, voice: Voice, parts: AsyncIterator[Part], usage: Counts) -> web.StreamResponse:
        """All of it."""
        await self._response.prepare(self._http)
        done, first = 0, True
        try:
            async for part in parts:
                if first and (opening := voice.opening(usage(0, False) if asked.counts_always else None)):
                    await self._write(event(opening))
                first, done = False, part.done
                said = replace(part, finish="content_filter") if self._due(Kind.FILTERED) else part
                await self._part(event(voice.part(said, usage(done, False) if asked.counts_always else None)))
                if said.finish == "content_filter" or self._due(Kind.ENDS):
                    break
        except Broken:
            raise
        except Exception as wrong:  # noqa: BLE001 - whatever a script fails with, the headers are sent
            await self._write(event(error(500, str(wrong))) + DONE)
            return await self._end()
        if not self._due(Kind.ENDS):
            await self._write((event(voice.counts(usage(done, True))) if asked.counts_at_end else b"") + DONE)
        return await self._end()

    def _due(self, kind: Kind) -> bool:
        return self._fault is not None and self._fault.kind is kind and self._events >= self._fault.after

    async def _part(self, data: bytes) -> None:
        """An event with text, or what comes in its place."""
        await while_set(lambda: self._quirks.stalls and self._events >= STALL_EVENTS)
        if self._due(Kind.CLOSES) and (cut := _place(data, self._fault.where)) is not None:
            await self._write(data[:cut])
            hang_up(self._http, reset=self._fault.resets)
            raise Broken
        if self._due(Kind.ERROR):
            raise RuntimeError(self._fault.message)
        if self._due(Kind.GARBAGE):
            await self._write(b'data: {"id": "cmpl-1", "choices": [{"index"\n\n')
            self._fault = None
        await self._write(data)
        self._events += 1

    async def _write(self, data: bytes) -> None:
        await while_set(lambda: self._quirks.hangs)
        if self._quirks.buffers:
            self._kept += data
        else:
            await self._pieces(data)

    async def _pieces(self, data: bytes) -> None:
        size, pause = self._quirks.cut_bytes or len(data) or 1, self._quirks.cut_pause_seconds
        if self._fault is not None and self._fault.kind is Kind.DRIPS:
            size, pause = 1, self._fault.seconds
        for start in range(0, len(data), size):
            await self._response.write(data[start : start + size])
            await asyncio.sleep(pause)  # 0 too: others get their turn, and the end of the connection is noticed

    async def _end(self) -> web.StreamResponse:
        if self._kept:
            await self._pieces(self._kept)
        await self._response.write_eof()
        return self._response


async def while_set(switch: Callable[[], bool]) -> None:
    """Wait until a switch is taken back."""
    while switch():  # noqa: ASYNC110 - tests take it back in another thread
        await asyncio.sleep(LOOK_SECONDS)


async def spoil(http: web.Request, fault: Fault) -> web.Response | None:
    """The faults of an exchange as a whole; None when it goes on."""
    match fault.kind:
        case Kind.STATUS:
            return web.json_response(error(fault.status, fault.message), status=fault.status, headers=fault.headers)
        case Kind.HTML:
            return web.Response(text="<html><body><h1>Welcome to the proxy</h1></body></html>", content_type="text/html")
        case Kind.CLOSED:
            hang_up(http, reset=fault.resets)
            raise Broken
        case Kind.WAITS:
            await asyncio.sleep(fault.seconds)
    return None


async def send_whole(http: web.Request, voice: Voice, parts: AsyncIterator[Part], usage: Counts, fault: Fault | None) -> web.StreamResponse:
    """An answer that is no stream."""
    if fault is not None and fault.kind in {Kind.CLOSES, Kind.GARBAGE, Kind.ENDS, Kind.ERROR}:
        hang_up(http, reset=fault.resets)
        raise Broken
    try:
        said = [part async for part in parts]
    except RequestRefused as refused:
        raise Refusal(400, refused.detail) from None
    except Exception as wrong:  # noqa: BLE001 - whatever the script fails with
        raise Refusal(500, str(wrong)) from None
    if fault is not None and fault.kind is Kind.FILTERED:
        said[-1] = replace(said[-1], finish="content_filter")
    body = json.dumps(voice.whole(said, usage(said[-1].done, True)), ensure_ascii=False).encode()
    if fault is None or fault.kind is not Kind.DRIPS:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(http)
    for place in range(len(body)):
        await response.write(body[place : place + 1])
        await asyncio.sleep(fault.seconds)
    return response


def _place(data: bytes, where: Where) -> int | None:
    """Where in an event the connection is closed; None: not in this one."""
    if where is Where.BETWEEN:
        return 0
    if where is Where.EVENT:
        return len(data) // 2
    return next((place + 1 for place, byte in enumerate(data) if byte >= 0xC0), None)


def hang_up(http: web.Request, *, reset: bool) -> None:
    """Close a request's connection."""
    if http.transport is not None:
        close(http.transport, reset=reset)


def close(transport: asyncio.BaseTransport, *, reset: bool) -> None:
    """Close a connection: by RST, as the kernel does for a process that left unread data, or by FIN once all is sent."""
    if not reset:
        transport.close()
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
