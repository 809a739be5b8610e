"""From the body of a request to what is asked, or to vLLM's refusal. No network here, and nothing is answered.

A chat is counted as a template would: each turn costs its markers, the generation prompt too, and a last turn that is left open has only its
opening marker. With a tokenizer the counts are exactly its own.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai_quirks import Quirks
from pydantic import ValidationError

from selflengthen.engines import Request
from selflengthen.engines.scripted import count_tokens
from selflengthen.records import Message, Sampling

TURN_TOKENS, OPENING_TOKENS = 4, 3
"""Of a closed turn and of an opened one, where there is no tokenizer."""
COMPLETION_TOKENS = 16
"""What completions get without max_tokens."""
MOST_LOGPROBS = 20
_SHARED = (
    "model stream stream_options temperature top_p n stop max_tokens presence_penalty frequency_penalty logit_bias logprobs seed user metadata store"
)
KNOWN_TO_OPENAI = {
    True: {*_SHARED.split(), "messages", "top_logprobs", "max_completion_tokens", "response_format", "tools", "tool_choice", "service_tier"},
    False: {*_SHARED.split(), "prompt", "suffix", "echo", "best_of"},
}
"""By whether it is a chat."""
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>\n?|\Z)", re.DOTALL)


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, *, kind: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param = status, message, kind, param


@dataclass(frozen=True)
class Asked:
    """One request, as the scripted engine takes it, and how it is to be answered."""

    chat: bool
    model: str
    request: Request
    """Its limit is what the answer may have; it has no stop strings, those are `stop`."""
    stop: tuple[str, ...]
    prompt: str
    """The whole prompt as text: what it shares with another one, and what probabilities hang on."""
    prompt_tokens: int
    stream: bool
    counts_at_end: bool
    counts_always: bool
    logprobs: int | None
    """How many are wanted for each token; None for none."""


class Reader:
    """Reads bodies. `find_model`: the adapter of a served name (None for the base model), KeyError for one that is not served."""

    def __init__(
        self,
        quirks: Quirks,
        *,
        context_tokens: int,
        find_model: Callable[[str], str | None],
        tokenizer: Any = None,
        reads_turns: bool = False,
    ) -> None:
        """`tokenizer`: one, or its folder; without it token ids are only numbers.

        `reads_turns`: a completions prompt in ChatML is read as the messages and the prefill that it was made of.
        """
        self._quirks, self._context_tokens = quirks, context_tokens
        self._find_model, self._reads_turns = find_model, reads_turns
        self._tokenizer = tokenizer
        if isinstance(tokenizer, (str, Path)):
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(tokenizer)

    def read(self, body: Any, *, chat: bool) -> Asked:
        """What is asked. Raises Refusal."""
        if not isinstance(body, dict):
            raise Refusal(400, "Request body must be a JSON object.")
        self._check_fields(body, chat=chat)
        try:
            adapter = self._find_model(body.get("model", ""))
        except KeyError:
            raise Refusal(404, f"The model `{body.get('model')}` does not exist.", param="model") from None
        messages, prefill, prompt, prompt_tokens = self._chat(body) if chat else self._completion(body)
        limit = self._limit(body, prompt_tokens, chat=chat)
        options = body.get("stream_options") or {}
        stop = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
        wanted = (body.get("top_logprobs") or 0) if chat and body.get("logprobs") else None if chat else body.get("logprobs")
        if wanted is not None and wanted > MOST_LOGPROBS:
            raise Refusal(400, f"Requested sample logprobs of {wanted}, which is greater than max allowed: {MOST_LOGPROBS}", param="logprobs")
        told = bool(options.get("include_usage")) and not self._quirks.no_usage
        return Asked(
            chat=chat,
            model=body["model"],
            request=Request(messages, self._sampling(body, limit), self._seed(body), prefill, adapter),
            stop=() if self._quirks.ignores_stop else tuple(stop),
            prompt=prompt,
            prompt_tokens=prompt_tokens,
            stream=bool(body.get("stream")),
            counts_at_end=told,
            counts_always=told and bool(options.get("continuous_usage_stats")),
            logprobs=None if self._quirks.no_logprobs else wanted,
        )

    # -- fields -----------------------------------------------------------------------------------------------------------------------

    def _check_fields(self, body: Mapping[str, Any], *, chat: bool) -> None:
        options = body.get("stream_options") or {}
        if self._quirks.refuses_unknown_fields:
            unknown = sorted(set(body) - KNOWN_TO_OPENAI[chat]) or sorted(set(options) - {"include_usage", "include_obfuscation"})
            if unknown:
                said = f"Unrecognized request argument{'s'[: len(unknown) > 1]} supplied: {', '.join(unknown)}"
                raise Refusal(400, said, kind="invalid_request_error")
        if options and not body.get("stream"):
            raise Refusal(400, "Stream options can only be defined when `stream=True`.", param="stream_options")
        if body.get("n", 1) != 1:
            raise Refusal(400, "This server gives one answer to a request.", param="n")

    def _limit(self, body: Mapping[str, Any], prompt_tokens: int, *, chat: bool) -> int:
        """Tokens that the answer may have."""
        context = self._context_tokens
        wanted = body.get("max_completion_tokens") or body.get("max_tokens")
        if wanted is None and not chat:
            wanted = COMPLETION_TOKENS
        if wanted is not None and (not isinstance(wanted, int) or wanted < 1):
            raise Refusal(400, f"max_tokens must be at least 1, got {wanted}. (parameter=max_tokens, value={wanted})", param="max_tokens")
        if wanted is not None and wanted > context:
            raise Refusal(
                400,
                f"max_tokens={wanted} cannot be greater than max_model_len={context}. Please request fewer output tokens. "
                f"(parameter=max_tokens, value={wanted})",
                param="max_tokens",
            )
        about = f"This model's maximum context length is {context} tokens. However, "
        value = f"(parameter=input_tokens, value={prompt_tokens})"
        if prompt_tokens >= context:
            raise Refusal(
                400,
                f"{about}your prompt contains {prompt_tokens} input tokens, which exceeds this limit even without any output tokens. "
                f"Please reduce the length of the input prompt. {value}",
                param="input_tokens",
            )
        if wanted is not None and prompt_tokens + wanted > context:
            raise Refusal(
                400,
                f"{about}you requested {wanted} output tokens and your prompt contains {prompt_tokens} input tokens, for a total of "
                f"{prompt_tokens + wanted} tokens. Please reduce the length of the input prompt or the number of requested output tokens. {value}",
                param="input_tokens",
            )
        return wanted or context - prompt_tokens

    def _sampling(self, body: Mapping[str, Any], limit: int) -> Sampling:
        given = {name: body[name] for name in ("temperature", "top_p", "repetition_penalty") if body.get(name) is not None}
        try:
            return Sampling(max_tokens=limit, top_k=max(0, body.get("top_k") or 0), **given)
        except (ValidationError, TypeError) as wrong:
            raise Refusal(400, f"{wrong}") from None

    def _seed(self, body: Mapping[str, Any]) -> int:
        """Greedy answers are always the same; without a seed the others never are."""
        if body.get("seed") is not None and not self._quirks.ignores_seed:
            return int(body["seed"])
        return 0 if body.get("temperature") == 0 else random.getrandbits(62)

    # -- prompts ----------------------------------------------------------------------------------------------------------------------

    def _chat(self, body: Mapping[str, Any]) -> tuple[tuple[Message, ...], str, str, int]:
        """Messages, prefill, the prompt as text and its tokens."""
        try:
            messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in body["messages"])
        except (KeyError, TypeError, ValidationError) as wrong:
            raise Refusal(400, f"messages: {wrong}", param="messages") from None
        opened, generation = body.get("continue_final_message", False), body.get("add_generation_prompt", True)
        if opened and generation:
            raise Refusal(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
        if self._quirks.ignores_prefill:
            opened, generation = False, True
        if not messages or (opened and messages[-1].role != "assistant"):
            raise Refusal(400, "continue_final_message is set but the final message is none of the assistant's.")
        prompt = "".join(f"{turn.role}\n{turn.content}\n" for turn in messages)
        tokens = self._count(messages, opened=opened, generation=generation)
        if not opened:
            return messages, "", f"{prompt}assistant\n" if generation else prompt, tokens
        return messages[:-1], messages[-1].content, prompt[:-1], tokens

    def _count(self, messages: Sequence[Message], *, opened: bool, generation: bool) -> int:
        if self._tokenizer is None:
            tokens = sum(TURN_TOKENS + count_tokens(turn.content) for turn in messages)
            return tokens + (OPENING_TOKENS if generation else OPENING_TOKENS - TURN_TOKENS if opened else 0)
        turns = [turn.model_dump() for turn in messages]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation, continue_final_message=opened)
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _completion(self, body: Mapping[str, Any]) -> tuple[tuple[Message, ...], str, str, int]:
        prompt = body.get("prompt")
        if isinstance(prompt, str) and prompt:
            tokens = count_tokens(prompt) if self._tokenizer is None else len(self._tokenizer.encode(prompt))
        elif isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
            tokens, prompt = len(prompt), self._decode(prompt)
        else:
            raise Refusal(400, "Either prompt or prompt_embeds must be provided and non-empty.", param="prompt")
        turns = _TURN.findall(prompt) if self._reads_turns else []
        if not turns:
            return (Message(role="user", content=prompt),), "", prompt, tokens
        messages = tuple(Message(role=role, content=text) for role, text in turns)
        if messages[-1].role == "assistant" and not prompt.rstrip("\n").endswith("<|im_end|>"):
            return messages[:-1], messages[-1].content, prompt, tokens
        return messages, "", prompt, tokens

    def _decode(self, ids: list[int]) -> str:
        if self._tokenizer is None:
            return " ".join(map(str, ids))
        if beyond := [token for token in ids if not 0 <= token < len(self._tokenizer)]:
            raise Refusal(400, f"Token id {beyond[0]} is out of vocabulary", param="prompt")
        return self._tokenizer.decode(ids, skip_special_tokens=False)
