"""Scripts for the scripted engine: well-behaved and misbehaving models. Named in settings as `scripts:loops` and the like."""

import random
from collections import Counter

from selflengthen.engines.base import Request
from selflengthen.engines.pretend import pretend
from selflengthen.recipes import load_recipe

CALLS: Counter[str] = Counter()
LIMIT: list[int] = []
"""When not empty: how many more answers `dies_after` gives."""


def task_of(request: Request) -> str:
    """instruct, judge, extend or write."""
    asked = request.messages[-1].content
    for language in ("en", "zh"):
        recipe = load_recipe(language)
        if asked == recipe.list_prompt():
            return "instruct"
        for name, prompt in (("judge", recipe.judge_prompt("\0")), ("extend", recipe.extend_prompt("\0", "\0"))):
            if asked.startswith(prompt.split("\0")[0]):
                return name
    return "write"


def good(request: Request) -> str:
    """The little writer, without its bad moments."""
    for luck in range(20):
        text = pretend(Request(request.messages, request.sampling, request.seed + luck, request.prefill, request.adapter))
        if task_of(request) != "judge" or text.casefold() in ("yes", "是"):
            return text
    raise AssertionError


def loops(request: Request) -> str:
    """Writes one sentence for ever."""
    return good(request) if task_of(request) in ("instruct", "judge") else "The same old sentence comes again and again, all day long. " * 300


def loops_later(request: Request) -> str:
    """Two good paragraphs, then a loop; a good end when it is continued."""
    if task_of(request) in ("instruct", "judge"):
        return good(request)
    dice = random.Random(request.seed)
    words = [f"word{dice.randrange(10**6)}" for _ in range(60)]
    fresh = " ".join(words[:30]) + ".\n\n" + " ".join(words[30:]) + ".\n\n"
    return fresh.strip() if request.prefill else fresh + "And so it goes on and on in this one way today. " * 200


def stops_at_once(request: Request) -> str:
    """Ends its turn without a word."""
    return good(request) if task_of(request) in ("instruct", "judge") else ""


def essay_judge(request: Request) -> str:
    """Answers the judge's question with an essay."""
    return "That depends on many things, and on balance it could be argued either way. " * 20 if task_of(request) == "judge" else good(request)


def says_no(request: Request) -> str:
    """Finds nothing suitable."""
    if task_of(request) != "judge":
        return good(request)
    return "否" if any("\u4e00" <= c <= "\u9fff" for c in request.messages[-1].content) else "no"


def one_instruction(request: Request) -> str:
    """Always has the same idea."""
    return " Write a long history of the lighthouse for its visitors." if task_of(request) == "instruct" else good(request)


def never_longer(request: Request) -> str:
    """Extends nothing."""
    return "A short answer, and that is all there is to say of it." if task_of(request) == "extend" else good(request)


def loops_when_extending(request: Request) -> str:
    """Writes well, and extends in one sentence for ever."""
    return "The same old sentence comes again and again, all day long. " * 300 if task_of(request) == "extend" else good(request)


def counts(request: Request) -> str:
    """The good writer; counts its tasks."""
    CALLS[task_of(request)] += 1
    return good(request)


class Died(Exception):
    """The machine went away."""


def dies_after(request: Request) -> str:
    """The little writer, until its time is over."""
    if LIMIT:
        LIMIT[0] -= 1
        if LIMIT[0] < 0:
            raise Died
    return pretend(request)
