"""The Chinese word lists and sentence patterns, read once from the TOML files beside this module.

A pattern is compiled into a tuple of pieces: literal text at even places, the letter of a slot at odd ones. Filling it is then a loop over
pieces and nothing else, because a corpus needs some ten million sentences.
"""

import itertools
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Pieces = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun with its measure word and its semantic field."""

    text: str
    measure: str
    field: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a sentence, or half of one, is made of. The number names it, so that it does not come back too soon."""

    number: str
    variants: tuple[Pieces, ...]
    """One for each choice of the optional parts."""
    targets: tuple[str, ...] = ()
    """Fields of the noun that it may end on; empty where it ends on none."""


@dataclass(slots=True)
class Lexicon:
    """Everything that the grammar draws from."""

    nouns: dict[str, Noun]
    by_field: dict[str, list[Noun]]
    slots: dict[str, list[str]]
    """Words of no field: time, place, people, manner, ..."""
    field_slots: dict[str, dict[str, list[str]]]
    """By field, then by the letter that stands for the words of that field when the field is the subject's or the object's."""
    heads: dict[str, list[Pattern]]
    tails: dict[str, list[Pattern]]
    patterns: dict[str, dict[str, list[Pattern]]]
    """By kind of writing (or `general`), then by the subject's field."""
    related: dict[str, frozenset[str]]
    """The fields that one speaks of next, by field."""
    openers: dict[str, list[str]]
    frames: dict[str, dict[str, list[Pattern]]]
    """Openings, first sentences of paragraphs and closings, by kind or by form."""
    requests: dict[str, dict[str, list[Pieces]]]
    lists: dict[str, list[str]] = field(default_factory=dict)
    forms: dict[str, list[str]] = field(default_factory=dict)
    subjects: dict[str, list[str]] = field(default_factory=dict)


_SLOT = re.compile(r"\{(\w)\}")
_OPTIONAL = re.compile(r"\[([^\]]*)\]")

# Letters of field words: in a pattern `a` is an adjective that fits the subject, `b` one that fits the object, and so on.
FIELD_LETTERS = {"adjectives": "ab", "qualities": "q", "verbs": "vw", "materials": "ce"}


def _load(name: str) -> dict:
    with (Path(__file__).parent / f"zh_{name}.toml").open("rb") as file:
        return tomllib.load(file)


def compile_pieces(text: str) -> Pieces:
    """`"{S}的{q}"` as `("", "S", "的", "q", "")`."""
    return tuple(_SLOT.split(text))


def _variants(text: str) -> tuple[Pieces, ...]:
    """The pattern with every choice of its bracketed parts."""
    parts = _OPTIONAL.split(text)
    choices = [("", part) if i % 2 else (part,) for i, part in enumerate(parts)]
    return tuple(compile_pieces("".join(choice)) for choice in itertools.product(*choices))


class _Reader:
    """Numbers the patterns as it reads them."""

    def __init__(self) -> None:
        self.count = 0

    def pattern(self, text: str, targets: tuple[str, ...] = ()) -> Pattern:
        self.count += 1
        return Pattern(str(self.count), _variants(text.strip()), targets)


def _fields(groups: dict[str, str], names: str) -> tuple[str, ...]:
    """The fields that a list of fields and groups stands for."""
    return tuple(dict.fromkeys(f for name in names.split() for f in groups.get(name, name).split()))


def _nouns(table: dict[str, str]) -> dict[str, Noun]:
    nouns = {}
    for name, lines in table.items():
        for line in lines.strip().splitlines():
            measure, *words = line.split()
            nouns.update((word, Noun(word, measure, name)) for word in words)
    return nouns


def _patterns(reader: _Reader, groups: dict[str, str], lines: str) -> dict[str, list[Pattern]]:
    """Whole-sentence patterns by the field of their subject."""
    found: dict[str, list[Pattern]] = {}
    for line in lines.strip().splitlines():
        ends, text = line.split("|")
        source, target = ends.split(">")
        pattern = reader.pattern(text, _fields(groups, target))
        for name in _fields(groups, source):
            found.setdefault(name, []).append(pattern)
    return found


def _frame(reader: _Reader, groups: dict[str, str], line: str) -> Pattern:
    """An opening, the first sentence of a paragraph or a closing, with the fields of the noun it ends on before a bar if it is choosy."""
    target, bar, text = line.rpartition("|")
    ends = target if bar else "any" if "{O}" in text or "{K}" in text else ""
    return reader.pattern(text, _fields(groups, ends))


@cache
def lexicon() -> Lexicon:
    """The word lists and patterns, read at the first call."""
    words, clauses, whole, frames, requests = (_load(name) for name in ("words", "clauses", "patterns", "frames", "requests"))
    reader, groups = _Reader(), whole["groups"]
    nouns = _nouns(words["nouns"])
    by_field: dict[str, list[Noun]] = {}
    for noun in nouns.values():
        by_field.setdefault(noun.field, []).append(noun)
    field_slots = {
        name: {letter: words[table].get(name, "").split() for table, letters in FIELD_LETTERS.items() for letter in letters}
        | {"descriptions": words["descriptions"][name].split()}
        for name in by_field
    }
    tails = {
        name: [reader.pattern(text, (target,)) for target, text in (line.split(maxsplit=1) for line in lines.strip().splitlines())]
        for name, lines in clauses["tails"].items()
    }
    return Lexicon(
        nouns=nouns,
        by_field=by_field,
        slots={letter: text.split() for letter, text in words["slots"].items()},
        field_slots=field_slots,
        heads={name: [reader.pattern(line) for line in lines.strip().splitlines()] for name, lines in clauses["heads"].items()},
        tails=tails,
        patterns={kind: _patterns(reader, groups, lines) for kind, lines in whole["patterns"].items()},
        related={name: frozenset(text.split()) for name, text in whole["related"].items()},
        openers={kind: text.split() for kind, text in whole["openers"].items()},
        frames={
            part: {kind: [_frame(reader, groups, line) for line in lines.strip().splitlines()] for kind, lines in table.items()}
            for part, table in frames.items()
        },
        requests={
            part: {kind: [compile_pieces(line) for line in lines.strip().splitlines()] for kind, lines in requests[part].items()}
            for part in ("instructions", "unsuitable", "demands", "with_demand")
        },
        lists={name: text.split() for name, text in requests["lists"].items()},
        forms={kind: text.split() for kind, text in requests["forms"].items()},
        subjects={kind: text.split() for kind, text in requests["subjects"].items()},
    )
