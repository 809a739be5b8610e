"""Back-ends for the contract suite: each says how to open an engine and how to get an adapter for it."""

import sys
from pathlib import Path

import pytest
from asking import ON, Backend, adapter_record, lora, wander

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


@pytest.fixture(params=["scripted", "qwen2", "llama"])
def backend(request, tmp_path) -> Backend:
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
