"""Settings: defaults are the method's, faults are named, free fields are told from the others."""

from pathlib import Path

import pytest

from selflengthen.config import Config, changed_fields, load_config, parse_config, with_overrides
from selflengthen.errors import ConfigError


def test_defaults_are_the_methods():
    config = load_config()
    sampling = config.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repetition_penalty, sampling.max_tokens) == (0.7, 0.8, 20, 1.1, 16384)
    assert (config.instruct.count, config.instruct.tries, config.instruct.block) == (5000, 10, 500)
    assert (config.respond.samples, config.respond.tries) == (2, 20)
    assert (config.extend.samples, config.extend.tries, config.extend.rounds, config.extend.min_gain) == (2, 20, 3, 1.2)
    train = config.train
    assert (train.rank, train.alpha, train.learning_rate, train.warmup, train.epochs, train.batch_size) == (8, 16, 1e-4, 0.1, 4, 1)
    assert (train.cutoff_tokens, train.thin) == (16384, 0.2)
    assert config.iterations == 3


def test_paper_switches_off_what_the_published_code_had_not():
    config = load_config(None, ["preset=paper"])
    assert (config.checks.paper, config.checks.monotony, config.checks.salvage, config.instruct.near_duplicate) == (True, False, 0, 1.0)
    assert load_config(None, ["preset=paper", "checks.salvage=1"]).checks.salvage == 1


def test_a_file_and_overrides_come_together(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text('languages = ["en"]\n[instruct]\ncount = 20\n[model]\npath = "some/model"\n')
    config = load_config(file, ["instruct.count=30", "model.dtype=bfloat16"])
    assert (config.languages, config.instruct.count, config.model.path, config.model.dtype) == (("en",), 30, "some/model", "bfloat16")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nothing.here=1"], "unknown key 'nothing'"),
        (["instruct.cuont=1"], r"unknown key 'instruct\.cuont'"),
        (["instruct.count=many"], r"instruct\.count = 'many'"),
        (["instruct.count"], "section.key=value"),
        (["seed.deep=1"], "seed"),
        (["seed=1", "seed.deep=1"], "'seed' is a value, not a section"),
        (["train.cutoff_tokens=100"], r"train\.cutoff_tokens = 100 is below sampling\.max_tokens = 16384"),
        (["engine.kind=scripted"], r"engine\.kind = 'scripted' cannot use the adapters"),
        (["train.kind=scripted"], r"engine\.kind = 'transformers' cannot load"),
        (["languages=['en','en']"], "names one twice"),
        (["instruct.count=1"], "less than one for each of 2 languages"),
        (["engine.kind=vlm"], r"engine\.kind = 'vlm'"),
    ],
)
def test_faults_are_named(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load_config(None, overrides)


@pytest.mark.parametrize(("content", "message"), [(b"a = ", "not valid TOML"), (b"a = '\xff'", "not UTF-8"), (None, "no such settings file")])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str):
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(file)


def test_all_faults_are_said_at_once():
    with pytest.raises(ConfigError, match=r"seed = 'x'.*unknown key 'nothing'|unknown key 'nothing'.*seed = 'x'"):
        load_config(None, ["seed=x", "nothing=1"])


def test_free_fields_do_not_count_as_changed():
    config = load_config()
    assert changed_fields(config, with_overrides(config, ["engine.max_batch=7", "iterations=9", "train.at_once=2", "model.device=cpu"])) == []
    assert changed_fields(config, with_overrides(config, ["seed=3", "extend.rounds=2"])) == ["extend.rounds: 3 -> 2", "seed: 0 -> 3"]


def test_settings_survive_the_disk():
    config = load_config(None, ["recipes.fr='some/folder'", "languages=['fr','en']", "sampling.stop=['a','b']"])
    assert parse_config(Config.model_validate_json(config.model_dump_json()).model_dump(mode="json"), "x") == config


@pytest.mark.parametrize(("count", "shares"), [(10, [4, 3, 3]), (3, [1, 1, 1]), (11, [4, 4, 3])])
def test_languages_share_a_count(count: int, shares: list[int]):
    config = load_config(None, ["languages=['en','zh','fr']", f"instruct.count={count}"])
    assert [config.share(count, language) for language in config.languages] == shares


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.temperature=inf", "finite"),
        ("extend.min_gain=inf", "finite"),
        ("sampling.stop=['']", "at least 1 character"),
        ("iterations=100", "less than or equal to 99"),
        ("instruct.min_words=499", "leave no length between them"),
        ("recipes.fr=/tmp", "recipes.fr is for a language that is not in languages"),
        ("seed=" + "9" * 5000, "digits"),
        ("seed=" + "[" * 5000, "recursion"),
        ('seed=3\nlanguages=["en"]', "more than one setting"),
        ("model.path=\udcff", "is not UTF-8"),
    ],
)
def test_values_that_could_never_work_are_refused_at_once(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


def test_a_byte_order_mark_is_not_meant(tmp_path: Path):
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbfseed = 4\r\n")
    assert load_config(tmp_path / "run.toml").seed == 4


@pytest.mark.parametrize(("name", "content"), [("run.toml/x", "seed = 1"), ("n" * 300, None), ("deep.toml", "seed = " + "[" * 5000)])
def test_odd_files_are_told_in_words(tmp_path: Path, name: str, content: str | None):
    if content:
        (tmp_path / name.partition("/")[0]).write_text(content)
    with pytest.raises(ConfigError, match=r"cannot be read|not valid TOML"):
        load_config(tmp_path / name)


def test_places_are_kept_absolute_so_that_a_run_resumes_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    config = load_config(None, ["instruct.file=own.jsonl", "languages=['fr']", "recipes.fr=fr", "model.path=model"])
    assert (config.instruct.file, config.recipes["fr"]) == (tmp_path / "own.jsonl", tmp_path / "fr")
    assert config.model.path == str(tmp_path / "model")
    assert load_config(None, ["model.path=Qwen/Qwen2.5-0.5B-Instruct"]).model.path == "Qwen/Qwen2.5-0.5B-Instruct"
