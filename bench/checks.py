"""Speed of the full `Guard`, all checks on, fed as an engine feeds it: a few characters at a time. Prints a table and, last, one JSON object.

    python bench/checks.py [--seconds 3] [--run runs/demo]

With `--run`, also what the checks cost a run: all its texts, failed tries too, fed again in pieces of a token's size, as a share of its seconds.

The prose is generated from a fixed seed, so that no check fails and every character is looked at. Bytes are those of the text in UTF-8.
"""

import argparse
import json
import random
import time
import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from selflengthen.text import CheckSettings, Guard

CHARACTERS = 30_000
TEXTS = 8


@dataclass(frozen=True, slots=True)
class Speed:
    """One measured row."""

    language: str
    pieces: str
    characters: int
    megabytes_per_second: float
    characters_per_second: float
    microseconds_per_piece: float


def settings_of(language: str) -> CheckSettings:
    """The checks of a recipe of the package."""
    table = tomllib.loads((files("selflengthen.recipes") / language / "recipe.toml").read_text(encoding="utf-8"))
    return CheckSettings(language=language, **table["checks"])


def english(rng: random.Random) -> str:
    """Prose-like English of about `CHARACTERS` characters: the lengths of real words, sentences and paragraphs, in invented words."""
    letters = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnssssssrrrrrrhhhhhhddddllllcccuuummmwwffggyyppbbvk"
    words = ["".join(rng.choices(letters, k=max(1, round(rng.gauss(4.7, 2.2))))) for _ in range(3000)]
    weights = [1 / (i + 5) for i in range(len(words))]
    text: list[str] = []
    size = 0
    while size < CHARACTERS:
        sentence = " ".join(rng.choices(words, weights, k=rng.randint(8, 28))).capitalize() + rng.choice([". ", ". ", "? ", ".\n\n"])
        text.append(sentence)
        size += len(sentence)
    return "".join(text).rstrip()


def chinese(rng: random.Random) -> str:
    """The same in Chinese characters, with full-width marks and a foreign word now and then."""
    characters = [chr(0x4E00 + i * 7) for i in range(2500)]
    weights = [1 / (i + 20) for i in range(len(characters))]
    text: list[str] = []
    size = 0
    while size < CHARACTERS:
        clauses = ["".join(rng.choices(characters, weights, k=rng.randint(5, 14))) for _ in range(rng.randint(2, 5))]
        sentence = "，".join(clauses) + rng.choice(["。", "。", "？", "，见 Python 3.11。", "。\n\n"])
        text.append(sentence)
        size += len(sentence)
    return "".join(text).rstrip()


def pieces_of(text: str, least: int, most: int, rng: random.Random) -> list[str]:
    """The text cut into pieces of `least` to `most` characters."""
    pieces = []
    start = 0
    while start < len(text):
        size = rng.randint(least, most)
        pieces.append(text[start : start + size])
        start += size
    return pieces


def measure(language: str, texts: list[str], least: int, most: int, seconds: float) -> Speed:
    """Feed the texts over and over for about `seconds`; the fastest pass counts, the others were disturbed."""
    settings = settings_of(language)
    cut = [pieces_of(text, least, most, random.Random(seed)) for seed, text in enumerate(texts)]
    fastest = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or fastest == float("inf"):
        begin = time.perf_counter()
        for pieces in cut:
            guard = Guard(settings)
            verdicts = [guard.feed(piece) for piece in pieces]
            assert not any(verdicts), next(filter(None, verdicts))
            verdict = guard.finish()
            assert verdict is None, verdict
        fastest = min(fastest, time.perf_counter() - begin)
    characters = sum(map(len, texts))
    size = sum(len(text.encode()) for text in texts)
    name = f"{least}-{most}" if most < CHARACTERS else "whole"
    return Speed(language, name, characters, size / fastest / 1e6, characters / fastest, fastest / sum(map(len, cut)) * 1e6)


def share_of_run(path: Path) -> dict[str, float]:
    """Seconds of checking all texts of a run, and its own seconds."""
    from selflengthen.report.status import run_figures
    from selflengthen.stages.ledger import Ledger
    from selflengthen.store import RunDirectory

    ledger = Ledger(RunDirectory.open(path, readonly=True))
    texts: list[tuple[str, str]] = []
    for iteration in ledger.run.iterations():
        for stage in ("respond", "extend", "measure"):
            slot = ledger.slot(iteration, stage)
            for row in (*slot.kept, *slot.rejected):
                tries = (*getattr(row, "steps", ()), *getattr(row, "attempts", ()), *(row.made.failed if hasattr(row, "made") else ()))
                # An extension's text is that of one of its steps; half drafts are not on the disk, so they count by the steps they went into.
                own = () if stage == "extend" else (getattr(row, "text", ""),)
                texts += [(row.language, text) for text in (*own, *(one.text for one in tries)) if text]
    spent = 0.0
    for language, text in texts:
        pieces = pieces_of(text, 3, 6, random.Random(0))
        guard = Guard(settings_of(language))
        begin = time.perf_counter()
        for piece in pieces:
            guard.feed(piece)
        guard.finish()
        spent += time.perf_counter() - begin
    figures = run_figures(path)
    worked = sum(one.seconds or 0.0 for one in figures.iterations) + (figures.base.seconds or 0.0)
    return {"texts": len(texts), "checking_seconds": round(spent, 2), "run_seconds": round(worked, 1), "share": round(spent / worked, 5)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    parser.add_argument("--run", type=Path, help="a finished run, to see what share of its time the checks took")
    options = parser.parse_args()
    seconds = options.seconds
    rows = []
    print(f"{'language':9}{'pieces':>9}{'MB/s':>9}{'characters/s':>15}{'us/piece':>11}")
    for language, make in (("en", english), ("zh", chinese)):
        texts = [make(random.Random(seed)) for seed in range(TEXTS)]
        for least, most in ((1, 1), (1, 3), (4, 8), (10**9, 10**9)):
            row = measure(language, texts, least, most, seconds)
            rows.append(row)
            rate = f"{row.megabytes_per_second:9.2f}{row.characters_per_second:15,.0f}"
            print(f"{row.language:9}{row.pieces:>9}{rate}{row.microseconds_per_piece:11.2f}")
    run = share_of_run(options.run) if options.run else None
    if run:
        print(f"{options.run}: {run['texts']} texts checked in {run['checking_seconds']} s of {run['run_seconds']} s: {run['share']:.2%}")
    print(json.dumps({"bench": "checks", "rows": [asdict(row) for row in rows], "run": run}))


if __name__ == "__main__":
    main()
