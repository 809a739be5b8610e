"""A stage for engines over servers of their own: `answering_vllm` is the server, and tests say how it plays and read what it was asked."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from answering_vllm import steady
from asking import Listener, adapter_record, ask

from selflengthen.config import VllmSettings
from selflengthen.engines import Completion, Request, vllm
from selflengthen.engines.served import gpus
from selflengthen.engines.served.replica import Replica
from selflengthen.engines.vllm import VllmEngine
from selflengthen.errors import EngineError
from selflengthen.records import Adapter

ANSWERING = Path(__file__).with_name("answering_vllm.py")
LONG = 60
"""Words of an answer, more than are sent before a stream stalls."""


class Stage:
    """One folder: of the run, of the play, and of what is told."""

    def __init__(self, folder: Path, **play: Any) -> None:
        self.run, self.play, self.model = folder / "run", folder / "play", folder / "model"
        for each in (self.run, self.play, self.model):
            each.mkdir()
        self.told: list[str] = []
        self.plays(**play)

    def plays(self, **play: Any) -> None:
        """How servers that are started from now on play."""
        (self.play / "play.json").write_text(json.dumps(play))

    def settings(self, **fields: Any) -> VllmSettings:
        env = {"PLAY": str(self.play)} | fields.pop("env", {})
        return VllmSettings(**{"command": (sys.executable, str(ANSWERING)), "env": env, "start_seconds": 60, **fields})

    def engine(self, **fields: Any) -> VllmEngine:
        """An engine; fields that it does not have itself are of its settings."""
        own = {name: fields.pop(name) for name in ("trainer_device", "silence_seconds", "folder", "prefill") if name in fields}
        return VllmEngine(
            **{
                "model": str(self.model),
                "settings": self.settings(**fields),
                "lora_rank": 8,
                "prefill": "chat",
                "folder": self.run,
                "memory": self.run / "server.json",
                "on_notice": self.told.append,
                **own,
            }
        )

    def adapter(self, name: str) -> Adapter:
        folder = self.play / "adapters" / name
        folder.mkdir(parents=True, exist_ok=True)
        return adapter_record(name, folder, str(self.model))

    # -- what is told -----------------------------------------------------------------------------------------------------------------

    def heard(self, *words: str) -> bool:
        """Whether one notice has all of these."""
        return any(all(word in text for word in words) for text in self.told)

    @property
    def starts(self) -> list[int]:
        """Process ids of all servers that were ever started, in their order."""
        file = self.play / "starts"
        return [int(word) for word in file.read_text().split()] if file.exists() else []

    def seen(self, path: str) -> list[tuple[int, str | None]]:
        """Servers that were asked at this path, by number, with the adapter's name."""
        asked = [json.loads(line) for line in (self.play / "seen").read_text().splitlines()]
        return [(number, name) for number, _, at, name in asked if at == path]

    @property
    def groups(self) -> list[int]:
        """Process groups that are written down."""
        file = self.run / "servers.json"
        return [each["pid"] for each in json.loads(file.read_text())["servers"]] if file.exists() else []

    @property
    def alive(self) -> list[int]:
        """Those of all servers ever started that run."""
        return [pid for pid in self.starts if runs(pid)]

    # -- what is done -----------------------------------------------------------------------------------------------------------------

    def stall(self, *, over: bool = False) -> None:
        """Streams fall silent, in all servers, until it is over."""
        (self.play / "stalls").unlink() if over else (self.play / "stalls").touch()

    def sweep(self) -> None:
        """End what a failed test left."""
        for group in self.groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def counting(seed: int, adapter: str | None = None, words: int = LONG) -> Request:
    return ask(f"Count to {words}", tokens=5000, seed=seed, adapter=adapter)


def right(request: Request, answer: Completion) -> bool:
    """Whether the answer is the whole of it, and nothing twice."""
    return answer.text == steady(request) and answer.finish == "stop"


async def begin(engine: Any, requests: list[Request]) -> list["asyncio.Task[Completion]"]:
    """Ask all; returns when each answer has begun."""
    heard = [Listener() for _ in requests]
    tasks = [asyncio.create_task(engine.generate(request, each)) for request, each in zip(requests, heard, strict=True)]
    await asyncio.wait_for(asyncio.gather(*(each.fed.wait() for each in heard)), 30)
    assert not any(task.done() for task in tasks)
    return tasks


async def until(what: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.02)


def playing(tmp_path, monkeypatch):
    """For fixtures: a stage whose servers are quick to be given up, on a machine without GPUs."""
    monkeypatch.setattr("selflengthen.engines.served.replica.POLL_SECONDS", 0.05)
    monkeypatch.setattr(vllm, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(vllm, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("selflengthen.engines.served.orphans.ASK_SECONDS", 0.5)
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ())
    monkeypatch.setitem(Replica.__init__.__kwdefaults__, "end_seconds", 0.3)
    stage = Stage(tmp_path)
    yield stage
    stage.sweep()


def run(stage: Stage, body: Callable[[Any], Any], **fields: Any) -> Any:
    """`body(engine)` with the engine open; afterwards nothing of it is left."""

    async def go():
        try:
            async with stage.engine(**fields) as engine:
                return await body(engine)
        finally:  # and not only at the loop's end, which ends what it can
            assert stage.alive == []
            assert stage.groups == []

    return asyncio.run(go())


def refused(stage: Stage, **fields: Any) -> str:
    """What is said when it does not come up."""

    async def nothing(_engine):
        pytest.fail("it came up")

    with pytest.raises(EngineError) as caught:
        run(stage, nothing, **fields)
    return str(caught.value)
