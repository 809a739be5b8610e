"""A small run of scripted models, for the tests of the flow."""

from collections.abc import Callable
from pathlib import Path

import pytest
from runs import small

from selflengthen.pipeline import Pipeline, create
from selflengthen.stages.events import Event
from selflengthen.store import RunDirectory


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., tuple[RunDirectory, list[Event]]]:
    """Run a small run to its end, or up to a stage; give the directory and what it told."""

    def begin(*overrides: str, script: str = "pretend", until: str | None = None, name: str = "run") -> tuple[RunDirectory, list[Event]]:
        told: list[Event] = []
        directory = create(tmp_path / name, small(*overrides, script=script))
        Pipeline(directory, told.append).run(until)
        return directory, told

    return begin
