"""The engine over several servers, or one that dies, hangs, and comes back."""

import asyncio

import pytest
from asking import ask
from openai_quirks import Fault, Kind, refused
from openai_server import OpenAIServer
from openai_tale import adapter_in, asked_about, asking, befall, opened, own, tale, until, whole

from selflengthen.engines.served import fleet
from selflengthen.errors import EngineError


@pytest.fixture
def one(tmp_path):
    return adapter_in(tmp_path, "one")


@pytest.fixture
def empty(tmp_path):
    """A model's folder without a tokenizer."""
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


# -- load -------------------------------------------------------------------------------------------------------------------------------


def test_the_server_with_the_least_in_flight_gets_the_next_request(empty):
    async def go(left, right):
        async with opened(empty, left, right) as engine:
            left.quirks.stalls = right.quirks.stalls = True
            first = asking(engine, 20)
            await until(lambda: left.running + right.running == 20)
            halves = (left.running, right.running)
            right.quirks.stalls = False
            await until(lambda: right.running == 0)
            right.quirks.stalls = True
            second = asking(engine, 10, "quay")
            await until(lambda: left.running + right.running == 20)
            later = (left.running, right.running)
            left.quirks.stalls = right.quirks.stalls = False
            return halves, later, await asyncio.gather(*first), await asyncio.gather(*second)

    with OpenAIServer(tale, concurrency=50) as left, OpenAIServer(tale, concurrency=50) as right:
        halves, later, first, second = asyncio.run(go(left, right))
    assert halves == later == (10, 10)
    assert own(first)
    assert own(second, "quay")


def test_a_server_whose_every_answer_fails_spoils_no_request(empty):
    async def go(ill, well):
        async with opened(empty, ill, well, concurrency=4) as engine:
            befall(ill, *[refused(500)] * 999)
            answers = await asyncio.gather(*asking(engine, 30))
            return answers, len(asked_about(ill, "anchor"))

    with OpenAIServer(tale) as ill, OpenAIServer(tale) as well:
        answers, failed = asyncio.run(go(ill, well))
    assert own(answers)
    assert failed > 0


def test_300_requests_at_once_each_get_their_own_answer(empty):
    async def go(server):
        async with opened(empty, server) as engine:
            return await asyncio.gather(*asking(engine, 300))

    with OpenAIServer(tale, concurrency=8, tokens_per_event=8) as server:
        answers = asyncio.run(go(server))
    assert len({answer.text for answer in answers}) == 300
    assert own(answers)


# -- death and return -------------------------------------------------------------------------------------------------------------------


def test_what_ran_on_a_killed_server_goes_on_elsewhere_and_it_is_used_again(empty, one):
    notices = []

    async def go(left, right):
        async with opened(empty, left, right, own_servers=True, on_notice=notices.append) as engine:
            await engine.load(one)
            left.quirks.stalls = right.quirks.stalls = True
            tasks = asking(engine, 12, adapter="one")
            await until(lambda: left.running == right.running == 6)
            await asyncio.to_thread(left.kill)
            await until(lambda: right.running == 12)
            right.quirks.stalls = left.quirks.stalls = False
            first = await asyncio.gather(*tasks)
            assert not engine.is_up(left.url)
            await asyncio.to_thread(left.start)
            await until(lambda: engine.is_up(left.url))
            before = left.answered
            return first, await asyncio.gather(*asking(engine, 12, "quay", adapter="one")), left.answered - before

    with OpenAIServer(tale, concurrency=50) as left, OpenAIServer(tale, concurrency=50) as right:
        first, second, answered = asyncio.run(go(left, right))
        assert left.adapters == right.adapters == {"one": one.path}
        assert len(asked_about(right, "anchor")) == 12
    assert own(first, adapter="one")
    assert own(second, "quay", "one")
    assert answered > 0
    assert (
        [notice for notice in notices if "is down" in notice]
        == [notice for notice in notices if left.url in notice and "is back" not in notice]
        != []
    )
    assert f"{left.url} is back" in notices


def test_a_server_that_died_while_it_had_nothing_to_do_costs_nobody_an_answer(empty):
    async def go(left, right):
        async with opened(empty, left, right) as engine:
            await asyncio.to_thread(left.kill)
            return await asyncio.gather(*asking(engine, 8))

    with OpenAIServer(tale) as left, OpenAIServer(tale) as right:
        assert own(asyncio.run(go(left, right)))


def test_requests_wait_for_the_only_server_to_come_back(empty):
    async def go(server):
        async with opened(empty, server) as engine:
            server.quirks.stalls = True
            tasks = asking(engine, 4)
            await until(lambda: server.running == 4)
            await asyncio.to_thread(server.kill)
            server.quirks.stalls = False
            await until(lambda: not engine.is_up(server.url))
            tasks += [asyncio.create_task(engine.generate(ask("anchor", seed=4)))]
            await asyncio.to_thread(server.start)
            return await asyncio.gather(*tasks)

    with OpenAIServer(tale) as server:
        assert own(asyncio.run(go(server)))


def test_a_server_that_is_not_there_at_the_start_is_used_once_it_comes(empty, one):
    notices = []

    async def go(here, late):
        async with opened(empty, here, late, own_servers=True, on_notice=notices.append) as engine:
            await engine.load(one)
            await asyncio.to_thread(late.start)
            await until(lambda: engine.is_up(late.url))
            return await asyncio.gather(*asking(engine, 6, adapter="one"))

    late = OpenAIServer(tale)
    with OpenAIServer(tale) as here:
        try:
            answers = asyncio.run(go(here, late))
        finally:
            late.__exit__()
    assert own(answers, adapter="one")
    assert len(asked_about(late, "anchor")) == 3
    assert any(f"{late.url} does not answer" in notice for notice in notices)


def test_without_any_server_the_engine_ends_after_a_while_and_names_them(empty):
    async def go(left, right):
        async with opened(empty, left, right, silence_seconds=1.0, wait_seconds=0.3) as engine:
            left.quirks.stalls = right.quirks.stalls = True
            tasks = asking(engine, 4)
            await until(lambda: left.running + right.running == 4)
            await asyncio.gather(asyncio.to_thread(left.kill), asyncio.to_thread(right.kill))
            return await asyncio.gather(*tasks, return_exceptions=True)

    with OpenAIServer(tale) as left, OpenAIServer(tale) as right:
        outcomes = asyncio.run(go(left, right))
    for outcome in outcomes:
        assert isinstance(outcome, EngineError)
        assert left.url in str(outcome)
        assert right.url in str(outcome)


def test_no_server_at_the_start_is_said_at_once(empty):
    server = OpenAIServer(tale)
    with pytest.raises(EngineError, match=rf"no server answers \({server.url}: cannot connect.*engine.urls"):
        asyncio.run(opened(empty, server).__aenter__())
    server.__exit__()


# -- silence ----------------------------------------------------------------------------------------------------------------------------


def test_what_ran_on_a_server_that_hangs_goes_on_elsewhere_and_it_is_used_again(empty, monkeypatch):
    async def go(left, right):
        async with opened(empty, left, right, silence_seconds=0.4) as engine:
            left.quirks.stalls = right.quirks.stalls = True
            tasks = asking(engine, 8)
            await until(lambda: left.running == right.running == 4)
            right.quirks.stalls, left.quirks.hangs = False, True
            answers = await asyncio.gather(*tasks)
            left.quirks.stalls = left.quirks.hangs = False
            await until(lambda: engine.is_up(left.url))
            return answers, await asyncio.gather(*asking(engine, 4, "quay"))

    monkeypatch.setattr(fleet, "STALLED", 1000.0)  # nobody waits until each stream by itself is given up
    with OpenAIServer(tale) as left, OpenAIServer(tale) as right:
        answers, later = asyncio.run(go(left, right))
    assert own(answers)
    assert own(later, "quay")


def test_a_lonely_server_that_hangs_ends_the_engine(empty):
    async def go(server):
        async with opened(empty, server, silence_seconds=0.3, wait_seconds=0.3) as engine:
            server.quirks.hangs = True
            await engine.generate(ask("anchor"))

    with (
        OpenAIServer(tale) as server,
        pytest.raises(EngineError, match=rf"no server has answered for 0 s \({server.url}: it does not answer when asked"),
    ):
        asyncio.run(go(server))


def test_streams_that_stall_on_a_server_that_lives_go_on_elsewhere(empty, monkeypatch):
    async def go(left, right):
        async with opened(empty, left, right, silence_seconds=0.5) as engine:
            left.quirks.stalls = True
            return await asyncio.gather(*asking(engine, 8))

    monkeypatch.setattr(fleet, "STALLED", 1.5)
    with OpenAIServer(tale) as left, OpenAIServer(tale) as right:
        assert own(asyncio.run(go(left, right)))
        assert len(asked_about(left, "anchor")) > 0


@pytest.mark.parametrize("how", ["buffers", "waits"])
def test_a_slow_server_that_lives_is_not_taken_for_dead(empty, monkeypatch, how):
    """It says nothing for longer than a silence, and longer than a stream that has begun may be silent."""
    notices = []

    async def go(server):
        async with opened(empty, server, silence_seconds=0.8, on_notice=notices.append) as engine:
            if how == "waits":
                befall(server, Fault(Kind.WAITS, seconds=1.4))
            else:
                server.quirks.stalls = True
                asyncio.get_running_loop().call_later(1.4, setattr, server.quirks, "stalls", False)
            return await engine.generate(ask("anchor", tokens=30))

    monkeypatch.setattr(fleet, "STALLED", 1.0)
    with OpenAIServer(tale, buffers=how == "buffers") as server:
        answer = asyncio.run(go(server))
        assert len(asked_about(server, "anchor")) == 1
    assert whole("anchor").startswith(answer.text)
    assert not [notice for notice in notices if "down" in notice]


def test_patience_is_measured_by_the_speed_that_was_seen(empty):
    async def go(server):
        async with opened(empty, server, silence_seconds=0.2) as engine:
            await asyncio.gather(*asking(engine, 40))
            befall(server, Fault(Kind.WAITS, seconds=100))
            async with asyncio.timeout(20):  # by the first guess it would be 40 s
                return await engine.generate(ask("quay"))

    with OpenAIServer(tale, tokens_per_event=8) as server:
        assert whole("quay").startswith(asyncio.run(go(server)).text)


def test_a_server_that_says_that_it_is_dead_is_left_alone_until_it_lives(empty):
    async def go(server):
        async with opened(empty, server) as engine:
            befall(server, refused(500))
            server.quirks.busy = frozenset({"/health"})
            task = asyncio.create_task(engine.generate(ask("anchor")))
            await until(lambda: not engine.is_up(server.url))
            server.quirks.busy = frozenset()
            return await task

    with OpenAIServer(tale) as server:
        assert whole("anchor").startswith(asyncio.run(go(server)).text)
