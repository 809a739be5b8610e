"""The seeds of the package: enough, of every kind, no two alike."""

import re
from collections import Counter
from itertools import combinations

import pytest
from rapidfuzz.distance import Indel

from selflengthen.recipes import Recipe, load_recipe
from selflengthen.records import Kind

EN, ZH = load_recipe("en"), load_recipe("zh")
BOTH = pytest.mark.parametrize("recipe", [EN, ZH], ids=["en", "zh"])


def units(recipe: Recipe, text: str) -> list[str]:
    return text.lower().split() if recipe is EN else list(text)


@BOTH
def test_seven_or_more_of_each_kind(recipe):
    counts = Counter(seed.kind for seed in recipe.seeds)
    assert set(counts) == set(Kind)
    assert min(counts.values()) >= 7


@BOTH
def test_each_says_enough_and_not_too_much(recipe):
    least, most = (12, 60) if recipe is EN else (25, 90)
    assert [seed.text for seed in recipe.seeds if not least <= len(units(recipe, seed.text)) <= most] == []


@BOTH
def test_each_is_in_its_language(recipe):
    chinese = re.compile("[\u4e00-\u9fff]")
    for seed in recipe.seeds:
        share = len(chinese.findall(seed.text)) / len(seed.text)
        assert share > 0.75 if recipe is ZH else share == 0, seed.text


@BOTH
def test_no_two_are_near_duplicates(recipe):
    texts = [units(recipe, seed.text) for seed in recipe.seeds]
    near = [("".join(one), "".join(other)) for one, other in combinations(texts, 2) if Indel.normalized_similarity(one, other) >= 0.6]
    assert near == []


@BOTH
def test_openings_vary(recipe):
    openings = Counter(units(recipe, seed.text)[0] for seed in recipe.seeds)
    assert max(openings.values()) <= len(recipe.seeds) / 7, openings.most_common(3)


@BOTH
def test_none_demands_a_length(recipe):
    demand = re.compile(
        r"\d+\s*(?:-|to)?\s*(?:words?|pages?|characters)|\b(?:words|pages) long|\blengthy\b|thousand words|[\d千万百余]+\s*字|字数|篇幅|长篇|长文"
    )
    assert [seed.text for seed in recipe.seeds if demand.search(seed.text)] == []


@BOTH
def test_none_could_be_taken_for_two_items_of_the_list(recipe):
    """A label or a separator inside a seed would end the list item early."""
    label = recipe.item_label.partition("{n}")[0]
    assert [seed.text for seed in recipe.seeds if label in seed.text or recipe.item_separator in seed.text] == []
