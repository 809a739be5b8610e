"""What a run tells while it goes on: for the progress display and the event log. Nothing here is read by resume."""

from dataclasses import dataclass

from selflengthen.records import Measurement


@dataclass(frozen=True, slots=True)
class StageBegan:
    """Work of a stage begins, or goes on after a stop: `settled` rows of `planned` are on disk."""

    iteration: int
    stage: str
    planned: int
    settled: int


@dataclass(frozen=True, slots=True)
class RowWritten:
    """A row was written down. `planned` is what its stage wants, as far as is known by now."""

    iteration: int
    stage: str
    key: str
    planned: int
    reason: str | None
    """Why it was rejected; None when it was kept."""
    words: int
    tokens: int
    """Generated for this row in all."""
    tokens_rejected: int
    """Those of them that went into text that was not kept, what salvage cut away of a kept one included."""


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage of an iteration is complete."""

    iteration: int
    stage: str


@dataclass(frozen=True, slots=True)
class TrainStep:
    """An optimiser step of an adapter."""

    iteration: int
    adapter: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The held-out figures of an iteration."""

    iteration: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the engine that a person may want to know: a server that starts, is down, is back."""

    text: str


Event = StageBegan | RowWritten | StageEnded | TrainStep | Measured | Notice
