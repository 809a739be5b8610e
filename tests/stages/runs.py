"""Small scripted runs, and what they left on the disk."""

import json
from pathlib import Path
from typing import Any

from selflengthen.config import Config, load_config

SMALL = (
    "engine.kind=scripted",
    "train.kind=scripted",
    "iterations=2",
    "instruct.count=12",
    "instruct.wave=3",
    "measure.count=24",
    "respond.window=6",
    "respond.tries=3",
    "extend.tries=2",
    "engine.max_batch=8",
    "measure.min_diversity=0",
    "measure.min_growth=0",
    "measure.min_pass_rate=0",
)


def small(*overrides: str, script: str = "pretend") -> Config:
    """Settings of a small scripted run."""
    named = () if script == "pretend" else (f"engine.script=scripts:{script}",)
    return load_config(None, [*SMALL, *named, *overrides])


def datasets(run: Path) -> dict[str, list[Any]]:
    """All rows of a run by file, in the order of their keys, without what is allowed to differ: seconds."""
    found = {}
    for file in sorted([*run.glob("iter_*/*.jsonl"), *run.glob("iter_*/measurement.json"), *run.glob("iter_*/*.done.json")]):
        rows = [timeless(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()] if file.suffix == ".jsonl" else []
        found[str(file.relative_to(run))] = sorted(rows, key=lambda row: row["key"]) or timeless(json.loads(file.read_text() or "{}"))
    return found


def timeless(value: Any) -> Any:
    """A row without its seconds."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key != "seconds"}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value
