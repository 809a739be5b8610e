"""From a request to token ids: the tokenizer's own chat template, and the opened assistant turn of a prefill.

The library can continue a last message too, but strips the blanks at its end where the template trims, and a prefill that ends with a blank line
must keep it. So the template renders a mark in the assistant's turn, everything up to the mark is how such a turn opens, and the prefill follows
as it is. The same rendering shows which tokens end a turn. What does not live here: rendering for training (`trainers.render`).
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from selflengthen.engines.base import Request, RequestRefused
from selflengthen.records import Message

MARK = "turn-mark-7f3a91"
"""Plain letters, so that no template trims or splits it."""


class Dialogue:
    """A tokenizer with a chat template, as the engine uses it. Safe to use from two threads at once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            # The library's own calls set these each time, which fails while another thread is decoding.
            self._backend.no_truncation()
            self._backend.no_padding()

    def fault(self) -> str | None:
        """What keeps tokenizer and template from being used at all, found out by one turn of each kind."""
        if not self.decode(self.encode(MARK)).strip():
            return "has no vocabulary: its tokenizer.json is missing or empty; put the tokenizer's files next to the weights"
        try:
            rendered = self._render((Message(role="user", content=MARK),), opened=True)
            self.end_of_turn()
        except TemplateError as error:
            return f"has a chat template that fails ({' '.join(str(error).split())}): mend its chat_template.jinja, or copy the model again"
        if MARK not in rendered:
            return "has a chat template that leaves out what the user says: mend its chat_template.jinja, or copy the model again"
        return None

    def prompt(self, request: Request) -> str:
        """The rendered prompt; with a prefill it ends exactly with that."""
        try:
            if not request.prefill:
                return self._render(request.messages, opened=True)
            return self._opening(request.messages) + request.prefill
        except TemplateError as error:
            raise RequestRefused(f"the model's chat template does not take these messages: {error}") from error

    def _opening(self, messages: Sequence[Message]) -> str:
        """The messages and the beginning of the assistant's turn."""
        rendered = self._render((*messages, Message(role="assistant", content=MARK)), opened=False)
        place = rendered.rfind(MARK)
        return rendered[:place] if place >= 0 else self._render(messages, opened=True)

    def _render(self, messages: Sequence[Message], *, opened: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            rendered: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opened)
        except TemplateError:
            raise
        except Exception as error:  # a template is a program, and whatever can be wrong in one comes out here
            raise TemplateError(f"{type(error).__name__}: {error}") from error
        return rendered

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text, which holds its own special tokens."""
        if self._backend is not None:
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        else:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens left out."""
        if self._backend is not None:
            text: str = self._backend.decode(ids, skip_special_tokens=True)
        else:
            text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def end_of_turn(self) -> frozenset[int]:
        """The special token the template itself writes after an assistant's turn, if it writes one."""
        turns = (Message(role="user", content="?"), Message(role="assistant", content=MARK))
        after = self.encode(self._render(turns, opened=False).rpartition(MARK)[2])
        special = set(self._tokenizer.all_special_ids) | {place for place, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset(after[:1]) & frozenset(special)
