"""What is counted and compared in a text: words, and units (the n-grams of the checks are made of units).

What does not live here: units of a text that is still growing (`stream`), and what is made of them (`repetition`, `monotony`, `diversity`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

Unit = Literal["word", "cjk", "ascii_run"]
"""What n-grams are made of.

`word`: what stands between whitespace. `cjk`: one CJK character, or a maximal run of other characters without whitespace, so that English in a
Chinese text is compared word by word. `ascii_run`: one non-ASCII character, or a maximal run of ASCII, *spaces and line ends included*: what the
published Chinese code compares. It makes one single unit of an English text and is kept to reproduce that code, not to be used.
"""

# Scripts written without spaces: CJK radicals to Yi (kana, ideographs and CJK punctuation among them), compatibility ideographs and forms,
# full-width forms, and the planes of rare ideographs. The ideographic space U+3000 is whitespace. Hangul is written with spaces: not here.
CJK = "\u2e80-\u2fff\u3001-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003ffff"

ASCII_WHITESPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "

_COUNTED = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]")

_PATTERNS: dict[Unit, re.Pattern[str]] = {
    "word": re.compile(r"\S+"),
    "cjk": re.compile(rf"[{CJK}]|[^\s{CJK}]+"),
    "ascii_run": re.compile(r"[\x00-\x7f]+|[^\x00-\x7f]"),
}
_RUNS: dict[Unit, re.Pattern[str]] = {
    "word": re.compile(r"\S"),
    "cjk": re.compile(rf"[^\s{CJK}]"),
    "ascii_run": re.compile(r"[\x00-\x7f]"),
}


class UnitSpan(NamedTuple):
    """A unit and its place, in characters."""

    unit: str
    start: int
    end: int


def count_words(text: str) -> int:
    """Words of a text as the method counts them (method.md, "Checks"): CJK characters and full-width marks one by one, the rest by whitespace."""
    rest, characters = _COUNTED.subn(" ", text)
    return characters + len(rest.split())


def units(text: str, unit: Unit) -> list[UnitSpan]:
    """The units of a text with their places, in order. Compared exactly: no case or form is folded."""
    return list(_spans(text, unit))


def splitter(unit: Unit) -> Callable[[str], list[str]]:
    """The function that cuts a text into its units, without places: the fast one."""
    return str.split if unit == "word" else _PATTERNS[unit].findall


def run_test(unit: Unit) -> Callable[[str], object]:
    """The function that says (by truth) whether a character belongs to a run: a unit that can still grow when it stands at the end."""
    return _RUNS[unit].match


def glue(unit: Unit) -> str:
    """What stands between units when they are joined to a text again."""
    return " " if unit == "word" else ""


def _spans(text: str, unit: Unit) -> Iterator[UnitSpan]:
    # The published code strips the text's end first; only a run that is open there can tell the difference.
    text = text.rstrip(ASCII_WHITESPACE) if unit == "ascii_run" else text
    for match in _PATTERNS[unit].finditer(text):
        yield UnitSpan(match[0], match.start(), match.end())
