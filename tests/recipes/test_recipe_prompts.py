"""What a recipe says: labels, prompts, and the reading of the judge's one word."""

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from selflengthen.recipes import load_recipe

EN, ZH = load_recipe("en"), load_recipe("zh")


@pytest.mark.parametrize(("recipe", "label"), [(EN, "Instruction 3:"), (ZH, "指令3：")])
def test_label(recipe, label):
    assert recipe.label(3) == label


def test_a_recipe_is_frozen_and_travels_to_another_process():
    with pytest.raises(FrozenInstanceError):
        EN.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(EN)) == EN  # noqa: S301
    assert hash(pickle.loads(pickle.dumps(EN))) == hash(EN)  # noqa: S301
    assert ZH != EN


@pytest.mark.parametrize("recipe", [EN, ZH], ids=["en", "zh"])
def test_prompts_hold_their_texts_and_no_placeholder(recipe):
    made = [
        (recipe.list_prompt(), ()),
        (recipe.judge_prompt("INS"), ("INS",)),
        (recipe.extend_prompt("INS", "DRA\n\nFT"), ("INS", "DRA\n\nFT")),
        (recipe.demand_prompt("INS", "around 3000 words"), ("INS", "around 3000 words")),
        (recipe.quality_prompt("INS", "TEXT"), ("INS", "TEXT")),
    ]
    for prompt, texts in made:
        assert all(prompt.count(text) == 1 for text in texts), prompt
        assert not any(f"{{{name}}}" in prompt for name in ("instruction", "draft", "demand", "text", "n"))
        assert prompt == prompt.strip()


def test_the_extend_prompt_word_for_word():
    """The small model in the package was trained on exactly this."""
    assert EN.extend_prompt("Write about bees.", "Bees fly.") == (
        "Below are an instruction and a draft that answers it. Write the draft anew, longer and richer: keep its order and its meaning, "
        "add details, examples and reasons wherever they help, and say nothing twice. Give only the finished text.\n\n"
        "Instruction: Write about bees.\n\nDraft:\n\nBees fly."
    )


def test_a_text_that_looks_like_a_placeholder_or_a_backreference_stays_as_it_is():
    prompt = EN.extend_prompt(r"Explain {draft}, {instruction} and \1 \g<0>.", "It is {instruction}, {n} and {unknown}.")
    assert r"Instruction: Explain {draft}, {instruction} and \1 \g<0>." in prompt
    assert prompt.endswith("It is {instruction}, {n} and {unknown}.")


@pytest.mark.parametrize("recipe", [EN, ZH], ids=["en", "zh"])
def test_json_braces_of_a_template_stay(recipe):
    assert '"engagement": 0}' in recipe.quality_prompt("a", "b")
    assert '\n{"analysis"' in recipe.quality_prompt("a", "b")


@pytest.mark.parametrize(
    ("recipe", "answer", "verdict"),
    [
        (EN, "yes", True),
        (EN, " Yes.\n", True),
        (EN, "**YES!**", True),
        (EN, "“Yes”", True),
        (EN, "Ｙｅｓ。", True),
        (EN, "\n\nNo", False),
        (EN, "`no`", False),
        (EN, "Yes\n\nThis instruction is broad.", True),
        (EN, "No.\r\nYes.", False),
        (EN, "Yes, because it asks for a report.", None),
        (EN, "No doubt, yes.", None),
        (EN, "Yes and no", None),
        (EN, "yes no", None),
        (EN, "yesterday", None),
        (EN, "maybe", None),
        (EN, "是", None),
        (EN, "", None),
        (EN, " \n ", None),
        (EN, "...", None),
        (ZH, "是", True),
        (ZH, "是。", True),
        (ZH, "“是的”", True),
        (ZH, "否", False),
        (ZH, "【否】！", False),
        (ZH, "不是。", False),
        (ZH, "是\n因为题目很大。", True),
        (ZH, "是，因为题目很大。", None),
        (ZH, "是否", None),
        (ZH, "不", None),
        (ZH, "yes", None),
    ],
)
def test_verdict(recipe, answer, verdict):
    assert recipe.verdict(answer) is verdict


def test_the_verdict_compares_the_recipes_own_words_as_it_compares_the_answer():
    """A word of two parts, with an accent, a capital and a mark."""
    french = replace(EN, yes=("Oui", "Bien sûr !"), no=("Non",))
    decomposed = "bien su\u0302r"
    assert [french.verdict(answer) for answer in ("OUI.", decomposed, "non", "bien")] == [True, True, False, None]


def test_a_word_that_ends_in_a_combining_mark_keeps_it():
    hindi = replace(EN, yes=("हाँ",), no=("नहीं",))
    assert [hindi.verdict(answer) for answer in ("हाँ।", "नहीं!", "नही", "ह")] == [True, False, None, None]
