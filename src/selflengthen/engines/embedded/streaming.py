"""Text out of tokens as they come, in whole characters. What does not live here: stop strings (`engines.stops`) and who reads the text.

A character can span tokens, and what a token says can hang on the one before it (a leading blank). So a short window of the latest tokens is
decoded each time, never the whole text, and what is new in it goes on once it can no longer change.
"""

from collections.abc import Callable, Sequence

CONTEXT = range(4, 9)
"""Tokens kept as context when a window is cut. A character takes at most four bytes, so two of any length fit, whole."""
ROOMY = 12
"""Tokens a window grows to before it is cut, so that cutting is rare."""
HOPELESS = 32
"""A window this long that still ends in half a character is not becoming one: a model writing broken bytes."""
BROKEN = "\ufffd"
"""What a decoder writes for bytes that are no character, or not yet."""


class TextStream:
    """The text of one answer. `decode` turns token ids into text, special tokens left out."""

    __slots__ = ("_decode", "_said", "_window")

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int]) -> None:
        self._decode = decode
        self._window = list(before[-CONTEXT.stop :])
        self._said = len(decode(self._window))
        """Characters of the window's text that have gone on, or stood before the answer."""

    def push(self, token: int) -> str:
        """The text that a token completes; empty while a character is half there. Half a character at the very end is never said."""
        self._window.append(token)
        text = self._decode(self._window)
        hopeless = len(self._window) > HOPELESS
        # Of broken bytes only the last mark can still become a character; before that is certain, none of them goes on.
        settled = len(text) - text.endswith(BROKEN) if hopeless else len(text.rstrip(BROKEN))
        new = text[self._said : settled]
        self._said = max(self._said, settled)
        if hopeless or (settled == len(text) and len(self._window) > ROOMY):
            self._cut(text, settled)
        return new

    def _cut(self, text: str, settled: int) -> None:
        """Go on with the latest tokens alone. Some decoders read a run of bytes as a whole, so the context must begin with a character."""
        for kept in CONTEXT:
            end = self._decode(self._window[-kept:])
            if BROKEN not in end and text.endswith(end):
                break
        del self._window[:-kept]
        self._said = len(end) - (len(text) - settled)
