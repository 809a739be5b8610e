"""Recognising the model behind a name: a short greedy answer with its probabilities, kept with the run. What does not live here: abilities (`probe`).

A server may be restarted with other weights under the same name, and rows of two models would then stand in one run. Names and versions do not
show it; the numbers the model answers with do. The same model differs a little from one machine or batch to the next, so the comparison has
a tolerance.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selflengthen.engines.base import RequestRefused
from selflengthen.engines.served.endpoint import Endpoint
from selflengthen.engines.served.faults import Broken, Faulty
from selflengthen.engines.served.probe import QUESTION, patiently
from selflengthen.engines.served.wire import Mode, chat_fields
from selflengthen.errors import EngineError
from selflengthen.records import Record
from selflengthen.store.dataset import write_whole

STEPS = 8
ALTERNATIVES = 5
TOLERANCE = 0.5
"""Between two log probabilities of the same token. Rounding in 16 bits moves one by some hundredths; other weights move most by more than this."""


class Choice(Record):
    """One greedy step: the token, and the likeliest ones with their log probabilities."""

    token: str
    likely: dict[str, float]


class Fingerprint(Record):
    """How a model is recognised. `choices` is empty for a server that tells no probabilities."""

    model: str
    mode: str
    context_tokens: int
    """0 for a server that does not tell."""
    choices: tuple[Choice, ...]

    def difference(self, now: "Fingerprint") -> str | None:
        """In what `now` is another model; None when it is the same as far as can be seen."""
        if now.context_tokens != self.context_tokens and now.context_tokens and self.context_tokens:
            return f"its context was {self.context_tokens} tokens and is {now.context_tokens}"
        if now.mode != self.mode:
            return None  # asked in another way, it answers otherwise
        for before, after in zip(self.choices, now.choices, strict=False):
            apart = [abs(before.likely[token] - after.likely[token]) for token in before.likely.keys() & after.likely.keys()]
            if not apart or max(apart) > TOLERANCE:
                said = "says the same word" if before.token == after.token else f"says {after.token!r} where {before.token!r} was said"
                return f"it {said} with other probabilities"
            if before.token != after.token:
                break  # a near tie that rounding decided; from here on they say different things
        return None


async def fingerprint(endpoint: Endpoint, model: str, mode: Mode, context_tokens: int, ids: list[int]) -> Fingerprint:
    """Of the model that answers now. `context_tokens`: as the server tells it; `ids`: the question as a prompt, used in completions mode.

    Raises ServerFault when it does not answer now: a fingerprint without choices would let any model pass.
    """
    if mode is Mode.CHAT:
        body: dict[str, Any] = {**chat_fields(QUESTION, ""), "logprobs": True, "top_logprobs": ALTERNATIVES}
    else:
        body = {"prompt": ids, "logprobs": ALTERNATIVES}
    body |= {"model": model, "max_tokens": STEPS, "temperature": 0}
    try:
        answer = json.loads(await patiently(endpoint, mode.path, body))["choices"][0]["logprobs"]
        choices = _chat_choices(answer) if mode is Mode.CHAT else _completion_choices(answer)
    except Broken:
        raise  # it did not answer, as with Down and Busy
    except (RequestRefused, Faulty, ValueError, LookupError, TypeError, AttributeError):
        choices = ()  # it tells no probabilities, or tells them in its own way
    return Fingerprint(model=model, mode=mode, context_tokens=context_tokens, choices=choices)


def _chat_choices(told: Any) -> tuple[Choice, ...]:
    return tuple(Choice(token=step["token"], likely={each["token"]: each["logprob"] for each in step["top_logprobs"]}) for step in told["content"])


def _completion_choices(told: Any) -> tuple[Choice, ...]:
    return tuple(Choice(token=token, likely=likely) for token, likely in zip(told["tokens"], told["top_logprobs"], strict=True))


class Memory:
    """The fingerprint that a run began with, in a file of its own; without a file, that of this engine's first server."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: Fingerprint | None = None
        self._first = ""
        """The server that was noted, of those of this engine."""
        if file is not None and file.exists():
            try:
                self._known = Fingerprint.model_validate_json(file.read_bytes())
            except ValidationError:
                raise EngineError(f"{file} cannot be read; it tells which model this run was begun with. Put it back, or delete it") from None

    def check(self, url: str, now: Fingerprint) -> None:
        """Note the first; refuse one of another model."""
        if self._known is None:
            self._known, self._first = now, url
            if self._file is not None:
                write_whole(self._file, now.model_dump_json(indent=1))
        elif difference := self._known.difference(now):
            whose = {"": "this run was begun with", url: "before"}.get(self._first, f"{self._first} does")
            where = f" If it is the same model after all, delete {self._file}" if self._file is not None else ""
            raise EngineError(
                f"{url} serves another model as {now.model!r} than {whose}: {difference}. "
                f"Rows of two models do not fit together: serve the same one everywhere and all the time, or begin a new run.{where}"
            )
