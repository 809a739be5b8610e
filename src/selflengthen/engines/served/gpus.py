"""Which GPUs there are, how large the model is, and which GPUs each server gets. What does not live here: starting servers (`launch`, `replica`)."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selflengthen.errors import EngineError

QUERY = ("nvidia-smi", "--query-gpu=index,memory.total,uuid", "--format=csv,noheader,nounits")
QUERY_SECONDS = 60.0
"""The first call after a machine's start may take many seconds."""
MIB = 1 << 20
ROOMY = 0.6
"""Share of a server's memory that weights may take where there is a choice. What is left is for the texts under way, and throughput is how many of
these fit: a model of 7B (15 GB in bfloat16, with grouped attention 56 KB of cache per token) leaves 5 GB on one GPU of 24 GB, which is nine texts of
10 000 tokens, and 26 GB on two, which is 45. Where weights take less than this share, a second GPU is better used by a server of its own."""
TIGHT = 0.9
"""Where there is no choice. vLLM itself needs the rest, and one text of full length must fit; if it does not, vLLM says so."""
NBYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One that may be used."""

    name: str
    """As CUDA_VISIBLE_DEVICES names it: a number, or the beginning of a UUID."""
    number: int | None = None
    """As nvidia-smi counts; None for a part of a GPU (MIG)."""
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Which GPUs each server gets."""

    groups: tuple[tuple[str, ...], ...]
    """One for each server, names of GPUs; empty groups are servers on the CPU."""
    tensor_parallel: int
    note: str = ""
    """For people; empty when there is nothing to say."""


def ask_driver() -> str:
    """What nvidia-smi prints: a line for each GPU, MiB. Empty without it, and without a driver."""
    try:
        return subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS).stdout  # noqa: S603 - a constant
    except (OSError, subprocess.SubprocessError):
        return ""


def visible_gpus(environ: Mapping[str, str] = os.environ, ask: Callable[[], str] = ask_driver) -> tuple[Gpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in its order; without it all. As CUDA does, its list ends at the first name there is not."""
    wanted = environ.get("CUDA_VISIBLE_DEVICES")
    there: list[tuple[Gpu, str]] = []
    for line in ask().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3 and fields[0].isdigit():
            memory = int(fields[1]) * MIB if fields[1].isdigit() else None  # "[N/A]" where CPU and GPU share their memory
            there.append((Gpu(fields[0], int(fields[0]), memory), fields[2]))
    if wanted is None or not there:
        return tuple(gpu for gpu, _ in there)
    found: list[Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.startswith("MIG-"):
            found.append(Gpu(name))
            continue
        same = [gpu for gpu, uuid in there if gpu.name == name or (name.startswith("GPU-") and uuid.startswith(name))]
        if not same:
            break
        found.append(Gpu(name, same[0].number, same[0].memory_bytes))
    return tuple(found)


def plan_groups(
    available: Sequence[Gpu],
    *,
    gpus: Sequence[int] = (),
    tensor_parallel: int = 0,
    replicas: int = 0,
    gpu_memory: float = 0.9,
    weight_bytes: int | None = None,
    heads: int | None = None,
) -> Plan:
    """Spread servers over GPUs; 0 and () as in `VllmSettings`: to be chosen here. Raises EngineError when it cannot be done.

    `weight_bytes`, `heads`: of the model, None when not known.
    """
    if not available:
        if gpus:
            raise EngineError(f"engine.vllm.gpus = {list(gpus)}, but no GPU is visible: see to nvidia-smi and CUDA_VISIBLE_DEVICES, or drop it")
        return Plan(((),) * max(1, replicas), max(1, tensor_parallel))
    chosen = _choose(available, gpus)
    size, note = tensor_parallel, ""
    if not size:
        size, note = _fewest(chosen, gpu_memory, weight_bytes, heads)
    if size > len(chosen):
        raise EngineError(f"engine.vllm.tensor_parallel = {size}, but {_count(len(chosen))} to be used: lower it, or see to engine.vllm.gpus")
    if heads and heads % size:
        raise EngineError(f"engine.vllm.tensor_parallel = {size} does not divide the model's {heads} attention heads: set it to one that does")
    count = replicas or len(chosen) // size
    if count * size > len(chosen):
        raise EngineError(
            f"engine.vllm.replicas = {count} servers of {_count(size)} each need {count * size}, but {_count(len(chosen))} to be used: lower it"
        )
    if not note and (idle := len(chosen) - count * size) and not replicas:
        note = f"{_count(idle)} of {len(chosen)} stay unused: a server takes {size}"
    names = [gpu.name for gpu in chosen]
    return Plan(tuple(tuple(names[first : first + size]) for first in range(0, count * size, size)), size, note)


def _choose(available: Sequence[Gpu], wanted: Sequence[int]) -> list[Gpu]:
    if not wanted:
        return list(available)
    by_number = {gpu.number: gpu for gpu in available}
    for number in wanted:
        if number not in by_number:
            names = ", ".join(gpu.name for gpu in available)
            raise EngineError(f"engine.vllm.gpus names GPU {number}; visible are {names} (nvidia-smi, CUDA_VISIBLE_DEVICES)")
    return [by_number[number] for number in dict.fromkeys(wanted)]


def _fewest(chosen: Sequence[Gpu], gpu_memory: float, weight_bytes: int | None, heads: int | None) -> tuple[int, str]:
    """The fewest GPUs that hold the weights, and what is to be said about it."""
    memory = min((gpu.memory_bytes for gpu in chosen if gpu.memory_bytes), default=None)
    if weight_bytes is None or memory is None:
        what = "the size of the model" if weight_bytes is None else "the memory of the GPUs"
        return 1, f"{what} is not known: each server gets one GPU. If that is too little, set engine.vllm.tensor_parallel"
    # vLLM gives each GPU the same number of heads; powers of two divide layers and vocabularies of all common models.
    sizes = [size for power in range(len(chosen).bit_length()) if (size := 1 << power) <= len(chosen) and not (heads and heads % size)]
    room = gpu_memory * memory
    for size in sizes:
        if weight_bytes / size <= ROOMY * room:
            return size, ""
    most = sizes[-1]
    if weight_bytes / most <= TIGHT * room:
        share = weight_bytes / most / room
        return most, f"the weights take {share:.0%} of what a server may have: few texts will be written at once"
    of_heads = f" (of a size that divides {heads} attention heads)" if heads else ""
    raise EngineError(
        f"the model's weights have {_gb(weight_bytes)}, and the {_count(most)} that one server could have{of_heads} hold "
        f"{most} x {_gb(memory)} x engine.vllm.gpu_memory = {gpu_memory:g}, of which weights can take {TIGHT:.0%}: use more GPUs or a smaller "
        "model. To try all the same, set engine.vllm.tensor_parallel"
    )


def weight_bytes(model: str) -> int | None:
    """How much memory a model's weights take: from its files, else estimated from its settings; None when neither is here. Never downloads."""
    folder = model_folder(model)
    if folder is None:
        return None
    index = _read_json(folder / "model.safetensors.index.json").get("metadata")
    if isinstance(index, dict) and isinstance(total := index.get("total_size"), int):
        return total
    for pattern in ("model*.safetensors", "*.safetensors", "pytorch_model*.bin", "*.bin"):
        if sizes := [file.stat().st_size for file in folder.glob(pattern) if file.exists()]:  # a link into the cache may lead nowhere
            return sum(sizes)
    return _estimate(_settings(folder))


def attention_heads(model: str) -> int | None:
    """Of each layer; None when it is not known."""
    folder = model_folder(model)
    heads = _settings(folder).get("num_attention_heads") if folder else None
    return heads if isinstance(heads, int) and heads > 0 else None


def context_tokens(model: str) -> int | None:
    """How many tokens prompt and answer may have together, by the model's own settings; None when they do not say, or stretch it by a factor."""
    folder = model_folder(model)
    settings = _settings(folder) if folder else {}
    positions = settings.get("rope_parameters") or settings.get("rope_scaling")
    if isinstance(positions, dict) and positions.get("rope_type", positions.get("type")) in {"linear", "dynamic", "yarn"}:
        return None
    tokens = settings.get("max_position_embeddings")
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def has_weights(model: str) -> bool:
    """Whether the weights themselves are here, in the folder or in the hub's cache."""
    folder = model_folder(model)
    return folder is not None and any(file.exists() for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern))


def model_folder(model: str) -> Path | None:
    """Where a model's files are: its folder, or its place in the hub's cache; None when nothing of it is here."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "config.json")
    except ValueError:  # no name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _settings(folder: Path) -> dict[str, Any]:
    """Of the language model, where there is more than that."""
    settings = _read_json(folder / "config.json")
    inner = settings.get("text_config")
    return {**settings, **inner} if isinstance(inner, dict) else settings


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _estimate(settings: Mapping[str, Any]) -> int | None:
    """From the shapes of a common decoder; None when it is another kind of model."""
    try:
        width, layers, words = (int(settings[name]) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
        heads = int(settings["num_attention_heads"])
        head_width = int(settings.get("head_dim") or width // heads)
        inner = int(settings["intermediate_size"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    experts = next((int(settings[name]) for name in ("num_experts", "num_local_experts", "n_routed_experts") if settings.get(name)), 1)
    if experts > 1:
        inner = int(settings.get("moe_intermediate_size") or inner)
    key_heads = int(settings.get("num_key_value_heads") or heads)
    attention = 2 * width * head_width * (heads + key_heads)
    numbers = layers * (attention + 3 * width * inner * experts) + words * width * (1 if settings.get("tie_word_embeddings") else 2)
    return numbers * NBYTES.get(str(settings.get("dtype") or settings.get("torch_dtype")), 2)


def _count(number: int) -> str:
    return "1 GPU" if number == 1 else f"{number} GPUs"


def _gb(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
