"""`why`: the whole history of any key, and help with a wrong one."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from selflengthen.errors import StoreError
from selflengthen.report.family import all_keys, example_key, family
from selflengthen.report.why import place_of_fault, why_page
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory


def why(path: Path, key: str, *, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False, emoji=False, highlight=False)
    console.print(why_page(family(Ledger(RunDirectory.open(path, readonly=True)), key), full=full))
    return console.file.getvalue()


def test_an_extension_with_all_that_it_came_from_and_became(by_hand: Path):
    text = why(by_hand, "1-en-0000.r0.x0")
    assert text.startswith("1-en-0000.r0.x0: extension, kept and selected\niteration 1, en, personal, 100 -> 150 words\n")
    came_from = text[text.index("Came from") : text.index("Made by")]
    assert came_from.index("1-en-0000  instruction, kept, 10 words") < came_from.index("1-en-0000.r0  response, kept and selected, 100 words")
    assert "seedling with extender-1, recipe en@1" in text
    assert "200 tokens, 30 of them cut away (repeated 30), 2 times cut back to a clean paragraph and continued" in text
    assert "20 s of the engine's time" in text
    assert "try 1 round 1: not_longer, 90 words, 70 tokens (90 words after 100)" in text
    assert "try 1 round 2: taken, 150 words, 130 tokens" in text
    assert "selected, in window 1-en: 1 of 1 were selected" in text
    assert "generator: 321 tokens" in text
    assert "extender: refused, over_cutoff (99999 tokens)" in text


def test_a_response_with_its_failed_try_and_its_children(by_hand: Path):
    text = why(by_hand, "1-en-0000.r1")
    assert "try 1: repeated, 80 words, 40 tokens (10 units occur twice: 'again and again')" in text
    assert "100 tokens, and 40 in tries that failed" in text
    assert "selected, in window 1-en-w000: 2 of 3 were selected" in text
    assert "Became" not in text
    assert "1-en-0000.r0.x0  extension, kept and selected, 150 words" in why(by_hand, "1-en-0000.r0")


@pytest.mark.parametrize(
    ("key", "outcome"),
    [
        ("1-en-0001.r0", "response, kept, then dropped by the selection (not_selected)"),
        ("1-en-0002.r0", "response, kept, not yet selected from"),
        ("1-en-0001.r1", "response, rejected: unfinished"),
        ("1-en-0003", "instruction, rejected: duplicate"),
        ("1-en-0001", "instruction, kept"),
    ],
)
def test_outcomes(by_hand: Path, key: str, outcome: str):
    assert why(by_hand, key).splitlines()[0] == f"{key}: {outcome}"


def test_a_rejection_shows_every_try_and_where_it_went_wrong(by_hand: Path):
    text = why(by_hand, "1-en-0001.r1")
    assert "Tries, all of which failed" in text
    assert text.index("try 1: repeated") < text.index("[...]") < text.index("try 2: unfinished")
    assert "a b and" in text


def test_an_instruction_lists_its_responses(by_hand: Path):
    text = why(by_hand, "1-en-0001")
    assert "- One." in text
    assert "1-en-0001.r0  response, kept, then dropped" in text
    assert "1-en-0001.r1  response, rejected: unfinished" in text


def test_held_out_answers_hang_on_their_instruction(scripted: Path):
    text = why(scripted, "0-en-0001")
    assert all(f"0-en-0001.h{number}  held-out answer, " in text for number in (0, 1, 2))
    answer = why(scripted, "0-en-0001.h2")
    assert answer.splitlines()[1].startswith("iteration 2, en, ")
    assert "seedling with generator-2" in answer


def test_every_key_of_a_run_has_a_history(scripted: Path):
    ledger = Ledger(RunDirectory.open(scripted, readonly=True))
    keys = list(all_keys(ledger))
    assert len(keys) > 60
    for key in keys:
        assert family(ledger, key).member.key == key
    assert example_key(ledger) in ledger.sft(2)["generator"].kept


def test_texts_are_excerpts_unless_all_is_wanted(scripted: Path):
    ledger = Ledger(RunDirectory.open(scripted, readonly=True))
    key = example_key(ledger)
    text = ledger.slot(2, "extend").kept.get(key).text
    middle = " ".join(text.split())[len(text) // 2 :][:25]
    assert "--full shows them" in why(scripted, key)
    assert middle not in " ".join(why(scripted, key).split())
    assert "--full" not in why(scripted, key, full=True)
    assert middle.replace(" ", "") in "".join(why(scripted, key, full=True).split())


@pytest.mark.parametrize("key", ["1-en-0000.r7", "1-en-00.r0.x0", "9-en-0000", "1-en-0000.z1", "1-en-0000.h1", "nonsense"])
def test_an_unknown_key_is_refused_with_a_hint(by_hand: Path, key: str):
    with pytest.raises(StoreError, match=rf"no row '{key}'; (near to it: .*1-en-|keys look like)"):
        why(by_hand, key)


def test_the_place_of_a_fault():
    text = "x" * 500 + " again and again " + "y" * 500
    around = place_of_fault(text, "10 units occur twice: 'again and again'").plain
    assert around == "[...] " + "x" * 159 + " again and again " + "y" * 39 + " [...]"
    assert place_of_fault(text, "the judge isn't sure 'cause").plain == "[...] " + "y" * 200
    assert place_of_fault("short", "").plain == "short"
    assert place_of_fault("it\x1b[2Jacts", "ends with 'acts'").plain == r"it\x1b[2Jacts"


@pytest.mark.parametrize("key", ["9" * 5000 + "-en-1", "1-en-0001.h" + "9" * 5000])
def test_a_key_of_thousands_of_digits_is_unknown_too(by_hand: Path, key: str):
    with pytest.raises(StoreError, match="has no row"):
        why(by_hand, key)
