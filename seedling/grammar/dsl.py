"""A small notation for sentence patterns: text, `{slot}`, and `(a|b|c)` for one of several, nested as deep as wanted.

An empty branch leaves a part out: `(|{T}, )`. Patterns are parsed once; filling one costs some microseconds, which matters when a hundred
million tokens are to be written in two minutes.
"""

import random
from collections.abc import Callable, Mapping

Parts = tuple["str | Slot | Choice", ...]


class Slot:
    """A name to be filled in."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Choice:
    """One of several branches, all equally likely."""

    __slots__ = ("branches", "count")

    def __init__(self, branches: list[Parts]) -> None:
        self.branches = branches
        self.count = len(branches)


def parse(pattern: str) -> Parts:
    """The parts of a pattern."""
    branches, end = _branches(pattern, 0)
    if end != len(pattern):
        raise ValueError(f"unbalanced pattern: {pattern}")
    return branches[0] if len(branches) == 1 else (Choice(branches),)


def _branches(text: str, at: int) -> tuple[list[Parts], int]:
    """Branches from a position to the closing bracket, and where that is."""
    branches: list[Parts] = []
    parts: list[str | Slot | Choice] = []
    while at < len(text) and text[at] != ")":
        mark = text[at]
        if mark == "(":
            inner, at = _branches(text, at + 1)
            if at >= len(text):
                raise ValueError(f"unbalanced pattern: {text}")
            parts.append(Choice(inner))
            at += 1
        elif mark == "{":
            end = text.index("}", at)
            parts.append(Slot(text[at + 1 : end]))
            at = end + 1
        elif mark == "|":
            branches.append(tuple(parts))
            parts = []
            at += 1
        else:
            end = min((found for found in (text.find(c, at) for c in "(){|") if found >= 0), default=len(text))
            parts.append(text[at:end])
            at = end
    branches.append(tuple(parts))
    return branches, at


def fill(parts: Parts, rng: random.Random, slots: Mapping[str, Callable[[], str]], phrases: Mapping[str, Parts]) -> str:
    """The text of a pattern. A slot is a function of the caller's, or else a phrase, filled in turn."""
    out: list[str] = []
    _fill(parts, rng.random, slots, phrases, out)
    return "".join(out)


def _fill(
    parts: Parts,
    chance: Callable[[], float],
    slots: Mapping[str, Callable[[], str]],
    phrases: Mapping[str, Parts],
    out: list[str],
) -> None:
    for part in parts:
        if part.__class__ is str:
            out.append(part)  # type: ignore[arg-type]
        elif part.__class__ is Choice:
            _fill(part.branches[int(chance() * part.count)], chance, slots, phrases, out)
        else:
            slot = slots.get(part.name)
            if slot is not None:
                out.append(slot())
            else:
                _fill(phrases[part.name], chance, slots, phrases, out)


def tidy(text: str) -> str:
    """One space between words, none before a comma, a capital at the start."""
    text = " ".join(text.split()).replace(" ,", ",").replace(" :", ":").replace(" ;", ";")
    for index, mark in enumerate(text):
        if mark.isalpha():
            return text[:index] + mark.upper() + text[index + 1 :]
    return text
