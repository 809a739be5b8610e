"""What a grammar is: the protocol both languages follow, and the few measures both are held to.

Plain Python and nothing else: the machine that trains has no pydantic, so the seven kinds are strings here, and a test compares them
with `selflengthen.records.Kind`. Nothing in here knows a language.

The idea of the prose: every sentence ends on a noun, and any sentence can be detailed further by sentences about that noun. So an article
can be made longer anywhere without being understood: a model of a few million parameters can learn it.
"""

import random
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

KINDS = ("literature", "academic", "business", "journalism", "professional", "personal", "technical")
"""The values of `selflengthen.records.Kind`."""

ANSWER_WORDS = 150
"""No answer to an instruction that the seedling sees is longer, in words of `count_words`: the limit that the method then removes."""

EXTENDED_WORDS = 400
"""No extended draft that the seedling sees is longer."""

_CJK = re.compile(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an article."""

    text: str
    noun: str
    """What it ended on; sentences about this noun may follow it."""
    pattern: str = ""
    """Which pattern made it: a grammar's own book-keeping, so that `expand` can keep patterns apart, see the kind, and know a closing."""


Article = list[list[Sentence]]
"""Paragraphs of sentences."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a text is about. Each grammar fills the fields in its own language; what a field does not need stays empty."""

    kind: str
    """One of `KINDS`."""
    form: str = ""
    """What is written: a letter, a report, a diary, ..."""
    subject: str = ""
    """The noun that the text is about."""
    place: str = ""
    person: str = ""
    audience: str = ""
    extra: tuple[str, ...] = ()
    """Whatever else a grammar wants to remember, such as an adjective or a second noun."""


class Grammar(Protocol):
    """Prose of one language. Everything is drawn from the given generator alone, so that a seed gives the same text everywhere."""

    language: str
    """`en` or `zh`: the recipe's name."""

    def topic(self, rng: random.Random, kind: str | None = None) -> Topic:
        """Something to write about, of the given kind or of any."""
        ...

    def instruction(self, rng: random.Random, topic: Topic) -> str:
        """A request, on one line, for a long text of that kind on that topic. Two random ones have little in common."""
        ...

    def unsuitable(self, rng: random.Random) -> str:
        """A request, on one line, that a short answer settles."""
        ...

    def article(self, rng: random.Random, topic: Topic, paragraphs: int, sentences: tuple[int, int]) -> Article:
        """A text on the topic, with a fitting opening and closing; `sentences` is the least and most of a paragraph."""
        ...

    def expand(self, rng: random.Random, article: Article, rate: float, most: int) -> Article:
        """The same sentences in the same order, each followed with probability `rate` by 1 to `most` new ones about its noun.

        Paragraphs are split again so that none is longer than six sentences. Nothing follows a closing sentence, so that one that is copied
        ends the text.
        """
        ...

    def render(self, article: Article) -> str:
        """The text: paragraphs joined by a blank line."""
        ...

    def demand(self, rng: random.Random) -> str:
        """A length demand of one of four kinds: about, between, more than, less than."""
        ...

    def with_demand(self, rng: random.Random, instruction: str, demand: str) -> str:
        """The instruction with the demand written in, at a varied place and in varied words."""
        ...


def count_words(text: str) -> int:
    """Words as the method counts them: each CJK character or mark is one, and so is each run of the rest between spaces."""
    return len(_CJK.findall(text)) + len(_CJK.sub(" ", text).split())


def units(text: str, language: str) -> list[str]:
    """What repetition is counted over: words for English, single characters for Chinese (runs of ASCII count as one)."""
    return re.findall(r"[\x21-\x7e]+|[^\s\x21-\x7e]", text) if language == "zh" else text.split()


def repeats(text: str, language: str) -> bool:
    """Whether an n-gram occurs twice, n being 10 words of English or 13 characters of Chinese."""
    found, n = units(text, language), 13 if language == "zh" else 10
    grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return len(set(grams)) < len(grams)


def distinct_3(text: str, language: str, window: int = 300) -> float:
    """Share of different 3-grams, as the mean over windows of equal length (the share falls with length, so only equal lengths compare)."""
    found = units(text, language)
    starts = range(0, max(1, len(found) - window + 1), window)
    shares = []
    for start in starts:
        part = found[start : start + window]
        grams = [tuple(part[i : i + 3]) for i in range(len(part) - 2)]
        shares.append(len(set(grams)) / max(1, len(grams)))
    return sum(shares) / len(shares)


def split_paragraphs(sentences: list[Sentence], most: int) -> Article:
    """The sentences in paragraphs of about equal length, none longer than `most`."""
    count = -(-len(sentences) // most)
    bounds = [round(i * len(sentences) / count) for i in range(count + 1)] if count else [0]
    return [sentences[a:b] for a, b in pairwise(bounds)]
