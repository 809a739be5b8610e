"""Writing one text under watch: the request, the guard on its stream, and salvage of what was good. Used by every stage that writes.

What does not live here: which text is wanted and how often it is tried (the stages), and what the checks say (`text`).
"""

import hashlib
from dataclasses import dataclass, replace

from selflengthen.engines.base import Engine, Finish, Request, RequestRefused
from selflengthen.records import Attempt, Reason
from selflengthen.text import CheckSettings, Guard, Verdict, clean_prefix, count_words

SALVAGEABLE = frozenset({Reason.REPEATED, Reason.MONOTONOUS, Reason.WRONG_LANGUAGE})
"""Faults that have a place: what stands before it is good and can be continued."""


@dataclass(frozen=True, slots=True)
class Watching:
    """How texts of one language are checked while they are written."""

    checks: CheckSettings
    stream: bool = True
    """Stop a text when it cannot pass any more; otherwise it is checked at its end."""
    salvage: int = 0
    """Times a text that went wrong is cut back to its last clean paragraph and continued."""

    def but(self, *, salvage: int | None) -> "Watching":
        """The same with another number of salvages; None leaves it."""
        return self if salvage is None else replace(self, salvage=salvage)


@dataclass(frozen=True, slots=True)
class Draft:
    """What came of writing one text, the prefill included."""

    text: str
    words: int
    tokens: int
    """Generated tokens, those that salvage cut away included."""
    salvaged: int
    verdict: Verdict | None
    """Why it does not pass; None when it does."""

    def failed(self, reason: Reason | None = None, detail: str = "") -> Attempt:
        """This draft as a failed try, for its own verdict or another reason."""
        if reason is None:
            assert self.verdict is not None
            reason, detail = self.verdict.reason, self.verdict.detail
        return Attempt(reason=reason, detail=detail, text=self.text, words=self.words, tokens=self.tokens)


def seed_for(*parts: object) -> int:
    """A seed of 63 bits that depends on all of `parts` and nothing else: the same work draws the same numbers in every run."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


async def write(engine: Engine, request: Request, watching: Watching) -> Draft:
    """Write one text; salvage it when it goes wrong at a place. A request the engine refuses is a draft with that verdict."""
    text, tokens, salvaged = request.prefill, 0, 0
    room = request.sampling.max_tokens
    while True:
        part = replace(
            request,
            prefill=text,
            seed=seed_for(request.seed, salvaged),
            sampling=request.sampling.model_copy(update={"max_tokens": room}),
        )
        whole, spent, verdict = await _write_part(engine, part, watching)
        tokens += spent
        if verdict is None or verdict.reason not in SALVAGEABLE or salvaged == watching.salvage:
            break
        clean = clean_prefix(whole, verdict.start)
        room -= round(spent * max(0, len(clean) - len(text)) / max(1, len(whole) - len(text)))
        if len(clean) <= len(request.prefill) or room <= 0:
            break
        text, salvaged = clean + "\n\n", salvaged + 1
    whole = whole.strip()
    return Draft(whole, count_words(whole), tokens, salvaged, verdict)


async def _write_part(engine: Engine, request: Request, watching: Watching) -> tuple[str, int, Verdict | None]:
    """Generate once from the prefill: the whole text, the tokens generated, and why it does not pass."""
    guard = Guard(watching.checks)
    verdict = guard.feed(request.prefill) if request.prefill else None
    if verdict is not None:
        return request.prefill, 0, verdict
    try:
        completion = await engine.generate(request, guard if watching.stream else None)
    except RequestRefused as refused:
        reason = Reason.CONTEXT_FULL if refused.context_full else Reason.REFUSED
        return request.prefill, 0, Verdict(reason, len(request.prefill), len(request.prefill), refused.detail)
    whole = request.prefill + completion.text
    if completion.finish is Finish.WATCHED:
        verdict = completion.verdict
    elif not whole.strip():
        verdict = Verdict(Reason.EMPTY, 0, 0)
    elif completion.finish is Finish.LENGTH:
        verdict = Verdict(Reason.AT_LIMIT, len(whole), len(whole), f"{completion.generated_tokens} tokens and not at its end")
    elif watching.stream:
        verdict = guard.finish()
    else:
        verdict = guard.feed(completion.text) or guard.finish()
    return whole, completion.generated_tokens, verdict
