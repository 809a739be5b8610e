"""Where texts are cut."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_material import SOUP

from selflengthen.text import clean_prefix, first_half, paragraphs, thin_outline, two_thirds

LINES = st.lists(st.sampled_from(["a", "", "好。", "  b ", "\r", "\n", "c\r\n"])).map("\n".join)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" \n\n ", []),
        ("a", ["a"]),
        ("a\nb\n\nc\n\nd", ["a\nb", "c", "d"]),
        ("a\n\nb", ["a", "b"]),
        ("a\nb\n\nc", ["a", "b", "c"]),  # blank lines give two parts: single newlines
        ("a\nb\nc", ["a", "b", "c"]),
        ("a\r\n\r\nb\r\n \r\nc\r\n", ["a", "b", "c"]),
        ("　　一。\n\n\n　　二。\n\n　　三。", ["　　一。", "　　二。", "　　三。"]),  # indentation stays
        ("| a |\n| - |\n\nx\n\ny", ["| a |\n| - |", "x", "y"]),
    ],
)
def test_paragraphs(text, parts):
    assert paragraphs(text) == parts


@pytest.mark.parametrize(
    ("parts", "half", "thirds"),
    [([], "", ""), (["a"], "a", ""), (["a", "b"], "a", "a"), (["a", "b", "c"], "a", "a\n\nb"), (list("abcdefg"), "a\n\nb\n\nc", "a\n\nb\n\nc\n\nd")],
)
def test_first_half_and_two_thirds(parts, half, thirds):
    text = "\n\n".join(parts)
    assert first_half(text) == half
    assert two_thirds(text) == thirds


@given(SOUP | LINES)
def test_paragraphs_lose_nothing_but_whitespace(text):
    assert "".join("".join(paragraphs(text)).split()) == "".join(text.split())
    assert all(part.strip() and part == part.rstrip() for part in paragraphs(text))


def test_thinning_drops_the_share_asked_for_and_keeps_the_order():
    text = "\n".join(map(str, range(5000)))
    kept = list(map(int, thin_outline(text, random.Random(1)).split("\n")))
    assert kept == sorted(kept)
    assert 0.77 < len(kept) / 5000 < 0.83
    assert thin_outline(text, random.Random(1)) == thin_outline(text, random.Random(1)) != thin_outline(text, random.Random(2))


@given(SOUP | LINES, st.integers(), st.sampled_from([0.0, 0.2, 0.9, 1.0]))
def test_thinning_keeps_a_line_that_says_something(text, seed, drop):
    thinned = thin_outline(text, random.Random(seed), drop)
    assert set(thinned.split("\n")) <= set(text.split("\n")) | {""}
    assert bool(thinned.strip()) == bool(text.strip()) or drop < 1
    assert not text.strip() or thinned.strip()
    if drop == 0:
        assert thinned == text


@pytest.mark.parametrize(
    ("text", "before", "prefix"),
    [
        ("one\n\ntwo\n\nthr", 0, ""),
        ("one\n\ntwo\n\nthr", 2, ""),
        ("one\n\ntwo\n\nthr", 3, "one"),
        ("one\n\ntwo\n\nthr", 7, "one"),
        ("one\n\ntwo\n\nthr", 8, "one\n\ntwo"),
        ("one\n\ntwo\n\nthr", 99, "one\n\ntwo"),  # the last one is never known to be whole
        ("one\n\ntwo\n\nthree\n\n", 99, "one\n\ntwo\n\nthree"),
        ("one\ntwo", 5, "one"),
        ("一。\r\n\r\n二。\r\n\r\n三", 8, "一。\r\n\r\n二。"),
        ("one two three", 9, ""),
        ("\n\none\n\ntwo\n\nx", 4, ""),
    ],
)
def test_clean_prefix(text, before, prefix):
    assert clean_prefix(text, before) == prefix


@given(LINES, st.integers(0, 60))
def test_a_clean_prefix_is_whole_paragraphs_that_end_before_the_place(text, before):
    prefix = clean_prefix(text, before)
    assert text.startswith(prefix)
    assert len(prefix) <= before
    assert prefix == prefix.rstrip()
    whole = paragraphs(text)
    assert not prefix or "".join(prefix.split()) in {"".join("".join(whole[:k]).split()) for k in range(1, len(whole) + 1)}
