"""All checks of one language together: their settings, the check of the ending, and `Guard`, which watches a text while it is written.

What does not live here: the other checks, each in a file of its own (`repetition`, `self_talk`, `monotony`, `language`), and the values, which are
each recipe's. A check looks at absolute places of a text, so the pieces that it arrives in make no difference: the check of a whole text is the
watch, fed once.
"""

import re
from collections.abc import Callable
from typing import Self

from pydantic import Field

from selflengthen.records import Floors, Reason, Record
from selflengthen.text.count import Unit
from selflengthen.text.language import ForeignStretch, Identify, identify
from selflengthen.text.monotony import Monotony
from selflengthen.text.repetition import CjkNgram, Loops, RepeatedNgram
from selflengthen.text.self_talk import SelfTalk
from selflengthen.text.stream import Chunks, Found, UnitStream, earliest
from selflengthen.text.verdict import Verdict

_RULE = re.compile(r"\s*([-*_=])(?:\s*\1){2,}\s*")


class CheckSettings(Record):
    """The `[checks]` table of a recipe, and the language it is for. What is left out is off."""

    language: str = Field("", description="ISO 639-1 code; from the recipe, not from its table")
    unit: Unit = Field(description="what is counted and compared: see `count.Unit`")
    ngram: int = Field(gt=0, description="no sequence of this many units may occur twice")
    ngram_letters: int = Field(0, ge=0, description="an n-gram counts when this many of its units hold a letter; 0 as published")
    endings: str = Field(min_length=1, description="a finished text ends with one of these characters")
    self_talk: tuple[str, ...] = Field((), description="words with which the model talks about its task")
    self_talk_first_lines: int = Field(2, ge=0)
    self_talk_last_lines: int = Field(3, ge=0)
    loops: bool = Field(True, description="find loops too dense for n-grams, and Chinese ones whatever the unit is")
    window: int = Field(0, ge=0, description="monotony: units per window; 0 = off")
    distinct_3_min: float = Field(0.0, ge=0, le=1, description="monotony: least share of distinct 3-grams in a window; 0 = off")
    compression_min: float = Field(0.0, ge=0, description="monotony: least compressed over raw bytes of a window; 0 = off")
    foreign_window: int = Field(0, ge=0, description="characters of the stretch that is looked at for another language; 0 = off")
    foreign_share: float = Field(0.8, ge=0, le=1, description="share of its letters that may be of another script")

    @property
    def floors(self) -> Floors:
        """The monotony settings."""
        return Floors(window=self.window, distinct_3_min=self.distinct_3_min, compression_min=self.compression_min)

    def with_floors(self, floors: Floors) -> Self:
        """The same with other monotony settings, such as calibrated ones; `Floors()` switches the check off."""
        return self.model_copy(update=floors.model_dump())

    def paper(self) -> Self:
        """The published checks of this language, and nothing else (method.md, "Checks"; the code of arXiv 2410.23933).

        Reproduced: the n-grams with their unit and n, the ending marks, and for English the five self-talk words in the first 2 and last 3 lines.
        Not reproduced, being faults: "conversion" counting as "version", and empty lines counting as lines. A language that the paper does not
        have keeps its own unit, n and endings.
        """
        off = {"ngram_letters": 0, "self_talk": (), "loops": False, "foreign_window": 0} | Floors().model_dump()
        return self.model_copy(update=off | _PUBLISHED.get(self.language, {}))


_PUBLISHED: dict[str, dict[str, object]] = {
    "en": {
        "unit": "word",
        "ngram": 10,
        "endings": ".!?,;:-\"')]}>`",
        "self_talk": ("revised", "revision", "response", "version", "paragraph"),
        "self_talk_first_lines": 2,
        "self_talk_last_lines": 3,
    },
    "zh": {"unit": "ascii_run", "ngram": 13, "endings": "。！？”)]}>）】’…`"},
}


def ends_well(text: str, endings: str) -> Verdict | None:
    """The last character must be one of `endings` (method.md, "Checks" 1); a closing rule such as `---` is looked past, an empty text is EMPTY."""
    body = text.rstrip()
    if not body:
        return Verdict(Reason.EMPTY, 0, len(text))
    while body and _RULE.fullmatch(body, body.rfind("\n") + 1):
        body = body[: body.rfind("\n") + 1].rstrip()
    if body and body[-1] in endings:
        return None
    return Verdict(Reason.UNFINISHED, len(body), len(text), f"ends with {body[-20:]!r}")


class Guard:
    """Watches one text of one language: fed the text as it is written, it says as early as can be known why the text will not pass.

    Feed the prefill first when there is one: offsets are of everything that was fed. After a verdict it says the same again. When several
    checks fail, the verdict is the one that was certain after the fewest characters, so the pieces make no difference.
    """

    def __init__(self, settings: CheckSettings, find_language: Identify = identify) -> None:
        self._settings = settings
        self._units = UnitStream(settings.unit)
        self._chunks = Chunks()
        self._length = 0
        self._found: Found | None = None
        self._ngram = RepeatedNgram(settings.unit, settings.ngram, letters=settings.ngram_letters, stream=self._units)
        self._monotony = Monotony(settings.unit, settings.floors, self._units)
        self._talk = SelfTalk(settings.self_talk, settings.self_talk_first_lines, settings.self_talk_last_lines)
        self._foreign = ForeignStretch(settings.language, settings.foreign_window if settings.language else 0, settings.foreign_share, find_language)
        self._cjk = CjkNgram() if settings.loops and settings.unit == "word" else None
        self._loops = Loops() if settings.loops else None
        self._by_unit: list[Callable[[], Found | None]] = [self._ngram.take]
        if self._monotony.on:
            self._by_unit.append(self._monotony.take)
        self._by_chunk: list[Callable[[str], Found | None]] = [self._foreign.take]
        if self._loops:
            self._by_chunk.insert(0, self._loops.take)

    def feed(self, delta: str) -> Verdict | None:
        """Take the next piece of the text; the verdict as soon as it is certain."""
        if self._found is not None:
            return self._found.verdict
        found = []
        if self._talk.lines_left:
            found.append(self._talk.look(delta))
        if self._units.feed(delta):
            found += [take() for take in self._by_unit]
        if self._cjk is not None and not (delta.isascii() and self._cjk.waiting):
            found.append(self._cjk.look(delta, self._length))
        for chunk in self._chunks.feed(delta):
            found += [take(chunk) for take in self._by_chunk]
        self._length += len(delta)
        self._found = earliest(found) if found else None
        return None if self._found is None else self._found.verdict

    def finish(self) -> Verdict | None:
        """The text ends here: the last unit, the last windows, the last lines and the ending."""
        if self._found is None:
            text = self._units.text
            rest = self._chunks.finish()
            self._units.finish()
            found = [
                self._talk.look_at_end(text),
                self._ngram.take(),
                self._cjk.look_at_end() if self._cjk else None,
                self._loops.take(rest) if self._loops else None,
                self._monotony.take_at_end(),
                self._foreign.take_at_end(rest),
            ]
            ending = ends_well(text, self._settings.endings)
            # After all others: they say more about a text that was stopped by its own fault.
            found.append(None if ending is None else Found(len(text) + 1, ending))
            self._found = earliest(found)
        return None if self._found is None else self._found.verdict


def check_text(text: str, settings: CheckSettings, find_language: Identify = identify) -> Verdict | None:
    """All checks of a whole text: None when it passes, otherwise what a `Guard` says of it."""
    guard = Guard(settings, find_language)
    return guard.feed(text) or guard.finish()
