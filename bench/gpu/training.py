"""LoRA training on a GPU: speed and peak memory of a model of Qwen2.5-0.5B's shape, and what is said when memory runs out. Used by `check.sh`.

python bench/gpu/training.py model MODEL             make that model, with random weights
python bench/gpu/training.py speed MODEL FOLDER      train it: one adapter, without gradient checkpointing, two adapters side by side
python bench/gpu/training.py memory MODEL FOLDER     train and open it with nearly all of the GPU's memory taken
python bench/gpu/training.py history FILE            one line of a finished adapter's training.json
"""

import asyncio
import gc
import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from selflengthen.config import TrainSettings
from selflengthen.records import Message, Role, Sampling, SftExample
from selflengthen.trainers import TrainJob, open_trainer

SEEDLING = Path(__file__).parents[2] / "src" / "selflengthen" / "seedling"
WORDS = ("the", "quiet", "harbour", "keeps", "its", "old", "boats", "and", "nobody", "asks", "why", "a", "lantern", "burns", "until", "morning")
MIB = 2**20


def model(folder: Path) -> None:
    """Qwen2.5-0.5B's shape, the seedling's tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shutil.copytree(SEEDLING, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.py", "__pycache__"))
    ends = json.loads((SEEDLING / "config.json").read_text())["eos_token_id"]
    config = Qwen2Config(
        vocab_size=151936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        eos_token_id=ends,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        Qwen2ForCausalLM(config).bfloat16().save_pretrained(folder)


def job(folder: Path, base: Path, *, name: str = "generator-1", rows: int = 16, words: int = 1500, **settings: object) -> TrainJob:
    """Rows of unequal lengths around `words` words."""
    dice = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    with data.open("w", encoding="utf-8") as stream:
        for number in range(rows):
            answer = " ".join(dice.choices(WORDS, k=dice.randint(words // 2, words))) + "."
            messages = (Message(role="user", content=f"Write about {number}."),)
            stream.write(SftExample(key=str(number), language="en", messages=messages, answer=answer, tokens=1).model_dump_json() + "\n")
    return TrainJob(
        name=name,
        role=Role.GENERATOR,
        iteration=1,
        base_model=str(base),
        data=data,
        out=folder / "adapters" / name,
        log=folder / "logs" / f"{name}.log",
        settings=TrainSettings(rank=16, alpha=32, cutoff_tokens=8192).model_copy(update=settings),
        seed=1,
    )


def speed(base: Path, folder: Path) -> None:
    """Tokens a second, and the GPU's memory at its highest."""
    for name, together, settings in (
        ("rows share a pass", 1, {"batch_size": 8, "accumulate": 1}),
        ("rows share a pass, no checkpointing", 1, {"batch_size": 8, "accumulate": 1, "gradient_checkpointing": False}),
        ("two adapters at once", 2, {"batch_size": 8, "accumulate": 1, "at_once": 2}),
    ):
        jobs = [job(folder / name.replace(" ", "-"), base, name=f"generator-{n}", epochs=1, **settings) for n in range(together)]
        trainer, start = open_trainer("lora"), time.monotonic()
        with peak() as highest, ThreadPoolExecutor(together) as pool:
            adapters = list(pool.map(lambda one, by=trainer: by.train(one, lambda _: None), jobs))
        print(f"{name}: {time.monotonic() - start:.0f} s with start-up, {highest() / 2**30:.1f} GiB at the highest", flush=True)
        for adapter in adapters:
            history(adapter.path / "training.json")


def history(file: Path) -> None:
    """One line."""
    told = json.loads(file.read_text())
    losses = f"loss {told['loss'][0]:.2f} -> {told['loss'][-1]:.2f}"
    rate = told["tokens"] / told["seconds"]
    print(f"  {file.parent.name}: {told['device']}, {told['rows']} rows, {told['steps']} steps, {told['seconds']} s, {rate:.0f} tokens/s, {losses}")


def memory(base: Path, folder: Path) -> None:
    """What is said when memory runs out: as the child starts on the GPU, in its first pass, and in the engine."""
    if not torch.cuda.is_available():
        print("no GPU: nothing to fill")
        return
    cases = (
        (150, SEEDLING, 2500, {}),
        (700, SEEDLING, 2500, {"gradient_checkpointing": False}),
        (2500, base, 1500, {"gradient_checkpointing": False}),
    )
    for left, which, words, settings in cases:
        with filled(left):
            print(f"trainer, {left} MiB left: {outcome(lambda: _train(folder / str(left), which, words, settings))}", flush=True)  # noqa: B023 - called at once
    for left, which in ((700, base), (40, SEEDLING)):
        with filled(left):
            print(f"engine, {left} MiB left: {outcome(lambda: asyncio.run(_answer(which)))}", flush=True)  # noqa: B023 - called at once


def _train(folder: Path, base: Path, words: int, settings: dict[str, object]) -> object:
    return open_trainer("lora").train(job(folder, base, rows=4, words=words, batch_size=2, epochs=1, **settings), lambda _: None)


async def _answer(base: Path) -> object:
    from selflengthen.engines import Request, open_engine

    async with open_engine("transformers", model=str(base)) as engine:
        ask = [Request((Message(role="user", content="Write."),), Sampling(max_tokens=1000), seed) for seed in range(64)]
        answers = await asyncio.gather(*(engine.generate(one) for one in ask))
        return f"{len(answers)} answers, {sum(one.generated_tokens for one in answers)} tokens, context {engine.capabilities.context_tokens}"


def outcome(run: object) -> str:
    """What came of it, in one line."""
    try:
        return str(run())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
        return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:600]}"


@contextmanager
def filled(left: int) -> Iterator[None]:
    """All of the GPU's memory but `left` MiB taken."""
    torch.cuda.init()
    gc.collect()  # what failed before may hang together in cycles, and still hold its memory
    torch.cuda.empty_cache()
    ballast = torch.empty(torch.cuda.mem_get_info()[0] - left * MIB, dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast
        torch.cuda.empty_cache()


@contextmanager
def peak() -> Iterator[object]:
    """Yields a function that says how much more of the GPU's memory was in use at the highest than before, sampled."""
    if not torch.cuda.is_available():
        yield lambda: 0
        return
    before = lowest = torch.cuda.mem_get_info()[0]
    over = threading.Event()

    def look() -> None:
        nonlocal lowest
        while not over.wait(0.02):
            lowest = min(lowest, torch.cuda.mem_get_info()[0])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: before - lowest
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(Path, sys.argv[2:]))
