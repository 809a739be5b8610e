"""A text that is still growing: its complete units, its chunks of equal size, and what a check found in it.

What does not live here: the checks themselves. All of them look at absolute places (a unit is complete, a chunk is full), never at the pieces
a text arrives in; that is why any pieces give the same verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from selflengthen.text.count import ASCII_WHITESPACE, Unit, run_test, splitter, units
from selflengthen.text.verdict import Verdict

CHUNK = 64
"""Characters in a chunk. Checks that need no exact place look once per chunk: about every 15 tokens."""


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict and `at`: the number of characters after which it is certain. Of several, the one certain first is the text's verdict."""

    at: int
    verdict: Verdict


class UnitStream:
    """The complete units of a growing text. A unit that could still grow is kept open until the character after it, or the end."""

    __slots__ = ("_open", "_runs", "_split", "offset", "pieces", "unit", "words")

    def __init__(self, unit: Unit, offset: int = 0) -> None:
        self.unit = unit
        self.words: list[str] = []
        self.pieces: list[str] = []
        self._open: list[str] = []
        self._split = splitter(unit)
        self._runs = run_test(unit)
        self.offset = offset

    def feed(self, piece: str) -> bool:
        """Take the next piece; say whether units were completed. Time grows with the piece, not with the text."""
        if not piece:
            return False
        self.pieces.append(piece)
        parts = self._split(piece)
        if self._open:
            if self._runs(piece[0]):
                self._open.append(parts[0])
                if len(parts) == 1 and self._runs(piece[-1]):
                    return False
                parts[0] = "".join(self._open)
            else:
                parts.insert(0, "".join(self._open))
            self._open = []
        if self._runs(piece[-1]):
            self._open = [parts.pop()]
        self.words += parts
        return bool(parts)

    def finish(self) -> bool:
        """The text ends here; say whether that completed a unit."""
        # Only an `ascii_run` can end in whitespace; see `count`.
        last = "".join(self._open).rstrip(ASCII_WHITESPACE)
        self._open = []
        if last:
            self.words.append(last)
        return bool(last)

    @property
    def text(self) -> str:
        """All that was fed."""
        return "".join(self.pieces)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Character offsets of the units `first` to `last`, that one included. Reads the text again: for the one verdict of a text."""
        spans = list(islice(units(self.text, self.unit), first, last + 1))
        return self.offset + spans[0].start, self.offset + spans[-1].end

    def certain_at(self, last: int) -> int:
        """Characters after which the unit `last` is known to be complete: a run needs the character after it."""
        end = self.span(last, last)[1]
        needs_next = self._runs(self.words[last][-1])
        return min(end + 1, self.offset + sum(map(len, self.pieces))) if needs_next else end


class Chunks:
    """A growing text in chunks of `CHUNK` characters, cut at multiples of it."""

    __slots__ = ("_held", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._held = 0

    def feed(self, piece: str) -> Sequence[str]:
        """The chunks that this piece completes."""
        self._parts.append(piece)
        self._held += len(piece)
        if self._held < CHUNK:
            return ()
        text = "".join(self._parts)
        whole = self._held - self._held % CHUNK
        self._parts = [text[whole:]]
        self._held -= whole
        return [text[start : start + CHUNK] for start in range(0, whole, CHUNK)]

    def finish(self) -> str:
        """What is left at the end, shorter than a chunk."""
        return "".join(self._parts)


def earliest(found: Sequence[Found | None]) -> Found | None:
    """The verdict that is certain first; of equals, the first one given."""
    return min((one for one in found if one is not None), key=lambda one: one.at, default=None)
