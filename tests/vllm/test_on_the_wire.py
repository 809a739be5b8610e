"""What only a real server shows: that a closed stream ends its request there, and that no token goes on being paid for."""

import asyncio
import re
import time

import aiohttp
from asking import Listener, ask

from selflengthen.engines import Finish, open_engine
from selflengthen.records import Reason
from selflengthen.text.verdict import Verdict

ENDLESS = {"tokens": 400, "temperature": 0, "repetition_penalty": 1.0}


async def running(url: str) -> int:
    """The server's own count of the requests it runs."""
    async with aiohttp.ClientSession() as session, session.get(f"{url.removesuffix('/v1')}/metrics") as response:
        text = await response.text()
    return sum(int(float(value)) for value in re.findall(r"^vllm:num_requests_running\{[^}]*\} (\S+)", text, re.MULTILINE))


async def until(url: str, wanted: int, seconds: float) -> float:
    """Wait until the server runs `wanted` requests; how long it took."""
    began = time.monotonic()
    while await running(url) != wanted:
        assert time.monotonic() - began < seconds, f"{await running(url)} run after {seconds} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def test_a_verdict_ends_the_request_on_the_server(server, model):
    async def go():
        async with open_engine("openai", urls=(server,), model=str(model), api_key="key-of-the-tests") as engine:
            heard = Listener(stop_at=10, verdict=Verdict(Reason.REPEATED, 0, 3))
            stopped = await engine.generate(ask("Write about boats.", **ENDLESS), heard)
            seconds = await until(server, 0, 2.0)
            return stopped, seconds

    stopped, seconds = asyncio.run(go())
    assert stopped.finish is Finish.WATCHED
    assert stopped.generated_tokens < 40, "the server had gone on"
    print(f"dropped {seconds:.2f} s after the verdict")


def test_cancelled_and_left_requests_end_on_the_server(server, model):
    async def go():
        async with open_engine("openai", urls=(server,), model=str(model), api_key="key-of-the-tests") as engine:
            listeners = [Listener() for _ in range(6)]
            tasks = [asyncio.create_task(engine.generate(ask("Write about boats.", **ENDLESS), heard)) for heard in listeners]
            await asyncio.gather(*(heard.fed.wait() for heard in listeners))
            for task in tasks[:3]:
                task.cancel()
            await asyncio.gather(*tasks[:3], return_exceptions=True)
        await until(server, 0, 2.0)  # leaving the engine ended the rest
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(outcome, BaseException) for outcome in asyncio.run(go()))


def test_tokens_are_those_the_server_counts(server, model):
    async def go():
        async with open_engine("openai", urls=(server,), model=str(model), api_key="key-of-the-tests") as engine:
            long = ask("The old boats. " * 70, tokens=30)
            return await engine.generate(long), await engine.generate(long)

    first, second = asyncio.run(go())
    assert first.generated_tokens == 30
    assert first.prompt_tokens == second.prompt_tokens > 256
    assert second.cached_tokens >= 128, "the prefix cache is on, and its hits are told"
