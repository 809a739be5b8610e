"""Back-ends for the contract suite: each says how to open an engine and how to get an adapter for it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import ON, Backend, adapter_record, lora, wander
from openai_server import OpenAIServer

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    from tiny_models import tiny_llama, tiny_mistral, tiny_qwen2

    root = tmp_path_factory.mktemp("models")
    return {"qwen2": tiny_qwen2(root / "qwen2"), "llama": tiny_llama(root / "llama"), "mistral": tiny_mistral(root / "mistral")}


@pytest.fixture(scope="session")
def adapters(models, tmp_path_factory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("adapters")
    made = {}
    for family in ("qwen2", "llama"):
        for seed, name in enumerate(("one", "two")):
            made[family, name] = lora(models[family], root / family / name, seed, rank=4 + 2 * seed)
    return made


@pytest.fixture(params=["scripted", "qwen2", "llama", "openai-chat", "openai-completions"])
def backend(request, tmp_path) -> Iterator[Backend]:
    if request.param.startswith("openai"):
        from transformers import AutoTokenizer

        model = str(request.getfixturevalue("models")["qwen2"])
        made = request.getfixturevalue("adapters")
        with OpenAIServer(tokenizer=AutoTokenizer.from_pretrained(model), delay_seconds=0.001, reads_turns=True) as server:
            yield Backend(
                "openai",
                {"urls": (server.url,), "model": model, "prefill": request.param.removeprefix("openai-")},
                lambda name: adapter_record(name, made["qwen2", name], model),
                limits={"rows": "concurrency"},
            )
        return
    yield _local(request, tmp_path)


def _local(request, tmp_path) -> Backend:
    if request.param == "scripted":
        return Backend(
            "scripted",
            {"script": wander, "context_tokens": 512, "delay_seconds": 0.0},
            lambda name: adapter_record(name, tmp_path / name, "scripted"),
            limits={"rows": "concurrency"},
        )
    model = str(request.getfixturevalue("models")[request.param])
    made = request.getfixturevalue("adapters")
    return Backend(
        "transformers",
        {"model": model, **ON, "threads": 1},
        lambda name: adapter_record(name, made[request.param, name], model),
        limits={"rows": "max_batch"},
    )
