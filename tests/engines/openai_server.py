"""A real HTTP server on a port of its own that speaks vLLM's API and answers with a scripted engine: what engines over servers are tested against.

It runs in a thread of its own; tests read what it was asked (`seen`), set how it is (`quirks`) and what goes wrong (`faults`) from theirs.
What does not live here: reading bodies (`openai_asked`), the words (`openai_wire`), the way out of an answer (`openai_stream`), what can be odd or
wrong (`openai_quirks`).

    with OpenAIServer(context_tokens=512) as server:
        server.faults.append(Fault(Kind.CLOSES, where=Where.CHARACTER))
        ... server.url ...

vLLM's own ways that are kept: max_tokens may not exceed the context; a chat without max_tokens gets what is left; `add_generation_prompt` is on
unless switched off, and may not be on together with `continue_final_message`; a finish by the model's own end comes as an event without text;
the key guards only what is under /v1.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from asking import adapter_record, wander
from openai_asked import Asked, Reader, Refusal
from openai_quirks import Fault, Quirks
from openai_stream import Broken, Outlet, close, parts_of, send_whole, spoil, while_set
from openai_wire import Likelihood, Voice, error, metrics, model_card

from selflengthen.engines.scripted import Script, ScriptedEngine, load_script

BODY = web.RequestKey("body", Any)
BLOCK_TOKENS = 16
"""Of the prefix cache."""
_ENDLESS = 2**40
"""The context of the engine inside: the server keeps to its own."""


@dataclass(frozen=True)
class Seen:
    """A request that was received."""

    method: str
    path: str
    body: Any
    """None for a GET, and bytes for what is no JSON."""
    headers: Mapping[str, str]
    at: float
    """When, on the monotonic clock."""


class OpenAIServer:
    """The server; a context manager that may be entered again. Its port is the same from one start to the next."""

    def __init__(
        self,
        script: Script | str = wander,
        *,
        name: str = "base",
        root: str = "/models/base",
        context_tokens: int = 512,
        concurrency: int = 16,
        delay_seconds: float = 0.0,
        chunk: int = 1,
        tokenizer: Any = None,
        reads_turns: bool = False,
        api_key: str | None = None,
        adapters: Mapping[str, Path] | None = None,
        model_seed: int = 0,
        port: int = 0,
        **quirks: Any,
    ) -> None:
        """`tokenizer`: a Hugging Face one, or its folder; it counts prompts and reads token ids. `reads_turns`: as `Reader` does.

        `concurrency`: requests answered at once, others wait. `adapters`: loaded from the start. `model_seed`: another one is another model.
        `port`: 0 for one that is free.
        The script hears of an adapter by the name of its folder, whatever it is served as. Keywords that are left are fields of `Quirks`.
        """
        self.name, self.model_seed, self.api_key = name, model_seed, api_key
        self.quirks = Quirks(**quirks)
        self.faults: list[Fault | None] = []
        """The next requests for an answer take one each; None is a good answer."""
        self.fault_of: Callable[[int], Fault | None] = lambda _number: None
        """For a request that finds no fault in the queue: what befalls the one of this number, counted from 0."""
        self.seen: list[Seen] = []
        self.running = self.most_at_once = self.answered = 0
        """Requests for an answer: there now (those that wait included), most there ever, and those that had their answer to the end."""
        self.adapters: dict[str, Path] = {}
        self.asleep = False
        """Sent to sleep and not woken up: it answers nothing."""
        self._given, self._root = dict(adapters or {}), root
        self._script = load_script(script) if isinstance(script, str) else script
        self._settings = {"delay_seconds": delay_seconds, "chunk": chunk, "concurrency": concurrency, "context_tokens": _ENDLESS}
        self._context_tokens, self._concurrency = context_tokens, concurrency
        self._reader = Reader(self.quirks, context_tokens=context_tokens, find_model=self._adapter_of, tokenizer=tokenizer, reads_turns=reads_turns)
        self._prompts: dict[tuple[str | None, str], int] = {}
        self._numbers = 0
        self._held = _bound(port)  # while the server is down nobody else gets the port, and no client connects to itself there
        self.port: int = self._held.getsockname()[1]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Future[bool] | None = None

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> list[Seen]:
        """Requests for an answer, of those seen."""
        return [seen for seen in self.seen if seen.path.endswith("/completions")]

    # -- starting and stopping --------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._held.close()

    def start(self) -> None:
        """Listen; again after `stop` or `kill`, with nothing loaded but what it was given."""
        assert self._thread is None, "the server runs already"
        self.adapters = dict(self._given)
        self._prompts.clear()
        started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(started),), name=f"server {self.port}", daemon=True)
        self._thread.start()
        assert started.wait(10), "the server did not start"

    def stop(self) -> None:
        """End what runs and close all connections, in good order. Nothing when it does not run."""
        self._leave(reset=False)

    def kill(self) -> None:
        """Be gone: all connections are reset at once."""
        self._leave(reset=True)

    def _leave(self, *, reset: bool) -> None:
        if self._thread is None:
            return
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set_result, reset)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server does not end"
        self._thread = self._loop = self._end = None

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        self._fresh()
        async with ScriptedEngine(self._play, **self._settings) as self._engine:
            app = web.Application(middlewares=[self._door], client_max_size=2**26)
            app.add_routes(self._routes())
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
            await runner.setup()
            await web.SockSite(runner, _bound(self.port), backlog=4096).start()
            started.set()
            reset = await self._end
            for connection in list(runner.server.connections):
                if connection.transport is not None:
                    close(connection.transport, reset=reset)
            await runner.cleanup()

    def _fresh(self) -> None:
        """What a process that was just started knows: nothing."""
        self._known_folders: set[str] = set()
        self.running, self.asleep = 0, False

    def _play(self, request: Any) -> str | Exception:
        """The script, behind the quirk that changes what is said."""
        answer = self._script(request)
        return request.prefill + answer if self.quirks.echoes_prefill and isinstance(answer, str) else answer

    # -- the door -----------------------------------------------------------------------------------------------------------------------

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self._health),
            web.get("/version", self._version),
            web.get("/metrics", self._metrics),
            web.get("/v1/models", self._models),
            web.post("/v1/chat/completions", self._complete),
            web.post("/v1/completions", self._complete),
            web.post("/v1/load_lora_adapter", self._load),
            web.post("/v1/unload_lora_adapter", self._unload),
            web.post("/sleep", self._sleep),
            web.post("/wake_up", self._wake),
            web.get("/is_sleeping", self._is_sleeping),
        ]

    @web.middleware
    async def _door(self, http: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """What every request goes through."""
        raw = await http.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        self.seen.append(Seen(http.method, http.path, body, dict(http.headers), time.monotonic()))
        await while_set(lambda: self.quirks.hangs)
        if (closed := self._closed_door(http)) is not None:
            return closed
        http[BODY] = body
        try:
            return await handler(http)
        except Refusal as refusal:
            return web.json_response(error(refusal.status, refusal.message, kind=refusal.kind, param=refusal.param), status=refusal.status)
        except web.HTTPNotFound:
            return web.json_response({"detail": "Not Found"}, status=404)
        except (Broken, ConnectionError):
            return web.Response()  # to a connection that is closed

    def _closed_door(self, http: web.Request) -> web.Response | None:
        """The answer to who does not get in."""
        quirks = self.quirks
        gone = (quirks.no_completions and http.path == "/v1/completions") or (quirks.no_lora and http.path.endswith("lora_adapter"))
        if gone or http.path in quirks.missing:
            return web.json_response({"detail": "Not Found"}, status=404)
        if http.path in quirks.busy:
            return web.json_response(error(503, "Service Unavailable"), status=503, headers={"Retry-After": "0.02"})
        if self.api_key and http.path.startswith("/v1") and http.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return None

    async def _health(self, _http: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _http: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _metrics(self, _http: web.Request) -> web.Response:
        running = min(self.running, self._concurrency)
        return web.Response(text=metrics(self.name, running, self.running - running))

    async def _models(self, _http: web.Request) -> web.Response:
        cards = [model_card(self.name, self._root, None, None if self.quirks.no_context else self._context_tokens)]
        cards += [model_card(name, str(path), self.name, None) for name, path in self.adapters.items()]
        return web.json_response({"object": "list", "data": cards})

    async def _sleep(self, _http: web.Request) -> web.Response:
        self.asleep = True
        return web.Response()

    async def _wake(self, _http: web.Request) -> web.Response:
        self.asleep = False
        return web.Response()

    async def _is_sleeping(self, _http: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self.asleep})

    # -- adapters -----------------------------------------------------------------------------------------------------------------------

    def _adapter_of(self, served: str) -> str | None:
        return None if served == self.name else self.adapters[served].name

    async def _load(self, http: web.Request) -> web.Response:
        body = http[BODY] if isinstance(http[BODY], dict) else {}
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            raise Refusal(400, "Both 'lora_name' and 'lora_path' must be provided.", kind="InvalidUserInput")
        if name in self.adapters:
            said = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True."
            raise Refusal(400, said, kind="InvalidUserInput")
        if not Path(path).is_dir():  # noqa: ASYNC240 - a look at a local folder
            raise Refusal(404, f"Loading lora {name} failed: No adapter found for {path}")
        self.adapters[name] = Path(path)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, http: web.Request) -> web.Response:
        name = http[BODY].get("lora_name") if isinstance(http[BODY], dict) else None
        if not name:
            raise Refusal(400, "'lora_name' needs to be provided to unload a LoRA adapter.", kind="InvalidUserInput")
        if self.adapters.pop(name, None) is None:
            raise Refusal(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _know(self, folder: str | None) -> None:
        """The engine inside has the adapter of that folder."""
        if folder is not None and folder not in self._known_folders:
            self._known_folders.add(folder)
            await self._engine.load(adapter_record(folder, Path(folder), self.name))

    # -- answers ------------------------------------------------------------------------------------------------------------------------

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        if self.asleep:
            raise Refusal(500, "The engine is asleep.")
        number, self._numbers = self._numbers, self._numbers + 1
        fault = self.faults.pop(0) if self.faults else self.fault_of(number)
        async with self._counted():
            if fault is not None and (spoiled := await spoil(http, fault)) is not None:
                return spoiled
            asked = self._reader.read(http[BODY], chat=http.path.endswith("chat/completions"))
            await self._know(asked.request.adapter)
            cached = self._cached(asked)
            likelihood = None
            if asked.logprobs is not None:
                likelihood = Likelihood(f"{self.model_seed}|{asked.request.adapter}|{asked.prompt}", self.quirks.wobbles)
            voice = Voice(asked.model, number, chat=asked.chat, likelihood=likelihood, top=asked.logprobs or 0)

            def usage(done: int, final: bool) -> dict[str, Any]:  # noqa: FBT001
                details = {"prompt_tokens_details": {"cached_tokens": cached}} if final else {}
                return {"prompt_tokens": asked.prompt_tokens, "total_tokens": asked.prompt_tokens + done, "completion_tokens": done, **details}

            async with aclosing(parts_of(self._engine, asked, self.quirks.tokens_per_event)) as parts:
                if asked.stream:
                    response = await Outlet(http, self.quirks, fault).send(asked, voice, parts, usage)
                else:
                    counts = (lambda _done, _final: None) if self.quirks.no_usage else usage
                    response = await send_whole(http, voice, parts, counts, fault)
            self.answered += 1
            return response

    @asynccontextmanager
    async def _counted(self) -> Any:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            yield
        finally:
            self.running -= 1

    def _cached(self, asked: Asked) -> int:
        """Tokens of the prompt that were computed before: of the longest earlier prompt that it begins with, without its last token."""
        adapter = asked.request.adapter
        shared = [
            tokens for (whose, prompt), tokens in self._prompts.items() if self.quirks.caches and whose == adapter and asked.prompt.startswith(prompt)
        ]
        self._prompts[adapter, asked.prompt] = asked.prompt_tokens
        return max(0, min(max(shared, default=0), asked.prompt_tokens - 1)) // BLOCK_TOKENS * BLOCK_TOKENS


def _bound(port: int) -> socket.socket:
    """A socket of this port on the loopback; two may have it as long as one of them listens."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held
