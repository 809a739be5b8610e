"""Where an answer ends: stop strings in a text that arrives in pieces. Pure; what does not live here: tokens, and end-of-turn tokens."""

from collections.abc import Sequence


class StopGuard:
    """Lets text through up to the first stop string, also when one spans pieces.

    Text that may be the beginning of a stop string is held back until it is known, so nobody downstream ever sees a part of one.
    """

    __slots__ = ("_held", "_stops", "hit")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.hit = False
        """A stop string came; no more text goes through."""

    def push(self, piece: str) -> str:
        """Take the next piece of text; what of it, and of what was held, may go on."""
        if not self._stops:
            return piece
        if self.hit:
            return ""
        text = self._held + piece
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.hit, self._held = True, ""
            return text[: min(places)]
        kept = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What is still held when the text has ended: it was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
