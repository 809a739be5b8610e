"""The engine with servers of its own, between its work: it sleeps while a training needs its GPU, and leaves nothing where it has no folder."""

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest
from processes import linux
from vllm_stage import counting, playing, refused, right, run, until

from selflengthen.engines.served import gpus
from selflengthen.engines.served.gpus import Gpu
from selflengthen.errors import EngineError

pytestmark = linux
stage = pytest.fixture(playing)


# -- a training comes in between ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_gpus(stage, monkeypatch):
    monkeypatch.setattr(gpus, "visible_gpus", lambda: (Gpu("0", 0, 80 << 30), Gpu("GPU-7f", 1, 80 << 30)))
    return stage


def device(pid: int) -> str:
    """The GPU that a process was given."""
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return next(word for word in words if word.startswith("CUDA_VISIBLE_DEVICES=")).partition("=")[2]


def test_it_sleeps_when_the_trainer_needs_its_gpu_and_wakes_for_the_next_request(two_gpus):
    stage = two_gpus

    async def body(engine):
        await engine.load(stage.adapter("one"))
        assert await engine.rest()
        assert sorted(stage.seen("/sleep")) == [(0, None), (1, None)]
        assert stage.seen("/wake_up") == []
        requests = [counting(seed, "one") for seed in range(4)]
        answers = await asyncio.gather(*map(engine.generate, requests))
        assert all(map(right, requests, answers))
        assert sorted(stage.seen("/wake_up")) == [(0, None), (1, None)]
        assert await engine.rest()
        await engine.unload("one")
        assert len(stage.seen("/wake_up")) == 4
        return list(map(device, stage.starts))

    assert sorted(run(stage, body)) == ["0", "GPU-7f"]


@pytest.mark.parametrize(
    ("device", "gpu", "sleeps"),
    [("auto", 0, True), ("auto", 1, False), ("cuda", 0, True), ("cuda:1", 1, True), ("cuda:1", 0, False), ("cuda:2", 0, False), ("cpu", 0, False)],
)
def test_it_goes_on_when_the_trainer_is_elsewhere(two_gpus, device, gpu, sleeps):
    async def body(engine):
        assert await engine.rest()

    run(two_gpus, body, gpus=(gpu,), trainer_device=device)
    assert bool(two_gpus.seen("/sleep")) == sleeps


def test_on_the_cpu_it_goes_on(stage):
    async def body(engine):
        assert await engine.rest()

    run(stage, body)
    assert not stage.seen("/sleep")


def test_one_that_cannot_sleep_says_so(two_gpus):
    async def body(engine):
        return await engine.rest()

    two_gpus.plays(quirks={"missing": ["/sleep"]})
    assert run(two_gpus, body) is False


def test_one_that_is_just_started_again_is_no_place_for_a_training(two_gpus):
    async def body(engine):
        os.kill(two_gpus.starts[0], signal.SIGKILL)
        await until(lambda: two_gpus.heard("starting it again"))
        return await engine.rest()

    assert run(two_gpus, body) is False


@pytest.mark.parametrize("how", ["dies", "does not wake"])
def test_one_that_does_not_wake_up_is_started_again(two_gpus, how):
    stage = two_gpus
    stage.plays(quirks={"missing": ["/wake_up"]} if how != "dies" else {})

    async def body(engine):
        assert await engine.rest()
        if how == "dies":  # and nobody sees it: the loop does not run while a training does
            os.kill(stage.starts[0], signal.SIGKILL)
        requests = [counting(seed) for seed in range(4)]
        answers = await asyncio.gather(*map(engine.generate, requests))
        assert all(map(right, requests, answers))

    run(stage, body, replicas=1)
    assert stage.heard("starting it again")
    assert len(stage.starts) == 2


# -- without a run ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_without_a_folder_it_uses_one_that_goes_with_it(stage, temporary):
    async def go():
        engine = stage.engine(folder=None)
        assert list(temporary.iterdir()) == []
        for seed in (1, 2):
            async with engine:
                (made,) = temporary.iterdir()
                assert (made / "logs" / "vllm-0.log").exists()
                assert right(counting(seed), await engine.generate(counting(seed)))
            assert list(temporary.iterdir()) == []

    asyncio.run(go())
    assert stage.alive == []


def test_the_log_stays_after_an_error(stage, temporary):
    async def body(_engine):
        raise EngineError("no more")

    with pytest.raises(EngineError, match="no more"):
        run(stage, body, folder=None)
    assert len(list(temporary.glob("*/logs/vllm-0.log"))) == 1


def test_a_log_that_an_error_names_stays(stage, temporary):
    stage.plays(dies=0)
    text = refused(stage, folder=None)
    (made,) = temporary.iterdir()
    assert f"(log: {made / 'logs' / 'vllm-0.log'})" in text
    assert (made / "logs" / "vllm-0.log").exists()
