"""One thing in many variations: windows of low diversity."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_material import SOUP, chinese, cut_text, english, fed, first_verdict, settings_of

from selflengthen.records import Reason
from selflengthen.text import Floors, Monotony, check_monotony, check_ngram, compression_ratio, distinct_n, units


def variations(count):
    """One sentence in `count` variations, no ten words of which come twice: what exact checks do not see."""
    rng = random.Random(2)
    nouns = rng.sample(sorted(set(english(rng, 900).lower().replace(".", "").split())), 2 * count)
    return " ".join(f"It is important to see that {one} is a key part of {other}." for one, other in zip(nouns[::2], nouns[1::2], strict=True))


def reference(text, unit, floors):
    """The first window below a floor, measured one by one over the whole text."""
    spans = units(text, unit)
    step = max(1, floors.window // 4)
    ends = list(range(floors.window, len(spans) + 1, step)) if floors.window else []
    if floors.window and len(spans) >= floors.window:
        ends.append(len(spans))
    for end in ends:
        words = [one.unit for one in spans[end - floors.window : end]]
        poor = distinct_n(words) < floors.distinct_3_min
        if poor or compression_ratio((" " if unit == "word" else "").join(words)) < floors.compression_min:
            return spans[end - floors.window].start, spans[end - 1].end
    return None


FLOORS = st.builds(
    Floors,
    window=st.integers(0, 12),
    distinct_3_min=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    compression_min=st.sampled_from([0.0, 0.9, 1.2]),
)


@settings(max_examples=150)
@given(cut_text(SOUP), st.sampled_from(["word", "cjk", "ascii_run"]), FLOORS)
def test_agrees_with_measuring_every_window_whatever_the_pieces(cut, unit, floors):
    text, pieces = cut
    verdict = check_monotony(text, unit, floors)
    assert (verdict and (verdict.start, verdict.end)) == reference(text, unit, floors)
    assert fed(Monotony(unit, floors), pieces) == verdict
    assert first_verdict(Monotony(unit, floors), text)[1] == verdict


def test_variations_of_one_sentence_are_found_and_no_exact_check_finds_them():
    text = variations(40)
    assert check_ngram(text, "word", 10) is None
    verdict = check_monotony(text, "word", settings_of("en").floors)
    assert verdict.reason is Reason.MONOTONOUS
    assert verdict.start == 0


def test_the_verdict_starts_at_the_window_and_comes_when_it_is_complete():
    good = english(random.Random(4), 600)
    text = f"{good} {variations(60)}"
    floors = settings_of("en").floors
    at, verdict = first_verdict(Monotony("word", floors), text)
    spans = units(text, "word")
    assert verdict.start in {spans[k].start for k in range(0, len(spans), floors.window // 4)}
    assert 600 - floors.window < [one.start for one in spans].index(verdict.start) < 700
    assert at == verdict.end + 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prose_passes_the_floors_of_the_recipes(language):
    text = english(random.Random(5), 3000) if language == "en" else chinese(random.Random(5), 5000)
    checks = settings_of(language)
    assert check_monotony(text, checks.unit, checks.floors) is None


def test_one_more_window_ends_with_the_text():
    text = " ".join(f"w{i}" for i in range(64)) + " x y z x y z"  # whole windows end at words 64 and 80, this text at 70
    floors = Floors(window=64, distinct_3_min=1.0)
    assert first_verdict(Monotony("word", floors), text)[0] == len(text) + 1
    assert check_monotony(text, "word", floors).start == text.index("w6 ")


def test_off_and_too_short():
    poor = "one two " * 100
    assert check_monotony(poor, "word", Floors()) is None
    assert check_monotony(poor, "word", Floors(window=50)) is None
    assert check_monotony(poor, "word", Floors(window=201, distinct_3_min=1)) is None
    assert check_monotony(poor, "word", Floors(window=200, distinct_3_min=1)) is not None
