"""What every stage is given (`IterationPlan`) and what the runner asks of one (`Arrow`). No stage lives here."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from selflengthen.config import Config
from selflengthen.executors import Item, ItemWork
from selflengthen.recipes import Recipe
from selflengthen.records import Attempt, Made, Record, Rejection, Sampling, Spent
from selflengthen.stages.drafting import Watching, seed_for


@dataclass(frozen=True, slots=True)
class IterationPlan:
    """What holds for one macro-iteration. Iteration 0 is the base model's: its held-out instructions and its answers."""

    number: int
    config: Config
    recipes: Mapping[str, Recipe]
    watching: Mapping[str, Watching]
    """How texts are checked, per language."""
    generator: str | None = None
    """The adapter that writes responses; None is the base model."""
    extender: str | None = None
    """The adapter that extends them."""

    def seed(self, stage: str, key: str, *parts: object) -> int:
        """The seed of one piece of work."""
        return seed_for(self.config.seed, stage, key, *parts)

    def rng(self, stage: str, key: str) -> random.Random:
        """A source of randomness of one decision's own."""
        return random.Random(self.seed(stage, key))


class Arrow(Protocol):
    """One stage of the flow, as the runner sees it: hands out work that is ready, takes outcomes and writes them down."""

    stage: str

    @property
    def work(self) -> ItemWork:
        """What is done to one item."""
        ...

    def take(self) -> Item | None:
        """The next item that is owed and ready, or None for now."""
        ...

    def settle(self, item: Any, outcome: Any) -> Sequence[Record]:
        """Write an outcome down. Gives the rows that were written: none while it waits for its turn, several once it came."""
        ...

    @property
    def planned(self) -> int:
        """Rows wanted, as far as is known now."""
        ...

    @property
    def complete(self) -> bool:
        """Nothing is owed and nothing more will be."""
        ...

    def finish(self) -> None:
        """Mark the slot done."""
        ...


@dataclass(slots=True)
class Tries:
    """The tries at one row: counts them, keeps the failed ones, and makes the row's provenance or its rejection."""

    plan: IterationPlan
    language: str
    key: str
    stage: str
    seed: int
    sampling: Sampling
    adapter: str | None
    failed: tuple[Attempt, ...] = ()
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def fail(self, attempt: Attempt) -> None:
        """One more try that failed."""
        self.failed = (*self.failed, attempt)

    def made(self, spent: Spent, salvaged: int = 0) -> Made:
        """The provenance of the row that was kept; `spent` is of the try that was."""
        recipe = self.plan.recipes[self.language]
        return Made(
            model=self.plan.config.model.path,
            adapter=self.adapter,
            sampling=self.sampling,
            recipe=f"{recipe.language}@{recipe.digest[:12]}",
            seed=self.seed,
            spent=spent,
            salvaged=salvaged,
            seconds=round(time.monotonic() - self.started, 2),
            failed=self.failed,
        )

    def rejection(self, parent: str | None = None, **extra: Any) -> Rejection:
        """The row is given up, for the reason of its last try."""
        last = self.failed[-1]
        return Rejection(
            key=self.key,
            stage=self.stage,
            language=self.language,
            reason=last.reason,
            detail=last.detail,
            parent=parent,
            attempts=self.failed,
            spent=sum((attempt.spent for attempt in self.failed), Spent()),
            **extra,
        )
