"""A server that streams events as fast as a socket takes them: what the client is measured against. `python hose.py STREAMS EVENTS`, prints its port.

Knows just enough of the protocol to be probed. A stream's first event comes at once; the others once STREAMS of them are open, so that all are
open together. Events are those of a vLLM server with `--stream-interval 4`: four tokens of text, and the counts so far. All are made before the
clock starts.
"""

import asyncio
import json
import resource
import sys

WORDS = [
    "the",
    "quiet",
    "harbour",
    "keeps",
    "its",
    "old",
    "boats",
    "and",
    "nobody",
    "asks",
    "why",
    "a",
    "lantern",
    "burns",
    "until",
    "the",
    "morning",
    "comes",
    "over",
    "the",
    "hill",
    "with",
    "rain",
]
TOKENS_PER_EVENT = 4
SLICE = 16
"""Events written together: a server under load has several tokens of a stream ready each time the socket is looked at; few, to be hard on us."""


def event(number: int) -> bytes:
    """The event of this number, counted from 1."""
    # A word in each text is new, so that no n-gram comes back and the checks let it pass.
    text = f" {' '.join(WORDS[(number * 3 + place) % len(WORDS)] for place in range(TOKENS_PER_EVENT - 1))} n{number:x}"
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None, "stop_reason": None}
    tokens = number * TOKENS_PER_EVENT
    told = {
        "id": "cmpl-979dcfdb5f03905a",
        "object": "text_completion",
        "created": 1795563736,
        "model": "base",
        "choices": [choice],
        "usage": {"prompt_tokens": 31, "total_tokens": 31 + tokens, "completion_tokens": tokens},
    }
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def end() -> bytes:
    """The last event."""
    choice = {"index": 0, "text": ".", "logprobs": None, "finish_reason": "stop"}
    return b"data: " + json.dumps({"id": "x", "object": "text_completion", "choices": [choice]}).encode() + b"\n\ndata: [DONE]\n\n"


class Hose:
    """The server."""

    def __init__(self, streams: int, events: int) -> None:
        self.streams, self.open, self.most = streams, 0, 0
        self.all_open = asyncio.Event()
        made = [event(number) for number in range(1, events)]
        self.first, self.slices = made[0], [b"".join(made[at : at + SLICE]) for at in range(1, len(made), SLICE)] + [end()]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One exchange."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            if body.get("stream") and body.get("max_tokens", 0) > 1:
                await self._stream(writer)
            else:
                status, told = self._answer(head.split(b" ")[1].decode(), body)
                data = json.dumps(told).encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, body: dict[str, object]) -> tuple[str, object]:
        if path == "/v1/models":
            return "200 OK", {"data": [{"id": "base", "max_model_len": 32768}]}
        if path == "/most":
            return "200 OK", self.most
        if path == "/health" or body:
            return "200 OK", {"choices": [{"text": "x", "message": {"content": "x"}, "finish_reason": "length"}]}
        return "404 Not Found", {}

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + self.first)
            if self.open >= self.streams:
                self.all_open.set()
            await self.all_open.wait()
            for data in self.slices:
                writer.write(data)
                await writer.drain()
        finally:
            self.open -= 1


async def main(streams: int, events: int) -> None:
    """Listen until the process is ended."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = await asyncio.start_server(Hose(streams, events).serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
