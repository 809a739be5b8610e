"""The model talking about its task."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_material import SOUP, cut_text, fed, first_verdict

from selflengthen.records import Reason
from selflengthen.text import SelfTalk, check_self_talk
from selflengthen.text.count import CJK

EN = ["revised", "revision", "response", "version", "paragraph"]
ZH = ["改写后", "草稿"]


def reference(text, words, first, last):
    """Whether a word stands in those lines, by looking at each line whole."""
    lines = [line for line in text.split("\n") if line.strip()]
    looked = lines[:first] + lines[len(lines) - last if last < len(lines) else 0 :] if last else lines[:first]
    word = rf"[^\W{CJK}]"
    return any(
        re.search(re.escape(w) if re.search(f"[{CJK}]", w) else rf"(?<!{word}){re.escape(w)}(?!{word})", line) for w in words for line in looked
    )


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("Here is the revised text.\n\nOne.", EN, "revised"),
        ("Here is my version", EN, "version"),
        ("My conversion to tea, an aversion, versions.", EN, None),
        ("Crisis Response Plan", EN, None),  # as published: a title is no self-talk
        ("A\n\n\nb version.\n\nc\nd\ne\nf", EN, "version"),  # empty lines do not count
        ("A\nb\nthe version\nd\ne\nf", EN, None),  # neither in the first 2 nor in the last 3
        ("A\nb\nc\nthe version\ne\n\nf\n\n", EN, "version"),
        ("\r\n\r\nA\r\nversion\r\nb\r\nc\r\nd\r\ne", EN, "version"),
        ("以下是改写后的文章。", ZH, "改写后"),
        ("一\n二\n三\n四\n五\n我的草稿。\n七", ZH, "草稿"),
        ("一\n二\n我的草稿\n四\n五\n六", ZH, None),
        ("这个version不好", EN, "version"),  # Chinese around it makes a whole word
        ("sub_version 1version version2", EN, None),
        ("", EN, None),
        ("version", [], None),
    ],
)
def test_self_talk(text, words, at):
    verdict = check_self_talk(text, words)
    assert (verdict and text[verdict.start : verdict.end]) == at
    assert verdict is None or verdict.reason is Reason.SELF_TALK


def test_first_lines_that_end_with_the_text():
    assert check_self_talk("My version", EN, 2, 0) is not None
    assert check_self_talk("My version", EN, 0, 1) is not None
    assert check_self_talk("My version", EN, 0, 0) is None


@given(SOUP, st.integers(0, 3), st.integers(0, 3))
def test_agrees_with_looking_at_whole_lines(text, first, last):
    words = ["version", "paragraph", "a", "改写后"]
    assert (check_self_talk(text, words, first, last) is not None) == reference(text, words, first, last)


@given(cut_text(), st.integers(0, 3), st.integers(0, 3))
def test_does_not_depend_on_the_pieces(cut, first, last):
    text, pieces = cut
    words = ["version", "paragraph", "a", "x y", "改写后", "好坏"]
    whole = check_self_talk(text, words, first, last)
    assert fed(SelfTalk(words, first, last), pieces) == whole
    assert first_verdict(SelfTalk(words, first, last), text)[1] == whole


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [("My version is", EN, 11), ("改写后的", ZH, 3), ("a\n\nmy version\nb", EN, 14), ("a\nb\nversion\nx", EN, 14), ("a version", EN, 10)],
)
def test_first_lines_are_seen_at_once_and_last_lines_at_the_end(text, words, at):
    assert first_verdict(SelfTalk(words, 2, 3), text)[0] == at
