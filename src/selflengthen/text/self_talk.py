"""Texts in which the model talks about its task ("here is the revised version") in the first or last lines.

What does not live here: the words to look for (each recipe's).
"""

import re
from collections.abc import Iterable, Sequence

from selflengthen.records import Reason
from selflengthen.text.count import CJK
from selflengthen.text.stream import Found, earliest
from selflengthen.text.verdict import Verdict

# A letter, digit or underscore of a script that writes words apart; "这个version" holds the whole word "version".
_IN_WORD = rf"[^\W{CJK}]"
_CJK = re.compile(f"[{CJK}]")


class SelfTalk:
    """None of `words` may stand in the first `first_lines` or the last `last_lines` lines that are not empty (method.md, "Checks" 3).

    Compared exactly, as published ("Response" in a title is not self-talk), but as whole words: "conversion" holds no "version". A word written in
    CJK characters is found anywhere. The first lines are seen on the stream, certain at the character after the word (a CJK word: at
    its own last one); the last lines only at the end.
    """

    def __init__(self, words: Iterable[str], first_lines: int, last_lines: int) -> None:
        self._words = [(_pattern(word), word) for word in words]
        self._any = re.compile("|".join(re.escape(word) for _, word in self._words))
        self._keep = max((len(word) for _, word in self._words), default=0) + 1
        self._last_lines = last_lines
        # At 0 nothing more can be found on the stream.
        self.lines_left = first_lines if self._words else 0
        self._blank = True
        self._buffer = ""
        self._offset = 0
        self._pieces: list[str] = []
        self._found: Found | None = None

    def feed(self, piece: str) -> Verdict | None:
        """Take the next piece of text; the verdict as soon as it is certain, and from then on."""
        self._pieces.append(piece)
        if self._found is None:
            self._found = self.look(piece)
        return None if self._found is None else self._found.verdict

    def finish(self) -> Verdict | None:
        """The text ends here."""
        if self._found is None:
            self._found = self.look_at_end("".join(self._pieces))
        return None if self._found is None else self._found.verdict

    def look(self, piece: str) -> Found | None:
        """Look for the words in the first lines."""
        if not self.lines_left:
            return None
        buffer = self._buffer + piece
        stop = self._end_of_first_lines(piece)
        end = len(buffer) if stop is None else len(self._buffer) + stop
        found = self._search(buffer[:end], "first") if self._any.search(buffer) else None
        cut = max(0, len(buffer) - self._keep)
        self._buffer, self._offset = buffer[cut:], self._offset + cut
        return found

    def look_at_end(self, text: str) -> Found | None:
        """Look for the words where the text ends: in first lines that have not ended, and in the last lines."""
        # The end of the text ends a word as a line end does.
        found = self.look("\n") if self.lines_left else None
        if found is not None or not self._words:
            return found and Found(len(text), found.verdict)
        self._offset = _start_of_last_lines(text, self._last_lines)
        last = self._search(text[self._offset :] + "\n", "last")
        return last and Found(len(text), last.verdict)

    def _end_of_first_lines(self, piece: str) -> int | None:
        """Where in this piece the first lines end, after the line end; None when they go on."""
        start = 0
        while (line_end := piece.find("\n", start)) >= 0:
            said = not self._blank or bool(piece[start:line_end].strip())
            self._blank = True
            start = line_end + 1
            self.lines_left -= said
            if not self.lines_left:
                return start
        self._blank = self._blank and not piece[start:].strip()
        return None

    def _search(self, text: str, where: str) -> Found | None:
        hits = []
        # The first character is there for the look-behind alone, unless it is a line's first.
        begin = 1 if where == "first" and self._offset else 0
        for pattern, word in self._words:
            match = pattern.search(text, begin)
            if match:
                start, end = self._offset + match.start(), self._offset + match.end()
                needs_next = _CJK.search(word) is None
                hits.append(Found(end + needs_next, Verdict(Reason.SELF_TALK, start, end, f"{word!r} in the {where} lines")))
        return earliest(hits)


def check_self_talk(text: str, words: Sequence[str], first_lines: int = 2, last_lines: int = 3) -> Verdict | None:
    """`SelfTalk` over a whole text."""
    check = SelfTalk(words, first_lines, last_lines)
    return check.feed(text) or check.finish()


def _pattern(word: str) -> re.Pattern[str]:
    if _CJK.search(word):
        return re.compile(re.escape(word))
    # What follows must be seen: at the end of what has arrived, the word may still go on.
    return re.compile(rf"(?<!{_IN_WORD}){re.escape(word)}(?=[\W{CJK}])")


def _start_of_last_lines(text: str, lines: int) -> int:
    end = len(text.rstrip())
    start = end if lines == 0 else 0
    for _ in range(lines):
        start = text.rfind("\n", 0, end) + 1
        end = len(text[:start].rstrip())
        if end == 0:
            return 0
    return start
