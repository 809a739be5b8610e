"""Texts that say one thing in many variations: windows of low diversity (method.md, "Deliberate differences" 6).

What does not live here: exact repetition (`repetition`), the measures themselves and their floors (`diversity`). Not in the paper.
"""

from selflengthen.records import Floors, Reason
from selflengthen.text.count import Unit
from selflengthen.text.diversity import window_diversity
from selflengthen.text.stream import Found, UnitStream
from selflengthen.text.verdict import Verdict

STEPS = 4
"""Windows begin every `window / STEPS` units."""


class Monotony:
    """No window may have fewer distinct 3-grams, or compress better, than its floor; a floor of 0 is off.

    Windows of `floors.window` units slide by a quarter of that, and one more ends with the text. A text shorter than a window passes. Certain
    when the window's last unit is complete; the verdict starts at the window's start.
    """

    def __init__(self, unit: Unit, floors: Floors, stream: UnitStream | None = None) -> None:
        self._floors = floors
        self._step = max(1, floors.window // STEPS)
        self._units = UnitStream(unit) if stream is None else stream
        self._next = floors.window
        self.on = floors.window > 0 and (floors.distinct_3_min > 0 or floors.compression_min > 0)
        self._found: Found | None = None

    def feed(self, piece: str) -> Verdict | None:
        """Take the next piece of text; the verdict as soon as it is certain, and from then on."""
        if self._found is None and self._units.feed(piece):
            self.take()
        return None if self._found is None else self._found.verdict

    def finish(self) -> Verdict | None:
        """The text ends here."""
        if self._found is None:
            self._units.finish()
            self.take_at_end()
        return None if self._found is None else self._found.verdict

    def take(self) -> Found | None:
        """Look at the windows that the stream's new units complete."""
        while self.on and self._found is None and self._next <= len(self._units.words):
            self._look(self._next)
            self._next += self._step
        return self._found

    def take_at_end(self) -> Found | None:
        """As `take`, and at the window that ends with the text."""
        end = len(self._units.words)
        if self.take() is None and self.on and end >= self._floors.window:
            self._look(end)
        return self._found

    def _look(self, end: int) -> None:
        floors = self._floors
        start = end - floors.window
        measured = window_diversity(self._units.words[start:end], self._units.unit)
        if measured.distinct_3 < floors.distinct_3_min:
            detail = f"{measured.distinct_3:.2f} of the 3-grams are distinct, at least {floors.distinct_3_min:.2f} wanted"
        elif measured.compression < floors.compression_min:
            detail = f"compresses to {measured.compression:.2f}, at least {floors.compression_min:.2f} wanted"
        else:
            return
        place = self._units.span(start, end - 1)
        verdict = Verdict(Reason.MONOTONOUS, *place, f"{floors.window} units: {detail}")
        self._found = Found(self._units.certain_at(end - 1), verdict)


def check_monotony(text: str, unit: Unit, floors: Floors) -> Verdict | None:
    """`Monotony` over a whole text."""
    check = Monotony(unit, floors)
    return check.feed(text) or check.finish()
