"""Progress while a run goes on: a live display on a terminal, plain lines without one. Given to the pipeline as its observer.

An event costs a few additions; what is seen is made four times a second, whatever the events. What does not live here: what happens (`stages`),
the figures of what is done already (`status`).
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from selflengthen.records import Measurement
from selflengthen.report.screen import amount, counted, duration, percent, printable
from selflengthen.report.status import held_out
from selflengthen.report.tables import result_lines
from selflengthen.stages.events import Event, Measured, Notice, RowWritten, StageBegan, StageEnded, TrainStep

REFRESH = 4
"""Times a second that the live display is drawn."""
PLAIN_SECONDS = 10.0
"""Least time between two plain lines of a stage, its first and last one apart."""
RATE_SECONDS = 60.0
"""The rate is of the last minute: texts become longer as an iteration goes on."""
BAR = 12

Clock = Callable[[], float]


@dataclass(slots=True)
class Stage:
    """What is known of a stage under way. `resumed` rows were on disk before; the counts are of what this process wrote."""

    iteration: int
    name: str
    planned: int
    resumed: int
    began: float
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    words: int = 0
    detail: str = ""
    ended: bool = False
    told: float = 0.0
    """When the last plain line about it was printed."""
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def rejected(self) -> int:
        """Rows that were given up."""
        return sum(self.reasons.values())

    @property
    def done(self) -> int:
        """Rows that are settled."""
        return self.resumed + self.kept + self.rejected

    def rate(self, now: float) -> float | None:
        """Rows a second lately; None before there is anything to say."""
        self.samples.append((now, self.done))
        while now - self.samples[0][0] > RATE_SECONDS:
            self.samples.popleft()
        since, before = self.samples[0] if len(self.samples) > 1 else (self.began, self.resumed)
        passed, rows = now - since, self.done - before
        return rows / passed if rows > 0 and passed > 0 else None


class ProgressView:
    """The observer. A context manager: the display lives inside it."""

    def __init__(self, console: Console, iterations: int, clock: Clock = time.monotonic) -> None:
        self.console, self.iterations, self.clock = console, iterations, clock
        self.began = clock()
        self.iteration = 0
        self.tokens = self.rejected_tokens = 0
        self.stages: dict[str, Stage] = {}
        self.measured: dict[int, Measurement] = {}
        self._live: Live | None = None
        # The display is drawn by a thread of its own; a stage appears or goes under this lock.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            # Whatever else is printed meanwhile - warnings, a library's chatter - goes above the display.
            self._live = Live(console=self.console, get_renderable=self.render, refresh_per_second=REFRESH, transient=True, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case RowWritten():
                self._row(event)
            case StageBegan():
                self._begin(event)
            case StageEnded():
                self._end(event)
            case TrainStep():
                self._train_step(event)
            case Measured():
                self._measured(event)
            case Notice():
                self._print(Text(printable(event.text), "dim"))

    def seen_before(self, measured: Iterable[Measurement | None]) -> None:
        """Measurements of earlier attempts, to compare with."""
        self.measured |= {each.iteration: each for each in measured if each}

    # -- events ---------------------------------------------------------------------------------------------------------------------

    def _row(self, row: RowWritten) -> None:
        stage = self.stages[row.stage]
        stage.planned = row.planned
        if row.reason is None:
            stage.kept += 1
            stage.words += row.words
        else:
            stage.reasons[row.reason] += 1
        self.tokens += row.tokens
        self.rejected_tokens += row.tokens_rejected
        if self._live is None and self.clock() - stage.told >= PLAIN_SECONDS:
            self._tell(stage)

    def _begin(self, event: StageBegan) -> None:
        with self._lock:
            if event.iteration != self.iteration:
                self.iteration, self.tokens, self.rejected_tokens = event.iteration, 0, 0
                self.stages.clear()
            self.stages[event.stage] = Stage(event.iteration, event.stage, event.planned, event.settled, self.clock())
        if self._live is None:
            stage = self.stages[event.stage]
            stage.told = self.clock()
            resumed = f", {event.settled:,} rows are there already" if event.settled else ""
            self._print(Text(f"{self._where(stage)} begins{resumed}"))

    def _end(self, event: StageEnded) -> None:
        stage = self.stages[event.stage]
        stage.ended = True
        if self._live is None:
            self._tell(stage)

    def _train_step(self, step: TrainStep) -> None:
        # Both adapters may train side by side: each is a line of its own.
        key = step.adapter
        if key not in self.stages:
            with self._lock:
                self.stages[key] = Stage(step.iteration, key, step.steps, 0, self.clock())
        stage = self.stages[key]
        stage.planned, stage.resumed, stage.detail = step.steps, step.step, f"loss {step.loss:.3f}"
        stage.ended = step.step >= step.steps
        if self._live is None and (stage.ended or self.clock() - stage.told >= PLAIN_SECONDS):
            self._tell(stage)

    def _measured(self, event: Measured) -> None:
        now, base = event.measurement, self.measured.get(0)
        good = [m for n, m in sorted(self.measured.items()) if n < event.iteration and m.good]
        self.measured[event.iteration] = now
        figures = held_out(now.overall, good[-1].overall if good else None, base.overall if base else None)
        with self._lock:
            self.stages.clear()
        for line in result_lines(event.iteration, figures, now.gates):
            self._print(line)

    # -- plain lines ----------------------------------------------------------------------------------------------------------------

    def _tell(self, stage: Stage) -> None:
        stage.told = self.clock()
        self._print(Text(f"{self._where(stage)} {', '.join(self._said(stage))}"))

    def _where(self, stage: Stage) -> str:
        name = f"iteration {stage.iteration}" if stage.iteration else "base"
        return f"{name} {stage.name}:"

    def _said(self, stage: Stage) -> Iterator[str]:
        if stage.ended and stage.done < stage.planned:  # it has no rows to count: making examples, training
            yield "done"
        elif stage.planned:
            yield f"{stage.done:,} of {stage.planned:,}"
        else:
            yield "nothing yet"
        yield from self._outcomes(stage)
        if not stage.ended:
            yield from self._speed(stage)

    def _print(self, text: Text) -> None:
        if self._live is None:
            text = Text.assemble(f"[{duration(self.clock() - self.began)}] ", text)
        self.console.print(text, soft_wrap=self._live is None)  # a line of a log stays a line

    # -- the live display -----------------------------------------------------------------------------------------------------------

    def render(self) -> Text:
        """The display now, a line a stage and one for its rejections. Text alone: a table would cost ten times as much to draw."""
        with self._lock:
            stages = list(self.stages.values())
        heading = Text(f"iteration {self.iteration} of {self.iterations}" if self.iteration else "the base model", style="bold")
        heading.append(f"  {duration(self.clock() - self.began)}", style="not bold dim")
        if self.tokens:
            lost = percent(self.rejected_tokens / self.tokens)
            heading.append(f"  {amount(self.tokens)} tokens, {lost} of them in rejected text", style="not bold dim")
        lines = [heading, *(line for stage in stages for line in self._lines(stage))]
        for line in lines:
            line.truncate(self.console.width - 1, overflow="ellipsis")
        return Text("\n").join(lines)

    def _lines(self, stage: Stage) -> Iterator[Text]:
        planned = max(stage.planned, stage.done)
        share = 1.0 if stage.ended else (stage.done / planned if planned else 0.0)
        full = int(BAR * share)
        style = "green" if share == 1.0 else "cyan"
        line = Text.assemble(f"  {stage.name:<12}", ("━" * full, style), ("━" * (BAR - full), "bright_black"))
        counts = planned and not (stage.ended and stage.done < planned)
        line.append(f" {stage.done:>5,}/{planned:<6,}" if counts else " " * 13)
        line.append(", ".join(self._outcomes(stage)))
        if not stage.ended and planned:
            line.append("".join(f", {said}" for said in self._speed(stage)), style="dim")
        yield line
        if stage.reasons:
            yield Text(f"{' ' * 14}rejected {stage.rejected:,}: {counted(stage.reasons)}", style="dim")

    def _outcomes(self, stage: Stage) -> Iterator[str]:
        if stage.kept or stage.rejected:
            yield f"{stage.kept:,} kept"
            if stage.words:
                yield f"{stage.words / stage.kept:,.0f} words"
            if self._live is None and stage.rejected:
                yield f"{stage.rejected:,} rejected ({counted(stage.reasons)})"
        if stage.detail:
            yield stage.detail

    def _speed(self, stage: Stage) -> Iterator[str]:
        rate = stage.rate(self.clock())
        if rate and stage.done < stage.planned:
            yield f"{rate:.1f}/s" if rate >= 0.1 else f"{60 * rate:.1f}/min"
            yield f"{duration((stage.planned - stage.done) / rate)} left"
