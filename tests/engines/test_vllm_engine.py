"""The engine with servers of its own, over processes that answer: whatever befalls a server, requests end as if nothing had."""

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import closing

import pytest
from processes import in_group, linux
from vllm_stage import begin, counting, playing, refused, right, run, until

from selflengthen.engines import vllm
from selflengthen.engines.served import launch, orphans
from selflengthen.errors import EngineError

pytestmark = linux
stage = pytest.fixture(playing)


# -- a life without accidents -------------------------------------------------------------------------------------------------------------


def test_it_starts_answers_and_leaves_nothing(stage):
    async def body(engine):
        assert sorted(engine.pids) == sorted(stage.starts)
        assert len(stage.groups) == 2
        requests = [counting(seed) for seed in range(6)]
        answers = await asyncio.gather(*map(engine.generate, requests))
        assert all(map(right, requests, answers))
        return engine.capabilities, list(stage.groups)

    capabilities, groups = run(stage, body, replicas=2)
    assert [in_group(group) for group in groups] == [[], []]
    assert capabilities.prefill
    assert capabilities.adapters
    assert capabilities.context_tokens == 1 << 16
    assert {number for number, _ in stage.seen("/v1/chat/completions")} == {0, 1}
    for name in ("vllm-0", "vllm-1"):
        assert f"Loading {stage.model}" in (stage.run / "logs" / f"{name}.log").read_text()
        assert stage.heard(name, "starting")
        assert stage.heard(name, "ready after")


def test_adapters_are_loaded_on_all_servers_and_unloaded(stage):
    async def body(engine):
        await engine.load(stage.adapter("one"))
        requests = [counting(seed, name) for seed in range(3) for name in (None, "one")]
        answers = await asyncio.gather(*map(engine.generate, requests))
        assert all(map(right, requests, answers))
        await engine.unload("one")
        with pytest.raises(EngineError, match="adapter 'one' is not loaded"):
            await engine.generate(counting(1, "one"))

    run(stage, body, replicas=2)
    named = [(number, name) for number, name in stage.seen("/v1/load_lora_adapter") if name]
    assert sorted(named) == sorted(stage.seen("/v1/unload_lora_adapter")) == [(0, "one"), (1, "one")]


def test_it_can_be_opened_again(stage):
    engine = stage.engine()

    async def go():
        for seed in (1, 2):
            async with engine:
                assert right(counting(seed), await engine.generate(counting(seed)))
            with pytest.raises(EngineError, match="not open"):
                await engine.generate(counting(seed))

    asyncio.run(go())
    assert len(stage.starts) == 2
    assert stage.alive == []


def test_a_request_in_flight_when_it_closes_is_told(stage):
    async def body(engine):
        stage.stall()
        return (await begin(engine, [counting(1)]))[0]

    async def go():
        async with stage.engine() as engine:
            task = await body(engine)
        with pytest.raises(EngineError, match="closed"):
            await task

    asyncio.run(go())
    assert stage.alive == []


# -- a server dies ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_server_is_killed_in_mid_answer(stage, replicas):
    async def body(engine):
        await engine.load(stage.adapter("one"))
        stage.stall()
        requests = [counting(seed, "one" if seed % 2 else None) for seed in range(6)]
        tasks = await begin(engine, requests)
        os.kill(stage.starts[0], signal.SIGKILL)
        await until(lambda: stage.heard("is down"))
        stage.stall(over=True)
        answers = await asyncio.gather(*tasks)
        assert all(map(right, requests, answers))
        await until(lambda: stage.heard("ready after") and len(engine.pids) == replicas)
        later = [counting(seed, "one") for seed in range(10, 16)]
        await until(lambda: (replicas, "one") in stage.seen("/v1/load_lora_adapter"))
        answers = await asyncio.gather(*map(engine.generate, later))
        assert all(map(right, later, answers))

    run(stage, body, replicas=replicas)
    assert len(stage.starts) == replicas + 1
    assert sum("starting it again" in text for text in stage.told) == 1
    assert stage.heard("was killed by signal 9")
    assert (replicas, "one") in stage.seen("/v1/load_lora_adapter"), "the new server lacks the adapter"
    assert not stage.heard("going on without it")
    assert not stage.heard("hangs")


def test_a_server_that_hangs_is_ended_and_started_again(stage):
    async def body(engine):
        stage.stall()
        requests = [counting(seed) for seed in range(3)]
        tasks = await begin(engine, requests)
        (group,) = stage.groups
        os.kill(stage.starts[0], signal.SIGSTOP)
        stage.stall(over=True)
        answers = await asyncio.gather(*tasks)
        assert all(map(right, requests, answers))
        return group

    assert in_group(run(stage, body, silence_seconds=1)) == []
    assert stage.heard("vllm-0 hangs; ending it")
    assert stage.heard("vllm-0 was stopped; starting it again")
    assert len(stage.starts) == 2


def test_a_server_that_hangs_before_it_is_used_again_is_noticed(stage):
    async def body(engine):
        os.kill(stage.starts[0], signal.SIGKILL)
        await until(lambda: len(stage.starts) == 2 and sum("ready after" in text for text in stage.told) == 2, seconds=20)
        os.kill(stage.starts[1], signal.SIGSTOP)
        assert right(counting(1), await engine.generate(counting(1)))

    stage.plays(quirks={})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("selflengthen.engines.served.fleet.REVIVE_SECONDS", 2.0)  # it hangs before it is asked
        run(stage, body, silence_seconds=1)
    assert stage.heard("vllm-0 hangs; ending it")
    assert len(stage.starts) == 3


@pytest.mark.parametrize("how", ["dies", "dies_asked"])
def test_the_only_server_that_dies_again_and_again_ends_it_with_its_last_words(stage, how):
    async def body(engine):
        stage.stall()
        tasks = await begin(engine, [counting(1), counting(2)])
        stage.plays(**{how: 1})
        os.kill(stage.starts[0], signal.SIGKILL)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(EngineError):
            await engine.generate(counting(3))
        return outcomes

    outcomes = run(stage, body)
    words = {"dies": "RuntimeError: this GPU has fallen off the bus", "dies_asked": "RuntimeError: an illegal memory access"}[how]
    for error in outcomes:
        assert isinstance(error, EngineError)
        text = str(error)
        assert "vllm-0 ended 4 times in a row without an answer" in text
        assert f"stopped with exit code {1 if how == 'dies' else 4}" in text
        assert words in text
        assert text.endswith("Nothing is lost; mend that and run again to go on")
    assert len(stage.starts) == 1 + vllm.DEATHS


def test_a_server_that_dies_again_and_again_is_done_without_when_there_is_another(stage):
    async def body(engine):
        stage.stall()
        requests = [counting(seed) for seed in range(4)]
        tasks = await begin(engine, requests)
        stage.plays(dies=2)
        os.kill(stage.starts[0], signal.SIGKILL)
        await until(lambda: stage.heard("going on without it"))
        assert len(engine._engine._fleet.endpoints) == 1, "its address may be a stranger's soon, and is not asked any more"
        stage.stall(over=True)
        answers = await asyncio.gather(*tasks)
        assert all(map(right, requests, answers))
        assert engine.pids == [stage.starts[1]]

    run(stage, body, replicas=2)
    assert stage.heard("ended 4 times in a row without an answer", "this GPU has fallen off the bus")
    assert len(stage.starts) == 2 + vllm.DEATHS


def test_deaths_count_only_in_a_row(stage):
    async def body(engine):
        for life in range(vllm.DEATHS + 1):
            assert right(counting(life), await engine.generate(counting(life)))
            os.kill(stage.starts[-1], signal.SIGKILL)
            await until(lambda: len(stage.starts) == life + 2)  # noqa: B023 - awaited here
        assert right(counting(9), await engine.generate(counting(9)))

    run(stage, body)


def test_a_restarted_server_with_another_model_is_noticed(stage):
    async def body(engine):
        stage.stall()
        tasks = await begin(engine, [counting(1)])
        os.kill(stage.starts[0], signal.SIGKILL)
        return (await asyncio.gather(*tasks, return_exceptions=True))[0]

    stage.plays(model_seeds=[0, 1])
    error = run(stage, body)
    assert isinstance(error, EngineError)
    assert "serves another model" in str(error)


def test_another_model_is_noticed_at_the_next_start_too(stage):
    async def body(engine):
        assert right(counting(1), await engine.generate(counting(1)))

    stage.plays(model_seeds=[0, 0, 1])
    run(stage, body)
    run(stage, body)
    assert "serves another model" in refused(stage)


# -- it does not come up ------------------------------------------------------------------------------------------------------------------


def test_one_that_never_comes_up_is_told_and_nothing_is_left(stage):
    stage.plays(dies=0)
    text = refused(stage)
    assert text.startswith("vllm-0 stopped with exit code 1")
    assert "this GPU has fallen off the bus" in text
    assert str(stage.run / "logs" / "vllm-0.log") in text
    assert len(stage.starts) == 1


def test_one_that_is_slow_does_not_keep_the_other_s_fault_back(stage):
    stage.plays(dies=0)
    command = ("sh", "-c", 'test -e "$PLAY/second" && exec sleep 60; touch "$PLAY/second"; exec "$0" "$@"')
    text = refused(stage, replicas=2, command=(*command, *stage.settings().command))
    assert "this GPU has fallen off the bus" in text


def test_a_port_that_somebody_took_is_left_for_another(stage, monkeypatch):
    free = launch.free_ports
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        offered = [stranger.getsockname()[1]]
        monkeypatch.setattr(launch, "free_ports", lambda count: [offered.pop()] if offered else free(count))

        async def body(engine):
            assert right(counting(1), await engine.generate(counting(1)))

        run(stage, body)
    assert not offered


def test_ports_that_are_always_taken_are_told(stage, monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        monkeypatch.setattr(launch, "free_ports", lambda _count: [stranger.getsockname()[1]])
        assert "took the port" in refused(stage)
    assert stage.starts == []


def test_two_servers_never_get_one_port(stage, monkeypatch):
    free = launch.free_ports
    ports = free(1) * 2
    monkeypatch.setattr(launch, "free_ports", lambda count: [ports.pop()] if ports and count == 1 else free(count))

    async def body(engine):
        assert len(set(engine.pids)) == 2
        assert right(counting(1), await engine.generate(counting(1)))

    run(stage, body, replicas=2)


def test_a_start_that_is_cancelled_leaves_nothing(stage):
    async def go():
        opening = asyncio.create_task(stage.engine(replicas=2).__aenter__())
        await until(lambda: len(stage.groups) == 2)
        groups = stage.groups
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return groups

    assert all(in_group(group) == [] for group in asyncio.run(go()))
    assert stage.groups == []


def test_what_an_earlier_driver_left_is_ended_at_the_next_start(stage):
    orphan = subprocess.Popen(["sleep", "60"], start_new_session=True)
    with (stage.run / "vllm-0.log").open("wb") as log:
        orphans.write_down(stage.run, "vllm-0", orphan.pid, log.fileno(), ("sleep", "60"))

    async def body(engine):
        assert orphan.wait(10) == -signal.SIGTERM
        assert right(counting(1), await engine.generate(counting(1)))

    run(stage, body)
    assert stage.heard("ended a server that an earlier start had left", "vllm-0")
