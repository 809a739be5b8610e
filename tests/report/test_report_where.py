"""`plan` on a machine with GPUs, and over servers that run: it tells what a run would find, and why it could not begin."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from test_report_plan import shown
from typer.testing import CliRunner

from machines import H100, Machine
from selflengthen import cli
from selflengthen.config import Config, load_config, resolve_model
from selflengthen.report.where import where
from selflengthen.store import RunDirectory

QWEN = "Qwen/Qwen2.5-7B-Instruct"
VLLM = ["engine.kind=vllm", f"model.path={QWEN}"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path / "machine", monkeypatch)
    made.vllm()
    made.memory(10**12)
    made.cached(QWEN)
    return made


def told(config: Config, folder: Path | None = None) -> str:
    """All lines, one below the other."""
    return "\n".join(f"{name}: {text.plain}" for name, text in where(config, folder).rows)


def vllm(*overrides: str) -> Config:
    return load_config(None, [*VLLM, *overrides])


# -- servers that a run starts ---------------------------------------------------------------------------------------------------------


def test_groups_as_a_run_would_choose_them(machine: Machine):
    machine.gpus(2)
    text = told(vllm())
    assert "servers: 2 servers, one on each GPU: 0, 1; bfloat16" in text
    assert "weights: 15.2 GB, of 77.0 GB that a server may take" in text
    assert "vllm serve (found on the PATH)" in text
    assert "context: 32,768 tokens (the model)" in text
    assert "room" not in text
    machine.gpus(2, 16000)
    assert "servers: 1 server of 2 GPUs (tensor parallel): 0+1" in told(vllm())
    machine.gpus(4, 16000)
    assert "servers: 2 servers of 2 GPUs (tensor parallel): 0+1 and 2+3" in told(vllm())


def test_a_note_of_the_groups_is_told(machine: Machine):
    machine.gpus(3, 16000)
    assert "1 GPU of 3 stay unused" in told(vllm())
    machine.gpus(1)
    text = told(vllm("model.path=Qwen/Qwen2.5-0.5B-Instruct"))
    assert "weights: not known, since they are not here: hf download Qwen/Qwen2.5-0.5B-Instruct" in text
    assert "the size of the model is not known: each server gets one GPU" in text


def test_servers_that_cannot_be(machine: Machine):
    machine.gpus(1, 8000)
    found = where(vllm())
    assert len(found.faults) == 1
    assert "use more GPUs or a smaller model" in found.faults[0]
    assert "cannot begin: the model's weights have 15.2 GB" in shown(vllm())


def test_flags_and_ranks_that_a_run_would_refuse(machine: Machine):
    machine.gpus(1)
    assert "drop it" in where(vllm('engine.vllm.args=["--port", "8000"]')).faults[0]
    assert "lower it" in where(vllm("train.rank=1000")).faults[0]


def test_no_vllm(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    machine.gpus(1)
    assert "no program here" in where(vllm('engine.vllm.command=["/none/vllm", "serve"]')).faults[0]
    assert "(engine.vllm.command)" in told(vllm(f'engine.vllm.command=["{machine.vllm()}", "serve"]'))
    monkeypatch.setattr("shutil.which", lambda *_args, **_more: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert ["there is no vLLM here" in fault for fault in where(vllm()).faults] == [True]


def test_without_a_gpu(machine: Machine):
    text = told(vllm())
    assert "1 server on the CPU, float32" in text
    assert "needs a vLLM built for CPUs" in text
    assert "training: the servers stay" in text


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "on GPU 0: the servers sleep"),
        (["model.device=cuda:1"], "on GPU 1: the servers sleep"),
        (["model.device=cuda:1", "engine.vllm.gpus=[0]"], "on GPU 1, which no server has: the servers stay"),
        (["model.device=cpu"], "on the CPU, which no server has: the servers stay"),
    ],
)
def test_what_becomes_of_servers_while_a_training_runs(machine: Machine, overrides: list[str], said: str):
    machine.gpus(2)
    assert said in told(vllm(*overrides))


def test_sleeping_servers_need_memory(machine: Machine):
    machine.gpus(2)
    machine.memory(32 * 10**9)
    assert "that takes 30.5 GB of memory, and the machine has 32.0 GB" in told(vllm())
    machine.memory(64 * 10**9)
    assert "that takes" not in told(vllm())


def test_a_training_that_does_not_fit_its_gpu(machine: Machine):
    machine.gpus(2, 12000)
    assert "15.2 GB of weights on one of 12.6 GB leave no room" in told(vllm("engine.vllm.tensor_parallel=2"))
    machine.gpus(2, H100)
    assert "leave no room" not in told(vllm())
    assert "names a GPU that is not there; visible are 0, 1" in where(vllm("model.device=cuda:2")).faults[0]


@pytest.mark.parametrize(
    ("args", "context"),
    [
        (["--max-model-len", "8192"], "8,192"),
        (["--max_model_len=8k"], "8,000"),
        (["--max-model-len=8K"], "8,192"),
        (["--max-model-len", "auto"], None),
    ],
)
def test_the_context_that_is_asked_for(machine: Machine, args: list[str], context: str | None):
    machine.gpus(1)
    text = told(vllm(f"engine.vllm.args={json.dumps(args)}"))
    assert (f"context: {context} tokens (--max-model-len)" in text) == (context is not None)
    assert (f"max_tokens = 16,384 does not fit the context of {context} tokens" in text) == (context is not None)


@pytest.mark.parametrize(("kind", "known"), [("llama3", True), ("default", True), ("yarn", False), ("dynamic", False)])
def test_a_context_that_is_stretched_is_not_known(machine: Machine, kind: str, *, known: bool):
    file = machine.cached("meta-llama/Llama-3.1-8B-Instruct") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rope_scaling": {"rope_type": kind}}))
    machine.gpus(1)
    assert ("context: 131,072 tokens (the model)" in told(vllm("model.path=meta-llama/Llama-3.1-8B-Instruct"))) == known


def test_two_texts_must_fit_the_context():
    assert "room" not in told(load_config(None, ["sampling.max_tokens=2048"]))  # the seedling's is 4,096
    assert "drafts of more than 2,048 tokens can hardly be extended" in told(load_config(None, ["sampling.max_tokens=2049"]))
    assert "does not fit the context of 4,096 tokens" in told(load_config(None, ["sampling.max_tokens=4096"]))


def test_embedded_and_scripted_stay_as_they_were():
    text = told(load_config(None, ["model.device=cpu", "sampling.max_tokens=99"]))
    assert text.splitlines()[:2] == ["engine: transformers, in this process; 32 requests at once", "device: cpu; dtype auto"]
    assert "model: seedling (" in text
    scripted = told(load_config(None, ["engine.kind=scripted", "train.kind=scripted"]))
    assert "engine: scripted: no model, selflengthen.engines.pretend:pretend answers" in scripted
    assert "trainer: scripted" in scripted
    assert "model:" not in scripted


# -- servers that run already ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with OpenAIServer(context_tokens=4096) as made:
        yield made


def over(server: OpenAIServer, *overrides: str, urls: tuple[str, ...] = ()) -> Config:
    """Over servers; its model is the seedling, whose tokenizer is not theirs."""
    return load_config(None, ["engine.kind=openai", f"engine.urls={json.dumps([server.url, *urls])}", "sampling.max_tokens=1000", *overrides])


def test_what_a_server_can_do(server: OpenAIServer, tmp_path: Path):
    text = told(over(server))
    assert f"servers: {server.url} answers" in text
    assert "model there: base; context 4,096 tokens" in text
    assert "goes on with an answer that has begun: continue_final_message (chat)" in text
    assert "takes top_k, repetition_penalty, seed" in text
    assert "loads adapters while it runs; it must be able to read the adapters in the run's folder" in text
    assert "key: OPENAI_API_KEY is not set: asked without a key" in text
    assert not where(over(server)).faults
    run = RunDirectory.create(tmp_path / "run", over(server), {})
    assert f"read {run.path}/iter_*/adapters at the same path" in told(over(server), run.path)
    assert sorted(file.name for file in run.path.iterdir()) == ["config.json", "run.json"]  # nothing is remembered


def test_token_ids_are_found_to_be_taken():
    with OpenAIServer(context_tokens=4096, tokenizer=resolve_model("seedling"), reads_turns=True) as other:
        assert "the prompt is rendered here (completions)" in told(over(other))


def test_a_server_that_cannot_go_on_with_an_answer(server: OpenAIServer):
    server.quirks.ignores_prefill = True
    found = where(over(server))
    assert "cannot go on with an answer that has begun, which the method needs" in found.faults[0]
    assert "closes the answer and begins another" in found.faults[0]
    assert found.context_tokens is None


def test_a_server_that_takes_less(server: OpenAIServer):
    server.quirks.refuses_unknown_fields = True
    server.quirks.no_completions = True
    found = where(over(server))
    assert "continue_final_message is not taken" in found.faults[0]
    server.quirks.refuses_unknown_fields = False
    server.quirks.ignores_seed = True
    text = told(over(server))
    assert "takes top_k, repetition_penalty\n" in text
    assert "does not keep to a seed" in text


def test_decoding_that_a_server_does_not_take():
    with OpenAIServer(context_tokens=4096, tokenizer=resolve_model("seedling"), reads_turns=True, refuses_unknown_fields=True) as other:
        text = told(over(other))
    assert ": takes seed\n" in text
    assert "takes no top_k: texts are drawn without it" in text
    assert "takes no repetition_penalty" in text


def test_a_server_that_loads_no_adapters(server: OpenAIServer):
    server.quirks.no_lora = True
    found = where(over(server))
    assert not found.faults  # the data of iteration 1 can be made
    assert "the run ends after its first training" in told(over(server))
    assert "selflengthen run DIR --until sft_data" in told(over(server))


def test_servers_that_are_not_there(server: OpenAIServer):
    gone = "http://127.0.0.1:9/v1"
    text = told(over(server, urls=(gone,)))
    assert f"{server.url} answers" in text
    assert f"{gone} does not answer (cannot connect" in text
    assert sum(gone in line for line in text.splitlines()) == 1
    server.stop()
    found = where(over(server, urls=(gone,)))
    assert "no server answers" in found.faults[0]
    assert "trainer" in told(over(server))
    assert "Calls and generated tokens" in shown(over(server))


def test_a_key_is_named_and_never_told(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch):
    server.api_key = "very-secret"
    monkeypatch.setenv("THE_KEY", "very-secret")
    text = told(over(server, "engine.api_key_env=THE_KEY"))
    assert "key: THE_KEY is set" in text
    assert "very-secret" not in text
    assert "denies access" in where(over(server)).faults[0]


def test_a_context_that_is_too_short_is_noted(server: OpenAIServer):
    assert "does not fit the context of 4,096 tokens" in told(over(server, "sampling.max_tokens=8192"))


def test_weights_that_a_training_would_miss(server: OpenAIServer, machine: Machine):
    assert f"trainings need them: hf download {QWEN}" in told(over(server, f"model.path={QWEN}"))
    assert "trainings need them" not in told(over(server))


def test_another_model_than_the_run_was_begun_with(server: OpenAIServer, tmp_path: Path):
    import asyncio

    from selflengthen.serving import engine_for

    async def begin() -> None:
        async with engine_for(over(server), tmp_path):
            pass

    asyncio.run(begin())
    assert not where(over(server), tmp_path).faults
    server.model_seed = 7
    assert "serves another model" in where(over(server), tmp_path).faults[0]


# -- the command -----------------------------------------------------------------------------------------------------------------------


def test_a_plan_of_a_run_that_cannot_begin_is_printed_and_ends_with_2(server: OpenAIServer):
    arguments = ["plan", *(word for override in ("engine.kind=openai", f'engine.urls=["{server.url}"]') for word in ("-o", override))]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    server.stop()
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert "Calls and generated tokens" in result.stdout
    assert "cannot begin: no server answers" in result.stdout
    assert result.stderr == "error: as things are, the run cannot begin: see `cannot begin` in the plan\n"
