"""Stage 2: making responses longer in micro-iterations (method.md, "Stage 2").

One round: the Extender rewrites the first half of the draft freely; the first two thirds of that open its rewriting of the whole draft. What
passes the checks and is longer becomes the next draft.

Tries are not blind. A text that went wrong is bad luck, and the next one may do better; a response that was rewritten well and still did not grow
enough has met the Extender's limit, and is given up long before its tries are spent. Those are the longest ones, so they would cost the most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from selflengthen.engines.base import Engine, Request
from selflengthen.records import Attempt, Extension, Message, Reason, Record, Rejection, Response, Spent, Step
from selflengthen.stages.base import IterationPlan, Tries
from selflengthen.stages.drafting import SALVAGEABLE, Draft, write
from selflengthen.stages.respond import Respond
from selflengthen.store import Slot
from selflengthen.text import clean_prefix, first_half, two_thirds

STAGE = "extend"


@dataclass(frozen=True, slots=True)
class ExtendItem:
    """One extension wanted."""

    key: str
    response: Response


@dataclass(slots=True)
class _Best:
    """The longest text so far, and every step on the way."""

    text: str
    words: int
    spent: Spent = field(default_factory=Spent)
    salvaged: int = 0
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ExtendWork:
    """Tries until an extension outgrows its response enough or the tries are spent."""

    plan: IterationPlan

    async def __call__(self, item: ExtendItem, engine: Engine) -> Extension | Rejection:
        plan, response, settings = self.plan, item.response, self.plan.config.extend
        tries = Tries(plan, response.language, item.key, STAGE, 0, plan.config.sampling, plan.extender)
        steps: list[Step] = []
        in_vain = 0
        while len(tries.failed) < settings.tries and in_vain < settings.patience:
            attempt = len(tries.failed)
            tries.seed = plan.seed(STAGE, item.key, attempt)
            best = _Best(response.text, response.words)
            for number in range(settings.rounds):
                await self._round(response, best, plan.seed(STAGE, item.key, attempt, number), (attempt, number), engine)
            steps += best.steps
            if best.words > settings.min_gain * response.words:
                return Extension(
                    key=item.key,
                    parent=response.key,
                    language=response.language,
                    kind=response.kind,
                    instruction=response.instruction,
                    initial=response.text,
                    initial_words=response.words,
                    text=best.text,
                    words=best.words,
                    steps=tuple(steps),
                    made=tries.made(best.spent, best.salvaged),
                )
            tries.fail(_failure(best))
            in_vain += any(step.reason in {None, Reason.NOT_LONGER} for step in best.steps)
        return tries.rejection(parent=response.key, steps=tuple(steps))

    async def _round(self, response: Response, best: _Best, seed: int, place: tuple[int, int], engine: Engine) -> None:
        """One micro-iteration: `best` is replaced when the new text passes and is longer."""
        opening, spent = await self._opening(response, best.text, seed, engine)
        draft = await self._write(response, best.text, opening, seed + 1, engine)
        spent += draft.spent
        best.spent += spent
        reason, detail, text = None, "", ""
        if draft.verdict is not None:
            reason, detail, text = draft.verdict.reason, draft.verdict.detail, draft.text
        elif draft.words <= best.words:
            reason, detail, text = Reason.NOT_LONGER, f"{draft.words} words after {best.words}", draft.text
        else:
            best.text, best.words = draft.text, draft.words
            best.salvaged += draft.salvaged
            text = draft.text
        attempt, number = place
        best.steps.append(Step(attempt=attempt, round=number, reason=reason, detail=detail, text=text, words=draft.words, spent=spent))

    async def _opening(self, response: Response, current: str, seed: int, engine: Engine) -> tuple[str, Spent]:
        """The first part of a rewriting of the draft's first half, and what it cost. The third that the method cuts off is not rejected text."""
        half = await self._write(response, first_half(current), "", seed, engine, salvage=0)
        if half.verdict is None or half.verdict.reason not in SALVAGEABLE:
            return _opened(two_thirds(half.text)), half.spent
        # Stopped on the stream: what stands before the fault ends where the model was still going on, so no end has to be cut off.
        clean = clean_prefix(half.text, half.verdict.start)
        return _opened(clean), half.spent_up_to(len(clean))

    async def _write(self, response: Response, draft: str, prefill: str, seed: int, engine: Engine, *, salvage: int | None = None) -> Draft:
        plan = self.plan
        prompt = plan.recipes[response.language].extend_prompt(response.instruction, draft)
        request = Request((Message(role="user", content=prompt),), plan.config.sampling, seed, prefill=prefill, adapter=plan.extender)
        return await write(engine, request, plan.watching[response.language].but(salvage=salvage))


def _opened(text: str) -> str:
    """A text as the opening of a longer one: the next paragraph can follow."""
    return text + "\n\n" if text else ""


def _failure(best: _Best) -> Attempt:
    """Why a try brought no extension: the reason its last round failed, or too little growth."""
    last = best.steps[-1]
    reason = last.reason or Reason.NOT_LONGER
    return Attempt(reason=reason, detail=last.detail or f"{best.words} words", words=best.words, spent=best.spent)


class Extend:
    """The arrow: follows the responses' windows as they are settled."""

    stage = STAGE

    def __init__(self, plan: IterationPlan, slot: Slot[Extension], upstream: Respond) -> None:
        self.plan, self.slot, self.upstream = plan, slot, upstream
        self.work = ExtendWork(plan)
        self.planned = 0
        self._owed: list[tuple[int, str, str]] = []
        """A heap of words, negative, keys and parents: the longest response goes first, so that the last ones at work are short ones."""

    def take(self) -> ExtendItem | None:
        self._follow()
        while self._owed:
            _, key, parent = heappop(self._owed)
            if not self.slot.settled(key):
                return ExtendItem(key, self.upstream.slot.kept.get(parent))
        return None

    def settle(self, item: ExtendItem, outcome: Extension | Rejection) -> Sequence[Record]:  # noqa: ARG002  # the outcome carries its key
        self.slot.write(outcome)
        return [outcome]

    @property
    def complete(self) -> bool:
        self._follow()
        return self.upstream.complete and not self.upstream.windows and len(self.slot.kept) + len(self.slot.rejected) == self.planned

    def finish(self) -> None:
        self.slot.finish(planned=self.planned)

    def _follow(self) -> None:
        """Owe the extensions of newly settled windows."""
        samples = range(self.plan.config.extend.samples)
        for chosen in self.upstream.settled_windows():
            self.planned += len(chosen.kept) * len(samples)
            for parent in chosen.kept:
                words = self.upstream.slot.kept.get(parent).words
                for sample in samples:
                    heappush(self._owed, (-words, f"{parent}.x{sample}", parent))
