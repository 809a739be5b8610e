"""configs/: each file is read, says nothing that is said already, and is planned on the machine it is meant for as its comments tell."""

import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from machines import H100, SMALL, Machine
from selflengthen.config import Config, load_config
from selflengthen.engines.vllm import groups_of, in_the_way
from selflengthen.pipeline import Pipeline, create
from selflengthen.report.plan import plan_page
from selflengthen.report.where import where
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").glob("*.toml"))
PROSE = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
EIGHT = [(str(number),) for number in range(8)]
MEANT_FOR = {
    "qwen2.5-0.5b-1gpu-small": (1, SMALL, [("0",)]),
    "qwen2.5-7b-1gpu": (1, H100, [("0",)]),
    "qwen2.5-7b-8gpu": (8, H100, EIGHT),
    "llama-3.1-8b-1gpu": (1, H100, [("0",)]),
    "qwen2.5-72b-8gpu": (8, H100, [("0", "1", "2", "3"), ("4", "5", "6", "7")]),
}
"""GPUs, MiB of each, and the groups of servers there."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path / "machine", monkeypatch)
    made.vllm()
    made.memory(10**12)
    return made


def leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def of(name: str, *overrides: str) -> Config:
    return load_config(ROOT / "configs" / f"{name}.toml", overrides)


def page(config: Config) -> str:
    console = Console(file=io.StringIO(), width=400, markup=False, emoji=False, highlight=False)
    console.print(plan_page(config, None, where(config)))
    return console.file.getvalue()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_nothing_that_is_the_default(file: Path):
    default = dict(leaves(Config().model_dump(mode="json")))
    for key, value in leaves(tomllib.loads(file.read_text(encoding="utf-8"))):
        assert value != default[key], f"{key} = {value!r} is the default"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_mentioned_and_speaks_of_settings_that_exist(file: Path):
    assert f"configs/{file.name}" in PROSE
    text = file.read_text(encoding="utf-8")
    assert f"configs/{file.name}" in text  # how it is used
    known = {part for key, _ in leaves(Config().model_dump(mode="json")) for part in key.split(".")}
    assert set(re.findall(r"^#\s+(\w+) = ", text, re.MULTILINE)) <= known
    for name in set(re.findall(r"\b((?:model|engine|instruct|train|sampling|measure)(?:\.[a-z_]+)+)", text)):
        place = Config()
        for part in name.split("."):
            assert part in type(place).model_fields, name
            place = getattr(place, part)


def test_every_file_is_planned_here():
    assert {file.stem for file in FILES} == {*MEANT_FOR, "hosted-endpoint"}


@pytest.mark.parametrize("name", MEANT_FOR)
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "not downloaded yet"])
def test_servers_on_the_machine_it_is_meant_for(machine: Machine, name: str, *, cached: bool):
    count, mib, groups = MEANT_FOR[name]
    machine.gpus(count, mib)
    config = of(name)
    if cached:
        machine.cached(config.model.path)
    plan = groups_of(config.model.path, config.engine.vllm)
    assert [*plan.groups] == groups
    assert plan.tensor_parallel == len(groups[0])
    found = where(config)
    assert not found.faults
    text = page(config)
    assert "cannot begin" not in text
    assert "sampling.max_tokens" not in text[text.index("What runs where") : text.index("Calls and generated")]  # it fits the context
    assert "that takes" not in text  # the memory for sleeping servers
    assert ("leave no room" in text) == (cached and "72b" in name)  # the training of that one does not run, and it says so
    if cached:
        assert found.context_tokens in {9216, 32768}


def test_the_72b_is_split_as_it_would_be_by_itself(machine: Machine):
    config = of("qwen2.5-72b-8gpu", "engine.vllm.tensor_parallel=0")
    machine.gpus(8)
    machine.cached(config.model.path)
    assert groups_of(config.model.path, config.engine.vllm).tensor_parallel == 4


@pytest.mark.parametrize("name", MEANT_FOR)
def test_weights_are_as_large_as_the_comments_say(machine: Machine, name: str):
    machine.gpus(8)
    config = of(name)
    machine.cached(config.model.path)
    size = re.search(r"  weights +([\d.]+ GB),", page(config))
    assert size
    assert size[1] in (ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8").replace("\n# ", " ")


def test_eight_servers_sleep_or_one_gpu_is_kept_for_trainings(machine: Machine):
    machine.gpus(8)
    config = of("qwen2.5-7b-8gpu")
    machine.cached(config.model.path)
    machine.memory(128 * 10**9)
    assert "that takes 121.8 GB of memory" in page(config)
    assert in_the_way(groups_of(config.model.path, config.engine.vllm), config.model.device)
    kept = of("qwen2.5-7b-8gpu", "model.device=cuda:7", "engine.vllm.gpus=[0, 1, 2, 3, 4, 5, 6]")
    assert "7 servers, one on each GPU" in page(kept)
    assert "on GPU 7, which no server has: the servers stay" in page(kept)


def test_the_small_one_holds_what_its_lengths_need():
    config = of("qwen2.5-0.5b-1gpu-small")
    assert 2 * config.sampling.max_tokens + 1024 == int(config.engine.vllm.args[1])
    assert config.train.cutoff_tokens == 2 * config.sampling.max_tokens


def test_a_hosted_endpoint_is_asked(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "engines")
    from openai_server import OpenAIServer

    plain = of("hosted-endpoint")
    with OpenAIServer(name=plain.engine.served_name, context_tokens=32768, api_key="secret") as server:
        config = of("hosted-endpoint", f'engine.urls=["{server.url}"]')
        assert "denies access" in where(config).faults[0]
        monkeypatch.setenv("ENDPOINT_API_KEY", "secret")
        assert not where(config).faults
        text = page(config)
        assert "qwen2.5-7b-instruct; context 32,768 tokens" in text
        assert f"hf download {config.model.path}" in text
        server.quirks.no_lora = True
        assert "selflengthen run DIR --until sft_data" in page(config)


def test_adapters_that_were_trained_elsewhere_are_taken(tmp_path: Path):
    """What the file for 72B tells its users to do."""
    path = tmp_path / "run"
    small = ["engine.kind=scripted", "train.kind=scripted", "instruct.count=6", "measure.count=4", "iterations=2", "measure.min_pass_rate=0"]
    create(path, load_config(None, small))
    Pipeline(RunDirectory.open(path)).run("sft_data")
    for role in ("generator", "extender"):
        folder = path / "iter_01" / "adapters" / f"{role}-1"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
    Pipeline(RunDirectory.open(path)).run_stage("measure", 1)
    assert not (path / "logs").exists()  # nothing was trained
    Pipeline(RunDirectory.open(path)).run("sft_data")
    ledger = Ledger(RunDirectory.open(path, readonly=True))
    measured = ledger.measurement(1)
    assert measured is not None
    assert {row.made.adapter for row in ledger.slot(1, "measure").kept} == {"generator-1"}
    assert ledger.slot(2, "extend").done
