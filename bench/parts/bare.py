"""The bare engine: requests that were made before, all at once, with nothing of ours between them and the server. What a flow is measured against."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from parts.watched import Asked, by_engine, exactly
from selflengthen.engines import Engine, Request
from selflengthen.engines.openai import OpenAIEngine
from selflengthen.engines.served.wire import SEED_MASK
from selflengthen.engines.vllm import VllmEngine


async def all_at_once(engine: Engine, asked: Sequence[Asked], *, seeds: bool = True) -> float:
    """Tokens per second. Each request has the tokens it had before, no more: it is ended by its limit. `seeds`: of servers, whether to send them."""
    wanted = [each for each in asked if each.tokens]
    if isinstance(engine, VllmEngine):
        engine = engine._opened()  # noqa: SLF001 - the servers behind it
    if isinstance(engine, OpenAIEngine):
        return await _servers(engine, wanted, seeds=seeds)
    begun = time.perf_counter()
    tokens = await asyncio.gather(*(by_engine(engine, each) for each in wanted))
    return sum(tokens) / (time.perf_counter() - begun)


async def _servers(engine: OpenAIEngine, asked: Sequence[Asked], *, seeds: bool) -> float:
    """Plain requests without streaming, spread evenly over the servers."""
    urls = [endpoint.url for endpoint in engine._fleet.endpoints]  # type: ignore[union-attr]  # noqa: SLF001
    bodies = [_body(engine, exactly(each)) | ({} if seeds else {"seed": None}) for each in asked]
    headers = {"Authorization": f"Bearer {engine._key}"} if engine._key else {}  # noqa: SLF001
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:

        async def one(url: str, body: dict[str, Any]) -> int:
            async with session.post(f"{url}/completions", json=body) as response:
                told = await response.json()
                if response.status != 200:
                    raise RuntimeError(told)
                return int(told["usage"]["completion_tokens"])

        begun = time.perf_counter()
        tokens = await asyncio.gather(*(one(urls[number % len(urls)], body) for number, body in enumerate(bodies)))
        return sum(tokens) / (time.perf_counter() - begun)


def _body(engine: OpenAIEngine, request: Request) -> dict[str, Any]:
    """As the engine would send it, without the stream."""
    known, sampling = engine.known, request.sampling
    assert known.local.dialogue is not None
    name = known.card.name if request.adapter is None else engine._shelf.served_name(request.adapter)  # noqa: SLF001
    return {
        "model": name,
        "prompt": known.local.dialogue.encode(known.local.dialogue.prompt(request)),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": request.seed & SEED_MASK,
        "ignore_eos": True,
    }
