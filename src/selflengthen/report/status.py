"""The figures of a run, from what is on its disk: finished, unfinished, running or crashed. Their JSON is `status --json`.

What does not live here: what it cost (`cost`), how figures look (`tables`). Needs no lock and repairs nothing: see
`RunDirectory.open(readonly=True)`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import Field

from selflengthen.records import Figures, Gate, Measurement, Reason, Record, Role
from selflengthen.report.cost import Cost, Tally, cost_of_iteration, cost_of_run
from selflengthen.report.shown import Shown
from selflengthen.stages.ledger import SLOTS, STAGES, Ledger
from selflengthen.store import RunDirectory
from selflengthen.text import count_words

FLOW = {"instructions": "instruct", "responses": "respond", "extensions": "extend"}
"""The slots of an iteration, and the stages that write them."""


LAST = 100
"""Iterations have folders of two digits."""

EVENT = b'{"time": '
"""How a line of the event log begins."""

State = Literal["new", "running", "stopped", "finished"]


class SlotFigures(Shown):
    """One slot of an iteration. What the length-biased selection dropped is not kept: it counts as `not_selected`."""

    planned: int | None = Field(description="rows wanted, as far as is known now")
    kept: int
    rejected: dict[str, int]
    words_mean: float | None = Field(description="of the kept rows; null while there are none")
    words_p90: float | None
    done: bool = Field(description="marked complete: nothing more will be written")

    @property
    def complete(self) -> bool:
        """Every row that is planned by now has an outcome."""
        return bool(self.planned) and self.kept + sum(self.rejected.values()) == self.planned


class Examples(Shown):
    """The fine-tuning examples of one role. What was over the cut-off was refused, never cut."""

    kept: int
    refused: dict[str, int]
    tokens: int


class HeldOutFigures(Shown):
    """Held-out figures; all null until the iteration is measured."""

    n: int | None = None
    words_mean: float | None = None
    words_median: float | None = None
    words_p90: float | None = None
    pass_rate: float | None = None
    repetition_rate: float | None = None
    at_limit_rate: float | None = None
    distinct_3: float | None = None
    compression: float | None = None
    growth: float | None = Field(None, description="mean words over those of the last good iteration before")
    growth_over_base: float | None = None


class IterationFigures(Shown):
    """One macro-iteration."""

    iteration: int
    stage: str | None = Field(description="the stage that comes next or is under way; null when the iteration is finished")
    slots: dict[str, SlotFigures]
    examples: dict[str, Examples]
    cost: Cost
    held_out: HeldOutFigures
    languages: dict[str, HeldOutFigures]
    gates: tuple[Gate, ...]
    good: bool | None = Field(description="whether it passed its gates; null until it is measured")
    adapters: dict[str, str]
    seconds: float = Field(description="time worked on it, over all attempts; the pauses between them do not count")


class BaseFigures(HeldOutFigures):
    """The base model's held-out figures."""

    languages: dict[str, HeldOutFigures] = Field({})
    cost: Cost = Cost()
    seconds: float = 0.0


class RunFigures(Shown):
    """A whole run."""

    path: str
    state: State
    model: str
    languages_wanted: tuple[str, ...]
    iterations_wanted: int
    base: BaseFigures
    iterations: tuple[IterationFigures, ...] = Field(description="those that were begun")
    cost: Cost = Field(description="of the base model and all iterations together")


def run_figures(path: Path) -> RunFigures:
    """Read a run. Raises StoreError when `path` is none, or a row in it is corrupt."""
    run = RunDirectory.open(path, readonly=True)
    ledger, config = Ledger(run), run.config
    seconds = seconds_worked(path / "events.jsonl")
    begun = [number for number in range(1, LAST) if run.iteration(number).is_dir()]
    iterations = tuple(_iteration(ledger, number, seconds.get(number, 0.0)) for number in begun)
    base = _base(ledger, seconds.get(0, 0.0))
    return RunFigures(
        path=str(path),
        state=_state(run, base, iterations),
        model=config.model.path,
        languages_wanted=config.languages,
        iterations_wanted=config.iterations,
        base=base,
        iterations=iterations,
        cost=cost_of_run(base.cost, [each.cost for each in iterations]),
    )


def _state(run: RunDirectory, base: BaseFigures, iterations: tuple[IterationFigures, ...]) -> State:
    if run.in_use():
        return "running"
    if not run.iteration(0).is_dir():
        return "new"
    finished = {each.iteration for each in iterations if each.stage is None}
    return "finished" if base.n is not None and finished >= set(range(1, run.config.iterations + 1)) else "stopped"


def seconds_worked(events: Path) -> dict[int, float]:
    """Seconds spent on each iteration, from the event log. Lines that are torn or strange are passed over.

    The time before an event belongs to its iteration, unless the event is the beginning of a stage: what stands before that is the pause
    between two attempts, or nothing much.
    """
    worked: dict[int, float] = {}
    before: float | None = None
    for event in _events(events):
        now, number = event.get("time"), event.get("iteration")
        if not isinstance(now, int | float) or not isinstance(number, int):
            continue
        if before is not None and event.get("event") != "StageBegan":
            worked[number] = worked.get(number, 0.0) + max(0.0, now - before)
        before = now
    return {number: round(seconds, 1) for number, seconds in worked.items()}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            # After a torn line the next event stands on the same line.
            whole = line[max(0, line.rfind(EVENT)) :]
            try:
                event = json.loads(whole)
            except ValueError:  # torn, or bytes that are no text
                continue
            if isinstance(event, dict):
                yield event


def _iteration(ledger: Ledger, number: int, seconds: float) -> IterationFigures:
    measured = ledger.measurement(number)
    before = ledger.last_good(number)
    base = ledger.measurement(0)
    tallies = {stage: Tally() for stage in SLOTS}
    slots = {name: _slot(ledger, number, stage, tallies[stage]) for name, stage in FLOW.items()}
    _add_rows(ledger, number, "measure", tallies["measure"])
    adapters = {str(role): str(adapter.path) for role, adapter in ledger.adapters(number).items()}
    examples = {str(role): _examples(ledger, number, role) for role in Role}
    return IterationFigures(
        iteration=number,
        stage=None if measured else _next_stage(ledger, number, slots),
        slots=slots,
        examples=examples,
        cost=cost_of_iteration(tallies),
        held_out=held_out(measured.overall, before.overall if before else None, base.overall if base else None) if measured else HeldOutFigures(),
        languages=_languages(measured, before, base),
        gates=measured.gates if measured else (),
        good=measured.good if measured else None,
        adapters=adapters,
        seconds=seconds,
    )


def _slot(ledger: Ledger, number: int, stage: str, tally: Tally) -> SlotFigures:
    """The figures of a slot; what its rows cost goes into `tally`, so that they are read once."""
    slot = ledger.slot(number, stage)
    dropped = _dropped(ledger, number, stage)
    reasons: Counter[str] = Counter()
    words: list[int] = []
    for row in _rows(slot.kept, slot.rejected):
        key, reason = getattr(row, "key", ""), getattr(row, "reason", None)
        tally.add(row, dropped=key in dropped)
        if reason is not None:
            reasons[str(reason)] += 1
        elif key in dropped:
            reasons[str(Reason.NOT_SELECTED)] += 1
        else:
            words.append(count_words(getattr(row, "text", "")))
    words.sort()
    return SlotFigures(
        planned=_planned(ledger, number, stage),
        kept=len(words),
        rejected=dict(reasons.most_common()),
        words_mean=round(fmean(words), 1) if words else None,
        words_p90=float(words[int(0.9 * (len(words) - 1) + 0.5)]) if words else None,
        done=slot.done,
    )


def _planned(ledger: Ledger, number: int, stage: str) -> int | None:
    """Rows wanted, as `Arrow.planned` counts them, by what is on disk."""
    config = ledger.run.config
    if stage == "instruct":
        return config.instruct.count
    if stage == "respond":
        return config.respond.samples * len(ledger.slot(number, "instruct").kept)
    windows = ledger.selections(number, "respond")
    return config.extend.samples * sum(len(window.kept) for window in windows) if len(windows) else None


def _dropped(ledger: Ledger, number: int, stage: str) -> set[str]:
    if stage == "instruct":
        return set()
    return {key for window in ledger.selections(number, stage) for key in window.dropped}


def _examples(ledger: Ledger, number: int, role: Role) -> Examples:
    slot = ledger.sft(number)[role]
    refused = Counter(str(row.reason) for row in slot.rejected)
    return Examples(kept=len(slot.kept), refused=dict(refused), tokens=sum(row.tokens for row in slot.kept))


def _next_stage(ledger: Ledger, number: int, slots: dict[str, SlotFigures]) -> str | None:
    """The first stage that owes something. The stages of the flow are marked done together, so their rows are looked at too."""
    done = {stage: slots[name].done or slots[name].complete for name, stage in FLOW.items()}
    done["sft_data"] = all(slot.done for slot in ledger.sft(number).values())
    done["train"] = len(ledger.adapters(number)) == len(Role)
    return next((stage for stage in STAGES if not done.get(stage, False)), None)


def _base(ledger: Ledger, seconds: float) -> BaseFigures:
    measured = ledger.measurement(0)
    tallies = {stage: Tally() for stage in ("instruct", "measure")}
    for stage, tally in tallies.items():
        _add_rows(ledger, 0, stage, tally)
    cost = cost_of_iteration(tallies)
    if measured is None:
        return BaseFigures(cost=cost, seconds=seconds)
    figures = held_out(measured.overall, None, None).model_dump()
    return BaseFigures(**figures, languages=_languages(measured, None, None), cost=cost, seconds=seconds)


def _languages(measured: Measurement | None, before: Measurement | None, base: Measurement | None) -> dict[str, HeldOutFigures]:
    if measured is None:
        return {}
    return {
        language: held_out(figures, before.languages.get(language) if before else None, base.languages.get(language) if base else None)
        for language, figures in measured.languages.items()
    }


def held_out(now: Figures, before: Figures | None, base: Figures | None) -> HeldOutFigures:
    """Figures with their growth over the last good iteration before and over the base."""
    return HeldOutFigures(**now.model_dump(), growth=_ratio(now, before), growth_over_base=_ratio(now, base))


def _ratio(now: Figures, before: Figures | None) -> float | None:
    return round(now.words_mean / before.words_mean, 2) if before and before.words_mean else None


def _add_rows(ledger: Ledger, number: int, stage: str, tally: Tally) -> None:
    slot = ledger.slot(number, stage)
    for row in _rows(slot.kept, slot.rejected):
        tally.add(row)


def _rows(*datasets: Any) -> Iterator[Record]:
    for dataset in datasets:
        yield from dataset
