"""One server: its address, what runs there, and single exchanges with it. What does not live here: which server gets a request (`fleet`)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from selflengthen.engines.base import RequestRefused
from selflengthen.engines.served.faults import Broken, Busy, Down, Faulty, ServerFault, fault_of
from selflengthen.engines.served.pace import Pace
from selflengthen.engines.served.sse import EventCutter
from selflengthen.errors import EngineError

CONNECT_SECONDS = 10.0
SHORT_SECONDS = 60.0
"""For an exchange that is no stream: a question, an adapter to load."""
FILES = 65536
"""Open files that are enough for any number of streams."""
HEALTH_PATHS = ("/health", "models")
"""Asked in this order; the second is of the base URL, for servers without the first."""


@dataclass(slots=True, eq=False)
class Stream:
    """An answer under way."""

    task: asyncio.Task[Any]
    tokens: int
    """The most it may have."""
    sent_at: float
    heard_at: float
    begun: bool = False
    fault: ServerFault | None = None

    def abort(self, fault: ServerFault) -> None:
        """End it from outside, with this fault."""
        if self.fault is None:
            self.fault = fault
            self.task.cancel()


@dataclass(slots=True, eq=False)
class Endpoint:
    """A server and its state."""

    url: str
    """Of the API: ends with /v1 or whatever the server has there, without a slash."""
    pace: Pace
    session: aiohttp.ClientSession
    up: bool = False
    why: str = "not asked yet"
    """Why it is not up."""
    suspect: bool = False
    """Something went wrong and its health is being asked: it gets nothing new meanwhile."""
    streams: set[Stream] = field(default_factory=set)
    unsure: bool = False
    """It may have been started anew since it was prepared: a connection broke, or nothing ran there for a while."""
    idle_since: float | None = None
    """When the last request left."""
    taken: int = 0
    """Requests that have a place here, those between two exchanges included."""
    completed: int = 0
    adapters: set[str] = field(default_factory=set)
    """Names it answers to beside the base model's."""
    tells_queue: bool = True
    """It has metrics that say how many requests wait."""
    health_path: str = HEALTH_PATHS[0]

    @property
    def root(self) -> str:
        """Of the server, for what is no part of the API."""
        return self.url.removesuffix("/v1")

    async def get(self, path: str, *, root: bool = False, seconds: float = SHORT_SECONDS) -> bytes:
        """GET; the body. Raises ServerFault, RequestRefused or EngineError for anything but 200."""
        return await self._exchange("GET", path, None, root, seconds)

    async def post(self, path: str, body: Mapping[str, Any], *, root: bool = False, seconds: float = SHORT_SECONDS) -> bytes:
        """POST of a JSON body; the answer's."""
        return await self._exchange("POST", path, body, root, seconds)

    async def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, root: bool, seconds: float) -> bytes:  # noqa: FBT001
        url = f"{self.root}{path}" if root else f"{self.url}/{path}"
        try:
            async with asyncio.timeout(seconds), self._request(method, url, body) as response:
                answer = await response.read()
                if response.status != 200:
                    raise self._fault(response, answer)
                return answer
        except TimeoutError:
            raise Down(f"no answer to {method} {path} in {seconds:g} s") from None

    async def healthy(self, seconds: float) -> bool:
        """Whether the server answers at all."""
        for path in HEALTH_PATHS[HEALTH_PATHS.index(self.health_path) :]:
            self.health_path = path
            try:
                await self.get(path, root=path.startswith("/"), seconds=seconds)
            except (Down, Faulty):
                return False
            except Busy as busy:
                return not str(busy).startswith("5")  # 503 is how a server says that its engine is dead
            except (ServerFault, RequestRefused, EngineError):
                continue  # it answers, but not there
            return True
        return True

    async def converse(self, path: str, body: Mapping[str, Any], stream: Stream, take: Callable[[list[bytes]], bool]) -> None:
        """A streamed exchange: each batch of events goes to `take` until it says that it has heard enough, or the server has said all.

        Leaving in any way closes the connection, at which the server drops the request. Raises what `fault_of` says, Faulty and Down.
        """
        clock = asyncio.get_running_loop().time
        async with self._request("POST", f"{self.url}/{path}", body) as response:
            if response.status != 200:
                raise self._fault(response, await response.read())
            cutter, read = EventCutter(), response.content.readany
            try:
                while data := await read():
                    stream.heard_at = clock()
                    if (events := cutter.feed(data)) and take(events):
                        return
            finally:
                response.close()
        raise Faulty("the stream ended before the answer did")

    @asynccontextmanager
    async def _request(self, method: str, url: str, body: Mapping[str, Any] | None) -> AsyncIterator[aiohttp.ClientResponse]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        try:
            async with self.session.request(method, url, data=data, headers=headers) as response:
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Down(f"cannot connect: {error}") from error
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Broken(f"the connection broke: {type(error).__name__} {error}") from error

    def _fault(self, response: aiohttp.ClientResponse, answer: bytes) -> Exception:
        """What an answer that is not 200 means. Some servers say which key they do not know; what they say here goes to logs and rows."""
        key = self.session.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        return fault_of(response.status, response.headers, answer.replace(key, b"(the key)") if key else answer)


def open_session(key: str | None) -> aiohttp.ClientSession:
    """Connections to servers. Each is used once: a server that closes idle ones at the moment we use one looks like a dead server."""
    _allow_files()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connector = aiohttp.TCPConnector(limit=0, force_close=True, enable_cleanup_closed=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, read_bufsize=2**18)


def _allow_files() -> None:
    """Each stream is an open file, of which many systems allow a process 1,024 until it asks for more."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
