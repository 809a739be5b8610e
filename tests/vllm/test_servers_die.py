"""kill -9 of a vLLM server in mid-run, with one and with two: the run finishes, nothing is lost, nothing stands twice."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ON_GPU, overrides

from selflengthen.config import load_config
from selflengthen.pipeline import Pipeline, create
from selflengthen.serving import engine_for
from selflengthen.stages.events import Notice, RowWritten

SMALL = [
    'languages=["en"]',
    "sampling.max_tokens=400",
    "sampling.temperature=1.0",
    "sampling.top_p=0.95",
    "sampling.top_k=50",
    "instruct.count=12",
    "instruct.wave=4",
    "instruct.sampling.max_tokens=96",
    "respond.tries=2",
    "respond.window=8",
    "extend.tries=1",
    "extend.rounds=1",
    "measure.count=8",
    "engine.silence_seconds=10",
    "train.cutoff_tokens=4096",
]


def servers_of(run: Path) -> list[int]:
    """Process ids of the servers that a run has written down, children included."""
    file = run / "servers.json"
    if not file.exists():
        return []
    leaders = {started["pid"] for started in json.loads(file.read_text())["servers"]}
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) in leaders and int(status.parent.name) not in leaders:
            found.append(int(status.parent.name))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_server_is_killed_in_mid_run(tmp_path, replicas):
    if ON_GPU and replicas == 2:
        pytest.skip("two servers need two GPUs")
    run = create(tmp_path / "run", load_config(None, [*SMALL, *overrides(replicas=replicas)]))
    killed, notices, keys = [], [], []

    def observe(event):
        if isinstance(event, Notice):
            notices.append(event.text)
        if isinstance(event, RowWritten) and event.iteration == 1:
            keys.append(event.key)
            if event.stage == "extend" and not killed:
                # The server's main process: the eldest of the group beside its keeper.
                killed.append(min(servers_of(run.path)))
                os.kill(killed[0], signal.SIGKILL)

    pipeline = Pipeline(run, observe)
    pipeline.run(until="extend")
    print("\n".join(notices))
    assert killed
    assert any("is down" in text for text in notices)
    assert any("starting it again" in text for text in notices) or replicas == 2
    rows = {stage: pipeline.ledger.slot(1, stage) for stage in ("instruct", "respond", "extend")}
    for slot in rows.values():
        assert slot.done
        assert not set(slot.kept.keys) & set(slot.rejected.keys)
    assert len(keys) == len(set(keys)), "a row was written twice"
    refused = [row for slot in rows.values() for row in slot.rejected if row.reason == "refused"]
    assert not refused, "a request was given up for what happened to its server"
    assert servers_of(run.path) == []


@pytest.mark.timeout(300)
def test_a_server_that_hangs_is_ended_and_started_again(tmp_path):
    config = load_config(None, [*SMALL, *overrides(replicas=1), "engine.silence_seconds=3"])
    notices: list[str] = []

    async def go():
        from asking import Listener, ask

        async with engine_for(config, tmp_path, notices.append) as engine:
            heard = Listener()
            task = asyncio.create_task(engine.generate(ask(tokens=300, temperature=1.0), heard))
            await heard.fed.wait()
            for pid in servers_of(tmp_path):
                os.kill(pid, signal.SIGSTOP)
            return await task

    answer = asyncio.run(go())
    print("\n".join(notices))
    assert answer.generated_tokens > 0
    assert any("hangs" in text for text in notices)
    assert servers_of(tmp_path) == []


@pytest.mark.timeout(300)
def test_a_driver_that_is_killed_leaves_no_server(tmp_path):
    arguments = [part for setting in [*SMALL, *overrides(replicas=1)] for part in ("-o", setting)]
    command = [sys.executable, "-m", "selflengthen", "run", str(tmp_path / "run"), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        said: list[str] = []
        listener = threading.Thread(target=lambda: said.extend(driver.stderr), daemon=True)
        listener.start()
        began = time.monotonic()
        while not any(re.search(r"vllm-0: (ready|starting, [5-9])", line) for line in said):
            assert time.monotonic() - began < 200, said
            assert driver.poll() is None, said
            time.sleep(0.2)
        servers = servers_of(tmp_path / "run")
        assert servers
        driver.kill()
        listener.join()
    began = time.monotonic()
    while any(Path(f"/proc/{pid}").exists() for pid in servers):
        assert time.monotonic() - began < 40, "a server outlived its driver"
        time.sleep(0.2)
