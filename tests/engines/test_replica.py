"""Servers of our own as processes: they come up or say why not, and nothing of them is ever left."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from processes import gone, in_group, linux

from selflengthen.engines.served import keeper, orphans, remedies
from selflengthen.engines.served.launch import free_ports
from selflengthen.engines.served.replica import PortTaken, Replica, end_orphans
from selflengthen.errors import EngineError

FAKE = Path(__file__).with_name("fake_vllm.py")


class Stage:
    """Makes replicas of the fake server, and remembers their groups."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.told = folder, folder / "logs" / "vllm-0.log", []
        self.port = free_ports(1)[0]

    def replica(self, does: str = "", *, start_seconds: float = 20.0, end_seconds: float = 5.0, command=None) -> Replica:
        return Replica(
            "vllm-0",
            command=command or (sys.executable, "-S", str(FAKE), "--port", str(self.port)),
            env={**os.environ, "FAKE": does},
            url=f"http://127.0.0.1:{self.port}/v1",
            log=self.log,
            on_progress=self.told.append,
            start_seconds=start_seconds,
            folder=self.folder,
            end_seconds=end_seconds,
        )

    def recorded(self) -> list[dict]:
        file = self.folder / "servers.json"
        return json.loads(file.read_text())["servers"] if file.exists() else []

    def group(self) -> int:
        (one,) = self.recorded()
        return one["pid"]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr("selflengthen.engines.served.replica.POLL_SECONDS", 0.05)
    stage = Stage(tmp_path)
    yield stage
    for one in stage.recorded():
        with suppress(ProcessLookupError):
            os.killpg(one["pid"], signal.SIGKILL)


# -- up, and how it is told ---------------------------------------------------------------------------------------------------------------


@linux
def test_it_comes_up_and_tells_how_far_it_is(stage, monkeypatch):
    monkeypatch.setattr("selflengthen.engines.served.replica.PROGRESS_SECONDS", 0.2)

    async def go():
        replica = stage.replica("wait=0.7")
        await replica.start()
        assert replica.alive
        assert replica.pid in in_group(stage.group())
        assert len(in_group(stage.group())) == 3  # keeper, server, engine core
        await asyncio.sleep(0.3)
        await replica.stop()

    asyncio.run(go())
    assert [text for text in stage.told if text.endswith("s: Loading the model")]
    assert len(stage.told) <= 4, "told when there is news, not every second"
    assert stage.told[0].startswith("vllm-0: starting, 0 s")
    assert stage.told[-1].startswith("vllm-0: ready after ")
    assert "fake_vllm.py" in stage.log.read_text().splitlines()[0]


def test_the_log_is_appended_to(stage):
    stage.log.parent.mkdir()
    stage.log.write_text("RuntimeError: of an earlier start\n")

    async def go():
        with pytest.raises(EngineError) as caught:
            await stage.replica("die=0;wait=5").start()
        return str(caught.value)

    assert "earlier" not in asyncio.run(go())
    assert stage.log.read_text().startswith("RuntimeError: of an earlier start\n== ")


@linux
def test_one_that_dies_before_it_is_ready_says_why(stage):
    async def go():
        replica = stage.replica("die=0.3;wait=9;words=error: unrecognized arguments: --warp 9|good bye")
        with pytest.raises(EngineError) as caught:
            await replica.start()
        assert not replica.alive
        assert replica.pid is None
        assert await replica.wait() == "stopped with exit code 3"
        return str(caught.value)

    text = asyncio.run(go())
    assert text.startswith("vllm-0 stopped with exit code 3: this vLLM does not know --warp 9: drop it from engine.vllm.args")
    assert "Loading the model\n  error: unrecognized arguments: --warp 9\n  good bye\n" in text
    assert text.endswith(f"(log: {stage.log})")
    assert stage.recorded() == []


@linux
@pytest.mark.parametrize("does", ["mute", "hang"])
def test_one_that_takes_too_long_is_ended(stage, does):
    async def go():
        replica = stage.replica(does, start_seconds=0.7)
        starting = asyncio.create_task(replica.start())
        await asyncio.sleep(0.4)
        group = stage.group()
        with pytest.raises(EngineError, match=r"was not ready after 0\.7 s \(engine\.vllm\.start_seconds\)"):
            await starting
        return group

    begun = time.monotonic()
    assert in_group(asyncio.run(go())) == []
    assert time.monotonic() - begun < 4


def test_one_that_says_it_is_not_well_is_not_ready(stage):
    async def go():
        replica = stage.replica("sick=0.8")
        begun = time.monotonic()
        await replica.start()
        seconds = time.monotonic() - begun
        await replica.stop()
        return seconds

    assert asyncio.run(go()) >= 0.8


def test_another_server_at_our_port_is_not_ours(stage, monkeypatch):
    monkeypatch.setattr("selflengthen.engines.served.replica._somebody_listens", lambda _host, _port: False)  # it comes a moment later

    async def go():
        stranger = Stage(stage.folder / "stranger")
        stranger.port = stage.port
        theirs = stranger.replica()
        await theirs.start()
        try:
            with pytest.raises(EngineError, match="could not be started"):
                await stage.replica(command=("no-such-vllm",)).start()
        finally:
            await theirs.stop()

    asyncio.run(go())


def test_a_command_that_is_not_there(stage):
    async def go():
        with pytest.raises(
            EngineError, match=r"vllm-0 could not be started: .*no-such-vllm.*: that program, .* is not there: correct engine\.vllm\.command"
        ):
            await stage.replica(command=("no-such-vllm", "serve")).start()

    asyncio.run(go())


def test_a_port_that_is_taken_is_seen_before_the_server_starts(stage):
    async def go():
        with closing(socket.create_server(("127.0.0.1", stage.port))), pytest.raises(PortTaken, match=str(stage.port)):
            await stage.replica().start()

    asyncio.run(go())
    assert not stage.log.exists()


def test_a_port_that_is_taken_meanwhile_is_told_apart(stage):
    async def go():
        with pytest.raises(PortTaken):
            await stage.replica("die=0.1;wait=9;words=OSError: [Errno 98] Address already in use").start()

    asyncio.run(go())


# -- the end ------------------------------------------------------------------------------------------------------------------------------


@linux
def test_stop_leaves_nothing_and_can_be_called_at_any_time(stage):
    async def go():
        replica = stage.replica()
        await replica.stop()
        await replica.start()
        group = stage.group()
        await asyncio.gather(replica.stop(), replica.stop())
        left = in_group(group)
        await replica.stop()
        assert await replica.wait() == "was stopped"
        assert not replica.alive
        return left

    begun = time.monotonic()
    assert asyncio.run(go()) == []
    assert time.monotonic() - begun < 4  # nobody waited for SIGKILL
    assert stage.recorded() == []


@linux
def test_one_that_ignores_sigterm_is_killed(stage):
    async def go():
        replica = stage.replica("deaf", end_seconds=0.4)
        await replica.start()
        group, begun = stage.group(), time.monotonic()
        await replica.stop()
        return in_group(group), time.monotonic() - begun

    left, seconds = asyncio.run(go())
    assert left == []
    assert 0.4 <= seconds < 2


@linux
def test_an_engine_core_that_ignores_sigterm_is_killed_too(stage):
    async def go():
        replica = stage.replica("deaf", end_seconds=0.4)
        await replica.start()
        os.kill(replica.pid, signal.SIGKILL)
        return stage.group(), await replica.wait()

    group, how = asyncio.run(go())
    assert in_group(group) == []
    assert how == "was killed by signal 9 (SIGKILL); if nobody did that, the system ran out of memory"


@linux
def test_a_server_that_ends_takes_its_children_along(stage):
    async def go():
        replica = stage.replica("die=0.8")
        await replica.start()
        group = stage.group()
        assert await asyncio.wait_for(replica.wait(), 5) == "stopped with exit code 3"
        assert not replica.alive
        return group

    assert in_group(asyncio.run(go())) == []


@linux
def test_the_end_is_told_only_when_nobody_is_left(stage, monkeypatch):
    dying = iter([[1], [1], [1], []])
    seen = []

    async def go():
        replica = stage.replica()
        await replica.start()
        really = orphans.living
        monkeypatch.setattr(orphans, "living", lambda group: (seen.append(replica.alive), next(dying) or really(group))[1])
        os.kill(replica.pid, signal.SIGKILL)
        await replica.wait()

    asyncio.run(go())
    assert seen == [False] * 4


@linux
def test_processes_that_do_not_die_are_told(stage, monkeypatch):
    monkeypatch.setattr(orphans, "KILL_SECONDS", 0.1)

    async def go():
        replica = stage.replica()
        await replica.start()
        group = stage.group()
        with monkeypatch.context() as patch:
            patch.setattr(orphans, "living", lambda _group: [4711])
            with pytest.raises(EngineError, match=r"vllm-0: processes \[4711\] were killed and do not end"):
                await replica.stop()
        assert in_group(group) == []
        assert len(stage.recorded()) == 1  # the next start tries again

    asyncio.run(go())


@linux
def test_it_can_be_started_again(stage):
    async def go():
        replica = stage.replica()
        await replica.start()
        first = replica.pid
        os.kill(first, signal.SIGKILL)
        await replica.wait()
        await replica.start()
        second = replica.pid
        await replica.restart()
        assert len({first, second, replica.pid}) == 3
        assert replica.alive
        assert len(stage.recorded()) == 1
        await replica.stop()

    asyncio.run(go())


@linux
def test_a_start_that_is_cancelled_leaves_nothing(stage):
    async def go():
        starting = asyncio.create_task(stage.replica("wait=9").start())
        await asyncio.sleep(0.5)
        group = stage.group()
        assert in_group(group)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        return in_group(group)

    assert asyncio.run(go()) == []


@linux
def test_a_loop_that_ends_leaves_nothing(stage):
    async def go():
        await stage.replica().start()
        return stage.group()

    assert in_group(asyncio.run(go())) == []


@linux
def test_a_keeper_that_is_killed_takes_all_along(stage):
    async def go():
        replica = stage.replica()
        await replica.start()
        group = stage.group()
        os.kill(group, signal.SIGKILL)
        return group, await asyncio.wait_for(replica.wait(), 5)

    group, how = asyncio.run(go())
    assert in_group(group) == []
    assert "its keeper" in how


@linux
def test_a_keeper_that_hangs_does_not_hold_stop_up(stage, monkeypatch):
    monkeypatch.setattr("selflengthen.engines.served.kept.SPARE_SECONDS", 0.2)

    async def go():
        replica = stage.replica(end_seconds=0.2)
        await replica.start()
        group = stage.group()
        os.kill(group, signal.SIGSTOP)
        await asyncio.wait_for(replica.stop(), 5)
        return group

    assert in_group(asyncio.run(go())) == []


@linux
def test_sigterm_to_the_keeper_is_an_orderly_end(stage):
    async def go():
        replica = stage.replica()
        await replica.start()
        group = stage.group()
        os.kill(group, signal.SIGTERM)
        return group, await asyncio.wait_for(replica.wait(), 5)

    group, how = asyncio.run(go())
    assert in_group(group) == []
    assert how == "was killed by signal 15 (SIGTERM)"


def test_a_keeper_whose_driver_dies_at_once_starts_nothing(tmp_path):
    made = tmp_path / "made"
    subprocess.run([sys.executable, "-I", "-S", keeper.__file__, "1", "touch", str(made)], stdin=subprocess.DEVNULL, check=True)
    assert not made.exists()


def test_the_keeper_is_light():
    code = f"import runpy, sys; runpy.run_path({keeper.__file__!r}, run_name='looked_at'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"selflengthen", "asyncio", "pydantic", "socket"} & set(loaded)
    assert len(loaded) < 120


# -- a driver that is killed ----------------------------------------------------------------------------------------------------------------

DRIVER = """
import asyncio, os, sys
from pathlib import Path
from selflengthen.engines.served.replica import Replica
fake, port, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

async def go():
    command = (sys.executable, "-S", fake, "--port", port)
    replica = Replica("vllm-0", command=command, env=dict(os.environ), url=f"http://127.0.0.1:{port}/v1", log=folder / "logs" / "vllm-0.log",
                      on_progress=lambda text: None, start_seconds=20, folder=folder, end_seconds=0.4)
    await replica.start()
    print("up", flush=True)
    await asyncio.sleep(60)

asyncio.run(go())
"""


def drive(stage: Stage, does: str = "") -> "subprocess.Popen[bytes]":
    """A driver in a process of its own, once its server is up."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(FAKE), str(stage.port), str(stage.folder)], stdout=subprocess.PIPE, env={**os.environ, "FAKE": does}
    )
    assert driver.stdout.readline() == b"up\n"
    return driver


def kill(driver: "subprocess.Popen[bytes]") -> None:
    driver.kill()
    driver.wait()
    driver.stdout.close()


@linux
@pytest.mark.parametrize("does", ["", "deaf"])
def test_a_killed_driver_leaves_nothing(stage, does):
    driver = drive(stage, does)
    group = stage.group()
    assert len(in_group(group)) == 3
    kill(driver)
    assert gone(group)
    assert end_orphans(stage.folder) == []
    assert stage.recorded() == []


@linux
@pytest.mark.parametrize("does", ["", "deaf"])
def test_what_driver_and_keeper_left_is_ended_by_the_next_start(stage, does, monkeypatch):
    monkeypatch.setattr(orphans, "ASK_SECONDS", 0.3)
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
    driver = drive(stage, does)
    group = stage.group()
    # Stopped first, so that the keeper cannot notice that the driver is gone before it is killed itself.
    os.kill(group, signal.SIGSTOP)
    kill(driver)
    os.kill(group, signal.SIGKILL)
    end = time.monotonic() + 5
    while group in in_group(group) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(in_group(group)) == 2
    (said,) = end_orphans(stage.folder)
    assert f"vllm-0 of an earlier start was still running (2 processes, group {group})" in said
    assert in_group(group) == []
    assert stage.recorded() == []
    assert end_orphans(stage.folder) == []
    assert other.poll() is None
    other.kill()
    other.wait()


def stranger(folder: Path, *, leader_lives: bool, log: Path | None) -> "tuple[subprocess.Popen[bytes], int]":
    """A group that is not ours: two processes, or an orphan whose leader is gone."""
    code = "import os, time; print(os.fork(), flush=True); time.sleep(60)"
    with (log or folder / "strange.log").open("ab") as out:
        leader = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True, stdout=out, stderr=out)
    end = time.monotonic() + 5
    while len(in_group(leader.pid)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    if not leader_lives:
        leader.kill()
        leader.wait()
    return leader, leader.pid


def write_record(folder: Path, pid: int, log: Path, **changes) -> None:
    file = log.stat()
    start = keeper.look(pid)
    one = {
        "name": "vllm-0",
        "pid": pid,
        "start_ticks": start.start_ticks if start else keeper.look(os.getpid()).start_ticks,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "log": [file.st_dev, file.st_ino],
        "command": ["vllm"],
    } | changes
    (folder / "servers.json").write_text(json.dumps({"servers": [one]}))


@linux
@pytest.mark.parametrize(
    ("changes", "leader_lives", "same_log", "ended"),
    [
        ({}, True, True, True),
        ({"start_ticks": 5}, True, True, False),  # the number was given anew
        ({"boot": "another"}, True, True, False),
        ({}, False, True, True),  # orphans of ours: they write to our log
        ({}, False, False, False),  # somebody else's orphans
        ({"boot": "another"}, False, True, False),
        ({"start_ticks": 1 << 60}, False, True, False),  # started before what was written down
    ],
)
def test_only_what_was_written_down_is_ended(tmp_path, changes, leader_lives, same_log, ended):
    ours = tmp_path / "vllm-0.log"
    ours.touch()
    leader, group = stranger(tmp_path, leader_lives=leader_lives, log=ours if same_log else None)
    try:
        write_record(tmp_path, group, ours, **changes)
        said = end_orphans(tmp_path)
        assert bool(said) == ended
        assert bool(in_group(group)) == (not ended)
        assert json.loads((tmp_path / "servers.json").read_text()) == {"servers": []}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        leader.wait()


def test_a_record_that_cannot_be_read_is_not_passed_over(tmp_path):
    assert end_orphans(tmp_path) == []
    (tmp_path / "servers.json").write_text("{")
    with pytest.raises(EngineError, match=r"servers\.json.*delete the file"):
        end_orphans(tmp_path)


def test_a_process_is_read_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    after = "S 1 5 5 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 4711 1 1"
    (tmp_path / "7" / "stat").write_text(f"7 (a) R 9 (b)) {after}")
    assert keeper.look(7) == keeper.Seen(7, dead=False, group=5, start_ticks=4711)
    (tmp_path / "7" / "stat").write_text(f"7 (a) {after.replace('S', 'Z')}")
    assert keeper.look(7) == keeper.Seen(7, dead=True, group=5, start_ticks=4711)
    (tmp_path / "7" / "stat").write_text(f"7 (a) {after.replace('S', 'Z').replace('0 1 0 4711', '0 3 0 4711')}")
    assert keeper.look(7) == keeper.Seen(7, dead=False, group=5, start_ticks=4711)  # two threads still end
    assert keeper.look(8) is None
    assert keeper.members(5) is None  # no /proc that shows ourselves
    assert orphans.living(5) is None


# -- what a log says ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("vllm: error: unrecognized arguments: --one --two 2", "does not know --one --two 2"),
        ("api_server.py: error: argument --dtype: invalid choice: 'x'", "correct --dtype in engine.vllm.args"),
        ("api_server.py: error: argument --max-lora-rank: invalid choice: 12", "correct --max-lora-rank"),
        ("/opt/bin/python: No module named 'vllm'", "pip install vllm"),
        (
            "/opt/bin/python: Error while finding module specification for 'vllm.x' (ModuleNotFoundError: No module named 'vllm')",
            "engine.vllm.command",
        ),
        ("importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "vllm.entrypoints.openai.api_server"),
        ("OSError: [Errno 98] Address already in use", "another one is chosen"),
        ("(EngineCore pid=5) ERROR 11-24 05:02:11 [core.py:9] ValueError: No available memory for the cache blocks. Try", "engine.vllm.gpu_memory"),
        (
            "ValueError: To serve at least one request with (9), (3 GiB KV cache is needed, which is larger than the available KV cache",
            "--max-model-len",
        ),
        ("max seq len (32768) is larger than the maximum number of tokens that can be stored in KV cache (9).", "--max-model-len"),
        ("ValueError: Free memory on device cuda:0 (1/80 GiB) on startup is less than desired GPU memory utilization (0.9", "end what else holds it"),
        ("ValueError: Available memory on node 0 (3/8 GiB) on startup is less than desired CPU memory utilization", "VLLM_CPU_KVCACHE_SPACE"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "lower engine.vllm.gpu_memory"),
        ("ValueError: LoRA rank 600 is greater than max_lora_rank 512.", "drop --max-lora-rank"),
        ("ValueError: FooForCausalLM does not support LoRA yet.", "engine.kind = 'transformers'"),
        ("RuntimeError: Failed to infer device type, please set", "CUDA_VISIBLE_DEVICES"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "model.dtype = 'float16'"),
        ("ValueError: Total number of attention heads (6) must be divisible by tensor parallel size (4).", "engine.vllm.tensor_parallel"),
        ("non-default args: {'max_lora_rank': 16, 'api_server_count': 1}", ""),
        ("WARNING Address already in use. Retrying with a new port.", ""),
        ("KeyError: 'nobody knows'", ""),
    ],
)
def test_faults_have_a_remedy(said, wanted):
    found = remedies.remedy(["Loading", said, "bye"])
    assert (wanted in found) if wanted else (found == "")


def test_the_first_error_is_shown_though_others_follow(tmp_path):
    log = tmp_path / "log"
    prefix = "(EngineCore pid=12) ERROR 11-24 05:02:11 [core.py:1234] "
    told = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in f',
        "ValueError: the real one",
        "",
        "RuntimeError: Engine core initialization failed",
    ]
    log.write_text("".join(f"{prefix}{line}\n" for line in told[:3]) + "\n".join(told[3:] + [f"  line {n}" for n in range(9)]))
    shown = remedies.last_words(remedies.read_lines(log, 0))
    assert shown[:2] == ["ValueError: the real one", "..."]
    assert shown[-1] == "  line 8"
    litter = ["Error in completion stream generator.", "nanobind: leaked 3 functions!", ' - leaked function "f"', "resource_tracker: 1 leaked"]
    assert remedies.last_words([f"{prefix}RuntimeError: the real one", "ERROR it is dead", *litter])[0] == "RuntimeError: the real one"
    assert "leaked" not in "".join(remedies.last_words(litter))
    assert remedies.last_words(["usage: x", "   [--all]", "api_server.py: error: unrecognized arguments: --x"]) == [
        "api_server.py: error: unrecognized arguments: --x"
    ]


def test_news_are_for_people(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(
        b"old line here\n"
        b"\x1b[1;36m(EngineCore pid=12)\x1b[0;0m INFO 11-24 05:02:11 [core.py:1234] Loading  weights took 3.2 s\n"
        b'  File "x.py", line 7\n'
        b"(Worker pid=13) WARNING 11-24 05:02:11 [cpu.py:9] Nobody needs this\n"
        b"\rLoading shards:   0% | 0/2\rLoading shards: 100% | 2/2\n\n  \n"
    )
    lines = remedies.read_lines(log, 14)
    assert remedies.news(lines) == "Loading shards: 100% | 2/2"
    assert remedies.news(lines[:-1]) == "Loading  weights took 3.2 s"
    assert len(remedies.news(["word " * 99])) == remedies.SHORT
    assert remedies.news([]) == ""
    assert remedies.read_lines(tmp_path / "none", 0) == []
