"""How full the flow keeps a vLLM server that is as large as a real one: tokens per second of the flow over those of the bare server.

    python bench/gpu/saturation.py model DIR                       # makes a model of Qwen2.5-7B's shape, without weights
    python bench/gpu/saturation.py run DIR [--in-flight 256] [--count 200] [-o engine.vllm.command=...]

Random weights write no text that passes a check, so the texts are dubbed: each request is answered by the server with as many tokens as a scripted
writer's text has, and the flow is given the text of the writer, piece by piece as the server's pieces come. The server works and the client reads,
checks and decides as in a real run; what the texts say is all that is not real.

Then the same requests are sent all at once, without streams, checks and stages; and once more without seeds, each of which is a generator of random
numbers of its own to the server. Each of the three is ended after `--seconds`. The server's own counter (`vllm:generation_tokens_total`) tells the
speeds: over the whole, and over the time in which nearly `--in-flight` requests ran.
"""

import argparse
import asyncio
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from flow import flow
from parts.bare import all_at_once
from parts.watched import WatchedEngine
from selflengthen.config import load_config
from selflengthen.engines import Completion, Engine, Finish, Request, Watch
from selflengthen.engines.pretend import pretend
from selflengthen.pipeline import Pipeline, create
from selflengthen.records import Instruction, Kind, Made, Message, Sampling
from selflengthen.serving import engine_for
from selflengthen.stages import instruct
from selflengthen.text import Verdict

SEEDLING = Path(__file__).parents[2] / "src" / "selflengthen" / "seedling"
SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-06,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
    "eos_token_id": 0,
    "bos_token_id": 0,
}
"""Qwen2.5-7B's."""
EVERY_SECONDS = 0.5
TELL_SECONDS = 10.0
NOUNS = [
    "harbour",
    "lantern",
    "ledger",
    "orchard",
    "bridge",
    "letter",
    "violin",
    "kitchen",
    "railway",
    "garden",
    "winter",
    "market",
    "island",
    "chapel",
    "engine",
]


def make_model(folder: Path) -> None:
    """A folder that `--load-format dummy` can serve: the shape, and the seedling's tokenizer with enough tokens for every number to mean some."""
    folder.mkdir(parents=True)
    for file in SEEDLING.iterdir():
        if file.suffix in {".json", ".jinja"} and file.name != "training.json":
            shutil.copy(file, folder)
    (folder / "config.json").write_text(json.dumps(SHAPE))
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = told["model"]["vocab"]
    used = max(*vocabulary.values(), *(each["id"] for each in told["added_tokens"]))
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number in range(used + 1, SHAPE["vocab_size"]):
        vocabulary["Ġ" + "".join(letters[number // 26**place % 26] for place in range(4)) + "q"] = number
    (folder / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")


class Dubbed:
    """`engine`, whose answers have the words of a scripted writer: see above."""

    def __init__(self, engine: Engine, tokens_per_character: float) -> None:
        self.engine, self.tokens_per_character = engine, tokens_per_character

    @property
    def capabilities(self):  # noqa: ANN201 - the engine's
        return self.engine.capabilities

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        """As many tokens as the writer's text has."""
        text = long_text(request)
        tokens = max(1, min(round(len(text) * self.tokens_per_character), request.sampling.max_tokens))
        dub = _Dub(watch, text, tokens)
        completion = await self.engine.generate(replace(request, sampling=request.sampling.model_copy(update={"max_tokens": tokens})), dub)
        verdict = dub.verdict or dub.rest()
        heard = text[: dub.fed]
        return replace(completion, text=heard, finish=Finish.WATCHED if verdict else Finish.STOP, verdict=verdict)


class _Dub:
    """Feeds a watch the writer's text as the server's text comes."""

    def __init__(self, watch: Watch | None, text: str, tokens: int) -> None:
        self.watch, self.text, self.fed = watch, text, 0
        self.step = max(1, 4 * len(text) // max(1, tokens))  # of a piece of four tokens
        self.verdict: Verdict | None = None

    def feed(self, _delta: str) -> Verdict | None:
        return self._on(self.step)

    def rest(self) -> Verdict | None:
        return self._on(len(self.text))

    def _on(self, characters: int) -> Verdict | None:
        piece = self.text[self.fed : self.fed + characters]
        self.fed += len(piece)
        if piece and self.watch is not None:
            self.verdict = self.watch.feed(piece)
        return self.verdict


def long_text(request: Request) -> str:
    """The scripted writer's text: some hundred words, a third more to two thirds more for an extension."""
    return pretend(request)


@dataclass(frozen=True)
class Reading:
    """What a server told of itself."""

    at: float
    tokens: float
    running: float


class Meter:
    """Reads the server's counters while something runs."""

    def __init__(self, url: str) -> None:
        self.url, self.readings = f"{url.removesuffix('/v1')}/metrics", list[Reading]()

    async def over(self, work: Awaitable[object], seconds: float) -> "Meter":
        """Read until the work is done, or for so long, and then end it."""
        task = asyncio.ensure_future(work)
        begun = told = time.perf_counter()
        async with aiohttp.ClientSession() as session:
            while not task.done() and time.perf_counter() - begun < seconds:
                self.readings.append(await self._read(session))
                if self.readings[-1].at - told > TELL_SECONDS:
                    told = self.readings[-1].at
                    print(f"  {told - begun:.0f} s: {self.speed()[0]:.0f} tokens/s, {self.readings[-1].running:.0f} run", flush=True)
                await asyncio.wait({task}, timeout=EVERY_SECONDS)
            self.readings.append(await self._read(session))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while (await self._read(session)).running:  # noqa: ASYNC110 - it is the server that says so. Nothing is to be left for the next one
                await asyncio.sleep(EVERY_SECONDS)
        if not task.cancelled():
            task.result()
        return self

    async def _read(self, session: aiohttp.ClientSession) -> Reading:
        async with session.get(self.url) as response:
            text = await response.text()

        def total(name: str) -> float:
            return sum(float(value) for value in re.findall(rf"^vllm:{name}(?:\{{[^}}]*\}})? (\S+)", text, re.MULTILINE))

        return Reading(time.perf_counter(), total("generation_tokens_total"), total("num_requests_running"))

    def speed(self, least: float = 0) -> tuple[float, float]:
        """Tokens a second while at least so many requests ran, and for how many seconds that was."""
        pairs = [(a, b) for a, b in zip(self.readings, self.readings[1:], strict=False) if min(a.running, b.running) >= least]
        seconds = sum(b.at - a.at for a, b in pairs)
        return (sum(b.tokens - a.tokens for a, b in pairs) / seconds if seconds else 0.0), seconds


def instructions(count: int) -> list[Instruction]:
    """As many different ones as wanted."""
    dice, made = random.Random(0), Made(model="none", sampling=Sampling(), recipe="en@0", seed=0)
    return [
        Instruction(
            key=f"1-en-{number:04d}",
            language="en",
            kind=Kind.PERSONAL,
            text=f"Write a long text about the {' and the '.join(dice.sample(NOUNS, 4))}, part {number}.",
            made=made,
        )
        for number in range(count)
    ]


async def measure(folder: Path, model: Path, options: argparse.Namespace) -> dict[str, object]:
    """The flow, then the bare server."""
    config = load_config(
        None,
        [
            "engine.kind=vllm",
            f"model.path={model}",
            f"engine.vllm.args={json.dumps(['--load-format', 'dummy', '--max-model-len', '16384', '--max-num-seqs', str(options.in_flight)])}",
            f"engine.concurrency={options.in_flight}",
            'languages=["en"]',
            f"instruct.count={options.count}",
            "extend.rounds=1",
            "checks.monotony=false",
            *options.override,
        ],
    )
    run = create(folder / "run", config)
    pipeline = Pipeline(run)
    with run.locked():
        slot = pipeline.ledger.slot(1, instruct.STAGE)
        for each in instructions(options.count):
            slot.write(each)
        _base_measurement(pipeline)
    async with engine_for(config, folder, lambda text: print(text, file=sys.stderr)) as server:
        dialogue = server._opened().known.local.dialogue  # type: ignore[attr-defined]  # noqa: SLF001
        sample = long_text(Request((Message(role="user", content=instructions(1)[0].text),), Sampling(), 0))
        engine = WatchedEngine(server)
        dubbed = Dubbed(engine, len(dialogue.encode(sample)) / len(sample))
        (url,) = server._replicas  # type: ignore[attr-defined]  # noqa: SLF001
        ours = await Meter(url).over(flow(pipeline.plan(1), pipeline.ledger, dubbed), options.seconds)  # type: ignore[arg-type]
        asked = engine.asked
        bare = await Meter(url).over(all_at_once(server, asked), options.seconds)
        meters = {"flow": ours, "bare": bare}
        if options.no_seeds:
            meters["no seeds"] = await Meter(url).over(all_at_once(server, asked, seeds=False), options.seconds)
    kept = len(pipeline.ledger.slot(1, "extend").kept)
    return _told(meters, options.in_flight, requests=len(asked), kept=kept)


def _base_measurement(pipeline: Pipeline) -> None:
    """The base model counts as measured: it has no floors."""
    from selflengthen.records import Figures, Measurement

    figures = Figures(
        n=1, words_mean=1, words_median=1, words_p90=1, pass_rate=1, repetition_rate=0, at_limit_rate=0, distinct_3=None, compression=None
    )
    pipeline.ledger.write_measurement(Measurement(iteration=0, overall=figures, languages={"en": figures}))


def _told(meters: dict[str, Meter], in_flight: int, **more: int) -> dict[str, object]:
    """The table, and what programs want to know."""
    print(f"{'':10}{'tokens/s':>10}{'seconds':>9}{'full tokens/s':>15}{'full seconds':>14}")
    speeds = {}
    for name, meter in meters.items():
        (whole, seconds), (full, full_seconds) = meter.speed(), meter.speed(0.97 * in_flight)
        speeds[name] = (whole, full)
        print(f"{name:10}{whole:>10.0f}{seconds:>9.1f}{full:>15.0f}{full_seconds:>14.1f}")

    def ratio(one: str, other: str, at: int) -> float | None:
        return round(speeds[one][at] / speeds[other][at], 3) if one in speeds and speeds[other][at] else None

    ratios = {"saturation": ratio("flow", "bare", 1), "saturation_with_ends": ratio("flow", "bare", 0), "no_seeds": ratio("no seeds", "bare", 1)}
    return {"in_flight": in_flight, **more, **ratios}


def main() -> None:
    """Make the model, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("model", "run"))
    parser.add_argument("folder", type=Path, help="of the model")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--no-seeds", action="store_true", help="measure the bare server without seeds too")
    parser.add_argument("--seconds", type=float, default=75.0, help="the longest that each may take")
    parser.add_argument("--count", type=int, default=200, help="instructions")
    parser.add_argument("-o", "--override", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    if options.what == "model":
        make_model(options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.folder.absolute(), options))))


if __name__ == "__main__":
    main()
