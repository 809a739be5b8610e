"""Our flow against the published one, on the same engine, model and instructions: wall-clock and tokens per word of a kept extension.

    python bench/flow.py                                         # embedded engine, the seedling
    python bench/flow.py -o engine.kind=vllm -o 'engine.vllm.command=["/path/to/vllm", "serve"]'   # any engine, any setting
    python bench/flow.py --run runs/demo --iterations 1 2 3 -o extend.tries=20       # iterations of a run that was finished, with its adapters

Stages 1 and 2 of an iteration, from instructions that were made before; without `--run`, of the base model. `published` is the way of the
paper's code (see `bench/parts/published.py`); then ours, one part added after the other:

    flow       no barrier, no stage ends early; still checked at the end
    stopping   a text is stopped on the stream when it cannot pass any more
    salvage    what stood before the fault is kept and continued
    patience   a text whose good rewritings do not grow enough is given up: the product as it is

The last table is how full the product keeps the engine: its tokens per second over those of the same requests sent all at once (no stage, no
checks; to servers directly, without our engine). The last line is one JSON object. Words count when the text passes the same checks in all ways.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from parts.bare import all_at_once
from parts.published import Published
from parts.watched import Asked, WatchedEngine
from selflengthen.config import Config, load_config, with_overrides
from selflengthen.executors import LocalExecutor
from selflengthen.pipeline import Pipeline, create
from selflengthen.records import Adapter, Record
from selflengthen.serving import engine_for
from selflengthen.stages import extend, instruct, respond
from selflengthen.stages.base import IterationPlan
from selflengthen.stages.ledger import STAGES, Ledger
from selflengthen.stages.runner import Flow
from selflengthen.stages.spent import tokens_of
from selflengthen.store import RunDirectory

WAYS = ("published", "flow", "stopping", "salvage", "patience")
SETTINGS = [
    "instruct.sampling.max_tokens=96",
    "instruct.wave=8",
    "measure.count=32",
    "respond.window=32",
    "engine.max_batch=48",
    "engine.threads=1",
]
"""The seedling's: short instructions, small windows. Decoding, tries and rounds are the method's own, and so is the limit of a text."""


@dataclass(frozen=True)
class Outcome:
    """What one way took and brought."""

    seconds: float
    tokens: int
    rejected: int | None
    """Tokens in text that was not kept; the published way does not know."""
    kept: int
    planned: int
    words: int
    asked: Sequence[Asked]

    @property
    def per_word(self) -> float:
        """Tokens per word of a kept extension."""
        return self.tokens / max(1, self.words)

    @property
    def seconds_per_word(self) -> float:
        """Wall-clock per word of a kept extension, in milliseconds."""
        return 1000 * self.seconds / max(1, self.words)

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=32, help="instructions, both languages together")
    parser.add_argument("--run", type=Path, help="a finished run, to measure iterations of")
    parser.add_argument("--iterations", type=int, nargs="*", default=[1, 2, 3], help="of --run")
    parser.add_argument("--rounds", type=int, default=1, help="times that all is measured; medians are told")
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--no-saturation", action="store_true")
    parser.add_argument("-o", "--override", action="append", default=[], metavar="A.B=C", help="a setting, as for `selflengthen run`")
    options = parser.parse_args()
    told: list[dict[str, Outcome]] = []
    lines: list[dict[str, object]] = []
    for number in options.iterations if options.run else [1]:
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare(Path(folder) / "prepared", number, options)
            found, bare = asyncio.run(measure_all(prepared, Path(folder), options))
        told.append(found)
        print(f"\n{prepared.config.model.path}, engine {prepared.config.engine.kind}, iteration {number}")
        ratios = report(found)
        saturation = None
        if bare is not None:
            ours = [*found.values()][-1].speed
            saturation = round(ours / bare, 3)
            print(f"engine: {ours:.0f} tokens/s in the flow, {bare:.0f} tokens/s with the same requests all at once: {saturation:.2f}")
        lines.append({"iteration": number, "over_published": ratios, "saturation": saturation})
    if len(told) > 1:
        print("\nall together")
        lines.append({"iteration": "all", "over_published": report({way: together([found[way] for found in told]) for way in options.ways})})
    print(json.dumps({"engine": prepared.config.engine.kind, "model": prepared.config.model.path, "iterations": lines}))


@dataclass(frozen=True)
class Prepared:
    """A run with the instructions of the iteration to measure, and the settings to measure it with."""

    path: Path
    config: Config
    iteration: int

    def adapters(self) -> list[Adapter]:
        """What the iteration works with."""
        ledger = Ledger(RunDirectory.open(self.path, readonly=True))
        good = ledger.last_good(self.iteration)
        return [*ledger.adapters(good.iteration).values()] if good else []


def prepare(path: Path, number: int, options: argparse.Namespace) -> Prepared:
    """A run up to the instructions: a new one, or a copy of one that is there, without what came after them."""
    if options.run is None:
        config = load_config(None, [*SETTINGS, f"instruct.count={options.count}", *options.override])
        Pipeline(create(path, config), lambda _: None).run(instruct.STAGE)
        return Prepared(path, config, 1)
    shutil.copytree(options.run, path)
    run = RunDirectory.open(path)
    Ledger(run).put_away(respond.STAGE, number)
    return Prepared(path, with_overrides(run.config, options.override), number)


async def measure_all(prepared: Prepared, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Outcome], float | None]:
    """All ways in turn, on one engine; and the speed of the bare engine on what the last one asked."""
    rounds: dict[str, list[Outcome]] = {way: [] for way in options.ways}
    speeds = []
    async with engine_for(prepared.config, folder, print) as opened:
        for adapter in prepared.adapters():
            await opened.load(adapter)
        engine = WatchedEngine(opened)
        for number in range(options.rounds):
            for way in options.ways:
                rounds[way].append(await measure(way, prepared, folder / f"{way}-{number}", engine))
                print(f"... {way}: {rounds[way][-1].seconds:.0f} s", flush=True)
            if not options.no_saturation:
                speeds.append(await all_at_once(opened, rounds[options.ways[-1]][-1].asked))
    median = {way: sorted(found, key=lambda each: each.per_word)[len(found) // 2] for way, found in rounds.items()}
    return median, statistics.median(speeds) if speeds else None


async def measure(way: str, prepared: Prepared, folder: Path, engine: WatchedEngine) -> Outcome:
    """One way, in a copy of the prepared run."""
    shutil.copytree(prepared.path, folder)
    run = RunDirectory.open(folder)
    pipeline = Pipeline(run)
    plan = restricted(replace(pipeline.plan(prepared.iteration), config=prepared.config), way)
    engine.clear()
    begun = time.perf_counter()
    if way == "published":
        published = Published(plan, engine)
        made = await published.run(list(pipeline.ledger.slot(plan.number, instruct.STAGE).kept))
        seconds = time.perf_counter() - begun
        return Outcome(seconds, engine.tokens, None, len(made), published.planned, sum(each.words for each in made), engine.asked)
    await flow(plan, pipeline.ledger, engine)
    seconds = time.perf_counter() - begun
    slots = [pipeline.ledger.slot(plan.number, stage) for stage in STAGES[1:3]]
    rows: list[Record] = [row for slot in slots for rows in (slot.kept, slot.rejected) for row in rows]
    extensions = slots[1]
    return Outcome(
        seconds,
        engine.tokens,
        sum(tokens_of(row)[1] for row in rows),
        len(extensions.kept),
        len(extensions.kept) + len(extensions.rejected),
        sum(row.words for row in extensions.kept),
        engine.asked,
    )


def restricted(plan: IterationPlan, way: str) -> IterationPlan:
    """The plan with as much of ours as the way has."""
    has = WAYS.index(way)
    config, stream = plan.config, has >= WAYS.index("stopping")
    salvage = config.checks.salvage if has >= WAYS.index("salvage") else 0
    if has < WAYS.index("patience"):
        config = config.model_copy(update={"extend": config.extend.model_copy(update={"patience": config.extend.tries})})
    watching = {name: replace(each, stream=stream, salvage=salvage) for name, each in plan.watching.items()}
    return replace(plan, config=config, watching=watching)


async def flow(plan: IterationPlan, ledger: Ledger, engine: WatchedEngine) -> None:
    """Stages 1 and 2 as the pipeline runs them; the instructions are there already."""
    slots = [ledger.slot(plan.number, stage) for stage in STAGES[:3]]
    instructing = instruct.Instruct(plan, slots[0], plan.config.instruct.count, [], ())
    responding = respond.Respond(plan, slots[1], ledger.selections(plan.number, respond.STAGE), instructing)
    arrows = [instructing, responding, extend.Extend(plan, slots[2], responding)]

    @asynccontextmanager
    async def opened():  # noqa: ANN202 - an engine that is open already
        yield engine

    await Flow(arrows, lambda _arrow, _row: None).run(LocalExecutor(), opened)


def report(found: dict[str, Outcome]) -> dict[str, dict[str, float]]:
    """The table; and by way, how many times fewer tokens and how much less time a kept word takes than in the first way."""
    base = next(iter(found.values()))
    heads = ("", "seconds", "tokens", "rejected", "extensions", "words kept", "tokens/word", "x fewer", "ms/word", "x faster")
    print("".join(f"{head:>12}" for head in heads))
    ratios = {}
    for way, each in found.items():
        rejected = "-" if each.rejected is None else f"{each.rejected / max(1, each.tokens):.0%}"
        fewer, faster = base.per_word / each.per_word, base.seconds_per_word / each.seconds_per_word
        ratios[way] = {"tokens_per_word": round(fewer, 3), "seconds_per_word": round(faster, 3)}
        cells = (
            way,
            f"{each.seconds:.1f}",
            each.tokens,
            rejected,
            f"{each.kept} of {each.planned}",
            each.words,
            f"{each.per_word:.2f}",
            f"{fewer:.2f}",
        )
        print("".join(f"{cell!s:>12}" for cell in (*cells, f"{each.seconds_per_word:.2f}", f"{faster:.2f}")))
    return ratios


def together(parts: Sequence[Outcome]) -> Outcome:
    """The sum of several iterations."""
    rejected = None if any(each.rejected is None for each in parts) else sum(each.rejected or 0 for each in parts)
    return Outcome(
        sum(each.seconds for each in parts),
        sum(each.tokens for each in parts),
        rejected,
        sum(each.kept for each in parts),
        sum(each.planned for each in parts),
        sum(each.words for each in parts),
        (),
    )


if __name__ == "__main__":
    main()
