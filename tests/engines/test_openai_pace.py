"""How many requests the engine gives a server at once, and what it takes back: nothing goes on there that nobody waits for."""

import asyncio

import pytest
from asking import Listener, ask
from openai_quirks import refused
from openai_server import OpenAIServer
from openai_tale import asked_about, asking, befall, opened, tale, until, whole

from selflengthen.engines import Finish
from selflengthen.engines.served import fleet
from selflengthen.engines.served.pace import START
from selflengthen.errors import EngineError
from selflengthen.records import Reason
from selflengthen.text.verdict import Verdict


def test_more_is_sent_while_the_server_takes_it(tmp_path):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            assert engine.capabilities.concurrency == START
            server.quirks.stalls = True
            tasks = asking(engine, 3 * START)
            await until(lambda: server.running == 3 * START)
            server.quirks.stalls = False
            await asyncio.gather(*tasks)
            return engine.capabilities.concurrency

    with OpenAIServer(tale, concurrency=1000) as server:
        assert asyncio.run(go(server)) >= 3 * START


def test_a_server_that_begins_no_answer_is_given_no_more(tmp_path):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            server.quirks.hangs = True
            tasks = asking(engine, 2 * START)
            await until(lambda: len(asked_about(server, "anchor")) >= START)
            await asyncio.sleep(0.1)
            assert len(asked_about(server, "anchor")) == START
            server.quirks.hangs = False
            await asyncio.gather(*tasks)

    with OpenAIServer(tale, concurrency=4) as server:
        asyncio.run(go(server))


def test_a_refusal_halves_what_is_sent(tmp_path):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            befall(server, *[refused(429, 0)] * 5)
            await asyncio.gather(*asking(engine, 8))
            return engine.capabilities.concurrency

    with OpenAIServer(tale) as server:
        assert START // 4 <= asyncio.run(go(server)) <= START // 2


def test_there_are_never_more_than_were_allowed(tmp_path):
    async def go(server):
        async with opened(tmp_path, server, concurrency=3) as engine:
            server.quirks.stalls = True
            tasks = asking(engine, 12)
            await until(lambda: server.running == 3)
            server.quirks.stalls = False
            answers = await asyncio.gather(*tasks)
            return answers, engine.capabilities.concurrency

    with OpenAIServer(tale) as server:
        answers, concurrency = asyncio.run(go(server))
        # One that the engine has heard to its end may be there for a moment longer, each beside the one that took its place.
        assert server.most_at_once <= 2 * 3
    assert concurrency == 3
    assert all(whole("anchor", seed).startswith(answer.text) for seed, answer in enumerate(answers))


def test_a_queue_that_a_server_tells_of_takes_back_what_was_sent_for_nothing(tmp_path, monkeypatch):
    async def go(server):
        async with opened(tmp_path, server) as engine:
            server.quirks.stalls = True
            tasks = asking(engine, START)
            await until(lambda: engine.capabilities.concurrency == 4 + 2)  # what it runs, and the two that may always wait
            server.quirks.stalls = False
            await asyncio.gather(*tasks)

    monkeypatch.setattr(fleet, "QUEUE_SECONDS", 0.05)
    with OpenAIServer(tale, concurrency=4) as server:
        asyncio.run(go(server))


@pytest.mark.parametrize("how", ["missing", "busy"])
def test_a_server_without_metrics_is_asked_for_them_once(tmp_path, monkeypatch, how):
    """One that is too busy to tell them now has them."""

    def asked(server) -> int:
        return [seen.path for seen in server.seen].count("/metrics")

    async def go(server):
        async with opened(tmp_path, server) as engine:
            server.quirks.stalls = True
            tasks = asking(engine, 2)
            await until(lambda: asked(server) >= (1 if how == "missing" else 3))
            await asyncio.sleep(0.1)  # for the next times it could be asked
            server.quirks.stalls = False
            await asyncio.gather(*tasks)

    monkeypatch.setattr(fleet, "QUEUE_SECONDS", 0.02)
    with OpenAIServer(tale, **{how: frozenset({"/metrics"})}) as server:
        asyncio.run(go(server))
        assert (asked(server) == 1) == (how == "missing")


# -- what is taken back -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "left", "verdict", "stop", "cancelled while it waits"])
def test_what_nobody_waits_for_ends_on_the_server(tmp_path, how):
    async def go(server):
        async with opened(tmp_path, server, concurrency=2) as engine:
            server.quirks.stalls = how != "stop"
            listeners = [Listener(stop_at=3 if how == "verdict" else None, verdict=Verdict(Reason.REPEATED, 0, 3)) for _ in range(2)]
            stop = ("anchor",) if how == "stop" else ()
            server.quirks.ignores_stop = True
            tasks = [
                asyncio.create_task(engine.generate(ask("anchor", seed=seed, tokens=5000, stop=stop), heard)) for seed, heard in enumerate(listeners)
            ]
            waiting = asking(engine, 2) if "waits" in how else []
            if how != "stop":
                await asyncio.gather(*(heard.fed.wait() for heard in listeners))
            if "cancelled" in how:
                for task in [*waiting, *tasks]:
                    task.cancel()
            if how != "left":
                outcomes = await asyncio.gather(*tasks, *waiting, return_exceptions=True)
                await until(lambda: server.running == 0)
                server.quirks.stalls = False
                assert whole("quay").startswith((await engine.generate(ask("quay"))).text)
        return outcomes if how != "left" else await asyncio.gather(*tasks, return_exceptions=True)

    with OpenAIServer(tale, context_tokens=10000) as server:
        outcomes = asyncio.run(go(server))
        asyncio.run(until(lambda: server.running == 0))
    match how:
        case "left":
            assert all(isinstance(outcome, EngineError) and "closed" in str(outcome) for outcome in outcomes)
        case "verdict":
            assert [outcome.finish for outcome in outcomes] == [Finish.WATCHED] * 2
        case "stop":
            assert [(outcome.finish, outcome.text) for outcome in outcomes] == [(Finish.STOP, f"灯{seed}/") for seed in range(2)]
        case _:
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
