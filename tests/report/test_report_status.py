"""`status`: exact figures, whatever state the run is in, and without touching it."""

import json
from pathlib import Path

import pytest

from selflengthen.errors import StoreError
from selflengthen.records import Figures, Gate, Measurement
from selflengthen.report.status import run_figures, seconds_worked
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory

FIGURES = {"words_mean", "pass_rate", "distinct_3", "compression"}
HELD_OUT = {"n", "words_median", "words_p90", "growth", "growth_over_base"} | FIGURES


def measurement(number: int, mean: float, *gates: Gate) -> Measurement:
    figures = Figures(
        n=4,
        words_mean=mean,
        words_median=mean,
        words_p90=mean,
        pass_rate=0.75,
        repetition_rate=0.25,
        at_limit_rate=0,
        distinct_3=0.9,
        compression=0.5,
    )
    return Measurement(iteration=number, overall=figures, languages={"en": figures}, gates=gates)


def test_slots_count_what_is_on_disk(by_hand: Path):
    (iteration,) = run_figures(by_hand).iterations
    instructions, responses, extensions = iteration.slots.values()
    assert list(iteration.slots) == ["instructions", "responses", "extensions"]
    assert (instructions.planned, instructions.kept, instructions.rejected) == (4, 3, {"duplicate": 1})
    assert (instructions.words_mean, instructions.words_p90) == (20.0, 30.0)
    # Selected, selected, dropped, not yet selected from, rejected.
    assert (responses.planned, responses.kept, responses.rejected) == (6, 3, {"not_selected": 1, "unfinished": 1})
    assert (responses.words_mean, responses.words_p90) == (200.0, 300.0)
    assert (extensions.planned, extensions.kept, extensions.rejected) == (4, 1, {})


def test_json_has_every_key_and_null_for_what_is_not_known(by_hand: Path):
    data = json.loads(run_figures(by_hand).model_dump_json())
    (iteration,) = data["iterations"]
    assert set(data["base"]) >= FIGURES
    assert {data["base"][name] for name in FIGURES} == {None}
    assert set(iteration) >= {"iteration", "slots", "cost", "held_out", "seconds"}
    assert set(iteration["slots"]["responses"]) >= {"planned", "kept", "rejected", "words_mean", "words_p90"}
    assert set(iteration["held_out"]) >= HELD_OUT
    assert {iteration["held_out"][name] for name in HELD_OUT} == {None}


def test_growth_is_over_the_base_and_over_the_last_good_iteration(by_hand: Path):
    ledger = Ledger(RunDirectory.open(by_hand))
    bad = Gate(name="growth", language="en", value=0.5, least=1.0, passed=False)
    for each in (measurement(0, 100), measurement(1, 200), measurement(2, 50, bad), measurement(3, 300)):
        ledger.write_measurement(each)
    run = run_figures(by_hand)
    assert run.base.words_mean == 100
    assert [(each.held_out.growth, each.held_out.growth_over_base, each.good) for each in run.iterations] == [
        (2.0, 2.0, True),
        (0.25, 0.5, False),
        (1.5, 3.0, True),  # over iteration 1: the second failed its gates
    ]
    assert run.iterations[2].languages["en"].growth == 1.5
    assert run.state == "finished"


def test_examples_that_were_refused_are_counted(by_hand: Path):
    examples = run_figures(by_hand).iterations[0].examples
    assert (examples["generator"].kept, examples["generator"].tokens, examples["generator"].refused) == (1, 321, {})
    assert (examples["extender"].kept, examples["extender"].refused) == (0, {"over_cutoff": 1})


def test_a_torn_tail_is_passed_over_and_left_alone(by_hand: Path):
    file = by_hand / "iter_01" / "responses.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole.splitlines()[0][:100])
    before = file.read_bytes()
    assert run_figures(by_hand).iterations[0].slots["responses"].kept == 3
    assert file.read_bytes() == before
    Ledger(RunDirectory.open(by_hand)).slot(1, "respond")
    assert file.read_bytes() == whole  # a writer does cut it off


def test_a_corrupt_line_is_named(by_hand: Path):
    file = by_hand / "iter_01" / "responses.jsonl"
    file.write_bytes(b"{}\n" + file.read_bytes())
    with pytest.raises(StoreError, match=r"responses\.jsonl:1 is not a Response row"):
        run_figures(by_hand)


def test_a_run_opened_to_be_read_cannot_be_written(by_hand: Path):
    run = RunDirectory.open(by_hand, readonly=True)
    slot = Ledger(run).slot(1, "respond")
    row = slot.kept.get("1-en-0000.r0").model_copy(update={"key": "1-en-0009.r0"})
    for writing in (lambda: slot.write(row), slot.finish, lambda: run.put_away(1, ["*"]), lambda: run.resume_with(run.config, {})):
        with pytest.raises(AssertionError, match="opened to be read"):
            writing()
    with pytest.raises(AssertionError, match="opened to be read"), run.locked():
        pass
    assert not slot.done


def test_state(by_hand: Path, tmp_path: Path, scripted: Path):
    new = RunDirectory.create(tmp_path / "new", RunDirectory.open(by_hand).config, {})
    assert run_figures(new.path).state == "new"
    with new.locked():
        assert run_figures(new.path).state == "running"
    assert run_figures(scripted).state == "finished"
    for number in (0, 1):
        new.iteration(number).mkdir()
    assert run_figures(new.path).state == "stopped"


def test_the_stage_under_way(by_hand: Path):
    assert run_figures(by_hand).iterations[0].stage == "respond"  # 6 wanted, 5 there
    slots = Ledger(RunDirectory.open(by_hand))
    for stage in ("instruct", "respond", "extend"):
        slots.slot(1, stage).finish()
    assert run_figures(by_hand).iterations[0].stage == "sft_data"


def test_a_scripted_run_adds_up(scripted: Path):
    run = run_figures(scripted)
    assert [each.iteration for each in run.iterations] == [1, 2]
    for each in run.iterations:
        for slot in each.slots.values():
            assert slot.kept + sum(slot.rejected.values()) == slot.planned
        assert each.examples["generator"].kept == each.slots["extensions"].kept
        assert each.held_out.n == 4
        assert set(each.languages) == {"en", "zh"}
        assert Path(each.adapters["generator"]).is_dir()
        assert each.seconds > 0
        assert each.stage is None


def test_time_is_summed_over_attempts_without_the_pauses(tmp_path: Path):
    lines = [
        {"time": 100, "event": "StageBegan", "iteration": 1},
        {"time": 104, "event": "RowWritten", "iteration": 1},
        {"time": 110, "event": "RowWritten", "iteration": 1},
        # killed in the middle of a line; gone on with an hour later
        {"time": 3700, "event": "StageBegan", "iteration": 1},
        {"time": 3705, "event": "Measured", "iteration": 1},
        {"time": 3705, "event": "StageBegan", "iteration": 2},
        {"time": 3707, "event": "TrainStep", "iteration": 2},
    ]
    log = tmp_path / "events.jsonl"
    text = "\n".join(map(json.dumps, lines)).encode()
    text = text.replace(b'{"time": 3700', b'{"time": 111, "event": "RowWr{"time": 3700')
    log.write_bytes(text.replace(b'{"time": 110', b'\xff\xfe"strange\n7\n[]\n{"time": "x", "iteration": 1}\n{"time": 110') + b'\n{"time": 99')
    assert seconds_worked(log) == {1: 15.0, 2: 2.0}
    assert seconds_worked(tmp_path / "none") == {}
