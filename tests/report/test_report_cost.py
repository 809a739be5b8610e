"""What a run cost: the figures are the sums over its rows, each token counted once and under one name."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rows import made, response, spent

from selflengthen.records import Attempt, HeldOut, Instruction, Kind, Reason, Rejection, Selection
from selflengthen.report.status import run_figures
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory


def answer(key: str, tokens: int, reason: Reason | None = None) -> HeldOut:
    return HeldOut(key=key, language="en", kind=Kind.PERSONAL, instruction="Tell.", text="w", words=1, reason=reason, made=made(tokens))


def test_each_stage_by_hand(by_hand: Path):
    ledger = Ledger(RunDirectory.open(by_hand))
    for number in (0, 1):
        ledger.slot(number, "measure").write(answer(f"0-en-0000.h{number}", 1000 * (number + 1)))
        ledger.slot(number, "measure").write(answer(f"0-en-0001.h{number}", 7, Reason.REPEATED))
    ledger.slot(0, "instruct").write(Instruction(key="0-en-0000", language="en", kind=Kind.PERSONAL, text="Tell.", made=made(50)))
    no = Attempt(reason=Reason.UNSUITABLE, spent=spent(9))
    given_up = Rejection(key="0-en-0001", stage="instruct", language="en", reason=Reason.UNSUITABLE, attempts=(no,), spent=spent(9))
    ledger.slot(0, "instruct").write(given_up)
    run = run_figures(by_hand)
    (iteration,) = run.iterations
    stages = iteration.cost.stages
    assert {name: (stage.generated, stage.rejected_by_reason, stage.not_selected) for name, stage in stages.items()} == {
        "instruct": (35, {"duplicate": 5}, 0),
        "respond": (540, {"repeated": 80, "unfinished": 60}, 100),
        "extend": (200, {"not_longer": 70, "repeated": 30}, 0),
        "measure": (2007, {"repeated": 7}, 0),
    }
    for stage in [*stages.values(), iteration.cost.total, run.base.cost.total, run.cost.total]:
        assert (stage.prompt, stage.cached) == (2 * stage.generated, stage.generated)
        assert stage.engine_seconds == pytest.approx(stage.generated / 10)
        assert stage.rejected == sum(stage.rejected_by_reason.values())
    assert stages["respond"].rejected_share_by_reason == {"repeated": 0.1481, "unfinished": 0.1111}
    assert iteration.cost.total.generated == 35 + 540 + 200 + 2007
    assert iteration.cost.total.rejected_by_reason == {"repeated": 117, "not_longer": 70, "unfinished": 60, "duplicate": 5}
    assert list(iteration.cost.total.rejected_by_reason) == ["repeated", "not_longer", "unfinished", "duplicate"], "the greatest first"
    assert {name: stage.generated for name, stage in run.base.cost.stages.items()} == {"instruct": 59, "measure": 1007}
    assert run.base.cost.total.rejected_by_reason == {"unsuitable": 9, "repeated": 7}
    assert {name: stage.generated for name, stage in run.cost.stages.items()} == {"instruct": 94, "respond": 540, "extend": 200, "measure": 3014}
    assert run.cost.total.generated == 94 + 540 + 200 + 3014
    assert (iteration.cost.kept_words, iteration.cost.tokens_per_kept_word) == (150, round(775 / 150, 3))
    assert (run.cost.kept_words, run.cost.tokens_per_kept_word) == (150, round(775 / 150, 3)), "what measures is no part of it"
    assert (run.base.cost.kept_words, run.base.cost.tokens_per_kept_word) == (0, None)


def test_of_a_text_that_is_not_selected_the_failed_tries_are_rejected_all_the_same(by_hand: Path):
    ledger = Ledger(RunDirectory.open(by_hand))
    failed = ledger.slot(1, "respond").kept.get("1-en-0000.r1").made.failed
    ledger.slot(1, "respond").write(response("1-en-0003.r0", 10, 25, *failed))
    ledger.selections(1, "respond").append(Selection(key="1-en-w001", kept=(), dropped=("1-en-0003.r0",)))
    (iteration,) = run_figures(by_hand).iterations
    stage = iteration.cost.stages["respond"]
    assert (stage.generated, stage.rejected, stage.not_selected) == (540 + 65, 140 + 40, 100 + 25)


def test_a_selection_of_extensions_changes_what_is_unused_and_not_what_a_kept_word_cost(by_hand: Path):
    before = run_figures(by_hand).iterations[0].cost
    (by_hand / "iter_01" / "extensions.selection.jsonl").unlink()
    Ledger(RunDirectory.open(by_hand)).selections(1, "extend").append(Selection(key="1-en", kept=(), dropped=("1-en-0000.r0.x0",)))
    after = run_figures(by_hand).iterations[0].cost
    assert (before.stages["extend"].not_selected, after.stages["extend"].not_selected) == (0, 100)
    assert before.tokens_per_kept_word == after.tokens_per_kept_word


FILES = {"instruct": "instructions", "respond": "responses", "extend": "extensions", "measure": "held_out"}


def rows(run: Path, number: int, stage: str) -> list[dict[str, Any]]:
    files = [run / f"iter_{number:02d}" / f"{FILES[stage]}{end}.jsonl" for end in ("", ".rejected")]
    return [json.loads(line) for file in files if file.exists() for line in file.read_text(encoding="utf-8").splitlines()]


def works(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Every piece of work that a row tells of, once: its steps, or else its tries."""
    if row.get("steps"):
        return row["steps"]
    tries = [*row.get("attempts", []), *row.get("made", {}).get("failed", [])]
    return [*tries, row["made"]] if "made" in row else tries


def test_the_figures_of_status_json_are_the_sums_over_the_rows(scripted: Path):
    shown = subprocess.run([sys.executable, "-m", "selflengthen", "status", str(scripted), "--json"], check=True, capture_output=True, text=True)
    figures = json.loads(shown.stdout)
    costs = {0: figures["base"]["cost"], **{each["iteration"]: each["cost"] for each in figures["iterations"]}}
    run, texts, kept_words = Counter(), Counter(), Counter()
    for number, cost in costs.items():
        total = Counter()
        for stage, shown_stage in cost["stages"].items():
            found = rows(scripted, number, stage)
            spent = [work["spent"] for row in found for work in works(row)]
            summed = Counter({name: sum(each[name] for each in spent) for name in ("prompt", "cached", "generated", "seconds")})
            assert found
            assert {name: shown_stage[name] for name in ("prompt", "cached", "generated")} == {
                name: summed[name] for name in ("prompt", "cached", "generated")
            }
            assert shown_stage["engine_seconds"] == pytest.approx(summed["seconds"], abs=1e-5) != 0
            whole = sum(work["spent"]["generated"] for row in found if row.get("reason") for work in works(row))
            assert whole <= shown_stage["rejected"] < shown_stage["generated"]
            assert shown_stage["rejected"] + shown_stage["not_selected"] <= shown_stage["generated"]
            if stage == "extend":
                kept_words[number] = sum(row["words"] for row in found if "text" in row)
            if stage != "measure" and number:
                texts[number] += summed["generated"]
            total.update(summed)
        assert cost["total"]["generated"] == total["generated"]
        assert cost["total"]["engine_seconds"] == pytest.approx(total["seconds"], abs=1e-4)
        run.update(total)
    assert all(costs[number]["tokens_per_kept_word"] == round(texts[number] / kept_words[number], 3) for number in (1, 2))
    assert figures["cost"]["tokens_per_kept_word"] == round(texts.total() / kept_words.total(), 3)
    assert {name: figures["cost"]["total"][name] for name in ("prompt", "generated")} == {name: run[name] for name in ("prompt", "generated")}
    assert sum(stage["generated"] for stage in figures["cost"]["stages"].values()) == run["generated"]
