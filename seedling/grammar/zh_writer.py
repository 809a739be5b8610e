"""Chinese sentences one after another: what each is about, and what may not come back yet."""

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

from seedling.grammar.base import Sentence, Topic
from seedling.grammar.zh_words import Noun, Pattern, Pieces, lexicon

NEAR_NOUNS = 10
"""A noun is not taken up again within so many sentences."""
NEAR_PATTERNS = 10
"""Nor is a pattern, whole or half."""
NEAR_CHARACTERS = 260
"""Nor a time, a place, a reason, ... within so many characters, if there is another."""
NGRAM = 13
"""What the method's check counts over. A sentence that would repeat one is drawn again."""
SHORTEST, LONGEST = 12, 38
"""Characters of a sentence."""

_MEANT_TO_RECUR = "dnijk"
_HANDLE = ("使用", "保养", "检查", "修理", "清洁", "存放")
_WEEK = "一二三四五六日"
_TENS = ("十", "二十", "三十")


class Made(NamedTuple):
    """How a sentence was made: what its `pattern` says, so that an article can be made longer without making the same again."""

    kind: str = ""
    about: str = ""
    marks: tuple[str, ...] = ()
    """The numbers of its patterns."""
    final: bool = False
    """It closes the text: nothing follows it."""


def made(sentence: Sentence) -> Made:
    """What the sentence remembers; nothing if another hand wrote it."""
    kind, _, rest = sentence.pattern.partition("/")
    about, _, rest = rest.partition("/")
    marks, _, end = rest.partition("/")
    return Made(kind, about, tuple(marks.split()), end == "final")


def small_number(n: int) -> str:
    """A number from 1 to 31 in Chinese."""
    tens, ones = divmod(n, 10)
    unit = "一二三四五六七八九"[ones - 1] if ones else ""
    return (_TENS[tens - 1] if tens else "") + unit


class Writer:
    """Writes sentence after sentence of one text and remembers what it has used."""

    def __init__(self, rng: random.Random, kind: str, topic: Topic | None = None, written: Iterable[Sentence] = ()) -> None:
        """`written` is what the text already holds, whatever its place: none of it is said again."""
        self.random, self.kind, self.topic = rng.random, kind, topic
        self.lexicon = lexicon()
        self.nouns: list[str] = []
        self.marks: list[str] = []
        self.pairs: set[tuple[str, str]] = set()
        self.grams: set[str] = set()
        self.near = ""
        self.ahead: tuple[set[str], set[str], str] = (set(), set(), "")
        for sentence in written:
            self._remember_for_good(sentence)
        self.favoured = frozenset(self.lexicon.subjects.get(kind, ()))
        self.whole = [self.lexicon.patterns[k] for k in ("general", kind) if k in self.lexicon.patterns]
        self.openers = [self.lexicon.openers[k] for k in ("general", kind) if k in self.lexicon.openers]

    def pick(self, pool: list) -> object:
        """One of a list: quicker than `Random.choice`, which would take a third of the time."""
        return pool[int(self.random() * len(pool))]

    # What has been said.

    def _remember_for_good(self, sentence: Sentence) -> None:
        text = "。" + sentence.text
        self.grams.update([text[i : i + NGRAM] for i in range(len(text) - NGRAM + 1)])
        how = made(sentence)
        self.pairs.update([(mark, how.about) for mark in how.marks])

    def passed(self, sentence: Sentence) -> None:
        """The sentence now stands in the text at this place."""
        self.nouns = [*self.nouns[1 - NEAR_NOUNS :], sentence.noun]
        self.marks = [*self.marks[2 - 2 * NEAR_PATTERNS :], *made(sentence).marks]
        self.near = (self.near + sentence.text)[-NEAR_CHARACTERS:]

    def look_ahead(self, sentences: list[Sentence]) -> None:
        """These stand after the place that is written at."""
        marks = {mark for sentence in sentences for mark in made(sentence).marks}
        self.ahead = ({sentence.noun for sentence in sentences}, marks, "".join([sentence.text for sentence in sentences]))

    def _fresh_pattern(self, pool: list[Pattern], about: str) -> Pattern:
        for _ in range(12):
            pattern = self.pick(pool)
            if pattern.number not in self.marks and pattern.number not in self.ahead[1] and (pattern.number, about) not in self.pairs:
                break
        return pattern

    def _fresh_word(self, pool: list[str]) -> str:
        for _ in range(4):
            word = self.pick(pool)
            if word not in self.near and word not in self.ahead[2]:
                break
        return word

    def _fresh_noun(self, fields: tuple[str, ...], about: str) -> Noun:
        related = self.lexicon.related[self.lexicon.nouns[about].field]
        for _ in range(16):
            # Rather something that goes with what is spoken of, and with the kind of writing.
            for _ in range(6):
                name = self.pick(fields)
                if self.random() > (0.9 if name not in related else 0.0 if name in self.favoured else 0.35):
                    break
            noun = self.pick(self.lexicon.by_field[name])
            word = noun.text
            if word != about and word not in self.nouns and word not in self.ahead[0] and word not in self.near and not self._is_topic(word):
                break
        return noun

    def _is_topic(self, word: str) -> bool:
        return self.topic is not None and word == self.topic.subject

    # Noun phrases.

    def _known(self, noun: Noun, *, owner: bool) -> str:
        """A noun that the reader has just met. One that owns what follows is kept short: two 的 in a row read badly."""
        roll = self.random() * (0.86 if owner else 1.0)
        if roll < 0.58:
            return f"这{noun.measure}{noun.text}"
        if roll < 0.72:
            return f"那{noun.measure}{noun.text}"
        if roll < 0.86:
            return noun.text
        return f"这{noun.measure}{self._fresh_word(self.lexicon.field_slots[noun.field]['a'])}的{noun.text}"

    def _new(self, noun: Noun) -> str:
        """A noun that the reader meets now."""
        words = self.lexicon.field_slots[noun.field]
        roll, adjective = self.random(), self._fresh_word(words["a"])
        if roll < 0.45:
            return f"一{noun.measure}{adjective}的{noun.text}"
        if roll < 0.78:
            return f"一{noun.measure}{self._fresh_word(words['descriptions'])}的{noun.text}"
        if roll < 0.88:
            return f"一{noun.measure}{self._fresh_word(self.lexicon.slots['d'])}{adjective}的{noun.text}"
        if roll < 0.95:
            other = self._fresh_word(words["a"])
            if other != adjective:
                return f"一{noun.measure}{adjective}又{other}的{noun.text}"
        return f"一{noun.measure}{noun.text}"

    # Filling patterns.

    def fill(self, pieces: Pieces, subject: Noun | None, other: Noun | None) -> str:
        """The pattern with every slot filled. A sentence does not use one word for two slots."""
        out = list(pieces)
        slots, used = self.lexicon.slots, ""
        of_subject = self.lexicon.field_slots[subject.field] if subject else {}
        of_other = self.lexicon.field_slots[other.field] if other else {}
        for i in range(1, len(out), 2):
            letter = out[i]
            if letter == "S":
                word = self._known(subject, owner=out[i + 1].startswith("的"))
            elif letter == "O":
                word = self._new(other)
            elif letter == "K":
                word = f"那{other.measure}{other.text}"
            elif letter == "s":
                word = subject.text
            elif letter == "T":
                word = self._new(subject)
            elif letter in slots or letter in of_subject or letter in of_other:
                pool = slots.get(letter) or (of_other[letter] if letter in "bwe" else of_subject[letter])
                for _ in range(4):
                    word = self._fresh_word(pool)
                    if word not in used or letter in _MEANT_TO_RECUR:
                        break
            else:
                word = self._of_topic(letter)
            used += word
            out[i] = word
        return "".join(out)

    def _of_topic(self, letter: str) -> str:
        topic = self.topic
        if letter == "Y":
            return topic.place
        if letter == "Z":
            return topic.person
        if letter == "g":
            return topic.audience
        if letter == "V":
            return self.pick(_HANDLE)
        if letter == "i":
            return self.pick(_WEEK)
        return small_number(1 + int(self.random() * (12 if letter == "j" else 30)))

    def _try(self, make: Callable[[], Sentence]) -> Sentence:
        """A sentence of the right length that repeats nothing; the last of a few when none will do."""
        for _ in range(8):
            sentence = make()
            text = sentence.text
            if SHORTEST <= len(text) <= LONGEST:
                joined = self.near[1 - NGRAM :] + text
                if self.grams.isdisjoint([joined[i : i + NGRAM] for i in range(len(joined) - NGRAM + 1)]):
                    break
        self._remember_for_good(sentence)
        self.passed(sentence)
        return sentence

    # Sentences.

    def about(self, word: str) -> Sentence:
        """A sentence about a noun."""
        noun = self.lexicon.nouns[word]
        return self._try(lambda: self._halves(noun) if self.random() < 0.42 else self._whole(noun))

    def _halves(self, noun: Noun) -> Sentence:
        head = self._fresh_pattern(self.lexicon.heads[noun.field], noun.text)
        tail = self._fresh_pattern(self.lexicon.tails[noun.field], noun.text)
        other = self._fresh_noun(tail.targets, noun.text)
        text = f"{self.fill(self.pick(head.variants), noun, None)}，{self.fill(self.pick(tail.variants), noun, other)}。"
        # An aside before a time would delay the subject too long.
        if head.variants[0][1] != "t" and self.random() < 0.3:
            text = f"{self._fresh_word(self.pick(self.openers))}，{text}"
        return Sentence(text, other.text, f"{self.kind}/{noun.text}/{head.number} {tail.number}/")

    def _whole(self, noun: Noun) -> Sentence:
        pools = self.whole[-1] if self.random() < 0.25 else self.whole[0]
        pattern = self._fresh_pattern(pools[noun.field], noun.text)
        other = self._fresh_noun(pattern.targets, noun.text)
        text = self.fill(self.pick(pattern.variants), noun, other)
        return Sentence(text, other.text, f"{self.kind}/{noun.text}/{pattern.number}/")

    def frame(self, pool: list[Pattern], *, final: bool = False) -> Sentence:
        """An opening, the first sentence of a paragraph or a closing: what ties the text to its topic."""
        subject = self.lexicon.nouns[self.topic.subject]

        def make() -> Sentence:
            pattern = self._fresh_pattern(pool, subject.text)
            other = self._fresh_noun(pattern.targets, subject.text) if pattern.targets else None
            text = self.fill(self.pick(pattern.variants), subject, other)
            end = "final" if final else ""
            return Sentence(text, other.text if other else subject.text, f"{self.kind}/{subject.text}/{pattern.number}/{end}")

        return self._try(make)
