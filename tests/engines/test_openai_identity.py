"""A server that was started anew is prepared before it is used: with the model that it had, or the engine ends, and with the adapters."""

import asyncio

import pytest
from asking import ask
from openai_quirks import Fault, Kind, refused
from openai_server import OpenAIServer
from openai_tale import adapter_in, asked_about, asking, befall, opened, own, tale, until

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


def test_a_server_that_was_replaced_while_it_had_nothing_to_do_is_noticed(empty, monkeypatch):
    async def go(server):
        async with opened(empty, server, silence_seconds=0.5) as engine:
            await engine.generate(ask("anchor"))
            server.kill()
            server.model_seed = 1
            server.start()
            await asyncio.sleep(0.2)  # the engine cannot see it, so there is nothing to wait for
            await engine.generate(ask("anchor"))

    monkeypatch.setattr(fleet, "IDLE_SECONDS", 0.05)
    with OpenAIServer(tale) as server:
        with pytest.raises(EngineError, match="serves another model as 'base'"):
            asyncio.run(go(server))
        assert len(asked_about(server, "anchor")) == 1


@pytest.mark.parametrize("mode", ["chat", "completions"])
@pytest.mark.parametrize("fast", [False, True])
def test_a_server_that_comes_back_with_another_model_is_noticed(models, mode, fast):
    """`fast`: so soon that it answers again by the time it is asked whether it lives."""

    async def go(server):
        async with opened(models["qwen2"], server, prefill=mode) as engine:
            server.quirks.stalls = True
            tasks = asking(engine, 3)
            await until(lambda: server.running == 3)
            if fast:
                server.kill()  # and meanwhile the engine gets no turn
            else:
                await asyncio.to_thread(server.kill)
                await until(lambda: not engine.is_up(server.url))
            server.quirks.stalls, server.model_seed = False, 1
            before = server.answered
            server.start()
            return await asyncio.gather(*tasks, return_exceptions=True), server.answered - before

    with OpenAIServer(tale, tokenizer=models["qwen2"], reads_turns=True) as server:
        outcomes, answered = asyncio.run(go(server))
    for outcome in outcomes:
        assert isinstance(outcome, EngineError)
        assert f"{server.url} serves another model as 'base' than before: " in str(outcome)
    assert answered == 1, "only the question by which it was recognised"


def test_a_server_that_was_started_anew_very_fast_gets_its_adapters_first(empty, one):
    async def go(server):
        async with opened(empty, server, own_servers=True) as engine:
            await engine.load(one)
            server.quirks.stalls = True
            tasks = asking(engine, 3, adapter="one")
            await until(lambda: server.running == 3)
            server.kill()
            server.quirks.stalls = False
            server.start()
            await until(lambda: server.seen[-1].path != "/health")
            return await asyncio.gather(*tasks)

    with OpenAIServer(tale, wobbles=0.05) as server:
        assert own(asyncio.run(go(server)), adapter="one")
        assert len(asked_about(server, "anchor")) == 6, "asked while it did not have the adapter"
        assert [seen.path for seen in server.seen].count("/v1/load_lora_adapter") == 3  # the probe, and once in each life


def test_an_adapter_that_somebody_took_off_is_loaded_again(empty, one):
    async def go(server):
        async with opened(empty, server, own_servers=True) as engine:
            await engine.load(one)
            server.adapters.clear()
            return await asyncio.gather(*asking(engine, 5, adapter="one"))

    with OpenAIServer(tale) as server:
        assert own(asyncio.run(go(server)), adapter="one")


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_the_model_that_a_run_began_with_is_remembered_from_one_engine_to_the_next(models, tmp_path, mode):
    memory = tmp_path / "server.json"

    async def go(server):
        async with opened(models["qwen2"], server, prefill=mode, memory=memory) as engine:
            return await engine.generate(ask("anchor"))

    with OpenAIServer(tale, tokenizer=models["qwen2"], reads_turns=True, wobbles=0.05) as server:
        for _ in range(3):
            asyncio.run(go(server))
        befall(server)
        server.model_seed = 1
        with pytest.raises(EngineError, match=r"another model as 'base'.*than this run was begun with: it says .*delete .*server\.json"):
            asyncio.run(go(server))


def test_a_server_that_has_a_fault_is_not_taken_unrecognised(empty, tmp_path):
    """The question by which it is recognised is asked again: without an answer to it any model would pass."""
    memory = tmp_path / "server.json"

    async def go(server, fault):
        left = [fault]
        server.fault_of = lambda _: left.pop() if left and "logprobs" in server.asked[-1].body else None
        async with opened(empty, server, memory=memory):
            assert not left

    with OpenAIServer(tale) as server:
        for fault in (refused(503, 0), refused(500), Fault(Kind.CLOSED)):
            memory.unlink(missing_ok=True)
            asyncio.run(go(server, fault))
            assert '"likely"' in memory.read_text(), fault


def test_a_server_that_breaks_off_whenever_it_is_to_be_recognised_is_not_taken(empty, tmp_path):
    memory = tmp_path / "server.json"

    async def go(server):
        async with opened(empty, server, memory=memory):
            pass

    with OpenAIServer(tale) as server:
        server.fault_of = lambda _: Fault(Kind.CLOSED) if "logprobs" in server.asked[-1].body else None
        with pytest.raises(EngineError, match=r"no server answers.*the connection broke"):
            asyncio.run(go(server))
    assert not memory.exists()


def test_two_servers_with_two_models_are_refused(empty):
    async def go(left, right):
        async with opened(empty, left, right):
            pass

    with OpenAIServer(tale) as left, OpenAIServer(tale, model_seed=1) as right, pytest.raises(EngineError, match=f"{right.url} serves another model"):
        asyncio.run(go(left, right))
