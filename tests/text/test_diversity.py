"""Diversity at equal length, and floors from a base model's own texts."""

import random
import zlib

import pytest
from text_material import chinese, english

from selflengthen.text import Diversity, Floors, calibrate, check_monotony, compression_ratio, distinct_n, units, windowed_diversity


@pytest.mark.parametrize(
    ("words", "n", "share"),
    [("abcabc", 3, 0.75), ("abc", 3, 1.0), ("ab", 3, 1.0), ("", 3, 1.0), ("aaaaa", 3, 1 / 3), ("abab", 1, 0.5)],
)
def test_distinct_n(words, n, share):
    assert distinct_n(list(words), n) == pytest.approx(share)


def test_compression_ratio():
    assert compression_ratio("") == 1.0
    assert compression_ratio("ab" * 500) < 0.05
    assert compression_ratio(english(random.Random(1), 300)) > 0.4
    raw = "汉字\ud83d".encode("utf-8", "surrogatepass")
    assert compression_ratio("汉字\ud83d") == len(zlib.compress(raw, 6)) / len(raw)


def test_windows_are_equally_long_and_cover_the_whole_text():
    good, poor = english(random.Random(1), 300), "a b c " * 40
    assert windowed_diversity(good, "word", 301) is None
    assert windowed_diversity(good, "word", 300) == Diversity(distinct_n(good.split()), compression_ratio(good))
    both = windowed_diversity(good + " " + poor, "word", 60)  # 300 good words, 120 poor ones: 5 windows and 2
    assert both.distinct_3 == pytest.approx((5 + 2 * 3 / 58) / 7, abs=0.01)
    tail = windowed_diversity(good + " " + "a b c " * 10, "word", 300)  # 330 words: two windows, the second reaches the end
    assert tail.distinct_3 < 0.98


def test_equal_length_makes_long_texts_comparable_with_short_ones():
    short, long = chinese(random.Random(2), 512), chinese(random.Random(2), 6000)
    one, other = windowed_diversity(short, "cjk", 256), windowed_diversity(long, "cjk", 256)
    assert one.compression == pytest.approx(other.compression, abs=0.02)
    assert compression_ratio(long) < compression_ratio(short) - 0.03


@pytest.mark.parametrize(("unit", "make"), [("word", english), ("cjk", chinese)])
def test_the_base_models_own_texts_pass_their_floors(unit, make):
    texts = [make(random.Random(seed), 700) for seed in range(12)]
    floors = calibrate(texts, unit, 256)
    assert floors.window == 256
    assert 0.8 < floors.distinct_3_min <= 0.85
    assert 0.3 < floors.compression_min < 0.85
    assert not any(check_monotony(text, unit, floors) for text in texts)
    assert calibrate(iter(texts), unit, 256) == floors
    poor = "".join(random.Random(1).choices(["天地 ", "you ", "me ", "他 "], k=800))
    assert check_monotony(poor, unit, floors)


def test_a_low_percentile_not_the_lowest_window_sets_the_floor():
    texts = [english(random.Random(seed), 100) for seed in range(99)]
    strict = calibrate(texts, "word", 100, ratio=1)
    with_one_bad = calibrate([*texts, "a b " * 50], "word", 100, ratio=1)
    assert with_one_bad.compression_min == pytest.approx(strict.compression_min, abs=0.01)
    assert calibrate([*texts, "a b " * 50], "word", 100, ratio=1, percentile=0).compression_min < 0.1
    assert calibrate(texts, "word", 100, ratio=0.5).distinct_3_min == pytest.approx(strict.distinct_3_min / 2)


def test_a_smaller_window_where_the_base_writes_short():
    short = [english(random.Random(seed), 70) for seed in range(20)]
    assert len(units(short[0], "word")) == 70
    assert calibrate(short, "word", 256).window == 64
    assert calibrate([english(random.Random(seed), 130) for seed in range(20)], "word", 256).window == 128
    assert calibrate(short[:2], "word", 256) == Floors()  # too little text even for 32 units
    assert calibrate([], "word", 256) == Floors()
