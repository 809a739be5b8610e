"""The flow: no barrier, later stages first, nothing lost, the same however it went."""

import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import scripts
from runs import datasets, small

from selflengthen.errors import ConfigError, StoreError, TrainerError
from selflengthen.pipeline import Pipeline, create
from selflengthen.records import Kind, Reason
from selflengthen.report.status import run_figures
from selflengthen.stages.events import RowWritten
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory


def test_a_run_comes_to_its_end_and_owes_nothing(start):
    directory, _ = start()
    ledger = Ledger(directory)
    for iteration in (1, 2):
        instructions, responses, extensions = (ledger.slot(iteration, stage) for stage in ("instruct", "respond", "extend"))
        assert len(instructions.kept) + len(instructions.rejected) == 12
        assert len(responses.kept) + len(responses.rejected) == 2 * len(instructions.kept)
        selected = [key for row in ledger.selections(iteration, "respond") for key in row.kept]
        assert len(extensions.kept) + len(extensions.rejected) == 2 * len(selected)
        assert all(row.words > 1.2 * row.initial_words for row in extensions.kept)
        chosen = {key for row in ledger.selections(iteration, "extend") for key in row.kept}
        assert {role.value: set(slot.kept.keys) for role, slot in ledger.sft(iteration).items()} == {"generator": chosen, "extender": chosen}
        assert sorted(adapter.name for adapter in ledger.adapters(iteration).values()) == [f"extender-{iteration}", f"generator-{iteration}"]
        assert ledger.measurement(iteration).good
    second = ledger.slot(2, "respond").kept
    assert {row.made.adapter for row in second} == {"generator-1"}
    assert {row.made.adapter for row in ledger.slot(1, "respond").kept} == {None}
    assert {row.made.adapter for row in ledger.slot(2, "measure").kept} == {"generator-2"}


def test_no_stage_waits_for_another_to_end(start):
    _, told = start("instruct.count=40", "respond.window=4", "engine.max_batch=4", until="extend")
    order = [event.stage for event in told if isinstance(event, RowWritten) and event.iteration == 1]
    assert order.index("respond") < len(order) - 1 - order[::-1].index("instruct")
    assert order.index("extend") < len(order) - 1 - order[::-1].index("instruct")
    assert order.index("extend") < len(order) - 1 - order[::-1].index("respond")


def test_later_stages_go_first_so_that_work_in_flight_stays_bounded(start):
    _, told = start("instruct.count=60", "respond.window=2", "engine.max_batch=4", "instruct.wave=60", script="good", until="extend")
    begun = [event.stage for event in told if isinstance(event, RowWritten) and event.iteration == 1]
    waiting = 0
    most = 0
    for stage in begun:
        waiting += {"instruct": 2, "respond": -1, "extend": 0}[stage]
        most = max(most, waiting)
    assert most <= 2 * 4 + 2, "instructions ran ahead of the responses they feed"


def test_kinds_and_languages_stay_covered(start):
    directory, _ = start("instruct.count=28", script="good", until="instruct")
    rows = list(Ledger(directory).slot(1, "instruct").kept)
    for language in ("en", "zh"):
        assert {row.kind for row in rows if row.language == language} == set(Kind)


@pytest.mark.parametrize("batches", [(1, 8), (3, 50)])
def test_how_many_run_at_once_changes_nothing(start, batches: tuple[int, int]):
    one, other = (start(f"engine.max_batch={batch}", name=f"run{batch}")[0] for batch in batches)
    assert datasets(one.path) == datasets(other.path)


def test_a_run_that_dies_again_and_again_ends_like_one_that_did_not(start, tmp_path: Path):
    whole, _ = start("engine.delay_seconds=0")
    dice = random.Random(5)
    directory = create(tmp_path / "mortal", small(script="dies_after"))
    deaths = 0
    while True:
        scripts.LIMIT[:] = [dice.randrange(20, 90)]
        try:
            Pipeline(RunDirectory.open(directory.path)).run()
            break
        except scripts.Died:
            deaths += 1
            tear(dice, directory.path)
        finally:
            scripts.LIMIT.clear()
    assert deaths > 5
    assert datasets(directory.path) == datasets(whole.path)
    one, other = (run_figures(run.path).cost for run in (directory, whole))
    assert {name: stage.generated for name, stage in one.stages.items()} == {name: stage.generated for name, stage in other.stages.items()}
    assert one.tokens_per_kept_word == other.tokens_per_kept_word


def tear(dice: random.Random, run: Path) -> None:
    """Leave half a line at the end of some dataset, as a kill in mid-write does."""
    files = [
        file for file in run.glob("iter_*/*.jsonl") if file.stat().st_size and not (file.parent / f"{file.name.split('.')[0]}.done.json").exists()
    ]
    if not files:
        return
    file = dice.choice(files)
    line = file.read_bytes().splitlines()[0]
    with file.open("ab") as out:
        out.write(line[: dice.randrange(1, len(line))])


def test_tokens_are_accounted_for(start):
    directory, told = start("instruct.count=6", until="extend")
    assert all(event.tokens >= event.tokens_rejected >= 0 for event in told if isinstance(event, RowWritten))
    assert sum(event.tokens for event in told if isinstance(event, RowWritten)) > 1000
    kept = [row for row in Ledger(directory).slot(1, "extend").kept if any(step.reason for step in row.steps)]
    assert kept, "the pretended model fails now and then; nothing of that was recorded"


@pytest.mark.parametrize(
    ("script", "stage", "reason"),
    [
        ("loops", "respond", Reason.REPEATED),
        ("stops_at_once", "respond", Reason.EMPTY),
        ("essay_judge", "instruct", Reason.MALFORMED),
        ("says_no", "instruct", Reason.UNSUITABLE),
        ("never_longer", "extend", Reason.NOT_LONGER),
    ],
)
def test_a_model_that_misbehaves_gives_rows_with_a_reason_and_a_clear_end(tmp_path: Path, script: str, stage: str, reason: Reason):
    file = tmp_path / "held_out.jsonl"
    file.write_text("".join(f'{{"instruction": "Write a long text about thing {n}.", "language": "en"}}\n' for n in range(6)))
    directory = create(tmp_path / "run", small(f"measure.file={file}", "instruct.tries=2", "languages=['en']", script=script))
    why = f"no {'instruction' if stage == 'instruct' else 'response'} was kept .{reason} [0-9]+" if stage != "extend" else "of [0-9]+ extensions"
    with pytest.raises(TrainerError, match=f"iteration 1 has nothing to train the generator on: {why}"):
        Pipeline(directory).run()
    rejected = list(Ledger(directory).slot(1, stage).rejected)
    assert rejected
    assert {row.reason for row in rejected} == {reason}
    assert all(row.stage == stage and row.attempts for row in rejected)
    assert all(row.tokens == sum(attempt.tokens for attempt in row.attempts) for row in rejected)


@pytest.mark.parametrize(("tries", "patience", "made"), [(6, 2, 2), (6, 4, 4), (3, 9, 3)])
def test_what_does_not_grow_is_given_up_before_its_tries_are_spent(tmp_path: Path, tries: int, patience: int, made: int):
    settings = ("languages=['en']", f"extend.tries={tries}", f"extend.patience={patience}")
    directory = create(tmp_path / "run", small(*settings, script="never_longer"))
    with pytest.raises(TrainerError):
        Pipeline(directory).run()
    rejected = list(Ledger(directory).slot(1, "extend").rejected)
    assert {len(row.attempts) for row in rejected} == {made}
    assert {step.reason for row in rejected for step in row.steps} == {Reason.NOT_LONGER}


def test_the_longest_responses_of_a_window_are_extended_first(tmp_path: Path):
    directory = create(tmp_path / "run", small("languages=['en']", "respond.window=64", "engine.max_batch=1", script="good"))
    begun = []
    Pipeline(directory, lambda event: begun.append(event.key) if isinstance(event, RowWritten) and event.stage == "extend" else None).run("extend")
    ledger = Ledger(directory)
    words = [ledger.slot(1, "respond").kept.get(key.rpartition(".")[0]).words for key in begun]
    assert len(set(words)) > 3
    assert words == sorted(words, reverse=True)


def test_a_text_that_went_wrong_is_tried_again_until_its_tries_are_spent(tmp_path: Path):
    settings = ("languages=['en']", "extend.tries=3", "extend.patience=1", "checks.salvage=0")
    directory = create(tmp_path / "run", small(*settings, script="loops_when_extending"))
    with pytest.raises(TrainerError):
        Pipeline(directory).run()
    rejected = list(Ledger(directory).slot(1, "extend").rejected)
    assert {len(row.attempts) for row in rejected} == {3}


def test_one_idea_is_accepted_once(tmp_path: Path):
    directory = create(tmp_path / "run", small("languages=['en']", "instruct.count=4", "instruct.tries=3", script="one_instruction"))
    with pytest.raises(TrainerError):
        Pipeline(directory).run()
    first = Ledger(directory).slot(0, "instruct")
    assert (len(first.kept), len(first.rejected)) == (1, 23)
    later = list(Ledger(directory).slot(1, "instruct").rejected)
    assert [row.reason for row in later] == [Reason.DUPLICATE] * 4, "a held-out instruction was trained on"
    assert all(len(row.attempts) == 3 for row in later)


def test_salvage_keeps_what_was_good(start):
    with_it, _ = start(script="loops_later", until="respond")
    kept = list(Ledger(with_it).slot(1, "respond").kept)
    assert kept
    assert {row.made.salvaged for row in kept} == {1}
    without, _ = start("checks.salvage=0", script="loops_later", until="respond", name="without")
    assert not list(Ledger(without).slot(1, "respond").kept)


def test_stopping_on_the_stream_saves_tokens_and_changes_no_verdict(start):
    spent = {}
    for stream in ("true", "false"):
        directory, _ = start(f"checks.stream={stream}", "checks.salvage=0", script="loops", until="respond", name=f"stream-{stream}")
        rows = list(Ledger(directory).slot(1, "respond").rejected)
        assert {row.reason for row in rows} == {Reason.REPEATED}
        spent[stream] = sum(row.tokens for row in rows)
    assert spent["true"] * 5 < spent["false"]


def test_examples_over_the_cutoff_are_refused_and_counted(start):
    directory, _ = start("train.cutoff_tokens=300", "sampling.max_tokens=300", script="good", until="sft_data")
    for slot in Ledger(directory).sft(1).values():
        assert all(row.tokens <= 300 for row in slot.kept)
        assert {row.reason for row in slot.rejected} == {Reason.OVER_CUTOFF}


def test_a_failed_gate_keeps_the_files_and_the_adapters_are_not_used(start):
    directory, _ = start("measure.min_growth=1.4", "iterations=3")
    ledger = Ledger(directory)
    goods = [ledger.measurement(number).good for number in range(4)]
    assert goods[0]
    assert not all(goods[1:]), "the gate of this test was meant to fail somewhere"
    last = 0
    for number in range(1, 4):
        expected = None if last == 0 else f"generator-{last}"
        assert {row.made.adapter for row in ledger.slot(number, "respond").kept} == {expected}
        assert len(ledger.adapters(number)) == 2
        last = number if goods[number] else last


def test_until_stops_there_and_going_on_gives_the_same_run(start):
    whole, _ = start(name="whole")
    parts, _ = start(name="parts", until="respond")
    assert not Ledger(parts).slot(1, "extend").kept
    for stage in ("extend", "train", None):
        Pipeline(RunDirectory.open(parts.path)).run(stage)
    assert datasets(parts.path) == datasets(whole.path)


def test_a_stage_can_be_redone_and_what_stood_on_it_is_put_away(start):
    directory, _ = start()
    before = datasets(directory.path)
    Pipeline(RunDirectory.open(directory.path)).run_stage("train", 1, redo=True)
    ledger = Ledger(RunDirectory.open(directory.path))
    assert {adapter.name for adapter in ledger.adapters(1).values()} == {"generator-1.1", "extender-1.1"}
    assert ledger.measurement(1) is None
    assert not ledger.slot(2, "instruct").kept
    assert (directory.attic(1) / "000" / "adapters" / "generator-1").is_dir()
    assert len(list(directory.attic(2).iterdir())) == 1
    Pipeline(RunDirectory.open(directory.path)).run()
    after = datasets(directory.path)
    assert after["iter_01/extensions.jsonl"] == before["iter_01/extensions.jsonl"]
    assert {row["made"]["adapter"] for row in after["iter_02/responses.jsonl"]} == {"generator-1.1"}


@pytest.mark.parametrize(
    ("stage", "iteration", "message"), [("writing", 1, "no stage 'writing'"), ("respond", 5, "no iteration 5"), ("respond", 2, "not finished")]
)
def test_a_stage_that_cannot_be_run_is_refused(tmp_path: Path, stage: str, iteration: int, message: str):
    directory = create(tmp_path / "run", small())
    with pytest.raises(ConfigError, match=message):
        Pipeline(directory).run_stage(stage, iteration)


def test_a_person_s_own_instructions_come_first(start, tmp_path: Path):
    file = tmp_path / "own.jsonl"
    texts = [f"Write a long {form} about the {thing}." for form, thing in pairwise(["letter", "harbour", "essay", "museum", "manual", "violin"])]
    file.write_text("".join(f'{{"instruction": "{text}", "language": "en", "kind": "personal"}}\n' for text in texts))
    directory, _ = start(f"instruct.file={file}", until="instruct")
    rows = {row.key: row for row in Ledger(directory).slot(1, "instruct").kept}
    assert [rows[f"1-en-000{n}"].text for n in range(5)] == texts
    assert rows["1-en-0000"].kind is Kind.PERSONAL
    assert rows["1-en-0000"].made.tokens == 0


def test_resuming_with_other_settings_is_refused(start):
    directory, _ = start(until="instruct")
    with pytest.raises(StoreError, match=r"respond\.tries: 3 -> 9"):
        Pipeline(RunDirectory.open(directory.path), config=small("respond.tries=9"))


def test_redoing_puts_iterations_away_that_are_no_longer_wanted(start):
    directory, _ = start()
    fewer = RunDirectory.open(directory.path)
    Pipeline(fewer, config=fewer.config.model_copy(update={"iterations": 1})).run_stage("respond", 1, redo=True)
    assert Ledger(RunDirectory.open(directory.path)).measurement(2) is None
    assert (directory.path / "iter_02" / "attic" / "000" / "measurement.json").exists()


@pytest.mark.parametrize("gone", ["generator-1", "."])
def test_adapters_that_are_gone_are_missed_and_not_replaced_by_the_base(start, gone: str):
    directory, _ = start("iterations=1")
    shutil.rmtree(directory.path / "iter_01" / "adapters" / gone)
    again = RunDirectory.open(directory.path)
    with pytest.raises(StoreError, match=r"lacks an adapter, and iteration 2 stands on it.* train --iteration 1 --redo"):
        Pipeline(again, config=again.config.model_copy(update={"iterations": 2})).run()
    Pipeline(RunDirectory.open(directory.path)).run_stage("train", 1, redo=True)
    Pipeline(RunDirectory.open(directory.path)).run()


def test_a_row_deleted_by_hand_is_done_anew(start):
    directory, _ = start(until="extend")
    whole = datasets(directory.path)
    file = directory.path / "iter_01" / "extensions.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    Pipeline(RunDirectory.open(directory.path)).run("extend")
    assert datasets(directory.path) == whole


def test_own_instructions_that_changed_meanwhile_are_refused(tmp_path: Path):
    file = tmp_path / "own.jsonl"
    file.write_text('{"instruction": "Write a long history of the old lighthouse."}')
    directory = create(tmp_path / "run", small(f"instruct.file={file}"))
    Pipeline(directory)
    file.write_text('{"instruction": "Write a long history of the new harbour."}')
    with pytest.raises(StoreError, match=r"instruct\.file: what stands in it has changed"):
        Pipeline(RunDirectory.open(directory.path))


def test_a_language_without_held_out_instructions_is_told_before_an_iteration_begins(tmp_path: Path):
    directory = create(tmp_path / "run", small("instruct.tries=2", script="says_no"))
    with pytest.raises(ConfigError, match=r"no held-out instruction in en, zh \(unsuitable 24\).*measure\.file"):
        Pipeline(directory).run()
    assert not (directory.path / "iter_01").exists()
