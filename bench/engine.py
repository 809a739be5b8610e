"""Tokens a second: the embedded engine against the library's `generate` in static batches, on the same requests in the same run.

Requests have very unequal lengths (the method's do), so a static batch waits for its longest row. Lengths are forced by each request's own limit,
end tokens switched off in both (`--natural-ends` leaves them on); only useful tokens count, those up to each request's own end. Rounds are
interleaved because machines are noisy; the table gives medians, the last line is one JSON object.

    python bench/engine.py [--model FOLDER] [--threads 1] [--rounds 3]

Without `--model`: the model of the package if it is there, else a random one of its shape.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from selflengthen.engines import Request, open_engine
from selflengthen.engines.transformers import PATIENT

for name, value in PATIENT.items():
    os.environ.setdefault(name, value)  # as the engine sets it; for both sides, so before torch is imported

import torch
import transformers
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from selflengthen.engines.embedded import loading
from selflengthen.engines.embedded.loading import Loaded
from selflengthen.records import Message, Sampling

SEEDLING = Path(__file__).parents[1] / "src" / "selflengthen" / "seedling"
STATIC_BATCH = 32
WORDS = ("the", "quiet", "harbour", "keeps", "its", "old", "boats", "and", "nobody", "asks", "why", "a", "lantern", "burns", "until", "morning")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--requests", type=int, nargs="*", default=[32, 64])
    parser.add_argument("--max-batch", type=int, default=None, help="rows at once (default: all requests)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="of torch, for both")
    parser.add_argument("--longest", type=int, default=800, help="tokens of the longest answer; the shortest has 50")
    parser.add_argument("--natural-ends", action="store_true", help="let the model end its turns by itself")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        model = args.model or (str(SEEDLING) if (SEEDLING / "config.json").is_file() else str(random_model(Path(scratch))))
        loaded = opened(model, args.device, natural_ends=args.natural_ends)
        plain = AutoModelForCausalLM.from_pretrained(model, dtype=loaded.dtype).to(loaded.device).eval()
        if not args.natural_ends:
            plain.generation_config.eos_token_id = None
        results = {}
        print(f"{model} on {loaded.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, transformers {transformers.__version__}")
        print(f"{'requests':>8} {'engine tok/s':>14} {'generate tok/s':>15} {'ratio':>6}")
        for count in args.requests:
            results[count] = compare(model, loaded, plain, requests(count, args.longest), args)
    print(json.dumps({"model": model, "threads": torch.get_num_threads(), "device": str(loaded.device), "requests": results}))


def opened(model: str, device: str, *, natural_ends: bool) -> Loaded:
    """The model as the engine opens it."""
    loaded = loading.load(model, device, "auto")
    return loaded if natural_ends else replace(loaded, ends=frozenset())


def compare(model: str, loaded: Loaded, plain: Any, asked: list[Request], args: argparse.Namespace) -> dict[str, float]:
    """Both, in turn, `rounds` times."""
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(run_engine(model, asked, args.max_batch or len(asked), args))
        theirs.append(run_generate(loaded, plain, asked))
    engine, generate = statistics.median(ours), statistics.median(theirs)
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"{len(asked):>8} {engine:>14.0f} {generate:>15.0f} {statistics.median(ratios):>6.2f}   rounds: {rounds}", flush=True)
    return {"engine": round(engine), "generate": round(generate), "ratio": round(statistics.median(ratios), 2)}


def requests(count: int, longest: int) -> list[Request]:
    """The method's sampling; answers of 50 to `longest` tokens, forced by the limit (a random model never ends its turn by itself)."""
    dice = random.Random(0)
    asked = []
    for seed in range(count):
        words = " ".join(dice.choices(WORDS, k=dice.randint(10, 60)))
        sampling = Sampling(max_tokens=dice.randint(50, longest))
        asked.append(Request((Message(role="user", content=f"Write about {words}."),), sampling, seed))
    return asked


def run_engine(model: str, asked: list[Request], max_batch: int, args: argparse.Namespace) -> float:
    """Generated tokens a second, opening not counted."""

    def load(*_: object) -> Loaded:
        return replace(real(model, args.device, "auto"), ends=frozenset())

    real = loading.load

    async def go() -> float:
        async with open_engine("transformers", model=model, device=args.device, max_batch=max_batch, threads=args.threads) as engine:
            await engine.generate(asked[0])
            with clock() as seconds:
                answers = await asyncio.gather(*(engine.generate(request) for request in asked))
            return sum(answer.generated_tokens for answer in answers) / seconds()

    with mock.patch.object(loading, "load", load if not args.natural_ends else loading.load):
        return asyncio.run(go())


def run_generate(loaded: Loaded, plain: Any, asked: list[Request]) -> float:
    """The same requests through `generate`, in batches that wait for their longest row; only each row's own tokens count."""
    useful = 0
    with clock() as seconds, torch.inference_mode():
        for start in range(0, len(asked), STATIC_BATCH):
            batch = asked[start : start + STATIC_BATCH]
            prompts = [loaded.dialogue.encode(loaded.dialogue.prompt(request)) for request in batch]
            width = max(map(len, prompts))
            ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=loaded.device)
            mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=loaded.device)
            sampling = batch[0].sampling
            answer = plain.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                repetition_penalty=sampling.repetition_penalty,
                max_new_tokens=max(request.sampling.max_tokens for request in batch),
                eos_token_id=sorted(loaded.ends) or None,
                pad_token_id=0,
            )[:, width:].tolist()
            useful += sum(own_tokens(row, loaded.ends, request.sampling.max_tokens) for row, request in zip(answer, batch, strict=True))
    return useful / seconds()


def own_tokens(row: list[int], ends: frozenset[int], limit: int) -> int:
    """Tokens up to the row's own end."""
    return min(next((place + 1 for place, token in enumerate(row) if token in ends), len(row)), limit)


@contextmanager
def clock() -> Iterator[Any]:
    """Yields a function that says, once the block has ended, how long it took."""
    start = time.perf_counter()
    spent: list[float] = []
    yield lambda: spent[0] if spent else time.perf_counter() - start
    spent.append(time.perf_counter() - start)


def random_model(folder: Path) -> Path:
    """A random model of the package model's shape, with the tokenizer of the tests' tiny one."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny_models import tiny_qwen2

    tiny_qwen2(folder)
    config = Qwen2Config(
        vocab_size=3000,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
