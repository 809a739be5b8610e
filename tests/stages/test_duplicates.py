"""Near-duplicates of instructions, in both languages."""

import pytest

from selflengthen.stages.duplicates import NearDuplicates

EN = "Write a detailed history of the old lighthouse for visitors of the town museum."
ZH = "请写一篇关于老灯塔的长文，介绍它的历史和守塔人的生活。"


@pytest.mark.parametrize(
    ("known", "text", "near"),
    [
        (EN, EN, True),
        (EN, EN.upper(), True),
        (EN, "Write a detailed history of the old harbour for visitors of the town museum.", True),
        (EN, "Compose a speech in which a retiring nurse thanks her colleagues and looks back on forty years.", False),
        (ZH, ZH, True),
        (ZH, "请写一篇关于老石桥的长文，介绍它的历史和守桥人的生活。", True),
        (ZH, "给刚入职的护士写一份值班手册，把夜班要做的事一条条讲清楚。", False),
    ],
)
def test_nearness_is_rouge_l(known: str, text: str, near: bool):  # noqa: FBT001
    duplicates = NearDuplicates(0.7)
    duplicates.add(known)
    assert (duplicates.find(text) == known) is near


def test_a_threshold_of_one_finds_equal_ones_only():
    duplicates = NearDuplicates(1.0)
    duplicates.add(EN)
    assert duplicates.find(EN + " Please.") is None
    assert duplicates.find("  ".join(EN.split())) == EN


def test_exact_lets_near_ones_pass():
    duplicates = NearDuplicates(0.7)
    duplicates.add(EN)
    assert duplicates.find(EN.replace("old", "new"), exact=True) is None
    assert duplicates.find(EN.replace("old", "new")) == EN
