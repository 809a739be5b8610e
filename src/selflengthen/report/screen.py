"""What reaches a terminal, and how: model text and paths as plain text that cannot act there, numbers as people read them.

What does not live here: what is shown (`tables`, `progress`, `why`, `plan`).
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from selflengthen.text.verdict import Verdict

WIDTH = 100
"""Columns when there is no terminal to ask."""

_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but for newline and tab, and those that turn the direction of what follows."""

_HALF_WORD_AT_END, _HALF_WORD_AT_BEGIN = re.compile(r"(?<=\s)\S{1,20}\Z"), re.compile(r"\A\S{1,20}(?=\s)")


def screen(*, stderr: bool = False) -> Console:
    """A console that takes nothing in a text for markup, and nothing for an emoji."""
    free = Console(stderr=stderr).is_terminal or os.environ.get("COLUMNS", "").strip("0 ").isdecimal()  # Rich prints nothing in 0 columns
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=None if free else WIDTH)


def table(title: str) -> Table:
    """An empty table in the house's style: narrow, no frame."""
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
    )


def printable(text: str) -> str:
    """`text` with each character that would act in a terminal spelled out instead, as a Python string would."""
    return _ACTS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str, characters: int) -> str:
    """The beginning of a text on one line."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= characters else flat[: characters - 3].rstrip() + "..."


def excerpt(text: str, characters: int) -> str:
    """The beginning and the end of a text, at most `characters` of each, and how much was left out."""
    text = printable(text)
    left_out = len(text) - 2 * characters
    if left_out <= characters // 4:  # a gap that small is not worth a note
        return text
    head, tail = text[:characters], text[-characters:]
    # Cut between words where there are some, not through them.
    head, tail = _HALF_WORD_AT_END.sub("", head).rstrip(), _HALF_WORD_AT_BEGIN.sub("", tail).lstrip()
    return f"{head}\n[... {len(text) - len(head) - len(tail):,} characters; --full shows them ...]\n{tail}"


class StreamPrinter:
    """A watch that has nothing against a text: prints it while it is written."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def feed(self, delta: str) -> Verdict | None:
        """Print the next piece."""
        self.out.write(printable(delta))
        self.out.flush()
        return None


def amount(number: float) -> str:
    """A large number short: 950, 12.3k, 4.1M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{letter}" if number < 999.5 * size else f"{number / size:,.0f}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """0:42, 12:03, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(share: float | None) -> str:
    """A share of 1."""
    return "-" if share is None else f"{100 * share:.0f}%"


def times(ratio: float | None) -> str:
    """A factor of growth."""
    return "-" if ratio is None else f"x{ratio:.2f}"


def counted(reasons: Mapping[str, int] | Iterable[tuple[str, int]]) -> str:
    """Reasons by how often: `repeated 4, unfinished 2`."""
    pairs = reasons.items() if isinstance(reasons, Mapping) else reasons
    return ", ".join(f"{reason} {n}" for reason, n in sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
