"""A real vLLM under test: `SELFLENGTHEN_VLLM` is the command that starts one (`make test-vllm` sets it); without it nothing here is collected.

On a machine without a GPU it is a build for CPUs. One server serves all tests that only ask; tests that kill servers start their own.
"""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "engines")]

COMMAND = shlex.split(os.environ.get("SELFLENGTHEN_VLLM", ""))
collect_ignore_glob = [] if COMMAND else ["test_*.py"]

from asking import adapter_record, lora  # noqa: E402 - the path is set above

from selflengthen.config import VllmSettings  # noqa: E402
from selflengthen.engines.served import gpus, launch  # noqa: E402
from selflengthen.engines.served.replica import Replica  # noqa: E402

ON_GPU = bool(gpus.visible_gpus())
ENV = {"HF_HUB_OFFLINE": "1"} | ({} if ON_GPU else {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0-1"})
MEMORY = "0.2"
"""Of a GPU: two servers and a trainer share it in these tests."""
CONTEXT = 512


def settings(*args: str, **fields: Any) -> VllmSettings:
    """Settings of a server of the tests."""
    # Without compiled graphs a server starts in half the time.
    return VllmSettings(command=tuple(COMMAND), args=("--enforce-eager", *args), env=ENV, gpu_memory=float(MEMORY), **fields)


def overrides(**fields: Any) -> list[str]:
    """The same for a run's settings."""
    told = settings(**fields)
    return [
        "engine.kind=vllm",
        f"engine.vllm.command={json.dumps(list(told.command))}",
        f"engine.vllm.args={json.dumps(list(told.args))}",
        "engine.vllm.env={" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in told.env.items()) + "}",
        f"engine.vllm.gpu_memory={MEMORY}",
        *(f"engine.vllm.{name}={json.dumps(value)}" for name, value in fields.items()),
    ]


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A random model of a shape that vLLM takes. With this seed it does not end its greedy answers to the prompts used here."""
    from tiny_models import tiny_qwen2

    return tiny_qwen2(tmp_path_factory.mktemp("model") / "qwen2", hidden=256, context_tokens=CONTEXT, seed=10)


@pytest.fixture(scope="session")
def adapters(model, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: lora(model, root / name, seed, rank=8) for seed, name in enumerate(("one", "two"))}


@pytest.fixture(scope="session")
def server(model, tmp_path_factory) -> Iterator[str]:
    """The base URL of a server that runs."""
    folder = tmp_path_factory.mktemp("server")
    (port,) = launch.free_ports(1)
    group = tuple(gpu.name for gpu in gpus.visible_gpus()[:1])
    told = settings()
    replica = Replica(
        "vllm",
        command=launch.command_line(told, model=str(model), dtype="auto", port=port, tensor_parallel=1, on_gpu=ON_GPU, rank=8),
        env=launch.environment(told, group=group, key="key-of-the-tests"),
        url=f"http://127.0.0.1:{port}/v1",
        log=folder / "log",
        on_progress=lambda text: print(text, file=sys.stderr),
        start_seconds=300,
        folder=folder,
    )
    runner = asyncio.Runner()
    runner.run(replica.start())
    yield replica.url
    runner.run(replica.stop())
    runner.close()


@pytest.fixture(params=["completions", "chat"])
def backend(request, server, model, adapters):
    """For the contract suite."""
    from asking import Backend

    return Backend(
        "openai",
        {"urls": (server,), "model": str(model), "prefill": request.param, "api_key": "key-of-the-tests"},
        lambda name: adapter_record(name, adapters[name], str(model)),
        context_tokens=CONTEXT,
        limits={"rows": "concurrency"},
    )
