"""The published way through stages 1 and 2, from docs/method.md: the baseline of `bench/flow.py`. No part of the product.

Each stage is a barrier and ends when 95 % of its rows are there, whatever the others were at. A text is checked when it is finished, with the
same checks as ours; one that fails is written again from its beginning, up to 20 times. Nothing is salvaged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from selflengthen.engines import Engine, Finish, Request
from selflengthen.records import Instruction, Message
from selflengthen.stages.base import IterationPlan
from selflengthen.text import check_text, count_words, first_half, select_longest_biased, two_thirds

ENOUGH = 0.95

Row = TypeVar("Row")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Text:
    """A response or an extension."""

    key: str
    instruction: Instruction
    text: str
    words: int


class Published:
    """Stages 1 and 2 for one iteration. `stop`: the share of a stage's rows at which it ends."""

    def __init__(self, plan: IterationPlan, engine: Engine, enough: float = ENOUGH) -> None:
        self.plan, self.engine, self.enough = plan, engine, enough
        self.planned = 0
        self.calls = 0

    async def run(self, instructions: Sequence[Instruction]) -> list[Text]:
        """The extensions that came of the instructions."""
        settings = self.plan.config
        wanted = [(f"{each.key}.r{sample}", each) for each in instructions for sample in range(settings.respond.samples)]
        responses = await self._stage(wanted, self._respond)
        keep = select_longest_biased([each.words for each in responses], self.plan.rng("select", "published"))
        chosen = [each for each, kept in zip(responses, keep, strict=True) if kept]
        drafts = [(f"{each.key}.x{sample}", each) for each in chosen for sample in range(settings.extend.samples)]
        self.planned = len(drafts)
        return await self._stage(drafts, self._extend)

    async def _stage(self, rows: Sequence[tuple[str, Row]], work: Callable[[str, Row], Awaitable[Text | None]]) -> list[Text]:
        """As many rows at once as the engine answers. When 95 % are there, the others are ended."""
        made: list[Text] = []
        left, running = list(reversed(rows)), set[asyncio.Task[Text | None]]()
        settled = 0
        while (left or running) and settled < self.enough * len(rows):
            while left and len(running) < self.engine.capabilities.concurrency:
                running.add(asyncio.ensure_future(work(*left.pop())))
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            settled += len(done)
            made += [text for task in done if (text := task.result()) is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return made

    async def _respond(self, key: str, instruction: Instruction) -> Text | None:
        for attempt in range(self.plan.config.respond.tries):
            text = await self._ask(instruction.language, instruction.text, "", self.plan.generator, "respond", key, attempt)
            if text is not None:
                return Text(key, instruction, text, count_words(text))
        return None

    async def _extend(self, key: str, response: Text) -> Text | None:
        """The loop of method.md, stage 2, as it stands there."""
        settings, language = self.plan.config.extend, response.instruction.language
        recipe = self.plan.recipes[language]
        for attempt in range(settings.tries):
            current, best = response.text, response.words
            for number in range(settings.rounds):
                half = recipe.extend_prompt(response.instruction.text, first_half(current))
                opening = two_thirds(await self._free(half, "", key, attempt, number))
                whole = recipe.extend_prompt(response.instruction.text, current)
                prefill = f"{opening}\n\n" if opening else ""
                new = await self._ask(language, whole, prefill, self.plan.extender, "extend", key, attempt, number)
                if new is not None and count_words(new) > best:
                    current, best = new, count_words(new)
            if best > settings.min_gain * response.words:
                return Text(key, response.instruction, current, best)
        return None

    async def _ask(self, language: str, prompt: str, prefill: str, adapter: str | None, *parts: object) -> str | None:
        """One text, checked at its end; None when it does not pass."""
        request = Request(
            (Message(role="user", content=prompt),), self.plan.config.sampling, self.plan.seed("published", *map(str, parts)), prefill, adapter
        )
        self.calls += 1
        completion = await self.engine.generate(request)
        text = (prefill + completion.text).strip()
        good = text and completion.finish is Finish.STOP and check_text(text, self.plan.watching[language].checks) is None
        return text if good else None

    async def _free(self, prompt: str, prefill: str, *parts: object) -> str:
        """The free rewriting, whatever it is worth."""
        seed = self.plan.seed("published", "half", *map(str, parts))
        self.calls += 1
        return (
            await self.engine.generate(Request((Message(role="user", content=prompt),), self.plan.config.sampling, seed, prefill, self.plan.extender))
        ).text
