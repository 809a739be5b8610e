"""Ways to open engines, to ask them and to listen to them; shared by the engines' tests."""

import asyncio
import os
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selflengthen.engines import Engine, Request, open_engine
from selflengthen.records import Adapter, Message, Role, Sampling
from selflengthen.text.verdict import Verdict

ON = {"device": os.environ.get("SELFLENGTHEN_TEST_DEVICE", "cpu"), "dtype": "float32"}
"""Where the embedded engine is tested. In 32 bits everywhere: answers are compared token by token with the library's."""
WORDS = ("lamp", "ledger", "harbour", "quiet", "tide", "灯塔", "渡口", "anchor", "茶馆", "seven", "😀", "and,", "when", "it", "rained.", "nobody")


def wander(request: Request) -> str:
    """A script: a long answer that hangs on everything in the request."""
    dice = random.Random(f"{request.seed}{request.adapter}{request.prefill}{request.messages}")
    return " ".join(dice.choices(WORDS, k=3000))


@dataclass
class Backend:
    """One engine kind under test."""

    kind: str
    settings: dict[str, Any]
    make_adapter: Callable[[str], Adapter]
    context_tokens: int = 512
    limits: dict[str, str] = field(default_factory=dict)

    def open(self, rows: int = 4) -> Engine:
        return open_engine(self.kind, **self.settings, **{self.limits["rows"]: rows})


def lora(model: Path, path: Path, seed: int, rank: int = 4) -> Path:
    """A random adapter of PEFT's own making over a model folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 in an old way
        made = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(seed)
    for name, weight in made.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    made.save_pretrained(path)
    return path


def adapter_record(name: str, path: Path, model: str) -> Adapter:
    return Adapter(name=name, role=Role.GENERATOR, iteration=1, path=path, base_model=model)


def ask(content: str = "Write about the harbour.", *, tokens: int = 40, seed: int = 1, prefill: str = "", adapter=None, **sampling) -> Request:
    sampling = {"max_tokens": tokens, "temperature": 1.0, "top_k": 50, "top_p": 0.95} | sampling
    return Request((Message(role="user", content=content),), Sampling(**sampling), seed, prefill, adapter)


class Listener:
    """A watch that notes what it is fed, and at `stop_at` characters returns `verdict` or raises it."""

    def __init__(self, stop_at: int | None = None, verdict: Verdict | Exception | None = None) -> None:
        self.pieces: list[str] = []
        self.stop_at, self.verdict = stop_at, verdict
        self.fed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def feed(self, delta: str) -> Verdict | None:
        self.pieces.append(delta)
        self._loop.call_soon_threadsafe(self.fed.set)
        if self.stop_at is not None and len("".join(self.pieces)) >= self.stop_at:
            if isinstance(self.verdict, Exception):
                raise self.verdict
            return self.verdict
        return None
