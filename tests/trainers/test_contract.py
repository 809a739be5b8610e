"""What every trainer promises. One training per back-end is shared by the tests that only look at it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import Trained, make_job, train, write_rows

from selflengthen.errors import ConfigError, TrainerError
from selflengthen.records import Adapter
from selflengthen.trainers import open_trainer


@pytest.fixture(scope="module", params=["scripted", "lora on qwen2", "lora on llama"])
def trained(request, tmp_path_factory) -> Trained:
    if request.param == "lora on qwen2":
        return request.getfixturevalue("first")
    kind, _, family = request.param.partition(" on ")
    model = request.getfixturevalue(family or "qwen2")
    folder = tmp_path_factory.mktemp("trained")
    return train(kind, make_job(folder, model, write_rows(folder / "rows.jsonl", model)))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_adapter_says_what_it_is_and_lies_where_it_was_asked_for(trained):
    job = trained.job
    assert trained.adapter == Adapter(name=job.name, role=job.role, iteration=job.iteration, path=job.out, base_model=job.base_model)
    assert (job.out / "adapter_config.json").is_file()
    assert not job.out.with_name(job.out.name + ".partial").exists()
    assert job.log.is_file()


def test_progress_is_told_after_each_step(trained):
    steps = trained.told[-1].steps
    assert [progress.step for progress in trained.told] == list(range(1, steps + 1))
    assert {progress.name for progress in trained.told} == {trained.job.name}
    history = json.loads((trained.job.out / "training.json").read_text())
    assert [progress.loss for progress in trained.told] == history["loss"]
    assert history["steps"] == steps


def test_finished_twice_is_done_once(trained):
    before, told = snapshot(trained.job.out), []
    assert trained.trainer.train(trained.job, told.append) == trained.adapter
    assert (told, snapshot(trained.job.out)) == ([], before)


def test_speed_settings_do_not_make_another_job(trained):
    job = replace(trained.job, settings=trained.job.settings.model_copy(update={"save_steps": 1, "at_once": 2}))
    assert trained.trainer.train(job, lambda _: None) == trained.adapter


@pytest.mark.parametrize("change", ["data", "learning_rate", "seed"])
def test_a_name_is_never_used_for_another_job(trained, tmp_path, change):
    before = snapshot(trained.job.out)
    if change == "data":
        data = tmp_path / "other.jsonl"
        data.write_text("".join(trained.job.data.read_text().splitlines(keepends=True)[1:]))
        job = replace(trained.job, data=data)
    elif change == "seed":
        job = replace(trained.job, seed=8)
    else:
        job = replace(trained.job, settings=trained.job.settings.model_copy(update={"learning_rate": 0.5}))
    with pytest.raises(TrainerError, match=rf"'generator-1'.*{change}"):
        trained.trainer.train(job, lambda _: None)
    assert snapshot(trained.job.out) == before


def test_something_else_in_the_adapters_place_is_left_alone(trained, tmp_path):
    job = replace(trained.job, out=tmp_path / "generator-1")
    job.out.mkdir()
    (job.out / "notes.txt").write_text("mine")
    with pytest.raises(TrainerError, match="no finished adapter"):
        trained.trainer.train(job, lambda _: None)
    assert snapshot(job.out) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("state", ["absent", "empty", "blank"])
def test_no_data_is_said_before_anything_starts(trained, tmp_path, state):
    job = replace(trained.job, data=tmp_path / "none.jsonl", out=tmp_path / "out", log=tmp_path / "log")
    if state != "absent":
        job.data.write_text("" if state == "empty" else "\n\n")
    with pytest.raises(TrainerError, match=r"none\.jsonl (does not exist|is empty)"):
        trained.trainer.train(job, lambda _: None)
    assert not job.log.exists()


def test_a_previous_adapter_that_is_none_is_named(trained, tmp_path):
    job = replace(trained.job, start_from=tmp_path / "nowhere", out=tmp_path / "out")
    with pytest.raises(TrainerError, match="nowhere, which is no adapter"):
        trained.trainer.train(job, lambda _: None)


def test_an_unknown_kind_and_an_unknown_setting_are_named():
    with pytest.raises(ConfigError, match="'full' is unknown"):
        open_trainer("full")
    with pytest.raises(ConfigError, match="colour"):
        open_trainer("lora", colour="red")


@pytest.mark.parametrize("told_by", ["argument", "environment"])
def test_the_scripted_trainer_fails_when_told_to_and_then_goes_on(tmp_path, qwen2, rows, monkeypatch, told_by):
    job = make_job(tmp_path, qwen2, rows)
    if told_by == "environment":
        monkeypatch.setenv("SELFLENGTHEN_SCRIPTED_TRAINER_FAIL", "generator-1")
    failing = open_trainer("scripted", fail={"generator-1"} if told_by == "argument" else ())
    with pytest.raises(TrainerError, match="generator-1: told to fail"):
        failing.train(job, lambda _: None)
    assert not job.out.exists()
    monkeypatch.delenv("SELFLENGTHEN_SCRIPTED_TRAINER_FAIL", raising=False)
    assert open_trainer("scripted").train(job, lambda _: None).path == job.out
