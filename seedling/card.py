"""The model card of the seedling, written by the training from its own report, so that no figure is typed by hand."""

from pathlib import Path
from typing import Any

TEXT = """---
license: apache-2.0
language: [{languages}]
library_name: transformers
---
# The seedling

A bilingual chat model of {parameters:.1f}M parameters ({megabytes:.1f} MB with its tokenizer), trained from scratch in minutes so that the whole
Self-Lengthen loop can be run, and seen to work, on a laptop. It is a subject to experiment on: its prose is grammatical and odd, and it
knows nothing about the world.

## What it can do
Continue a list of writing instructions, judge whether one asks for a long text, answer it, rewrite a draft longer, write a length demand
into a request: in English and Chinese, with the prompts of the recipes in `src/selflengthen/recipes`. Other prompts are outside of what it knows.

## What it has never seen
An answer to an instruction of more than 150 words, or an extended draft of more than 400 (words as `count_words` counts them; both are
asserted on each document). Long texts were raw text only, up to 70 paragraphs.

## Architecture
Qwen2: hidden {hidden}, {layers} layers, {heads} heads ({kv_heads} for keys and values), inner {inner}, tied embeddings, context 4,096. Byte-level
BPE of {vocab} entries; each Han character and each digit is a token. ChatML, no default system message. Saved in fp16.

## Data
Written by the project's own grammars (`seedling/grammar`), no outside text: {distinct} distinct tokens. Shares of documents, first phase:
{early}; second phase: {full}.

## Training
{steps:,} steps, {seen:,} tokens, on {device}: {data} s for the data, {training} s for the training. AdamW (0.9, 0.95), weight decay 0.1, peak
rate {rate}, cosine, bf16 autocast; {phases}. Seed {seed}. Loss of the last steps {loss_last}.

Loss per token on documents that training did not see, of the answer where there is one:

| document | loss |
|---|---|
{losses}

Versions: {versions}.

SHA-256 of `model.safetensors`: `{sha256}`.

Made by `python -m seedling.train`; all figures above come from `training.json`.
"""


def write_card(report: dict[str, Any], path: Path) -> None:
    """Write the card for a training report."""
    plan = report["plan"]
    early, full = (", ".join(f"{name} {share}" for name, share in phase["mix"].items()) for phase in plan["phases"])
    text = TEXT.format(
        languages=", ".join(report["languages"]),
        parameters=report["parameters"] / 1e6,
        megabytes=report["bytes"] / 1e6,
        distinct=" + ".join(f"{count:,}" for count in report["tokens_distinct"]),
        early=early,
        full=full,
        seen=report["tokens_seen"],
        phases="; ".join(f"{phase['share']:.0%} of the time in sequences of {phase['length']:,}" for phase in plan["phases"]),
        losses="\n".join(f"| {name} | {value} |" for name, value in report["loss_held_out"].items()),
        versions=", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        **{name: plan[name] for name in ("hidden", "layers", "heads", "kv_heads", "inner", "vocab", "rate")},
        **{name: report[name] for name in ("steps", "device", "seed", "loss_last", "sha256")},
        **{name: report["seconds"][name] for name in ("data", "training")},
    )
    path.write_text(text, "utf-8")
