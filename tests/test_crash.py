"""kill -9 at random moments until the run is finished: every dataset equals the uninterrupted run's (invariant 2)."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from selflengthen.report.status import run_figures

SETTINGS = [
    "engine.kind=scripted",
    "train.kind=scripted",
    "engine.delay_seconds=0.004",
    "engine.max_batch=6",
    "iterations=2",
    "instruct.count=12",
    "instruct.wave=4",
    "measure.count=24",
    "respond.window=6",
    "respond.tries=3",
    "extend.tries=2",
    "measure.min_pass_rate=0",
    "measure.min_diversity=0",
    "measure.min_growth=0",
]
KILLS = 12


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "selflengthen", *arguments]


def init(path: Path) -> None:
    subprocess.run(command("init", str(path), *(part for setting in SETTINGS for part in ("-o", setting))), check=True, capture_output=True)


def run(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command("run", str(path)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_killed_again_and_again_a_run_ends_like_one_that_was_not(tmp_path: Path):
    whole, mortal = tmp_path / "whole", tmp_path / "mortal"
    init(whole)
    init(mortal)
    began = time.monotonic()
    unharmed = run(whole)
    unharmed.communicate()
    assert unharmed.returncode == 0
    seconds = time.monotonic() - began
    dice, kills = random.Random(20), 0
    while True:
        process = run(mortal)
        try:
            # Starting up takes half a second; later kills come later, so that each life gets further than the one before.
            _, errors = process.communicate(timeout=0.5 + dice.random() * seconds / 3 + (kills > KILLS) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            tear(dice, mortal)
            continue
        assert process.returncode == 0, errors.decode()
        break
    assert kills >= 3
    assert rows(mortal) == rows(whole)
    assert tokens(mortal) == tokens(whole), "what was done before a kill was lost from the sums, or counted twice"


def tokens(path: Path) -> dict[str, Any]:
    """What the run cost by its status, without the time."""
    cost = run_figures(path).model_dump()["cost"]
    for stage in (cost["total"], *cost["stages"].values()):
        assert stage.pop("engine_seconds") > 0
        assert stage["generated"] > 0
    return cost


def tear(dice: random.Random, path: Path) -> None:
    """Leave half a line at the end of a dataset that is being written, as a kill in mid-write does."""
    growing = [
        file for file in path.glob("iter_*/*.jsonl") if file.stat().st_size and not file.with_name(file.name.split(".")[0] + ".done.json").exists()
    ]
    if growing:
        file = dice.choice(growing)
        line = file.read_bytes().splitlines()[0]
        with file.open("ab") as out:
            out.write(line[: dice.randrange(1, len(line))])


def rows(path: Path) -> dict[str, Any]:
    """All rows by file, in the order of their keys, without their seconds."""
    found = {}
    for file in sorted(path.glob("iter_*/*.jsonl")):
        lines = [without_seconds(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
        found[str(file.relative_to(path))] = sorted(lines, key=lambda row: row["key"])
    for file in sorted(path.glob("iter_*/*.json")):
        found[str(file.relative_to(path))] = without_seconds(json.loads(file.read_text(encoding="utf-8")))
    assert found
    return found


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(inner) for key, inner in value.items() if key != "seconds"}
    return [without_seconds(inner) for inner in value] if isinstance(value, list) else value


def test_a_second_writer_is_refused(tmp_path: Path):
    path = tmp_path / "run"
    init(path)
    first = run(path)
    try:
        while not (path / "iter_00").exists():
            time.sleep(0.05)
            assert first.poll() is None
        second = subprocess.run(command("run", str(path)), capture_output=True, text=True)
        assert second.returncode == 2
        assert f"in use by another process (pid {first.pid}" in " ".join(second.stderr.split())
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
