"""Messages and an answer -> token ids and a loss mask. The loss covers the answer's tokens and its end-of-turn token, nothing else.

No model family is named here; what there is to know is read off the tokenizer's own chat template, by rendering it twice:

    prompt   = template(messages, add_generation_prompt)             what the engine sends when it asks for an answer
    finished = template(messages + [assistant: MARK])                 = prompt + lead + MARK + tail
    ids      = prompt ids + ids of (lead + answer) + first special token of the tail

`lead` is blank space some templates write before an answer (Mistral's " answer"), which their tokenizers do not give back when they decode.
The answer itself never passes through the template, which may strip it. What follows the end of the turn (ChatML's newline) is not learned.

What does not live here: which rows are too long (the caller says the cut-off), and any cutting, since nothing is ever cut.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from selflengthen.errors import TrainerError
from selflengthen.records import Message

MARK = "answer-goes-here"
ANCHORS = ("", "\n", "a")
"""Text that an answer is encoded after when it cannot be encoded after its own prompt; the first whose own tokens stay the same is taken.
None suits every tokenizer: byte-level ones need none, sentence-piece ones put a space before text that stands alone."""


class OverCutoff(TrainerError):
    """An example that would have to be cut. The caller records it as `Reason.OVER_CUTOFF`."""

    def __init__(self, tokens: int, cutoff: int) -> None:
        super().__init__(f"{tokens} tokens, over the cut-off of {cutoff}; raise train.cutoff_tokens to train on it")
        self.tokens = tokens
        self.cutoff = cutoff


class Unrenderable(TrainerError):
    """An example or a tokenizer for which no exact rendering exists."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids of a prompt and its answer; the loss is taken where `mask` is True."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return self.mask.index(True)

    @property
    def labels(self) -> list[int]:
        """The ids where the loss is taken, -100 elsewhere: what the training library reads."""
        return [token if learned else -100 for token, learned in zip(self.ids, self.mask, strict=True)]


@dataclass(frozen=True, slots=True)
class _Turn:
    """How the template writes a finished answer."""

    lead: str
    end: int


class Renderer:
    """Renders for one model. The tokenizer is loaded at the first use."""

    def __init__(self, model_path: str | Path) -> None:
        self._path = str(model_path)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's own tokenizer."""
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self._path)
        except (OSError, ValueError) as error:
            raise TrainerError(f"no tokenizer can be read from {self._path!r}: {error}") from error

    def render(self, messages: Sequence[Message], answer: str) -> Rendered:
        """Ids and mask. Raises Unrenderable rather than approximate."""
        if not answer.strip():
            raise Unrenderable("the answer is blank: there is nothing to learn from it")
        prompt = self._template(messages, prompt=True)
        prompt_ids = self._encode(prompt)
        turn = self._turn(messages, prompt)
        answer_ids = self._answer_ids(prompt, prompt_ids, turn.lead + answer)
        if turn.end in answer_ids or not self._special_ids.isdisjoint(answer_ids):
            raise Unrenderable("text of the answer became a special token; the tokenizer offers no way to write it as plain text")
        return Rendered(
            ids=(*prompt_ids, *answer_ids, turn.end),
            mask=(False,) * len(prompt_ids) + (True,) * (len(answer_ids) + 1),
        )

    def count_tokens(self, messages: Sequence[Message], answer: str) -> int:
        """Tokens of prompt, answer and end of turn together: what `SftExample.tokens` holds and the cut-off is compared with."""
        return len(self.render(messages, answer).ids)

    def tokens_within(self, messages: Sequence[Message], answer: str, cutoff: int) -> int:
        """The same, refusing what would have to be cut: raises OverCutoff."""
        tokens = self.count_tokens(messages, answer)
        if tokens > cutoff:
            raise OverCutoff(tokens, cutoff)
        return tokens

    def _template(self, messages: Sequence[Message], *, prompt: bool) -> str:
        from jinja2 import TemplateError

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt))
        except (TemplateError, ValueError) as error:  # ValueError: the tokenizer has no template
            roles = ", ".join(message.role for message in messages)
            raise Unrenderable(f"the chat template of {self._path!r} does not take the turns ({roles}): {error}") from error

    def _turn(self, messages: Sequence[Message], prompt: str) -> _Turn:
        mark = MARK
        while mark in prompt:
            mark += "-"
        finished = self._template([*messages, Message(role="assistant", content=mark)], prompt=False)
        before, found, tail = finished.rpartition(mark)
        if not found:
            raise Unrenderable(f"the chat template of {self._path!r} does not write the assistant's content as it is given")
        lead = before.removeprefix(prompt) if before.startswith(prompt) else ""
        # A lead that is more than blank space (an empty thinking block, say) is not what this model was asked for after this prompt.
        return _Turn(lead=lead if not lead.strip() else "", end=self._end(tail))

    def _end(self, tail: str) -> int:
        """The token that ends the turn: the first added token after the answer, or the end of text where a template writes none."""
        added = self.tokenizer.added_tokens_decoder
        for token in self._encode(tail):
            if token in added:
                return int(token)
        if self.tokenizer.eos_token_id is None:
            raise Unrenderable(f"the chat template of {self._path!r} writes no end of turn, and its tokenizer has no end-of-text token")
        return int(self.tokenizer.eos_token_id)

    def _answer_ids(self, prompt: str, prompt_ids: Sequence[int], text: str) -> tuple[int, ...]:
        """The text's tokens as they come after this prompt, with every special token's name in it written as plain text."""
        literal = self._special_names is not None and self._special_names.search(text) is not None
        if not literal:
            joint = self._encode(prompt + text)
            if joint[: len(prompt_ids)] == prompt_ids:
                return tuple(joint[len(prompt_ids) :])
            expected = self._decode(joint)  # tokens merge over the boundary ("assistant\n" + "\n..."): keep the text, keep the boundary
        else:
            expected = self._decode(prompt_ids) + text
        for anchor in ANCHORS:
            start = self._encode(anchor, literal=literal)
            ids = self._encode(anchor + text, literal=literal)
            rest = ids[len(start) :]
            if ids[: len(start)] == start and _same(self._decode([*prompt_ids, *rest]), expected):
                return tuple(rest)
        raise Unrenderable(f"the tokenizer of {self._path!r} cannot write this answer after its prompt: {text[:60]!r}...")

    def _encode(self, text: str, *, literal: bool = False) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=literal, verbose=False)
        return list(encoded["input_ids"])

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def _special_names(self) -> re.Pattern[str] | None:
        names = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))) if names else None

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        """Without the token for the unknown, which is how some tokenizers write a rare character."""
        special = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset(special - {self.tokenizer.unk_token_id})


def _same(one: str, other: str) -> bool:
    """Equal but for Unicode composition, which some tokenizers normalise."""
    return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
