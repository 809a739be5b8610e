"""Which language a text is in, and whether it leaves it.

What does not live here: which languages a run uses (`config`) and what belongs to each (`recipes`). The script decides where it can: Chinese and
English. For other languages py3langid is asked, imported when it is first needed.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from selflengthen.records import Reason
from selflengthen.text.stream import CHUNK, Chunks, Found
from selflengthen.text.verdict import Verdict

Identify = Callable[[str], str]
"""Text in, ISO 639-1 code out."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]+")
# Runs, not single characters: counting runs takes a quarter of the time.
_HAN_LETTER = re.compile(f"[{_HAN}]+")
_LATIN_LETTER = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+")
_LETTER = re.compile(r"[^\W\d_]+")
_OWN_LETTER = {"zh": _HAN_LETTER, "en": _LATIN_LETTER}
_NO_ASCII_LETTER = {code: None for code in range(128) if not chr(code).isalpha()}
_FENCE = re.compile(r"`{3,}")

SHORT = 40
"""Letters below which py3langid is guessing."""
SURE = 200
"""Letters from which its answer may reject a text."""
LEAST_LETTERS = 0.25
"""Share of a window that must be letters; figures, rules and code are in no language."""


def language_of(text: str) -> str:
    """The language as an ISO 639-1 code: "zh" by its script, otherwise py3langid's answer; "en" for a few Latin words, "und" without letters."""
    letters, han, kana_hangul = (_count(kind, text) for kind in (_LETTER, _HAN_LETTER, _KANA_HANGUL))
    if not letters:
        return "und"
    # A Chinese character says about as much as three Latin letters: names and terms do not make a Chinese text English.
    if 3 * (han + kana_hangul) >= letters - han - kana_hangul:
        return "zh" if han > 4 * kana_hangul else identify(text)
    return "en" if letters < SHORT and text.isascii() else identify(text)


def identify(text: str) -> str:
    """What py3langid says."""
    import py3langid

    return str(py3langid.classify(text)[0])


@dataclass(frozen=True, slots=True)
class _Counted:
    """The letters of one chunk, those in fenced code left out."""

    text: str
    own: int
    foreign: int


class ForeignStretch:
    """A text may hold words of another language, but not go on in it: the fault of small models that fall back to English or Chinese.

    Chinese and English: among the letters of any `window` characters at most a share of `most` may be of another script. Other languages: two
    windows in a row that `identify` takes for another one. Fenced code is not looked at. Windows are whole chunks and one more ends with the
    text, which may be shorter than `window`. The verdict starts where the foreign stretch begins.
    """

    def __init__(self, language: str, window: int, most: float, find_language: Identify = identify) -> None:
        self._language = language.lower().partition("-")[0]
        self._own = _OWN_LETTER.get(self._language, _LETTER)
        self._identify = find_language
        self._most = most
        self._on = window > 0
        self._size = max(1, window // CHUNK)
        self._window: deque[_Counted] = deque()
        self._own_letters = self._foreign_letters = self._length = 0
        self._chunks = Chunks()
        self._fenced = False
        self._ticks = ""
        self._suspect: int | None = None
        self._found: Found | None = None

    def feed(self, piece: str) -> Verdict | None:
        """Take the next piece of text; the verdict as soon as it is certain, and from then on."""
        if self._found is None:
            self._found = next((hit for hit in map(self.take, self._chunks.feed(piece)) if hit), None)
        return None if self._found is None else self._found.verdict

    def finish(self) -> Verdict | None:
        """The text ends here."""
        if self._found is None:
            self._found = self.take_at_end(self._chunks.finish())
        return None if self._found is None else self._found.verdict

    def take(self, chunk: str) -> Found | None:
        """Look at the text up to the end of this chunk."""
        if not self._on:
            return None
        self._add(chunk)
        return self._judge() if len(self._window) == self._size else None

    def take_at_end(self, rest: str) -> Found | None:
        """Look at the window that ends with the text."""
        if not self._on:
            return None
        if rest:
            self._add(rest)
        short = self._length < self._size * CHUNK
        return self._judge(at_end=True) if short or self._language in _OWN_LETTER else None

    def _add(self, chunk: str) -> None:
        prose = self._without_code(chunk) if self._fenced or self._ticks or "`" in chunk else chunk
        letters = _count(_LETTER, prose)
        own = letters if self._own is not _HAN_LETTER and prose.isascii() else _count(self._own, prose)
        foreign = letters - own
        self._window.append(_Counted(chunk, own, foreign))
        self._own_letters += own
        self._foreign_letters += foreign
        self._length += len(chunk)
        if len(self._window) > self._size:
            gone = self._window.popleft()
            self._own_letters -= gone.own
            self._foreign_letters -= gone.foreign

    def _without_code(self, chunk: str) -> str:
        """The chunk without what stands between fences. Backticks at its end wait for the next one: the fence may go on."""
        text = self._ticks + chunk
        body = text.rstrip("`")
        self._ticks = "`" * min(3, len(text) - len(body))
        prose = []
        for i, part in enumerate(_FENCE.split(body)):
            self._fenced ^= i > 0
            if not self._fenced:
                prose.append(part)
        return "".join(prose)

    def _judge(self, *, at_end: bool = False) -> Found | None:
        letters = self._own_letters + self._foreign_letters
        if letters < LEAST_LETTERS * sum(len(one.text) for one in self._window):
            return None
        if self._language not in _OWN_LETTER:
            return self._judge_by_asking(at_end=at_end) if letters >= SURE else None
        if self._foreign_letters <= self._most * letters:
            return None
        window = "".join(one.text for one in self._window)
        start = self._length - len(window) + _change_point(window, self._own)
        return self._report(start, f"{self._foreign_letters} of {letters} letters are not {self._language}")

    def _judge_by_asking(self, *, at_end: bool) -> Found | None:
        start = self._length - sum(len(one.text) for one in self._window)
        answer = self._identify("".join(one.text for one in self._window))
        # Windows stand side by side here: asking costs about a millisecond.
        self._window.clear()
        self._own_letters = self._foreign_letters = 0
        if answer == self._language:
            self._suspect = None
        elif self._suspect is not None or at_end:
            return self._report(start if self._suspect is None else self._suspect, f"reads as {answer}, not {self._language}")
        else:
            self._suspect = start
        return None

    def _report(self, start: int, detail: str) -> Found:
        return Found(self._length, Verdict(Reason.WRONG_LANGUAGE, start, self._length, detail))


def _change_point(text: str, own: re.Pattern[str]) -> int:
    """The place with the most own letters before it and the fewest foreign ones: where the text changes its language."""
    score = best = place = 0
    for i, character in enumerate(text):
        if character.isalpha():
            score += 1 if own.match(character) else -1
            if score > best:
                best, place = score, i + 1
    return place


def _count(kind: re.Pattern[str], text: str) -> int:
    """Letters of a kind in a text."""
    if text.isascii():
        # A short way for the common case: ASCII letters are Latin.
        if kind is not _LETTER and kind is not _LATIN_LETTER:
            return 0
        return len(text.translate(_NO_ASCII_LETTER))
    return sum(map(len, kind.findall(text)))


def check_language(text: str, language: str, window: int, most: float, find_language: Identify = identify) -> Verdict | None:
    """`ForeignStretch` over a whole text."""
    check = ForeignStretch(language, window, most, find_language)
    return check.feed(text) or check.finish()
