"""Words and units: what is counted and what is compared."""

import re

import pytest
from hypothesis import given
from text_material import SOUP, cut_text

from selflengthen.text import count_words, units
from selflengthen.text.stream import Chunks, UnitStream

KINDS = ("word", "cjk", "ascii_run")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \r\n\t", 0),
        ("one two  three\n", 3),
        ("don't re-do it.", 3),
        ("你好，世界。", 6),  # full-width marks count: they are in U+FF00-FFEF and U+3000-303F
        ("“你好”", 4),  # the quotes are not in the ranges: two words of the rest
        ("用Python写code", 4),
        ("用 Python 3 写", 4),
        ("　你好", 3),  # the ideographic space is U+3000
        ("😀 😀", 2),
        ("\u3400", 1),  # extension A is outside the ranges: a word of the rest
        ("a\ud83db", 1),
    ],
)
def test_words_are_counted_as_published(text, words):
    assert count_words(text) == words


@given(SOUP)
def test_words_agree_with_the_definition(text):
    counted = [c for c in text if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef"]
    rest = "".join(" " if c in counted else c for c in text)
    assert count_words(text) == len(counted) + len(rest.split())


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("word", " one,  two\r\nthree ", ["one,", "two", "three"]),
        ("word", "你好，世界 好", ["你好，世界", "好"]),
        ("cjk", "你好，world 3.11。", ["你", "好", "，", "world", "3.11", "。"]),
        ("cjk", "“你”—a", ["“", "你", "”—a"]),
        ("cjk", "你　好", ["你", "好"]),
        ("cjk", "カナ 한글 \U00020000", ["カ", "ナ", "한글", "\U00020000"]),
        ("cjk", "😀😀 é\ud83d", ["😀😀", "é\ud83d"]),
        ("ascii_run", "你a b\n\n好 “", ["你", "a b\n\n", "好", " ", "“"]),
        ("ascii_run", "你 \n", ["你"]),
    ],
)
def test_units(unit, text, expected):
    found = units(text, unit)
    assert [one.unit for one in found] == expected
    assert all(text[one.start : one.end] == one.unit for one in found)


@pytest.mark.parametrize("unit", KINDS)
@given(cut=cut_text())
def test_units_of_a_growing_text_are_those_of_the_whole(unit, cut):
    text, pieces = cut
    stream = UnitStream(unit)
    for piece in pieces:
        before = len(stream.words)
        assert stream.feed(piece) == (len(stream.words) > before)
        assert "".join(stream.words) in re.sub(r"\s" if unit != "ascii_run" else "$^", "", text)
    stream.finish()
    spans = units(text, unit)
    assert stream.words == [one.unit for one in spans]
    assert stream.text == text
    for i, one in enumerate(spans):
        assert stream.span(i, i) == (one.start, one.end)


@given(cut=cut_text())
def test_a_unit_is_complete_as_soon_as_it_cannot_grow(cut):
    text, _ = cut
    stream, done = UnitStream("cjk"), 0
    for i, character in enumerate(text):
        stream.feed(character)
        for index in range(done, len(stream.words)):
            assert stream.certain_at(index) == i + 1
        done = len(stream.words)
    assert done >= len(units(text, "cjk")) - 1


def test_time_of_an_endless_unit_grows_with_its_length_alone():
    stream = UnitStream("word")
    for _ in range(200_000):  # quadratic joining would take minutes here
        stream.feed("a")
    assert stream.finish()
    assert len(stream.words[0]) == 200_000


@given(cut=cut_text(SOUP.map(lambda text: text * 4)))
def test_chunks_are_cut_at_the_same_places_whatever_the_pieces(cut):
    text, pieces = cut
    chunks = Chunks()
    got = [chunk for piece in pieces for chunk in chunks.feed(piece)]
    rest = chunks.finish()
    assert "".join(got) + rest == text
    assert all(len(chunk) == 64 for chunk in got)
    assert len(rest) < 64
