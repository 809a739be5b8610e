"""Tokens spent per kept word: checks at the end, checks on the stream, and checks on the stream with salvage, on the same instructions.

Responses and extensions of one iteration of the base model, with the method's own decoding, at which the seedling repeats itself often enough to
show a difference. `paper` is the published way (checked at the end, blind retries); `stream` stops a text when it cannot pass any more; `salvage`
also cuts it back to its last clean paragraph and goes on. Verdicts are the same in the first two, so what differs is what was paid.

    python bench/stopping.py [--count 16] [--model seedling] [--rounds 3]
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from selflengthen.config import load_config
from selflengthen.pipeline import Pipeline, create
from selflengthen.stages.ledger import Ledger
from selflengthen.stages.spent import tokens_of

WAYS = {
    "paper": ("checks.stream=false", "checks.salvage=0"),
    "stream": ("checks.stream=true", "checks.salvage=0"),
    "salvage": ("checks.stream=true", "checks.salvage=2"),
}


@dataclass(frozen=True)
class Spent:
    """What one way cost, and what it brought."""

    tokens: int
    rejected: int
    kept: int
    planned: int
    words: int

    @property
    def per_word(self) -> float:
        """Tokens per word of a kept extension."""
        return self.tokens / max(1, self.words)


def measure(folder: Path, way: str, options: argparse.Namespace) -> Spent:
    """Run one way in a folder of its own."""
    settings = [
        f"model.path={options.model}",
        f"instruct.count={options.count}",
        "instruct.sampling.max_tokens=96",
        "measure.count=32",
        "sampling.max_tokens=1600",
        f"extend.rounds={options.rounds}",
        "extend.tries=3",
        "respond.tries=3",
        f"engine.max_batch={options.max_batch}",
        "train.cutoff_tokens=4096",
    ]
    run = create(folder / way, load_config(None, [*settings, *WAYS[way]]))
    Pipeline(run).run("extend")
    ledger = Ledger(run)
    slots = [ledger.slot(1, stage) for stage in ("respond", "extend")]
    spent = [tokens_of(row) for slot in slots for rows in (slot.kept, slot.rejected) for row in rows]
    extensions = slots[1]
    return Spent(
        tokens=sum(tokens for tokens, _ in spent),
        rejected=sum(rejected for _, rejected in spent),
        kept=len(extensions.kept),
        planned=len(extensions.kept) + len(extensions.rejected),
        words=sum(row.words for row in extensions.kept),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="seedling")
    parser.add_argument("--count", type=int, default=16, help="instructions, both languages together")
    parser.add_argument("--rounds", type=int, default=3, help="micro-iterations per try")
    parser.add_argument("--max-batch", type=int, default=48)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {way: measure(Path(folder), way, options) for way in WAYS}
    print(f"{'':10}{'tokens':>10}{'rejected':>10}{'extensions':>14}{'words kept':>12}{'tokens/word':>13}{'ratio':>8}")
    base = found["paper"].per_word
    for way, spent in found.items():
        share = spent.rejected / max(1, spent.tokens)
        kept = f"{spent.kept} of {spent.planned}"
        print(f"{way:10}{spent.tokens:>10}{share:>10.0%}{kept:>14}{spent.words:>12}{spent.per_word:>13.2f}{base / spent.per_word:>8.2f}")
    print(json.dumps({way: {"tokens_per_word": round(spent.per_word, 3), "ratio": round(base / spent.per_word, 3)} for way, spent in found.items()}))


if __name__ == "__main__":
    main()
