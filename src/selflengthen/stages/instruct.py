"""Stage 0: the model makes instructions from two examples and judges whether they suit a long text (method.md, "Stage 0").

Instructions are settled in the order of their slots, though they are made side by side: whether one is a duplicate depends on the ones before
it, and a run must come out the same however its requests happened to finish. The growing pool takes accepted instructions in after each wave,
for the same reason.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from selflengthen.engines.base import Engine, Finish, Request, RequestRefused
from selflengthen.recipes import OwnInstruction
from selflengthen.records import Attempt, Instruction, Kind, Message, Reason, Record, Rejection, Spent
from selflengthen.stages.base import IterationPlan, Tries
from selflengthen.stages.duplicates import NearDuplicates
from selflengthen.store import Slot
from selflengthen.text import count_words, language_of

STAGE = "instruct"
JUDGE_TOKENS = 16
"""Enough for one word in any tokenizer; an essay is cut there and counts as no answer."""
KINDS = tuple(Kind)


@dataclass(frozen=True, slots=True)
class InstructItem:
    """A slot to fill: which language and kind, which examples to show, and the tries so far."""

    key: str
    language: str
    kind: Kind
    index: int
    examples: tuple[str, ...]
    own: str = ""
    """A person's own instruction for this slot: taken as it is, unless it was there before."""
    failed: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class InstructWork:
    """Makes candidates until the judge accepts one or the tries are spent."""

    plan: IterationPlan

    async def __call__(self, item: InstructItem, engine: Engine) -> Instruction | Rejection:
        settings = self.plan.config.instruct
        tries = Tries(self.plan, item.language, item.key, STAGE, 0, settings.sampling, None, item.failed)
        if item.own and not item.failed:
            return Instruction(key=item.key, language=item.language, kind=item.kind, text=item.own, made=tries.made(Spent()))
        while len(tries.failed) < settings.tries:
            tries.seed = self.plan.seed(STAGE, item.key, len(tries.failed))
            outcome = await self._try(item, tries.seed, engine)
            if outcome.reason is None:
                return Instruction(
                    key=item.key,
                    language=item.language,
                    kind=item.kind,
                    text=outcome.text,
                    examples=item.examples,
                    made=tries.made(outcome.spent),
                )
            tries.fail(outcome.attempt())
        return tries.rejection()

    async def _try(self, item: InstructItem, seed: int, engine: Engine) -> "_Candidate":
        settings, recipe = self.plan.config.instruct, self.plan.recipes[item.language]
        shown = [recipe.item(n, text) for n, text in enumerate(item.examples, start=1)]
        opened = recipe.item_separator.join([*shown, recipe.label(len(shown) + 1)])
        stop = recipe.item_separator + recipe.label(len(shown) + 2)
        sampling = settings.sampling.model_copy(update={"stop": (*settings.sampling.stop, stop, stop.rstrip())})
        request = Request((Message(role="user", content=recipe.list_prompt()),), sampling, seed, prefill=opened)
        try:
            completion = await engine.generate(request)
        except RequestRefused as refused:
            return _Candidate("", Spent(), Reason.CONTEXT_FULL if refused.context_full else Reason.REFUSED, refused.detail)
        text = completion.text.strip()
        candidate = _Candidate(text, completion.spent)
        if not text or completion.finish is Finish.LENGTH or recipe.item_separator in text:
            return replace(candidate, reason=Reason.MALFORMED, detail="not one item of the list")
        words = count_words(text)
        if words <= settings.min_words:
            return replace(candidate, reason=Reason.TOO_SHORT, detail=f"{words} words")
        if words >= settings.max_words:
            return replace(candidate, reason=Reason.TOO_LONG, detail=f"{words} words")
        return await self._judge(item, candidate, seed, engine)

    async def _judge(self, item: InstructItem, candidate: "_Candidate", seed: int, engine: Engine) -> "_Candidate":
        recipe = self.plan.recipes[item.language]
        sampling = self.plan.config.instruct.sampling.model_copy(update={"max_tokens": JUDGE_TOKENS})
        message = Message(role="user", content=recipe.judge_prompt(candidate.text))
        try:
            answer = await engine.generate(Request((message,), sampling, seed))
        except RequestRefused as refused:
            return replace(candidate, reason=Reason.CONTEXT_FULL if refused.context_full else Reason.REFUSED, detail=refused.detail)
        candidate = replace(candidate, spent=candidate.spent + answer.spent)
        verdict = None if answer.finish is Finish.LENGTH else recipe.verdict(answer.text)
        if verdict is None:
            return replace(candidate, reason=Reason.MALFORMED, detail=f"the judge said {answer.text[:80]!r}")
        return candidate if verdict else replace(candidate, reason=Reason.UNSUITABLE)


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: str
    spent: Spent
    reason: Reason | None = None
    detail: str = ""

    def attempt(self) -> Attempt:
        assert self.reason is not None
        return Attempt(reason=self.reason, detail=self.detail, text=self.text, words=count_words(self.text), spent=self.spent)


class Instruct:
    """The arrow: deals slots out to languages and kinds in turn, settles candidates in order, refuses duplicates."""

    stage = STAGE

    def __init__(self, plan: IterationPlan, slot: Slot[Instruction], count: int, known: Iterable[Instruction], own: Sequence[OwnInstruction]) -> None:
        """`count` over all languages; `known`: those of earlier iterations and the held-out ones; `own`: a person's, used first."""
        self.slot = slot
        self.work = InstructWork(plan)
        self.queues = [_Queue(plan, language, plan.config.share(count, language), slot) for language in plan.config.languages]
        self.planned = count
        by_language = {queue.language: queue for queue in self.queues}
        used: set[str] = set()
        for instruction in known:
            used.add(instruction.text)
            if instruction.language in by_language:
                by_language[instruction.language].duplicates.add(instruction.text)
        for given in own:
            if given.text not in used:
                by_language[given.language or language_of(given.text)].own.append(given)
        for queue in self.queues:
            queue.resume()

    def take(self) -> InstructItem | None:
        ready = [queue for queue in self.queues if queue.ready()]
        return min(ready, key=lambda queue: queue.dealt / queue.count).take() if ready else None

    def settle(self, item: InstructItem, outcome: Instruction | Rejection) -> Sequence[Record]:
        queue = next(queue for queue in self.queues if queue.language == item.language)
        return queue.settle(item, outcome)

    @property
    def complete(self) -> bool:
        return all(queue.committed == queue.count for queue in self.queues)

    def finish(self) -> None:
        reasons = Counter(str(row.reason) for row in self.slot.rejected)
        self.slot.finish(planned=self.planned, reasons=dict(reasons))


class _Queue:
    """The slots of one language: `committed` are on disk, `dealt` are handed out, candidates wait in between for their turn."""

    def __init__(self, plan: IterationPlan, language: str, count: int, slot: Slot[Instruction]) -> None:
        self.plan, self.language, self.count, self.slot = plan, language, count, slot
        self.dealt = self.committed = 0
        self.duplicates = NearDuplicates(plan.config.instruct.near_duplicate)
        self.own: list[OwnInstruction] = []
        self.again: deque[InstructItem] = deque()
        self.waiting: dict[int, tuple[InstructItem, Instruction | Rejection]] = {}
        self.pool = _Pool(plan, language)

    def key(self, index: int) -> str:
        return f"{self.plan.number}-{self.language}-{index:04d}"

    def resume(self) -> None:
        """Skip the slots that are on disk; they stand in order, so the first that is missing is the next."""
        while self.committed < self.count and self.slot.settled(self.key(self.committed)):
            key = self.key(self.committed)
            if key in self.slot.kept:
                self._accept(self.slot.kept.get(key))
            self.committed += 1
        self.dealt = self.committed

    def ready(self) -> bool:
        """Whether a slot can be dealt: a second go, or a slot of the wave whose predecessors are all committed."""
        wave = self.plan.config.instruct.wave
        return bool(self.again) or (self.dealt < self.count and self.dealt // wave * wave <= self.committed)

    def take(self) -> InstructItem:
        if self.again:
            return self.again.popleft()
        index, self.dealt = self.dealt, self.dealt + 1
        kind, own = KINDS[index % len(KINDS)], ""
        if index < len(self.own):
            kind, own = self.own[index].kind or kind, self.own[index].text
        return InstructItem(self.key(index), self.language, kind, index, self.pool.examples(index, kind), own)

    def settle(self, item: InstructItem, outcome: Instruction | Rejection) -> Sequence[Record]:
        """Take a candidate in; commit all whose turn has come."""
        self.waiting[item.index] = (item, outcome)
        written: list[Record] = []
        while self.committed in self.waiting:
            item, outcome = self.waiting.pop(self.committed)
            if isinstance(outcome, Instruction):
                # A person who wrote two instructions that are alike meant both.
                near = self.duplicates.find(outcome.text, exact=outcome.text == item.own)
                if near is not None:
                    again = self._refuse(item, outcome, near)
                    if isinstance(again, InstructItem):
                        self.again.append(again)
                        break
                    outcome = again
            self.slot.write(outcome)
            if isinstance(outcome, Instruction):
                self._accept(outcome)
            self.committed += 1
            written.append(outcome)
        return written

    def _accept(self, instruction: Instruction) -> None:
        self.duplicates.add(instruction.text)
        self.pool.add(self.committed, instruction)

    def _refuse(self, item: InstructItem, candidate: Instruction, near: str) -> InstructItem | Rejection:
        """A duplicate: another go with the tries that are left, or the rejection."""
        attempt = Attempt(
            reason=Reason.DUPLICATE,
            detail=f"near to: {near}",
            text=candidate.text,
            words=count_words(candidate.text),
            spent=candidate.made.spent,
        )
        failed = (*candidate.made.failed, attempt)
        if len(failed) < self.plan.config.instruct.tries:
            return replace(item, failed=failed)
        return Tries(self.plan, self.language, item.key, STAGE, 0, candidate.made.sampling, None, failed).rejection()


class _Pool:
    """The examples of one language. Growing: accepted instructions join after their wave; each block starts again from the seeds."""

    def __init__(self, plan: IterationPlan, language: str) -> None:
        self.plan, self.language = plan, language
        self.seeds = [(seed.kind, seed.text) for seed in plan.recipes[language].seeds]
        self.grown: list[tuple[int, Kind, str]] = []

    def add(self, index: int, instruction: Instruction) -> None:
        if self.plan.config.instruct.pool == "growing":
            self.grown.append((index, instruction.kind, instruction.text))

    def examples(self, index: int, kind: Kind) -> tuple[str, ...]:
        """Two examples for slot `index`, of its own kind where there are two."""
        settings = self.plan.config.instruct
        block, wave = index // settings.block * settings.block, index // settings.wave * settings.wave
        pool = self.seeds + [(k, text) for i, k, text in self.grown if block <= i < wave]
        own_kind = [text for k, text in pool if k == kind]
        choice = own_kind if len(own_kind) >= 2 else [text for _, text in pool]
        return tuple(self.plan.rng("examples", f"{self.plan.number}-{self.language}-{index}").sample(choice, 2))
