"""Writing one text under watch: the request, the guard on its stream, and salvage of what was good. Used by every stage that writes.

What does not live here: which text is wanted and how often it is tried (the stages), and what the checks say (`text`).
"""

import hashlib
from dataclasses import dataclass, replace

from selflengthen.engines.base import Engine, Finish, Request, RequestRefused
from selflengthen.records import Attempt, Reason, Spent
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
    spent: Spent
    salvaged: int
    verdict: Verdict | None
    """Why it does not pass; None when it does."""

    def failed(self, reason: Reason | None = None, detail: str = "") -> Attempt:
        """This draft as a failed try, for its own verdict or another reason."""
        if reason is None:
            assert self.verdict is not None
            reason, detail = self.verdict.reason, self.verdict.detail
        return Attempt(reason=reason, detail=detail, text=self.text, words=self.words, spent=self.spent)

    def spent_up_to(self, length: int) -> Spent:
        """What was spent, when the draft is cut after its first `length` characters because of its fault. Only of a text without a prefill."""
        assert self.verdict is not None
        kept = _share(self.spent.generated, length, len(self.text))
        return self.spent + Spent(cut={self.verdict.reason: self.spent.generated - kept})


def seed_for(*parts: object) -> int:
    """A seed of 63 bits that depends on all of `parts` and nothing else: the same work draws the same numbers in every run."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


async def write(engine: Engine, request: Request, watching: Watching) -> Draft:
    """Write one text; salvage it when it goes wrong at a place. A request the engine refuses is a draft with that verdict."""
    text, spent, salvaged = request.prefill, Spent(), 0
    opening, limit = len(request.prefill), request.sampling.max_tokens
    clean, held = request.prefill, 0  # the clean text so far, and the generated tokens that are in it
    while True:
        part = replace(
            request,
            prefill=text,
            seed=seed_for(request.seed, salvaged),
            sampling=request.sampling.model_copy(update={"max_tokens": limit - held}),
        )
        whole, used, verdict = await _write_part(engine, part, watching)
        spent += used
        if verdict is None or verdict.reason not in SALVAGEABLE or salvaged == watching.salvage:
            break
        there = held + used.generated
        before, clean = len(clean), clean_prefix(whole, verdict.start)
        if len(clean) > before:
            held += _share(used.generated, len(clean) - len(text), len(whole) - len(text))
        else:  # the fault reaches back into what was held to be clean
            held = _share(held, len(clean) - opening, before - opening)
        if len(clean) <= opening or held >= limit:
            break
        spent += Spent(cut={verdict.reason: there - held})
        text, salvaged = clean + "\n\n", salvaged + 1
    whole = whole.strip()
    return Draft(whole, count_words(whole), spent, salvaged, verdict)


def _share(tokens: int, part: int, characters: int) -> int:
    """Of the tokens that made so many `characters`, those that made `part` of them, as if all were equally long."""
    return round(tokens * part / max(1, characters))


async def _write_part(engine: Engine, request: Request, watching: Watching) -> tuple[str, Spent, Verdict | None]:
    """Generate once from the prefill: the whole text, what it cost, and why it does not pass."""
    guard = Guard(watching.checks)
    verdict = guard.feed(request.prefill) if request.prefill else None
    if verdict is not None:
        return request.prefill, Spent(), verdict
    try:
        completion = await engine.generate(request, guard if watching.stream else None)
    except RequestRefused as refused:
        reason = Reason.CONTEXT_FULL if refused.context_full else Reason.REFUSED
        return request.prefill, Spent(), Verdict(reason, len(request.prefill), len(request.prefill), refused.detail)
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
    return whole, completion.spent, verdict
