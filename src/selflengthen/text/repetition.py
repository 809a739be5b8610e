"""Texts that repeat themselves: an n-gram that occurs twice, and loops too dense for n-grams.

What does not live here: texts that say one thing in many variations without repeating it (`monotony`).
"""

import re

from selflengthen.records import Reason
from selflengthen.text.count import CJK, Unit, glue
from selflengthen.text.stream import Chunks, Found, UnitStream
from selflengthen.text.verdict import Verdict

CJK_NGRAM = 13
CJK_LETTERS = 8
"""The n-gram that finds Chinese loops in a text compared by words, and how many of its units must hold a letter. 13 is the published number."""

PERIOD = 40
"""Characters in the longest loop that `Loops` sees; longer ones have enough units for an n-gram."""
LETTER_LOOP = 120
"""Characters of a loop with letters in it that are too many."""
SYMBOL_LOOP = 480
"""The same for loops of digits, marks and spaces: rules, table borders, leaders and blank forms are long and fine."""
LONG_RUN = 1000
"""Characters without a space or a CJK character that are too many: no language has such a word."""

_TAIL = 1024  # more than any of the lengths above: what `Loops` remembers of the text
_CJK = re.compile(f"[{CJK}]")
_BOUNDARY = re.compile(rf"[\s{CJK}]")


class RepeatedNgram:
    """No sequence of `n` units may occur twice anywhere (method.md, "Checks" 2: 10 words for English, 13 characters for Chinese).

    Certain as soon as the last unit of the second occurrence is complete. `letters`: how many of the n units must hold a letter for the n-gram
    to count; the published check has 0 and so refuses a text with two equal table borders (method.md, "Deliberate differences" 5).
    Occurrences may overlap: eleven times "ha" is a repeated 10-gram.
    """

    def __init__(self, unit: Unit, n: int, *, letters: int = 0, stream: UnitStream | None = None) -> None:
        self._n = n
        self._letters = letters
        self._units = UnitStream(unit) if stream is None else stream
        self._first: dict[int, int] = {}
        self._next = 0
        self._found: Found | None = None

    def feed(self, piece: str) -> Verdict | None:
        """Take the next piece of text; the verdict as soon as it is certain, and from then on."""
        return _verdict(self.look(piece))

    def finish(self) -> Verdict | None:
        """The text ends here."""
        return _verdict(self.look_at_end())

    def look(self, piece: str) -> Found | None:
        """As `feed`, with the place where it became certain."""
        if self._found is None and self._units.feed(piece):
            self.take()
        return self._found

    def look_at_end(self) -> Found | None:
        """As `finish`, with the place where it became certain."""
        if self._found is None and self._units.finish():
            self.take()
        return self._found

    def take(self) -> Found | None:
        """Look at the units that are new in the stream."""
        words, n, first = self._units.words, self._n, self._first
        stop = len(words) - n + 1
        for i in range(self._next, stop):
            # Hashes, not the n-grams themselves, are remembered: a tenth of the memory. Equality is always checked on the units.
            j = first.setdefault(hash(tuple(words[i : i + n])), i)
            if j != i and self._counts(words[j : j + n], words[i : i + n]):
                self._found = self._report(j, i)
                break
        self._next = max(self._next, stop)
        return self._found

    def _counts(self, one: list[str], other: list[str]) -> bool:
        lettered = sum(1 for word in one if any(map(str.isalpha, word)))
        return one == other and lettered >= self._letters

    def _report(self, j: int, i: int) -> Found:
        last = i + self._n - 1
        start, end = self._units.span(i, last)
        detail = f"{self._n} units occur twice: {glue(self._units.unit).join(self._units.words[i : last + 1])[:80]!r}"
        return Found(self._units.certain_at(last), Verdict(Reason.REPEATED, start, end, detail, self._units.span(j, j)[0]))


class CjkNgram:
    """`RepeatedNgram` over CJK characters for a text that is compared by words, where a Chinese loop is one endless word.

    Begins at the first CJK character and costs nothing before it (method.md, "Deliberate differences" 4).
    """

    def __init__(self) -> None:
        self._inner: RepeatedNgram | None = None
        # While this is true, a piece that is all ASCII need not be shown.
        self.waiting = True

    def look(self, piece: str, offset: int) -> Found | None:
        """Take the piece that stands at character `offset`."""
        if self._inner is None:
            begin = _CJK.search(piece)
            if begin is None:
                return None
            stream = UnitStream("cjk", offset + begin.start())
            self._inner = RepeatedNgram("cjk", CJK_NGRAM, letters=CJK_LETTERS, stream=stream)
            self.waiting = False
            piece = piece[begin.start() :]
        return self._inner.look(piece)

    def look_at_end(self) -> Found | None:
        """The text ends here."""
        return None if self._inner is None else self._inner.look_at_end()


class Loops:
    """Loops with no units to compare: one short sequence over and over ("aaaa", "-=-=", endless newlines), or one endless word.

    Looks at the last characters once per chunk, so it is certain at a multiple of `CHUNK` characters. The verdict starts at the second period.
    """

    def __init__(self) -> None:
        self._chunks = Chunks()
        self._tail = ""
        self._length = 0
        self._found: Found | None = None

    def feed(self, piece: str) -> Verdict | None:
        """Take the next piece of text; the verdict as soon as it is certain, and from then on."""
        if self._found is None:
            self._found = next((hit for hit in map(self.take, self._chunks.feed(piece)) if hit), None)
        return _verdict(self._found)

    def finish(self) -> Verdict | None:
        """The text ends here."""
        self._found = self._found or self.take(self._chunks.finish())
        return _verdict(self._found)

    def take(self, chunk: str) -> Found | None:
        """Look at the text up to the end of this chunk."""
        self._length += len(chunk)
        self._tail = tail = (self._tail + chunk)[-_TAIL:]
        # A loop shows as the last PERIOD characters standing at most PERIOD characters earlier too.
        place = tail.rfind(tail[-PERIOD:], max(0, len(tail) - 2 * PERIOD), len(tail) - 1) if len(tail) > PERIOD else -1
        if place >= 0:
            return self._loop(tail, len(tail) - PERIOD - place)
        if len(tail) >= LONG_RUN and _BOUNDARY.search(tail, len(tail) - LONG_RUN) is None:
            return self._report(len(tail) - LONG_RUN, 0, f"{LONG_RUN} characters without a space")
        return None

    def _loop(self, tail: str, period: int) -> Found | None:
        begin = len(tail) - PERIOD - period
        while begin > 0 and tail[begin - 1] == tail[begin - 1 + period]:
            begin -= 1
        loop = tail[begin : begin + period]
        limit = LETTER_LOOP if any(map(str.isalpha, loop)) else SYMBOL_LOOP
        if len(tail) - begin < limit:
            return None
        return self._report(begin, period, f"the same {period} characters over and over: {loop!r}")

    def _report(self, begin: int, period: int, detail: str) -> Found:
        first = self._length - len(self._tail) + begin
        return Found(self._length, Verdict(Reason.REPEATED, first + period, self._length, detail, first))


def check_ngram(text: str, unit: Unit, n: int, letters: int = 0) -> Verdict | None:
    """`RepeatedNgram` over a whole text."""
    check = RepeatedNgram(unit, n, letters=letters)
    return check.feed(text) or check.finish()


def check_loops(text: str) -> Verdict | None:
    """`Loops` over a whole text."""
    check = Loops()
    return check.feed(text) or check.finish()


def _verdict(found: Found | None) -> Verdict | None:
    return None if found is None else found.verdict
