"""Answers that show it when they are torn or mixed up, and engines over servers that give them; shared by the tests of such engines."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from asking import adapter_record, ask
from openai_quirks import Fault
from openai_server import OpenAIServer, Seen

from selflengthen.engines import Completion, Request
from selflengthen.engines.openai import OpenAIEngine
from selflengthen.records import Adapter

LOST = "(not a beginning of mine)"


@lru_cache(maxsize=1000)
def whole(topic: str, seed: int = 1, adapter: str | None = None) -> str:
    """The long answer to a request: no two places in it are alike, nor two answers. No blanks, which are another matter."""
    return "".join(f"灯{seed}/{adapter or ''}{topic}/{place}，" for place in range(400))


def tale(request: Request) -> str:
    """A script: an answer that has begun is gone on with, so that one which was cut comes out as if it had not been."""
    text = whole(request.messages[-1].content, request.seed, request.adapter)
    return text[len(request.prefill) :] if text.startswith(request.prefill) else LOST


@asynccontextmanager
async def opened(model: object, *servers: OpenAIServer, **settings: Any) -> AsyncIterator[OpenAIEngine]:
    """An engine over the servers. `model`: a folder with a tokenizer, or an empty one for chat."""
    urls = tuple(server.url for server in servers)
    async with asyncio.timeout(60), OpenAIEngine(urls=urls, model=str(model), **settings) as engine:
        yield engine


def befall(server: OpenAIServer, *faults: Fault | None, about: str = "") -> list[Fault | None]:
    """The next answers (not the questions by which a server is examined) have a fault each; with `about`, those that it is named in.

    The list: of those that befell nobody yet.
    """
    left = [*faults]

    def fault_of(_number: int) -> Fault | None:
        body = server.asked[-1].body  # this very request's
        return left.pop(0) if left and body.get("stream") and about in str(body) else None

    server.fault_of = fault_of
    return left


def asked_about(server: OpenAIServer, topic: str) -> list[Seen]:
    """The requests that a topic is named in."""
    return [seen for seen in server.asked if topic in str(seen.body)]


def asking(engine: OpenAIEngine, count: int, topic: str = "anchor", **fields: Any) -> list[asyncio.Task[Completion]]:
    """So many requests under way, each with a seed of its own."""
    return [asyncio.create_task(engine.generate(ask(topic, seed=seed, **fields))) for seed in range(count)]


def own(answers: Sequence[Completion], topic: str = "anchor", adapter: str | None = None) -> bool:
    """Whether each of them has its own answer."""
    return all(len(answer.text) > 80 and whole(topic, seed, adapter).startswith(answer.text) for seed, answer in enumerate(answers))


def adapter_in(folder: Path, name: str, weights: bytes = b"weights") -> Adapter:
    """An adapter, in a folder of its name."""
    (folder / name).mkdir()
    (folder / name / "adapter_model.safetensors").write_bytes(weights)
    return adapter_record(name, folder / name, "base")


async def until(what: Callable[[], bool]) -> None:
    """Wait for what another thread or the engine does."""
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)
