"""The words of the OpenAI protocol: bodies of requests, and what an event or an answer says. No network here.

Of the two endpoints, `chat/completions` takes messages and `completions` a prompt as token ids. What vLLM and its kin take beyond the standard
(`Extras`) is sent only to a server that was found to take it (`probe`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from selflengthen.engines.base import RequestRefused
from selflengthen.engines.served.faults import Faulty, said_in
from selflengthen.records import Message, Sampling


class Mode(StrEnum):
    """How an answer is asked for."""

    COMPLETIONS = "completions"
    CHAT = "chat"

    @property
    def path(self) -> str:
        """Of the endpoint, after the base URL."""
        return "chat/completions" if self is Mode.CHAT else "completions"


SEED_MASK = 2**31 - 1
"""Some servers hold a seed in 32 bits."""
STOPS = 4
"""The protocol takes no more stop strings. All are looked for here, so those left out only save no tokens."""
EXTRAS = ("top_k", "repetition_penalty", "seed", "stop_token_ids", "stream_options", "continuous_usage_stats")
"""What may be sent if the server takes it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event says."""

    text: str = ""
    finish: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None


def sampling_fields(sampling: Sampling, seed: int, stop_ids: Sequence[int], extras: frozenset[str]) -> dict[str, Any]:
    """Decoding settings, as far as the server takes them."""
    wanted: dict[str, Any] = {
        "top_k": sampling.top_k or -1,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": seed & SEED_MASK,
        "stop_token_ids": list(stop_ids),
    }
    fields = {name: value for name, value in wanted.items() if name in extras}
    if sampling.stop:
        fields["stop"] = list(sampling.stop[:STOPS])
    return {"temperature": sampling.temperature, "top_p": sampling.top_p, **fields}


def stream_fields(extras: frozenset[str]) -> dict[str, Any]:
    """Streaming, with the count of tokens in every event where the server can say it."""
    fields: dict[str, Any] = {"stream": True}
    if "stream_options" in extras:
        fields["stream_options"] = {"include_usage": True}
        if "continuous_usage_stats" in extras:
            fields["stream_options"]["continuous_usage_stats"] = True
    return fields


def chat_fields(messages: Sequence[Message], opening: str) -> dict[str, Any]:
    """Messages, and the opening of an answer that is to go on."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    if not opening:
        return {"messages": turns}
    return {"messages": [*turns, {"role": "assistant", "content": opening}], "add_generation_prompt": False, "continue_final_message": True}


def read_event(data: bytes) -> Piece:
    """What the data of an event says. Raises Faulty when it is not what the protocol says, or is the server's own complaint."""
    try:
        told = json.loads(data)
        if "error" in told:
            raise Faulty(f"the server broke off: {said_in(data)}")
        usage = told.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        counts = (usage.get("prompt_tokens"), details.get("cached_tokens"), usage.get("completion_tokens"))
        choices = told.get("choices")
        if not choices:
            return Piece("", None, *counts)
        choice = choices[0]
        inner = choice.get("delta") or choice.get("message")
        text = inner.get("content") if inner is not None else choice.get("text")
        return Piece(text or "", choice.get("finish_reason"), *counts)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise Faulty(f"not what the protocol says ({type(error).__name__}): {data[:120].decode(errors='replace')!r}") from None


def read_answer(body: bytes) -> tuple[Piece, dict[str, Any]]:
    """An answer that came whole: its piece, and its first choice as it is."""
    piece = read_event(body)
    choices = json.loads(body).get("choices") or [{}]
    return piece, choices[0]


def finish_fault(finish: str) -> Exception | None:
    """What is wrong with an answer that ended for this reason; None for the two good ones."""
    if finish in {"stop", "length", "eos", "end_turn", "max_tokens"}:
        return None
    if finish == "content_filter":
        return RequestRefused("the server's content filter ended the answer")
    return Faulty(f"the server ended the answer: {finish}")
