"""Fine-tuning examples for both roles from an iteration's extensions (method.md, "Fine-tuning").

An example longer than the cut-off is refused and counted. Cutting it would take its end, and with it what the method teaches.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from selflengthen.records import Extension, Message, Reason, Rejection, Role, Selection, SftExample
from selflengthen.stages.base import IterationPlan
from selflengthen.stages.respond import selection
from selflengthen.store import Dataset, Slot
from selflengthen.text import select_longest_biased, thin_outline
from selflengthen.trainers.render import Unrenderable

STAGE = "sft_data"

CountTokens = Callable[[Sequence[Message], str], int]
"""Tokens of a rendered prompt and answer together."""


def select_extensions(plan: IterationPlan, extensions: Slot[Extension], selections: Dataset[Selection]) -> set[str]:
    """The keys that the length-biased selection keeps: exact, over all extensions of a language. Written down once."""
    chosen: set[str] = set()
    lengths = sorted((row.language, row.key, row.words) for row in extensions.kept)  # an order that does not depend on which finished first
    for language in plan.config.languages:
        key = f"{plan.number}-{language}"
        if key not in selections:
            rows = [(row_key, words) for row_language, row_key, words in lengths if row_language == language]
            keep = [True] * len(rows)
            if plan.config.extend.select:
                keep = select_longest_biased([words for _, words in rows], plan.rng(STAGE, key))
            selections.append(selection(key, [row_key for row_key, _ in rows], keep))
        chosen |= set(selections.get(key).kept)
    return chosen


def make_examples(
    plan: IterationPlan,
    extensions: Slot[Extension],
    chosen: set[str],
    slots: dict[Role, Slot[SftExample]],
    count_tokens: CountTokens,
) -> None:
    """Write the examples of both roles, in the order of their keys; what is on disk already is left alone."""
    for key in sorted(chosen & set(extensions.kept.keys)):  # a row deleted by hand and made anew may have failed this time
        extension = extensions.kept.get(key)
        for role, messages in _prompts(plan, extension):
            slot = slots[role]
            if slot.settled(key):
                continue
            slot.write(_example(plan, extension, messages, count_tokens))
    for slot in slots.values():
        slot.finish(reasons=dict(Counter(str(row.reason) for row in slot.rejected)))


def _prompts(plan: IterationPlan, extension: Extension) -> Iterator[tuple[Role, tuple[Message, ...]]]:
    yield Role.GENERATOR, (Message(role="user", content=extension.instruction),)
    outline = thin_outline(extension.initial, plan.rng("thin", extension.key), plan.config.train.thin)
    prompt = plan.recipes[extension.language].extend_prompt(extension.instruction, outline)
    yield Role.EXTENDER, (Message(role="user", content=prompt),)


def _example(plan: IterationPlan, extension: Extension, messages: tuple[Message, ...], count_tokens: CountTokens) -> SftExample | Rejection:
    def refused(reason: Reason, detail: str) -> Rejection:
        return Rejection(key=extension.key, stage=STAGE, language=extension.language, reason=reason, detail=detail, parent=extension.parent)

    try:
        tokens = count_tokens(messages, extension.text)
    except Unrenderable as error:
        return refused(Reason.UNRENDERABLE, str(error))
    cutoff = plan.config.train.cutoff_tokens
    if tokens > cutoff:
        return refused(Reason.OVER_CUTOFF, f"{tokens} tokens, train.cutoff_tokens = {cutoff}")
    return SftExample(key=extension.key, language=extension.language, messages=messages, answer=extension.text, tokens=tokens)
