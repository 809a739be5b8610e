"""The English grammar: sentences from patterns, articles from chains of sentences, and the requests that ask for them.

Two rules make long texts possible. A noun on which one sentence of a text ended is not ended on again for a long while, and a pattern that was
used does not come back soon: whoever learns from these texts learns to move on. The words stand in `en_words`, the phrases in
`en_phrases`, the patterns in `en_patterns`, and what a kind of text needs in `en_topics` and `en_requests`.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from seedling.grammar import en_patterns, en_requests, en_topics, en_words
from seedling.grammar.base import KINDS, Article, Sentence, Topic, split_paragraphs
from seedling.grammar.dsl import Parts, fill, parse, tidy
from seedling.grammar.en_phrases import PHRASES

PATTERN_GAP = 12
"""Sentences before a pattern may return, and a pattern with the same noun never does."""

NOUN_GAP = 90
"""Sentences before a text may end on a noun again."""

AHEAD = 8
"""When a text is expanded, how many of the sentences still to come are looked at, so that a detail does not forestall them."""

_VOWEL = re.compile(r"(?!us|uni|one|eu)[aeiou]|hour|honest|heir", re.IGNORECASE)


def an(words: str) -> str:
    """The words with their indefinite article."""
    return ("an " if _VOWEL.match(words) else "a ") + words


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern and what it may be said of and end on. An empty target means that it ends on the subject."""

    name: str
    parts: Parts
    targets: tuple[str, ...]


_PHRASES = {name: parse(text) for name, text in PHRASES.items()}
_ALL = en_patterns.GROUPS["*"]


def _fields(spec: str) -> str:
    return "".join(en_patterns.GROUPS.get(spec, spec))


def _body() -> dict[str, dict[str, tuple[Pattern, ...]]]:
    """Patterns by kind and by the field of the noun that they are said of."""
    found: dict[str, dict[str, list[Pattern]]] = {kind: {field: [] for field in _ALL} for kind in KINDS}
    shared = f"{en_patterns.COMMON}{en_patterns.PERSON}{en_patterns.SOLID}{en_patterns.PLACES}{en_patterns.LIVING}{en_patterns.MINDS}"
    sources = [(shared, KINDS), *((text, (kind,)) for kind, text in en_patterns.BY_KIND.items())]
    number = 0
    for text, kinds in sources:
        for line in text.strip().splitlines():
            subjects, _, rest = line.partition(" > ")
            targets, _, pattern = rest.partition("  ")
            number += 1
            parts = parse(pattern.strip())
            for field in _fields(subjects.strip()):
                ends = field if targets.strip() == "=" else _fields(targets.strip())
                for kind in kinds:
                    found[kind][field].append(Pattern(f"b{number}", parts, tuple(ends)))
    return {kind: {field: tuple(patterns) for field, patterns in fields.items()} for kind, fields in found.items()}


def _frame(letter: str, text: str) -> tuple[Pattern, ...]:
    """Openings, topic sentences or closings; those without {xm} end on the subject."""
    lines = text.strip().splitlines()
    return tuple(Pattern(f"{letter}{abs(hash_text(line))}", parse(line), tuple(_ALL) if "{xm}" in line else ()) for line in lines)


def hash_text(text: str) -> int:
    """A number for a text that is the same in every process, unlike `hash`."""
    value = 0
    for mark in text:
        value = (value * 131 + ord(mark)) % 999_983
    return value


BODY = _body()
OPENINGS = {kind: _frame("o", text) for kind, text in en_topics.OPENINGS.items()}
TOPICAL = {kind: _frame("t", en_topics.TOPIC_SENTENCES["*"] + en_topics.TOPIC_SENTENCES[kind].lstrip("\n")) for kind in KINDS}
CLOSINGS = {kind: _frame("c", text) for kind, text in en_topics.CLOSINGS.items()}
_LINES = {
    "ask": tuple(parse(line) for line in en_requests.ASKS.strip().splitlines()),
    "extra": tuple(parse(line) for line in en_requests.EXTRAS.strip().splitlines()),
    "bad": tuple(parse(line) for line in en_requests.UNSUITABLE.strip().splitlines()),
    "demand": tuple(en_requests.DEMANDS.strip().splitlines()),
    "with": tuple(en_requests.WITH_DEMAND.strip().splitlines()),
} | {kind: tuple(parse(line) for line in text.strip().splitlines()) for kind, text in en_requests.ASKS_BY_KIND.items()}


class Scribe:
    """Writes the sentences of one text, and remembers what it has used."""

    def __init__(self, rng: random.Random, kind: str, topic: Topic | None = None) -> None:
        self.rng = rng
        self.kind = kind
        self.topic = topic
        self.noun = self.end = ""
        self.nouns: dict[str, int] = {}
        self.patterns: dict[str, int] = {}
        self.said: set[tuple[str, str]] = set()
        self.at = 0
        self.slots: dict[str, Callable[[], str]] = {
            "n": lambda: self.noun,
            "dn": lambda: self._the(self.noun),
            "an": lambda: self._a(self.noun),
            "jn": lambda: self._adjective(self.noun),
            "vn": lambda: en_words.past(self._verb(self.noun)),
            "bn": lambda: self._verb(self.noun),
            "mn": lambda: self._pick(en_words.MATERIALS[en_words.FIELD[self.noun]]),
            "m": lambda: self.end,
            "dm": lambda: self._the(self.end),
            "am": lambda: self._a(self.end),
            "xm": self._any,
            "jm": lambda: self._adjective(self.end),
            "vm": lambda: en_words.past(self._verb(self.end)),
            "bm": lambda: self._verb(self.end),
            "p": self._person,
            "name": lambda: self._pick(en_words.NAMES),
            "town": lambda: self._pick(en_words.TOWNS),
        }
        if topic:
            self.slots |= {
                "s": lambda: topic.subject,
                "ds": self._subject,
                "as": lambda: an(f"{topic.extra[0]} {topic.subject}" if rng.random() < 0.6 else topic.subject),
                "place": lambda: topic.place,
                "who": lambda: topic.person,
                "form": lambda: topic.form,
            }

    def _pick(self, words: tuple[str, ...]) -> str:
        return words[int(self.rng.random() * len(words))]

    def _adjective(self, noun: str) -> str:
        found = self._pick(en_words.ADJECTIVES[en_words.FIELD[noun]])
        return found if noun not in found else self._adjective(noun)  # no "arched arch"

    def _verb(self, noun: str) -> str:
        return self._pick(en_words.VERBS[en_words.FIELD[noun]])

    def _the(self, noun: str) -> str:
        chance = self.rng.random()
        if chance < 0.5:
            return f"the {noun}"
        return f"this {noun}" if chance < 0.65 else f"the {self._adjective(noun)} {noun}"

    def _a(self, noun: str) -> str:
        return an(noun) if self.rng.random() < 0.3 else an(f"{self._adjective(noun)} {noun}")

    def _subject(self) -> str:
        assert self.topic
        chance = self.rng.random()
        if chance < 0.45:
            return f"the {self.topic.subject}"
        return f"this {self.topic.subject}" if chance < 0.55 else f"the {self.topic.extra[0]} {self.topic.subject}"

    def _any(self) -> str:
        chance = self.rng.random()
        noun = self.end
        if chance < 0.55:
            return self._a(noun)
        if chance < 0.8:
            return f"the {self._adjective(noun)} {noun}"
        if chance < 0.88:
            return f"the {noun}"
        if chance < 0.93:
            return f"another {noun}"
        one, two = self._adjective(noun), self._adjective(noun)
        return an(f"{one}, {two} {noun}" if one != two else f"{one} {noun}")

    def _person(self) -> str:
        chance = self.rng.random()
        if chance < 0.3:
            return self._pick(en_words.NAMES)
        noun = self._pick(en_words.NOUNS["P"])
        if noun in (self.noun, self.end):
            return self._pick(en_words.NAMES)
        return f"the {noun}" if chance < 0.75 else f"the {self._adjective(noun)} {noun}"

    def note(self, sentence: Sentence, ahead: int = 0) -> None:
        """Remember a sentence that stands in the text, or will stand there `ahead` sentences from now."""
        self.nouns[sentence.noun] = self.at + ahead
        self.patterns[sentence.pattern.partition(":")[2]] = self.at + ahead

    def write(self, patterns: tuple[Pattern, ...], noun: str) -> Sentence:
        """A sentence about the noun by one of the patterns, one that was not used lately."""
        for _ in range(20):
            pattern = patterns[int(self.rng.random() * len(patterns))]
            gap = self.at - self.patterns.get(pattern.name, -999)
            if gap > PATTERN_GAP and (pattern.name, noun) not in self.said:
                break
        self.noun = noun
        self.end = self._next(pattern.targets, noun) if pattern.targets else noun
        text = tidy(fill(pattern.parts, self.rng, self.slots, _PHRASES))
        sentence = Sentence(text if text[-1] in '".?!' else text + ".", self.end, f"{self.kind}:{pattern.name}")
        self.at += 1
        self.note(sentence)
        self.said.add((pattern.name, noun))
        return sentence

    def detail(self, noun: str) -> Sentence:
        """A sentence about a noun, in the manner of this kind of text."""
        return self.write(BODY[self.kind][en_words.FIELD[noun]], noun)

    def _next(self, fields: tuple[str, ...], noun: str) -> str:
        for _ in range(24):
            found = self._pick(en_words.NOUNS[self._pick(fields)])
            if found != noun and self.at - self.nouns.get(found, -999) > NOUN_GAP:
                return found
        return found if found != noun else self._next(fields, noun)


class English:
    """English prose; see `base.Grammar`."""

    language = "en"

    def topic(self, rng: random.Random, kind: str | None = None) -> Topic:
        kind = kind or rng.choice(KINDS)
        field = rng.choice(en_topics.SUBJECTS[kind])
        subject = rng.choice(en_words.NOUNS[field])
        second = rng.choice(en_words.NOUNS[rng.choice(_ALL)])
        return Topic(
            kind=kind,
            form=rng.choice(en_topics.FORMS[kind]),
            subject=subject,
            place=rng.choice(en_words.TOWNS),
            person=rng.choice(en_words.NAMES),
            audience=rng.choice(en_topics.AUDIENCES),
            extra=(rng.choice(en_words.ADJECTIVES[field]), second if second != subject else "promise"),
        )

    def instruction(self, rng: random.Random, topic: Topic) -> str:
        adjective, second = topic.extra
        scribe = Scribe(rng, topic.kind, topic)
        scribe.noun = scribe.end = topic.subject
        subject = rng.choice(
            (
                f"the {adjective} {topic.subject} of {topic.place}",
                f"the {topic.subject} in {topic.place}",
                f"the {topic.subject} that {topic.person} {en_words.past(scribe.slots['bn']())} in {topic.place}",
                f"{an(f'{adjective} {topic.subject}')} near {topic.place}",
                f"{topic.place} and its {topic.subject}",
            )
        )
        whom = rng.choice((f"for {topic.audience}", f"to be read by {topic.audience}", f"meant for {topic.audience}", "", ""))
        slots = scribe.slots | {
            "sub": lambda: subject,
            "whom": lambda: whom,
            "whomto": lambda: topic.audience,
            "aform": lambda: an(topic.form),
            "asecond": lambda: an(second),
            "second": lambda: second,
        }
        lines = _LINES["ask"] if rng.random() < 0.6 else _LINES[topic.kind]
        heart = tidy(fill(rng.choice(lines), rng, slots, _PHRASES)).lstrip(",; ")
        heart = heart[0].upper() + heart[1:] + ("?" if heart.startswith(("Could", "could")) else ".")
        if rng.random() < 0.55:
            extra = tidy(fill(rng.choice(_LINES["extra"]), rng, slots, _PHRASES)) + "."
            return f"{heart} {extra}"
        return heart

    def unsuitable(self, rng: random.Random) -> str:
        scribe = Scribe(rng, "personal")
        field = rng.choice(_ALL)
        scribe.noun, scribe.end, third = rng.sample(en_words.NOUNS[field], 3)
        adjective = rng.choice(en_words.ADJECTIVES[field])
        slots = scribe.slots | {
            "an": lambda: an(scribe.noun),
            "an2": lambda: an(scribe.end),
            "n2": lambda: scribe.end,
            "n3": lambda: third,
            "adj": lambda: adjective,
            "town2": lambda: rng.choice(en_words.TOWNS),
            "digits": lambda: str(rng.randint(2, 999)),
            "small": lambda: rng.choice(("one", "two", "three", "five")),
        }
        text = tidy(fill(rng.choice(_LINES["bad"]), rng, slots, _PHRASES))
        return text if text[-1] in ".?!" else text + "."

    def article(self, rng: random.Random, topic: Topic, paragraphs: int, sentences: tuple[int, int]) -> Article:
        scribe = Scribe(rng, topic.kind, topic)
        scribe.nouns[topic.subject] = 9999
        # No topic sentence comes twice, so some paragraphs of a very long text just go on from the last one.
        frames = rng.sample(TOPICAL[topic.kind], len(TOPICAL[topic.kind]))
        share = len(frames) / paragraphs
        article: Article = []
        for index in range(paragraphs):
            if index == 0:
                part = [scribe.write(OPENINGS[topic.kind], topic.subject)]
            elif frames and rng.random() < share:
                part = [scribe.write((frames.pop(),), topic.subject)]
            else:
                part = [scribe.detail(article[-1][-1].noun)]
            count = rng.randint(*sentences)
            while len(part) < count - (index == paragraphs - 1):
                part.append(scribe.detail(part[-1].noun))
            article.append(part)
        article[-1].append(scribe.write(CLOSINGS[topic.kind], topic.subject))
        return article

    def expand(self, rng: random.Random, article: Article, rate: float, most: int) -> Article:
        flat = [sentence for part in article for sentence in part]
        scribe = Scribe(rng, flat[0].pattern.partition(":")[0])
        for sentence in flat:
            scribe.nouns[sentence.noun] = 9999
        split = rng.choice((4, 5, 5, 6))
        expanded: Article = []
        place = 0
        for part in article:
            longer: list[Sentence] = []
            for sentence in part:
                longer.append(sentence)
                scribe.at += 1
                for ahead, coming in enumerate(flat[place : place + AHEAD]):
                    scribe.patterns[coming.pattern.partition(":")[2]] = scribe.at + ahead
                place += 1
                if sentence.pattern.partition(":")[2][0] == "c" or rng.random() >= rate:
                    continue
                noun = sentence.noun
                for _ in range(rng.randint(1, most)):
                    longer.append(scribe.detail(noun))
                    noun = longer[-1].noun
            expanded += split_paragraphs(longer, split)
        return expanded

    def render(self, article: Article) -> str:
        return "\n\n".join(" ".join(sentence.text for sentence in part) for part in article)

    def demand(self, rng: random.Random) -> str:
        step = rng.choice((50, 100, 100, 500, 1000))
        low = step * rng.randint(2, 9)
        return rng.choice(_LINES["demand"]).format(num=low, lo=low, hi=low + step * rng.randint(1, 3))

    def with_demand(self, rng: random.Random, instruction: str, demand: str) -> str:
        bare = instruction.rstrip(".")
        low = instruction[0].lower() + instruction[1:]
        if instruction.split(maxsplit=1)[0].strip(",.;:") in {*en_words.NAMES, *en_words.TOWNS, "I"}:
            low = instruction
        forms = _LINES["with"] if instruction.endswith(".") else tuple(form for form in _LINES["with"] if "{i}" not in form)
        return rng.choice(forms).format(i=bare, I=instruction, low=low, d=demand)
