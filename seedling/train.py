"""Makes the seedling: tokenizer, documents, training, and the folder that ships. A few minutes on one H100, a smoke test on any CPU.

    python -m seedling.train --out OUT                       # the real thing: about 8 minutes, 300 s of them training
    python -m seedling.train --out OUT --tiny --steps 2      # does it run?

Two phases: sequences of 1,024 tokens that are mostly drafts and their extensions, then of 4,096 with everything. The ability to copy a
draft is what takes longest, and it appears all at once; short sequences hold whole pairs and give twice the steps for the same tokens.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seedling import corpus
from seedling.card import write_card

CONTEXT = 4096
SPECIAL = [corpus.END, corpus.START, corpus.STOP]

# Every Han character, CJK mark and digit is a piece of its own, so that a word is cut the same way wherever it stands and can be copied;
# everything else is cut as usual: words with the space before them, marks, white space.
SPLIT = (
    r"\p{Han}|[\u3000-\u303f\uff00-\uffef\u2014\u2018-\u201d\u2026]|\p{N}| ?[\p{L}&&[^\p{Han}]]+"
    r"| ?[^\s\p{L}\p{N}\u3000-\u303f\uff00-\uffef\u2014\u2018-\u201d\u2026]|\n+|\s"
)


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its share of the budget, its documents and the shape of a batch."""

    name: str
    share: float
    mix: dict[str, int]
    length: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """All numbers of a run."""

    vocab: int = 5120
    hidden: int = 256
    inner: int = 704
    layers: int = 5
    heads: int = 8
    kv_heads: int = 2
    theta: float = 100_000.0
    rate: float = 2e-3
    warmup: int = 200
    documents: tuple[int, int] = (260_000, 300_000)
    """Of the two phases, both languages together."""
    phases: tuple[Phase, Phase] = (
        Phase("copy", 0.4, corpus.EARLY, 1024, 64),
        Phase("full", 0.6, corpus.FULL, CONTEXT, 24),
    )


TINY = Plan(
    vocab=1024,
    hidden=64,
    inner=128,
    layers=2,
    heads=2,
    kv_heads=1,
    documents=(200, 200),
    phases=(Phase("copy", 0.5, corpus.EARLY, 256, 2), Phase("full", 0.5, corpus.FULL, 512, 2)),
)


def make_tokenizer(folder: Path, vocab: int, languages: tuple[str, ...], documents: int) -> None:
    """Trains the byte-level tokenizer and saves it the Hugging Face way."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.texts(languages, corpus.FULL, 1, documents), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=corpus.STOP,
        pad_token=corpus.END,
        additional_special_tokens=[corpus.START],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = corpus.CHAT_TEMPLATE
    fast.save_pretrained(folder)


def shard(job: tuple[str, tuple[str, ...], dict[str, int], int, int]) -> np.ndarray:
    """The tokens of some documents, end to end."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process a core already
    from tokenizers import Tokenizer

    path, languages, mix, seed, count = job
    tokenizer = Tokenizer.from_file(path)
    encoded = tokenizer.encode_batch_fast(corpus.texts(languages, mix, seed, count), add_special_tokens=False)
    return np.concatenate([np.asarray(each.ids, dtype=np.uint16) for each in encoded])


def make_tokens(path: Path, languages: tuple[str, ...], mix: dict[str, int], seed: int, documents: int) -> np.ndarray:
    """The tokens of a phase, made on all cores."""
    workers = os.cpu_count() or 1
    parts = max(workers, documents // 2000)
    jobs = [(str(path), languages, mix, seed + index, max(1, documents // parts)) for index in range(parts)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return np.concatenate(pool.map(shard, jobs, chunksize=1))


def held_out_losses(forward: Callable[[Any], Any], tokenizer: Any, languages: tuple[str, ...], device: str, count: int) -> dict[str, float]:
    """Mean loss per token of every type of document, on documents that training did not see; of the answer alone where there is one."""
    import torch
    from torch.nn import functional

    losses = {}
    opened = f"{corpus.START}assistant\n"
    for language in languages:
        writer = corpus.Corpus(language)
        for name in corpus.FULL:
            rng = random.Random(f"held out {language} {name}")
            total = tokens = 0.0
            for _ in range(count):
                text = writer.document(rng, name)
                before = len(tokenizer.encode(text.partition(opened)[0] + opened).ids) if opened in text else 0
                ids = torch.tensor([tokenizer.encode(text).ids[:CONTEXT]], device=device)
                targets = ids[:, max(1, before) :]
                logits = forward(ids[:, :-1])[:, max(1, before) - 1 :]
                total += functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="sum").item()
                tokens += targets.numel()
            losses[f"{language}/{name}"] = round(total / tokens, 4)
    return losses


def budgeted(phases: Sequence[Phase], seconds: float, steps: int | None) -> Iterator[tuple[Phase, float]]:
    """The phase of each step and the share of the budget that is spent. The clock stops while a phase's first steps compile."""
    spent = until = 0.0
    for phase in phases:
        begun, done, last = until, 0, 0.0
        until += phase.share
        wanted = max(1, round((steps or 0) * phase.share))
        while spent < until - 1e-9:
            yield phase, spent
            done += 1
            now = time.perf_counter()
            if steps is not None:
                spent = until if done >= wanted else begun + phase.share * done / wanted
            elif done > 3:  # the first steps compile
                spent += (now - last) / seconds
            last = now


def make_model(plan: Plan, tokenizer: Any) -> Any:
    """A fresh model for the plan."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=plan.hidden,
            intermediate_size=plan.inner,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            num_key_value_heads=plan.kv_heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": plan.theta},
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id(corpus.STOP),
            pad_token_id=tokenizer.token_to_id(corpus.END),
        )
    )


def make_optimizer(model: Any, rate: float, device: str) -> Any:
    """AdamW that decays matrices alone."""
    import torch

    matrices = [each for each in model.parameters() if each.ndim > 1]
    vectors = [each for each in model.parameters() if each.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=device == "cuda")


def fit(model: Any, plan: Plan, streams: Sequence[np.ndarray], *, seconds: float, steps: int | None, seed: int) -> list[tuple[int, int, float]]:
    """Trains a model and returns steps, tokens seen and losses, the last of them for the last step."""
    import torch
    from torch.nn import functional

    device = model.device.type

    def loss_of(ids: Any) -> Any:
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())

    optimizer = make_optimizer(model, plan.rate, device)
    generator = torch.Generator().manual_seed(seed)
    current: Phase | None = None
    curve: list[tuple[int, int, float]] = []
    step = seen = 0
    mark, marked = time.perf_counter(), 0
    for phase, spent in budgeted(plan.phases, seconds, steps):
        if phase is not current:
            current = phase
            data = torch.from_numpy(streams[plan.phases.index(phase)].astype(np.int32)).to(device)
            offsets = torch.arange(phase.length + 1, device=device)
            # One graph a phase, since the shapes differ; a dynamic one would be slower for good.
            run = torch.compile(loss_of, dynamic=False) if device == "cuda" else loss_of
        rate = plan.rate * min(1.0, (step + 1) / plan.warmup) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        at = torch.randint(0, len(data) - phase.length - 1, (phase.batch, 1), generator=generator).to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = run(data[at + offsets].long())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += phase.batch * phase.length
        # Reading the loss waits for the device, which also keeps the clock of the budget honest.
        if step % 20 == 0 or steps is not None:
            curve.append((step, seen, round(loss.item(), 4)))
        if step % 200 == 0 or (steps is not None and step <= 10):
            speed = (seen - marked) / (time.perf_counter() - mark) / 1e6
            mark, marked = time.perf_counter(), seen
            print(f"{phase.name} {step} loss {loss.item():.4f} {seen / 1e6:.0f}M tokens {speed:.2f}M/s {spent:.0%} lr {rate:.1e}", flush=True)
    return [*curve, (step, seen, round(loss.item(), 4))]


def save(model: Any, out: Path) -> None:
    """Save the weights in fp16, and the method's decoding as the default of `generate`."""
    from transformers import GenerationConfig

    model.half().save_pretrained(out)
    GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_p=0.8,
        top_k=20,
        repetition_penalty=1.1,
        # Raw prose ends with the pad token, and a long answer looks like raw prose to a model that never saw one. Qwen2 ends at both, too.
        eos_token_id=[model.config.eos_token_id, model.config.pad_token_id],
        pad_token_id=model.config.pad_token_id,
    ).save_pretrained(out)


def versions() -> dict[str, str]:
    """What it was made with."""
    import tokenizers
    import torch
    import transformers

    modules = {"torch": torch, "transformers": transformers, "tokenizers": tokenizers, "numpy": np}
    return {"python": sys.version.split()[0]} | {name: str(module.__version__) for name, module in modules.items()}


def train(plan: Plan, out: Path, languages: tuple[str, ...], *, seconds: float, steps: int | None, seed: int) -> dict[str, Any]:
    """Trains a model into a folder and returns the report."""
    import tokenizers
    import torch

    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    tiny = plan is TINY
    make_tokenizer(out, plan.vocab, languages, 300 if tiny else 12_000)
    path = out / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    print(f"tokenizer: {tokenizer.get_vocab_size()} entries, {time.perf_counter() - began:.0f} s", flush=True)
    streams = [
        make_tokens(path, languages, phase.mix, seed * 1_000_003 + 10_000 * (index + 1), documents)
        for index, (phase, documents) in enumerate(zip(plan.phases, plan.documents, strict=True))
    ]
    made = time.perf_counter() - began
    print(f"documents: {[len(stream) for stream in streams]} tokens, {made:.0f} s", flush=True)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    model = make_model(plan, tokenizer).to(device)
    parameters = sum(each.numel() for each in model.parameters())
    print(f"model: {parameters / 1e6:.2f}M parameters on {device}", flush=True)
    curve = fit(model, plan, streams, seconds=seconds, steps=steps, seed=seed)
    trained = time.perf_counter() - began - made

    save(model, out)
    # Measured on the weights that ship: rounded to fp16, computed in fp32.
    model = model.float().eval()
    with torch.inference_mode():
        losses = held_out_losses(lambda ids: model(input_ids=ids, use_cache=False).logits, tokenizer, languages, device, 2 if tiny else 40)
    for name, value in losses.items():
        print(f"held out {name}: {value}")
    tail = [value for _, _, value in curve[-10:]]
    report = {
        "plan": asdict(plan),
        "languages": list(languages),
        "seed": seed,
        "parameters": parameters,
        "bytes": sum(file.stat().st_size for file in out.iterdir() if file.suffix in {".safetensors", ".json", ".jinja"}),
        "sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "steps": curve[-1][0],
        "tokens_seen": curve[-1][1],
        "tokens_distinct": [len(stream) for stream in streams],
        "seconds": {"data": round(made), "training": round(trained), "all": round(time.perf_counter() - began)},
        "loss_last": round(sum(tail) / len(tail), 4),
        "loss_held_out": losses,
        "curve": curve[:: max(1, len(curve) // 100)],
        "versions": versions(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    write_card(report, out / "README.md")
    return report


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model, its tokenizer, report and card")
    parser.add_argument("--seconds", type=float, default=300, help="time for training proper, compilation not counted")
    parser.add_argument("--steps", type=int, help="train for so many steps instead of a time")
    parser.add_argument("--tiny", action="store_true", help="a toy of everything, for a smoke test")
    parser.add_argument("--languages", nargs="+", default=["en", "zh"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--rate", type=float, help="peak learning rate")
    options = parser.parse_args()
    plan = TINY
    if not options.tiny:
        changed = {name: value for name in ("layers", "rate") if (value := getattr(options, name)) is not None}
        plan = Plan(**changed)
    report = train(plan, options.out, tuple(options.languages), seconds=options.seconds, steps=options.steps, seed=options.seed)
    print(json.dumps({name: report[name] for name in ("bytes", "sha256", "steps", "tokens_seen", "seconds", "loss_last")}))


if __name__ == "__main__":
    main()
