"""Held-out measurement: a model answers instructions that are never trained on; what comes of it decides whether its adapters are used further.

One answer to each instruction, no second try and no salvage: the figures are the model's own. The base model's figures (iteration 0) are what
growth and diversity are measured against, and they set the floors of the monotony check.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from selflengthen.config import MeasureSettings
from selflengthen.engines.base import Engine, Request
from selflengthen.records import Figures, Floors, Gate, HeldOut, Instruction, Measurement, Message, Reason, Record
from selflengthen.stages.base import IterationPlan, Tries
from selflengthen.stages.drafting import write
from selflengthen.store import Dataset, Slot
from selflengthen.text import Unit, windowed_diversity

STAGE = "measure"


@dataclass(frozen=True, slots=True)
class MeasureItem:
    """One held-out instruction to answer."""

    key: str
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class MeasureWork:
    """Answers once. What fails the checks is a row too."""

    plan: IterationPlan

    async def __call__(self, item: MeasureItem, engine: Engine) -> HeldOut:
        plan, instruction = self.plan, item.instruction
        seed = plan.seed(STAGE, instruction.key)  # the same in every iteration: the models differ, not the dice
        tries = Tries(plan, instruction.language, item.key, STAGE, seed, plan.config.sampling, plan.generator)
        request = Request((Message(role="user", content=instruction.text),), plan.config.sampling, seed, adapter=plan.generator)
        draft = await write(engine, request, plan.watching[instruction.language].but(salvage=0))
        return HeldOut(
            key=item.key,
            language=instruction.language,
            kind=instruction.kind,
            instruction=instruction.text,
            text=draft.text,
            words=draft.words,
            reason=draft.verdict.reason if draft.verdict else None,
            detail=draft.verdict.detail if draft.verdict else "",
            made=tries.made(draft.spent),
        )


class Measure:
    """The arrow: one answer to each held-out instruction, as they are settled."""

    stage = STAGE

    def __init__(self, plan: IterationPlan, slot: Slot[HeldOut], instructions: Slot[Instruction]) -> None:
        """`instructions` may still be growing: in iteration 0 they are made in the same flow."""
        self.plan, self.slot, self.instructions = plan, slot, instructions
        self.work = MeasureWork(plan)
        self._seen = 0

    def take(self) -> MeasureItem | None:
        keys = self.instructions.kept.keys
        while self._seen < len(keys):
            key = keys[self._seen]
            self._seen += 1
            if not self.slot.settled(self._key(key)):
                return MeasureItem(self._key(key), self.instructions.kept.get(key))
        return None

    def settle(self, item: MeasureItem, outcome: HeldOut) -> Sequence[Record]:  # noqa: ARG002  # the outcome carries its key
        self.slot.write(outcome)
        return [outcome]

    @property
    def planned(self) -> int:
        return len(self.instructions.kept)

    @property
    def complete(self) -> bool:
        return len(self.slot.kept) == self.planned

    def finish(self) -> None:
        self.slot.finish()

    def _key(self, instruction: str) -> str:
        return f"{instruction}.h{self.plan.number}"


def figures(rows: Sequence[HeldOut], floors: Mapping[str, Floors], units: Mapping[str, Unit]) -> Figures:
    """The figures of some held-out rows. Diversity is of every text that fills a window, passing or not."""
    passing = sorted(row.words for row in rows if row.reason is None)
    looked_at = [windowed_diversity(row.text, units[row.language], floors[row.language].window) for row in rows if row.language in floors]
    diverse = [diversity for diversity in looked_at if diversity is not None]
    n = len(rows)
    return Figures(
        n=n,
        words_mean=round(fmean(passing), 1) if passing else 0.0,
        words_median=float(median(passing)) if passing else 0.0,
        words_p90=float(passing[int(0.9 * (len(passing) - 1) + 0.5)]) if passing else 0.0,
        pass_rate=_share(len(passing), n),
        repetition_rate=_share(sum(row.reason in (Reason.REPEATED, Reason.MONOTONOUS) for row in rows), n),
        at_limit_rate=_share(sum(row.reason in (Reason.AT_LIMIT, Reason.CONTEXT_FULL) for row in rows), n),
        distinct_3=round(fmean(d.distinct_3 for d in diverse), 4) if diverse else None,
        compression=round(fmean(d.compression for d in diverse), 4) if diverse else None,
    )


def measurement(
    plan: IterationPlan,
    rows: Dataset[HeldOut],
    floors: Mapping[str, Floors],
    base: Measurement | None,
    last_good: Measurement | None,
) -> Measurement:
    """Sum an iteration's held-out rows up and apply the gates. `base` and `last_good` are None for the base itself."""
    all_rows = sorted(rows, key=lambda row: row.key)
    units = {language: plan.recipes[language].checks.unit for language in plan.config.languages}
    by_language = {
        language: figures([row for row in all_rows if row.language == language], floors, units)
        for language in plan.config.languages
        if any(row.language == language for row in all_rows)
    }
    overall = figures(all_rows, floors, units)
    made = [row.made for row in all_rows]
    return Measurement(
        iteration=plan.number,
        overall=overall,
        languages=by_language,
        growth=_ratio(overall, last_good.overall) if last_good else None,
        growth_over_base=_ratio(overall, base.overall) if base else None,
        growth_by_language={language: _ratio(f, base.languages[language]) for language, f in by_language.items()} if base else {},
        gates=tuple(_gates(plan.config.measure, by_language, base, last_good)) if base and last_good else (),
        floors=dict(floors),
        tokens=sum(m.tokens for m in made),
        seconds=round(sum(m.seconds for m in made), 1),
    )


def _gates(settings: MeasureSettings, now: Mapping[str, Figures], base: Measurement, last_good: Measurement) -> list[Gate]:
    gates = []
    for language, f in now.items():
        before, at_first = last_good.languages[language], base.languages[language]
        diversity = (f.distinct_3 or 0.0) / at_first.distinct_3 if at_first.distinct_3 else 1.0
        for name, value, least in (
            ("pass_rate", f.pass_rate, settings.min_pass_rate),
            ("diversity", diversity, settings.min_diversity),
            ("growth", _ratio(f, before), settings.min_growth),
        ):
            gates.append(Gate(name=name, language=language, value=round(value, 3), least=least, passed=value >= least))
    return gates


def _ratio(now: Figures, before: Figures) -> float:
    return round(now.words_mean / before.words_mean, 2) if before.words_mean else 0.0


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
