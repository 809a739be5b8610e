"""Repeated n-grams and loops, against a reference that compares everything with everything."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_material import SOUP, chinese, cut_text, english, fed, first_verdict

from selflengthen.records import Reason
from selflengthen.text import Loops, RepeatedNgram, check_loops, check_ngram, repetition, units
from selflengthen.text.repetition import LETTER_LOOP, LONG_RUN, PERIOD, SYMBOL_LOOP, CjkNgram

UNITS = st.sampled_from(["word", "cjk", "ascii_run"])
CONVERSION = "the quick brown fox jumps over the lazy old dog"  # ten words


def reference_ngram(text, unit, n, letters):
    """The first place whose n-gram stood before, found by comparing all pairs."""
    spans = units(text, unit)
    words = [one.unit for one in spans]
    for i in range(len(words) - n + 1):
        if sum(any(c.isalpha() for c in word) for word in words[i : i + n]) < letters:
            continue
        for j in range(i):
            if words[j : j + n] == words[i : i + n]:
                return spans[i].start, spans[i + n - 1].end, spans[j].start
    return None


def reference_loop(text):
    """The first multiple of 64 (or the end) where the text ends in a loop that is too long: its second period, and its start."""
    for end in [*range(64, len(text) + 1, 64), len(text)]:
        seen = text[:end]
        for period in range(1, PERIOD + 1):
            begin = end
            while begin > 0 and (begin + period > end or seen[begin - 1] == seen[begin - 1 + period]):
                begin -= 1
            if end - begin < PERIOD + period:
                continue
            limit = LETTER_LOOP if any(c.isalpha() for c in seen[begin : begin + period]) else SYMBOL_LOOP
            if end - begin >= limit:
                return begin + period, end, begin
            break
    return None


def place(verdict):
    return None if verdict is None else (verdict.start, verdict.end, verdict.first)


@given(SOUP, UNITS, st.integers(1, 6), st.integers(0, 3))
def test_ngrams_agree_with_comparing_all_pairs(text, unit, n, letters):
    verdict = check_ngram(text, unit, n, letters)
    assert place(verdict) == reference_ngram(text, unit, n, letters)
    assert verdict is None or verdict.reason is Reason.REPEATED


@given(cut_text(), UNITS, st.integers(1, 6), st.integers(0, 3))
def test_ngrams_do_not_depend_on_the_pieces(cut, unit, n, letters):
    text, pieces = cut
    whole = check_ngram(text, unit, n, letters)
    assert fed(RepeatedNgram(unit, n, letters=letters), pieces) == whole
    assert first_verdict(RepeatedNgram(unit, n, letters=letters), text)[1] == whole


@given(SOUP, UNITS, st.integers(1, 5))
def test_ngrams_are_found_at_the_earliest_character(text, unit, n):
    def repeats_however_it_goes_on(prefix):
        complete = set(units(prefix + "~", unit)) & set(units(prefix + "好", unit))
        words = [one.unit for one in sorted(complete, key=lambda one: one.start)]
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        return len(set(ngrams)) < len(ngrams)

    at, _ = first_verdict(RepeatedNgram(unit, n), text)
    assert at == next((k for k in range(1, len(text) + 1) if repeats_however_it_goes_on(text[:k])), len(text) + 1)


def test_equal_hashes_are_not_taken_for_equal_ngrams(monkeypatch):
    monkeypatch.setattr(repetition, "hash", lambda _: 7, raising=False)
    assert check_ngram("a b c d e f", "word", 2) is None
    assert check_ngram("a b c a b", "word", 2).first == 0


@pytest.mark.parametrize(
    ("text", "unit", "n", "repeated"),
    [
        (f"{CONVERSION} and then {CONVERSION}", "word", 10, True),
        (f"{CONVERSION} and then {CONVERSION.title()}", "word", 10, False),  # compared exactly
        (f"{CONVERSION} and then {CONVERSION}.", "word", 10, False),  # "dog." is another word
        (f"{CONVERSION} and then {CONVERSION[4:]}", "word", 10, False),  # nine words
        ("ab c d e, a bc d e", "word", 4, False),  # joined they would be equal
        ("ha " * 10, "word", 10, False),
        ("ha " * 11, "word", 10, True),
        ("今天天气很好我们一起去公园，后来今天天气很好我们一起去公园", "cjk", 13, True),
        ("今天天气很好我们一起去公园，后来今天天气很好我们一起去公", "cjk", 13, False),
        ("今天天气\n很好我们 一起去公园，后来今天天气很好我们一起去公园", "cjk", 13, True),  # layout does not hide it
        ("今天天气\n很好我们 一起去公园，后来今天天气很好我们一起去公园", "ascii_run", 13, False),  # as published
        ("one two three four five six seven eight nine ten x y z " * 2, "cjk", 13, True),
        ("one two three four five six seven eight nine ten x y z " * 2, "ascii_run", 13, False),  # one unit, as published
        ("好" * 13, "cjk", 13, False),
        ("好" * 14, "cjk", 13, True),
    ],
)
def test_what_counts_as_repeated(text, unit, n, repeated):
    assert (check_ngram(text, unit, n) is not None) == repeated


def test_the_verdict_shows_both_places():
    text = f"Start. {CONVERSION} middle {CONVERSION} end."
    verdict = check_ngram(text, "word", 10)
    assert text[verdict.start : verdict.end] == CONVERSION
    assert verdict.first == text.index(CONVERSION) < verdict.start
    assert CONVERSION in verdict.detail


@pytest.mark.parametrize(
    "table",
    [
        "| a | b |\n" + "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n" * 2,
        "\n".join(f"| row {i} | " + "yes | no | " * 3 for i in range(6)),
        "0 | 1 | 0 | 0 | 1 | 0 | 1 | 1 | 0 | 1 |\n" * 3,
        "* * * * * * * * * * * * * * *\n" * 2,
    ],
)
def test_tables_and_rules_are_not_repetition_but_the_published_check_says_so(table):
    assert check_ngram(table, "word", 10, 6) is None
    assert check_ngram(table, "word", 10) is not None


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["a", "ab", "-", "-=", "=" * 7 + "|", "\n", "1, ", "😀", "好", "x y"]), st.integers(1, 600)), max_size=3))
def test_loops_agree_with_trying_every_period(parts):
    text = "Once. ".join(unit * (n // len(unit)) for unit, n in parts)
    if max(map(len, text.replace("好", " ").split()), default=0) < LONG_RUN:
        assert place(check_loops(text)) == reference_loop(text)


@settings(max_examples=60)
@given(
    cut_text(
        st.lists(st.tuples(st.sampled_from(["a", "ab", "-=", "\n", "😀", "abcdefghij" * 5]), st.integers(1, 900))).map(
            lambda p: "x".join(u * n for u, n in p)[:2500]
        )
    )
)
def test_loops_do_not_depend_on_the_pieces(cut):
    text, pieces = cut
    assert fed(Loops(), pieces) == check_loops(text)
    assert first_verdict(Loops(), text)[1] == check_loops(text)


@pytest.mark.parametrize(
    ("loop", "stopped_by"),
    [
        ("a", 192),
        ("ab", 192),
        ("哈", 192),
        ("spam!", 192),
        ("la-la ", 192),
        ("-", 512),
        ("=-", 512),
        ("\n", 512),
        ("…", 512),
        ("😀", 512),
        ("| | |\n", 512),
    ],
)
def test_endless_loops_are_stopped_on_the_stream(loop, stopped_by):
    at, verdict = first_verdict(Loops(), "Once more. " + loop * 700)
    assert at <= stopped_by
    assert verdict.reason is Reason.REPEATED
    assert verdict.first == len("Once more.") + (not loop.endswith(" "))
    assert verdict.start == verdict.first + len(loop)


def test_an_endless_word_is_stopped_on_the_stream():
    rng = random.Random(3)
    word = "".join(rng.choices("abcdefghijklmnop", k=5000))
    assert first_verdict(Loops(), "See " + word)[0] <= LONG_RUN + 128
    assert check_loops("".join(rng.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张", k=3000))) is None


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: x\n---\n\nText.\n\n" + "-" * 80 + "\n\n" + "=" * 120 + "\n",
        "| a | b | c |\n" + "|" + "---------|" * 20 + "\n| 1 | 2 | 3 |\n",
        "Contents " + "." * 150 + " 7\n\n\n\n\n\n\n\nNext",
        "___________________________ (name)\n\n" * 3,
        "哈" * 20 + "！" * 30,
        "x" * 100,
    ],
)
def test_rules_tables_leaders_and_laughter_are_no_loops(text):
    assert check_loops(text) is None


def test_prose_has_no_loops_and_no_ngrams():
    rng = random.Random(1)
    for text, unit, n in ((english(rng, 3000), "word", 10), (chinese(rng, 5000), "cjk", 13)):
        assert check_ngram(text, unit, n) is None
        assert check_loops(text) is None


@given(cut_text(SOUP))
def test_chinese_ngrams_in_a_text_of_words_begin_at_the_first_chinese_character(cut):
    text, pieces = cut
    whole, parts = CjkNgram(), CjkNgram()
    expected = whole.look(text, 0) or whole.look_at_end()
    found, offset = None, 0
    for piece in pieces:
        found = found or parts.look(piece, offset)
        offset += len(piece)
    assert (found or parts.look_at_end()) == expected


def test_memory_and_time_per_unit_are_constant():
    check = RepeatedNgram("word", 10)
    assert not any(check.feed(f"w{i} ") for i in range(100_000))
