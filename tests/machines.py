"""A machine with GPUs and vLLM, as far as a plan looks at one: what the driver tells, what is on the PATH, what is in the hub's cache."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

H100 = 81559
"""MiB, as nvidia-smi tells of an H100 of 80 GB."""
SMALL = 8188
"""Of a GPU of 8 GB."""
MIB = 1 << 20

QWEN_05B = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "vocab_size": 151936,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
QWEN_7B = QWEN_05B | {
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "vocab_size": 152064,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "tie_word_embeddings": False,
}
QWEN_72B = QWEN_7B | {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 29568}
LLAMA_8B = QWEN_7B | {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "vocab_size": 128256,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
}
SHAPES = {
    "Qwen/Qwen2.5-0.5B-Instruct": QWEN_05B,
    "Qwen/Qwen2.5-7B-Instruct": QWEN_7B,
    "Qwen/Qwen2.5-72B-Instruct": QWEN_72B,
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA_8B,
}
"""`config.json` of each model, as far as its weights and its context follow from it."""


class Machine:
    """The machine; its parts are put there by the methods."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bin, self._cache = folder / "bin", folder / "cache"
        self._bin.mkdir(parents=True)
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{self._bin}:/usr/bin:/bin")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(self._cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        self.gpus(0)

    def gpus(self, count: int, mib: int = H100) -> None:
        """So many GPUs of so much memory."""
        self._program("nvidia-smi", "".join(f"{number}, {mib}, GPU-{number:08d}\n" for number in range(count)))

    def vllm(self) -> str:
        """A command `vllm`; returns its path."""
        return self._program("vllm", "vllm 0.32.0\n")

    def memory(self, number: int) -> None:
        """Bytes that the machine has."""
        self._monkeypatch.setattr("selflengthen.report.servers._memory_bytes", lambda: number)

    def cached(self, model: str) -> Path:
        """The hub's cache has the settings of a model, and no weights. Returns its folder there."""
        place = self._cache / f"models--{model.replace('/', '--')}"
        snapshot = place / "snapshots" / "0"
        snapshot.mkdir(parents=True)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0")
        (snapshot / "config.json").write_text(json.dumps(SHAPES[model]))
        return snapshot

    def _program(self, name: str, says: str) -> str:
        file = self._bin / name
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{says}END\n")
        file.chmod(0o755)
        return str(file)
