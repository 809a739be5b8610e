"""What a server of the OpenAI protocol says, in vLLM's words: events, whole answers, errors, lists of models. Pure; no network here.

The forms are those seen on vLLM 0.32. Log probabilities are drawn from dice that hang on the model's identity, the prompt and the place: the
same model says the same numbers, another one under the same name does not.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DONE = b"data: [DONE]\n\n"
_KINDS = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError", 500: "InternalServerError", 503: "ServiceUnavailableError"}


@dataclass(frozen=True)
class Part:
    """What one event says."""

    text: str
    tokens: tuple[str, ...]
    done: int
    """Tokens generated so far, these included."""
    finish: str | None = None


def event(value: Mapping[str, Any]) -> bytes:
    """A server-sent event. Characters are not escaped, so that a read can end within one."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def error(status: int, message: str, *, kind: str = "", param: str | None = None) -> dict[str, Any]:
    """An error's body."""
    return {"error": {"message": message, "type": kind or _KINDS.get(status, "InternalServerError"), "param": param, "code": status}}


def model_card(name: str, root: str, parent: str | None, context_tokens: int | None) -> dict[str, Any]:
    """One entry of /v1/models; vLLM tells no context of an adapter."""
    return {
        "id": name,
        "object": "model",
        "created": 1_790_000_000,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": context_tokens,
        "permission": [],
    }


def metrics(name: str, running: int, waiting: int) -> str:
    """What Prometheus reads."""
    lines = []
    for key, number in (("running", running), ("waiting", waiting)):
        lines.append(f"# HELP vllm:num_requests_{key} Number of requests {key}.\n# TYPE vllm:num_requests_{key} gauge\n")
        lines.append(f'vllm:num_requests_{key}{{engine="0",model_name="{name}"}} {float(number)}\n')
    return "".join(lines)


class Likelihood:
    """Log probabilities of the tokens of one answer. `identity`: of the model with the adapter, and the prompt."""

    def __init__(self, identity: str, wobble: float = 0.0) -> None:
        self._identity = hashlib.sha256(identity.encode()).hexdigest()
        self._wobble = wobble

    def of(self, token: str, place: int, count: int) -> dict[str, float]:
        """The token, the likeliest, and others up to `count`, at this place of the answer."""
        dice = random.Random(f"{self._identity}|{place}|{token}")
        number = -dice.uniform(0, 3)
        likely = {token: number}
        for other in range(1, max(1, count)):
            number -= dice.uniform(0.1, 2.0)
            likely[f"{token}~{other}"] = number
        return {each: round(value - random.uniform(0, self._wobble), 6) for each, value in likely.items()}


class Voice:
    """Forms what is said to one request. `likelihood` and `top` (how many) when it asked for probabilities."""

    def __init__(self, model: str, number: int, *, chat: bool, likelihood: Likelihood | None, top: int) -> None:
        self._chat, self._likelihood, self._top = chat, likelihood, top
        self._head = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{number:08x}", "created": int(time.time()), "model": model}

    def opening(self, usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The event that opens a chat's answer; completions have none."""
        if not self._chat:
            return None
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return {**self._top_of("chat.completion.chunk"), "choices": [choice], **({"usage": usage} if usage else {})}

    def part(self, part: Part, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """An event with text."""
        said: dict[str, Any] = {"delta": {"content": part.text}} if self._chat else {"text": part.text}
        first = part.done - len(part.tokens)
        choice = {"index": 0, **said, "logprobs": self._logprobs(part.tokens, first), "finish_reason": part.finish, "stop_reason": None}
        form = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._top_of(form), "choices": [choice], **({"usage": usage} if usage else {})}

    def counts(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """The event after the last one with text: token counts, and no choices."""
        return {**self._top_of("chat.completion.chunk" if self._chat else "text_completion"), "choices": [], "usage": usage}

    def whole(self, parts: Iterable[Part], usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """The answer to a request that did not ask for a stream."""
        parts = list(parts)
        text = "".join(part.text for part in parts)
        tokens = [token for part in parts for token in part.tokens]
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": self._logprobs(tokens, 0), "finish_reason": parts[-1].finish, "stop_reason": None}
        form = "chat.completion" if self._chat else "text_completion"
        return {**self._top_of(form), "choices": [choice], **({"usage": usage} if usage else {})}

    def _top_of(self, form: str) -> dict[str, Any]:
        return {"id": self._head["id"], "object": form, "created": self._head["created"], "model": self._head["model"]}

    def _logprobs(self, tokens: Iterable[str], first: int) -> dict[str, Any] | None:
        if self._likelihood is None:
            return None
        likely = [(token, self._likelihood.of(token, first + place, self._top)) for place, token in enumerate(tokens)]
        if self._chat:
            steps = [
                {
                    "token": token,
                    "logprob": numbers[token],
                    "bytes": list(token.encode()),
                    "top_logprobs": [{"token": other, "logprob": number, "bytes": list(other.encode())} for other, number in numbers.items()],
                }
                for token, numbers in likely
            ]
            return {"content": steps}
        return {
            "text_offset": [0] * len(likely),
            "tokens": [token for token, _ in likely],
            "token_logprobs": [numbers[token] for token, numbers in likely],
            "top_logprobs": [numbers for _, numbers in likely],
        }
