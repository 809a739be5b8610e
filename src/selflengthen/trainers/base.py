"""The seam to a model that learns: what a training job is. No back-end lives here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from selflengthen.config import TrainSettings
from selflengthen.records import Adapter, Role


@dataclass(frozen=True, slots=True)
class TrainJob:
    """One adapter to make. The same job given twice resumes, or returns the finished adapter."""

    name: str
    role: Role
    iteration: int
    base_model: str
    """A model folder or a hub name."""
    data: Path
    """JSON lines of `SftExample`."""
    out: Path
    """The adapter's folder; complete once `adapter_config.json` and the weights are renamed into place."""
    log: Path
    """Where the training process writes what it says."""
    settings: TrainSettings
    seed: int
    start_from: Path | None = None
    """The role's previous adapter, which this one continues."""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Told after each optimiser step."""

    name: str
    step: int
    steps: int
    loss: float


class Trainer(Protocol):
    """A model that learns. Errors: `TrainerError`, with the end of the log."""

    def train(self, job: TrainJob, on_progress: Callable[[TrainProgress], None]) -> Adapter:
        """Run the job to its end, blocking. Leaving by an exception ends what was started."""
        ...

    def stop(self) -> None:
        """End all that runs, from another thread: each `train` under way raises TrainerError."""
        ...
