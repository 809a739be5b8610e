"""All checks together: the ending, the guard, the published constants."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from text_material import SOUP, chinese, cut_text, english, fed, first_verdict, long_text, settings_of

from selflengthen.records import Reason
from selflengthen.text import CheckSettings, Floors, Guard, check_text, clean_prefix, ends_well

TEN = "the quick brown fox jumps over the lazy old dog"
EN, ZH = settings_of("en"), settings_of("zh")
TIGHT = [
    EN.model_copy(update={"ngram": 4, "ngram_letters": 1, "window": 10, "distinct_3_min": 0.7, "compression_min": 0.9, "foreign_window": 128}),
    ZH.model_copy(update={"ngram": 4, "ngram_letters": 0, "window": 12, "distinct_3_min": 0.8, "compression_min": 0.7, "foreign_window": 128}),
]
ALL = [EN, ZH, EN.paper(), ZH.paper(), *TIGHT]


def reason_of(text, checks):
    verdict = check_text(text, checks)
    return verdict and verdict.reason


@pytest.mark.parametrize(
    ("text", "en", "zh"),
    [
        ("It is done.", True, True),  # the published Chinese check refuses this
        ("写完了。", True, True),
        ("It is done", False, False),
        ("写完了", False, False),
        ("写完了，", False, False),
        ("Is it? \n\n", True, True),
        ("“写完了。”\r\n", True, True),
        ("*The end*", True, True),
        ("(The end)", True, True),
        ("```\ncode\n```", True, True),
        ("| a |\n|---|\n| 1 |", True, True),
        ("It is done.\n\n---", True, True),
        ("It is done.\n\n* * *\n___\n", True, True),
        ("It is done\n\n---", False, False),
        ("---", False, False),
        ("and then -", False, False),
        ("well...", True, True),
        ("well…", True, True),
        ("后来……", True, True),
        ("a\ud83d", False, False),
    ],
)
def test_endings(text, en, zh):
    for checks, good in ((EN, en), (ZH, zh)):
        verdict = ends_well(text, checks.endings)
        assert (verdict is None) == good
        assert verdict is None or verdict.reason is Reason.UNFINISHED


@pytest.mark.parametrize("text", ["", " ", "\n\r\n　"])
@pytest.mark.parametrize("checks", ALL)
def test_nothing_is_empty(text, checks):
    assert check_text(text, checks).reason is Reason.EMPTY


MARKDOWN = """---
title: A report
tags: [one, two]
---

# First

| Name | Kept | Dropped | Share | Note | More | Last |
| --- | --- | --- | --- | --- | --- | --- |
| one | 1 | 2 | 0.33 | yes | no | yes |

---

Some words stand between the two tables here.



| Name | Kept | Dropped | Share | Why | Less | First |
| --- | --- | --- | --- | --- | --- | --- |
| two | 3 | 4 | 0.42 | yes | no | no |

---

That is all."""


@pytest.mark.parametrize("checks", [EN, ZH])
def test_tables_rules_and_front_matter_pass(checks):
    text = MARKDOWN if checks is EN else MARKDOWN.replace("Some words stand between the two tables here.", chinese(random.Random(1), 300))
    assert fed(Guard(checks), text) is None


def test_the_published_check_refuses_the_same_tables():
    assert reason_of(MARKDOWN, EN.paper()) is Reason.REPEATED


@pytest.mark.parametrize("checks", [EN, ZH, EN.model_copy(update={"language": "", "foreign_window": 0}), EN.model_copy(update={"language": "fr"})])
@pytest.mark.parametrize(
    "text", ["从前有座山，山里有座庙，庙里有个老和尚在讲故事。" * 60, "好" * 500, "他说，" + "我们要努力奋斗，创造更加美好的明天，" * 40]
)
def test_chinese_loops_are_found_on_the_stream_whatever_the_recipe(text, checks):
    at, verdict = first_verdict(Guard(checks), text)
    assert verdict.reason is Reason.REPEATED
    assert at < 80


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_a_chinese_loop_in_an_english_text_is_found_at_its_place(size):
    start = english(random.Random(1), 60) + " Café: "
    loop = "他说 hello，我们要 work 努力奋斗创造，"
    text = start + loop * 5
    verdict = fed(Guard(EN), [text[i : i + size] for i in range(0, len(text), size)])
    assert (verdict.first, verdict.start) == (len(start), len(start) + len(loop))
    varied = "".join(f"他说 a{i}，我们要 b{i} 努力奋斗c{i}创造，" for i in range(8))  # only the words between differ
    assert fed(Guard(EN), [varied[i : i + size] for i in range(0, len(varied), size)]).reason is not Reason.REPEATED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" ".join(f"w{i}" for i in range(64)) + " x y z x y z .", Reason.MONOTONOUS),
        ("这是一句没有用英语写的话。" + chinese(random.Random(1), 100), Reason.WRONG_LANGUAGE),
        ("One.\nTwo.\nThree.\nI hope you like this version.", Reason.SELF_TALK),
        (f"One. {TEN} x {TEN}", Reason.REPEATED),
        ("One. 今天天气很好我们一起去公园，后来。今天天气很好我们一起去公园", Reason.REPEATED),
        ("One. " + "ab" * 60, Reason.REPEATED),
        ("One", Reason.UNFINISHED),
    ],
)
def test_what_only_the_end_shows(text, reason):
    checks = EN.model_copy(update={"window": 64, "distinct_3_min": 0.99})
    guard = Guard(checks)
    if "公园" not in text:  # a Chinese character is complete at once
        assert guard.feed(text) is None
        assert guard.finish().reason is reason
    assert check_text(text, checks).reason is reason


@pytest.mark.parametrize("checks", [EN, ZH])
def test_english_loops_are_found_on_the_stream_whatever_the_recipe(checks):
    at, verdict = first_verdict(Guard(checks), "We must work harder to make a better tomorrow for all of our children. " * 30)
    assert verdict.reason is Reason.REPEATED
    assert at < 160


@pytest.mark.parametrize("loop", ["哈", "a", "ab", "-", "=-", "\n", "。", "……", "😀", "spam", " \n", "\r\n", "|", "1"])
@pytest.mark.parametrize("checks", [EN, ZH])
def test_loops_without_spaces_are_stopped_on_the_stream(loop, checks):
    at, verdict = first_verdict(Guard(checks), loop * 1000)
    # Marks that are units, but hold no letter, fill a poor window before they are a loop too long.
    assert verdict.reason is (Reason.MONOTONOUS if checks is ZH and loop == "。" else Reason.REPEATED)
    assert at <= 512


@pytest.mark.parametrize(("checks", "make"), [(EN, english), (ZH, chinese), (EN.paper(), english), (ZH.paper(), chinese)])
def test_prose_passes(checks, make):
    for seed in range(3):
        assert check_text(make(random.Random(seed), 2500), checks) is None


@settings(max_examples=120, deadline=None)
@given(cut_text(SOUP | long_text()), st.sampled_from(ALL))
@example((chinese(random.Random(1), 300) + "a" * 400, [chinese(random.Random(1), 300), "a" * 400]), EN)
def test_any_pieces_give_the_verdict_of_the_whole(cut, checks):
    text, pieces = cut
    whole = check_text(text, checks)
    assert fed(Guard(checks), pieces) == whole
    at, verdict = first_verdict(Guard(checks), text)
    assert verdict == whole
    if whole is not None:
        assert 0 <= whole.start <= whole.end <= len(text)
        if at <= len(text):
            guard = Guard(checks)
            assert guard.feed(text[: at - 1]) is None
            assert guard.feed(text[at - 1 :]) == whole


@settings(max_examples=60, deadline=None)
@given(long_text(), st.sampled_from(ALL))
def test_what_stands_before_the_verdict_can_be_continued(text, checks):
    """Salvage feeds the clean prefix to a new guard, which must not stop at once."""
    verdict = check_text(text, checks)
    if verdict is not None and verdict.reason in {Reason.REPEATED, Reason.MONOTONOUS, Reason.WRONG_LANGUAGE}:
        assert Guard(checks).feed(clean_prefix(text, verdict.start)) is None


def test_the_earliest_of_several_faults_is_the_verdict():
    loop = "x" * 600
    talk = "This is a version of it. "
    assert reason_of(talk + loop, EN) is Reason.SELF_TALK
    assert reason_of(f"A\nb\n{loop}\n{talk}", EN) is Reason.REPEATED


def test_a_guard_repeats_its_verdict():
    guard = Guard(EN)
    verdict = guard.feed("A revised text")
    assert verdict.reason is Reason.SELF_TALK
    assert guard.feed(" and more") is verdict
    assert guard.finish() is verdict


def test_the_prefill_counts():
    sentence = "It was the best of times and it was the worst of times. "
    guard = Guard(EN)
    assert guard.feed(sentence) is None
    verdict = guard.feed(sentence + "x ")
    assert (verdict.start, verdict.first) == (len(sentence), 0)


def test_calibrated_floors_replace_those_of_the_recipe():
    floors = Floors(window=64, distinct_3_min=0.5, compression_min=0.1)
    assert EN.with_floors(floors).floors == floors
    assert EN.with_floors(Floors()).window == 0
    assert EN.with_floors(Floors()).ngram == EN.ngram


def test_the_published_constants():
    en, zh = EN.paper(), ZH.paper()
    assert (en.unit, en.ngram, zh.unit, zh.ngram) == ("word", 10, "ascii_run", 13)
    assert en.self_talk == ("revised", "revision", "response", "version", "paragraph")
    assert zh.self_talk == ()
    for checks in (en, zh):
        assert (checks.window, checks.foreign_window, checks.loops, checks.ngram_letters) == (0, 0, False, 0)
    assert reason_of("It is done.", zh) is Reason.UNFINISHED
    assert reason_of("and then -", en) is None
    assert reason_of("好" * 500 + ".", en) is None
    assert reason_of("一样" * 2 + "one two three four five six seven eight nine ten. " * 9 + "。", zh) is None
    assert reason_of("a conversion.", en) is None
    other = EN.model_copy(update={"language": "fr", "ngram": 9})
    assert (other.paper().ngram, other.paper().self_talk, other.paper().endings) == (9, (), EN.endings)


@pytest.mark.parametrize("wrong", [{"ngram": 0}, {"unit": "letter"}, {"endings": ""}, {"windw": 3}, {"foreign_share": 1.5}, {"window": -1}])
def test_settings_refuse_what_makes_no_sense(wrong):
    with pytest.raises(ValidationError):
        CheckSettings.model_validate({"unit": "word", "ngram": 10, "endings": "."} | wrong)
    assert CheckSettings(unit="word", ngram=10, endings=".").floors == Floors()
