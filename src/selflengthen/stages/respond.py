"""Stage 1: first answers to instructions, and the length-biased selection among them (method.md, "Stage 1").

Selection ranks over windows: a window is a fixed range of instruction slots of one language, and it is settled when every response in it is.
Windows, not the whole set, so that extension need not wait for the slowest response of the iteration.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from selflengthen.engines.base import Engine, Request
from selflengthen.records import Instruction, Message, Record, Rejection, Response, Selection
from selflengthen.stages.base import IterationPlan, Tries
from selflengthen.stages.drafting import write
from selflengthen.stages.instruct import Instruct
from selflengthen.store import Dataset, Slot
from selflengthen.text import select_longest_biased, windows

STAGE = "respond"


@dataclass(frozen=True, slots=True)
class RespondItem:
    """One response wanted."""

    key: str
    instruction: Instruction

    @property
    def language(self) -> str:
        return self.instruction.language


@dataclass(frozen=True, slots=True)
class RespondWork:
    """Writes until a text passes the checks or the tries are spent."""

    plan: IterationPlan

    async def __call__(self, item: RespondItem, engine: Engine) -> Response | Rejection:
        plan, instruction = self.plan, item.instruction
        tries = Tries(plan, item.language, item.key, STAGE, 0, plan.config.sampling, plan.generator)
        while len(tries.failed) < plan.config.respond.tries:
            tries.seed = plan.seed(STAGE, item.key, len(tries.failed))
            request = Request((Message(role="user", content=instruction.text),), plan.config.sampling, tries.seed, adapter=plan.generator)
            draft = await write(engine, request, plan.watching[item.language])
            if draft.verdict is None:
                return Response(
                    key=item.key,
                    parent=instruction.key,
                    language=item.language,
                    kind=instruction.kind,
                    instruction=instruction.text,
                    text=draft.text,
                    words=draft.words,
                    made=tries.made(draft.spent, draft.salvaged),
                )
            tries.fail(draft.failed())
        return tries.rejection(parent=instruction.key)


class Respond:
    """The arrow: follows the instructions as they are settled; a window that is settled is selected from, once."""

    stage = STAGE

    def __init__(self, plan: IterationPlan, slot: Slot[Response], selections: Dataset[Selection], upstream: Instruct) -> None:
        self.plan, self.slot, self.selections, self.upstream = plan, slot, selections, upstream
        self.work = RespondWork(plan)
        self._seen = 0
        self._ready: list[RespondItem] = []
        settings = plan.config.respond
        self.windows = [
            Window(f"{plan.number}-{queue.language}-w{number:03d}", [queue.key(index) for index in slots])
            for queue in upstream.queues
            for number, slots in enumerate(windows(queue.count, max(1, settings.window // settings.samples)))
        ]

    def take(self) -> RespondItem | None:
        keys = self.upstream.slot.kept.keys
        while not self._ready and self._seen < len(keys):
            instruction = self.upstream.slot.kept.get(keys[self._seen])
            self._seen += 1
            items = (RespondItem(key, instruction) for key in self.keys_of(instruction.key))
            self._ready = [item for item in items if not self.slot.settled(item.key)]
        return self._ready.pop(0) if self._ready else None

    def settle(self, item: RespondItem, outcome: Response | Rejection) -> Sequence[Record]:  # noqa: ARG002  # the outcome carries its key
        self.slot.write(outcome)
        return [outcome]

    def keys_of(self, instruction: str) -> list[str]:
        """The responses of one instruction."""
        return [f"{instruction}.r{sample}" for sample in range(self.plan.config.respond.samples)]

    @property
    def planned(self) -> int:
        return self.plan.config.respond.samples * len(self.upstream.slot.kept)

    @property
    def complete(self) -> bool:
        return self.upstream.complete and len(self.slot.kept) + len(self.slot.rejected) == self.planned

    def settled_windows(self) -> Iterator[Selection]:
        """Windows whose every response is settled and that were not asked for before, with what was selected from each."""
        for window in [window for window in self.windows if self._settled(window)]:
            self.windows.remove(window)
            if window.key not in self.selections:
                self.selections.append(self._select(window))
            yield self.selections.get(window.key)

    def finish(self) -> None:
        self.slot.finish(planned=self.planned)

    def _settled(self, window: "Window") -> bool:
        instructions = self.upstream.slot
        return all(
            key in instructions.rejected or (key in instructions.kept and all(map(self.slot.settled, self.keys_of(key))))
            for key in window.instructions
        )

    def _select(self, window: "Window") -> Selection:
        keys = [key for instruction in window.instructions for key in self.keys_of(instruction) if key in self.slot.kept]
        lengths = [self.slot.kept.get(key).words for key in keys]
        chosen = [True] * len(keys)
        if self.plan.config.respond.select:
            chosen = select_longest_biased(lengths, self.plan.rng("select", window.key))
        return selection(window.key, keys, chosen)


@dataclass(frozen=True, slots=True)
class Window:
    """A fixed range of instruction slots of one language."""

    key: str
    instructions: list[str]


def selection(key: str, keys: Sequence[str], chosen: Sequence[bool]) -> Selection:
    """The record of which of `keys` were chosen."""
    kept = tuple(k for k, chose in zip(keys, chosen, strict=True) if chose)
    return Selection(key=key, kept=kept, dropped=tuple(k for k in keys if k not in set(kept)))
