"""Where a text is cut: paragraphs, halves, two thirds, thinned outlines, and the clean part before a fault.

What does not live here: why it is cut there (the stages) and where the fault is (the checks). Line ends may be LF or CRLF. Indentation at the
start of a paragraph is part of it (Chinese paragraphs begin with two wide spaces); whitespace at its end is not.
"""

import random
import re

_BLANK = re.compile(r"[^\S\n]*\n(?:[^\S\n]*\n)+")
_NEWLINE = re.compile(r"(?:[^\S\n]*\n)+")


def _breaks(text: str) -> re.Pattern[str]:
    """What separates the paragraphs of this text: blank lines, or any line end where blank lines give two parts or fewer."""
    return _BLANK if sum(1 for part in _BLANK.split(text) if part.strip()) > 2 else _NEWLINE


def paragraphs(text: str) -> list[str]:
    """Split on blank lines, or on single newlines if that gives two parts or fewer (method.md, stage 2). Empty parts are left out."""
    return [part.rstrip() for part in _breaks(text).split(text) if part.strip()]


def first_half(text: str) -> str:
    """The first half of the paragraphs, rounded down but one at least, joined by blank lines (method.md, stage 2: what is extended first)."""
    parts = paragraphs(text)
    return "\n\n".join(parts[: max(1, len(parts) // 2)])


def two_thirds(text: str) -> str:
    """The first two thirds of the paragraphs, rounded down, joined by blank lines; "" if nothing stays (method.md, stage 2).

    Unlike the published code, which splits on blank lines alone here, a text of single newlines is cut too instead of being given up.
    """
    parts = paragraphs(text)
    return "\n\n".join(parts[: len(parts) * 2 // 3])


def thin_outline(text: str, rng: random.Random, drop: float = 0.2) -> str:
    """The text with each line dropped with probability `drop`; one line that says something stays in any case (method.md, "Fine-tuning").

    One number is drawn per line, in order, so the same generator state thins the same text in the same way.
    """
    lines = text.split("\n")
    draws = [rng.random() for _ in lines]
    kept = [line for line, draw in zip(lines, draws, strict=True) if draw >= drop]
    if any(line.strip() for line in kept) or not text.strip():
        return "\n".join(kept)
    # All that says something was dropped: the line that came nearest to staying is put back.
    return max((draw, line) for line, draw in zip(lines, draws, strict=True) if line.strip())[1]


def clean_prefix(text: str, before: int) -> str:
    """The text up to the end of the last whole paragraph that ends at or before character `before`; "" if there is none.

    A paragraph is whole when a paragraph break follows it: the last one of a text that was stopped is never known to be whole, so
    `clean_prefix(text, len(text))` cuts a text that reached its limit back to its last whole paragraph.
    """
    end = 0
    for gap in _breaks(text).finditer(text):
        if gap.start() > before:
            break
        end = gap.start()
    return text[:end] if text[:end].strip() else ""
