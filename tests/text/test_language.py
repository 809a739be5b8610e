"""Which language a text is in, and whether it leaves it."""

import random
import string

import pytest
from hypothesis import given, settings
from text_material import chinese, cut_text, english, fed, first_verdict, long_text, settings_of

from selflengthen.records import Reason
from selflengthen.text import ForeignStretch, check_language, check_text, language, language_of

FRENCH = (
    "Le matin, la vieille femme ouvrait la fenêtre et regardait longtemps la rivière qui descendait vers la plaine. "
    "Elle ne disait rien, mais chacun dans le village savait qu'elle attendait encore son fils. "
)
GERMAN = "Am Morgen öffnete die alte Frau das Fenster und sah lange auf den Fluss, der in die Ebene hinabfloss. "
ENGLISH = "In the morning the old woman opened the window and looked for a long time at the river that ran down to the plain. "


def check(text, language):
    recipe = settings_of(language)
    return check_language(text, language, recipe.foreign_window, recipe.foreign_share)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("请写一篇关于长江的文章。", "zh"),
        ("请用 Python 和 PostgreSQL 写一个 API，并说明 Kubernetes 的部署。", "zh"),
        ("Write about the Yangtze.", "en"),
        ("Write an essay of two thousand words about the word 道 in the classics, and quote it often.", "en"),
        (ENGLISH, "en"),
        (FRENCH, "fr"),
        (GERMAN, "de"),
        ("朝、おばあさんは窓を開けて、川を長い間見ていました。", "ja"),
        ("아침에 할머니는 창문을 열고 강을 오랫동안 바라보았습니다.", "ko"),
        ("123 --- !", "und"),
        ("", "und"),
    ],
)
def test_language_of(text, language):
    assert language_of(text) == language


def test_the_script_decides_where_it_can(monkeypatch):
    monkeypatch.setattr(language, "identify", lambda _: "nobody should ask")
    assert language_of("请用 Python 和 PostgreSQL 写一个 API，并说明 Kubernetes 的部署。") == "zh"
    assert language_of("Write about it.") == "en"


def test_a_chinese_text_that_goes_on_in_english_fails_where_it_does():
    rng = random.Random(1)
    good = chinese(rng, 1500)
    text = good + english(rng, 400)
    at, verdict = first_verdict(ForeignStretch("zh", 832, 0.8), text)
    assert verdict.reason is Reason.WRONG_LANGUAGE
    assert len(good) - 2 <= verdict.start <= len(good)
    assert at <= len(good) + 900
    assert check(good, "zh") is None


def test_an_english_text_that_goes_on_in_chinese_fails_where_it_does():
    rng = random.Random(1)
    good = english(rng, 400)
    at, verdict = first_verdict(ForeignStretch("en", 448, 0.5), good + chinese(rng, 900))
    assert len(good) - 2 <= verdict.start <= len(good)
    assert at <= len(good) + 448
    assert check(good, "en") is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_terms_and_quotations_are_fine(language):
    rng = random.Random(2)
    if language == "zh":
        text = "".join(chinese(rng, 60) + " The Great Gatsby, Kubernetes, PostgreSQL 16 and Retrieval-Augmented Generation (RAG) " for _ in range(30))
    else:
        text = "".join(english(rng, 40) + "“" + chinese(rng, 60) + "” " for _ in range(30))
    assert check(text, language) is None


def test_fenced_code_in_a_chinese_text_is_no_english():
    code = "def letters_of(word):\n    return sorted(set(word.lower()))\n" * 30
    text = chinese(random.Random(3), 900) + f"\n\n```python\n{code}```\n\n" + chinese(random.Random(4), 900)
    assert check(text, "zh") is None
    assert check(text.replace("`", ""), "zh") is not None


def test_fences_are_seen_wherever_the_chunks_are_cut():
    prose = chinese(random.Random(3), 300)
    code = "```\n" + "def letters_of(word): return sorted(word)\n" * 8 + "```\n"
    for shift in range(64):
        assert check_language(prose[shift:] + code + prose + code + prose, "zh", 128, 0.8) is None


def test_figures_are_in_no_language():
    assert check("| 12.5 kg | 33.1 | 8,000 |\n" * 100, "zh") is None


@pytest.mark.parametrize(("text", "language"), [("Short and English.", "zh"), ("很短的一句话。", "en")])
def test_a_short_text_in_the_other_language_fails_at_its_end(text, language):
    at, verdict = first_verdict(ForeignStretch(language, 448, 0.5), text)
    assert at == len(text) + 1
    assert verdict.start == 0


def test_other_languages_are_asked_for():
    good = FRENCH * 12
    assert check_language(good, "fr", 448, 0.5) is None
    verdict = check_language(good + ENGLISH * 12, "fr-CA", 448, 0.5)
    assert abs(verdict.start - len(good)) <= 448
    assert "en" in verdict.detail
    assert check_language(good + ENGLISH * 3 + good, "fr", 448, 0.5) is None  # less than two windows
    assert check_language(ENGLISH * 3, "fr", 448, 0.5) is not None  # short, judged at its end


def test_the_way_to_ask_is_an_argument():
    asked = []

    def nothing_but_latin(text):
        asked.append(len(text))
        return "la"

    assert check_language(ENGLISH * 20, "la", 640, 0.5, nothing_but_latin) is None
    assert set(asked) == {640}
    assert check_language(ENGLISH * 20, "it", 640, 0.5, nothing_but_latin).start == 0


def test_off():
    assert check_language(ENGLISH * 50, "zh", 0, 0.5) is None
    assert check_text(ENGLISH, settings_of("en").model_copy(update={"language": ""})) is None


@settings(max_examples=80)
@given(cut_text(long_text()))
def test_does_not_depend_on_the_pieces(cut):
    text, pieces = cut
    for code in ("zh", "en"):
        whole = check_language(text, code, 128, 0.6)
        assert fed(ForeignStretch(code, 128, 0.6), pieces) == whole
        assert first_verdict(ForeignStretch(code, 128, 0.6), text)[1] == whole


@settings(max_examples=80)
@given(long_text())
def test_agrees_with_counting_the_letters_of_every_window(text):
    text = text.replace("`", "'")
    expected = False
    ends = [*range(128, len(text) + 1, 64), len(text)]
    for end in ends:
        # The last window is the last whole chunk and what follows it.
        window = text[max(0, -(-end // 64) * 64 - 128) : end]
        letters = [c for c in window if c.isalpha()]
        latin = [c for c in letters if c in string.ascii_letters or c == "é"]
        expected |= len(letters) >= len(window) / 4 and len(latin) > 0.6 * len(letters) and bool(window)
    assert (check_language(text, "zh", 128, 0.6) is not None) == expected
