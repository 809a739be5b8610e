"""Streamed events a second that one process takes in, with many streams open at once: how far the client is from being the limit.

A server in a process of its own (`bench/parts/hose.py`) keeps all streams open and sends events as fast as they are taken. `plain` is the engine
alone; `checked` has every stream watched by the English checks, as in a run. A GPU of 2026 that writes 25,000 tokens a second with four tokens an
event makes 6,250 events a second.

    python bench/client.py [--streams 2000] [--events 100] [--rounds 3]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from selflengthen.engines import Finish, Request, Watch, open_engine
from selflengthen.recipes import load_recipe
from selflengthen.records import Message, Sampling
from selflengthen.text import Guard

HOSE = Path(__file__).parent / "parts" / "hose.py"
SEEDLING = Path(__file__).parents[1] / "src" / "selflengthen" / "seedling"
PROMPT = (Message(role="user", content="Write about the harbour."),)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000, help="open at once")
    parser.add_argument("--events", type=int, default=100, help="of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"plain": [], "checked": []}
    print(f"{options.streams} streams of {options.events} events\n{'':10}{'open at once':>14}{'events/s':>10}")
    for _ in range(options.rounds):
        for way, speeds in found.items():
            most, speed = measure(options.streams, options.events, checked=way == "checked")
            speeds.append(speed)
            print(f"{way:10}{most:>14}{speed:>10.0f}", flush=True)
    told = {way: round(statistics.median(speeds)) for way, speeds in found.items()}
    print(
        json.dumps({"streams": options.streams, "events_per_second": told, "over_20000": {way: round(each / 20000, 2) for way, each in told.items()}})
    )


def measure(streams: int, events: int, *, checked: bool) -> tuple[int, float]:
    """Streams that were open at once, and events a second."""
    with subprocess.Popen([sys.executable, str(HOSE), str(streams), str(events)], stdout=subprocess.PIPE, text=True) as hose:  # noqa: S603 - our own file
        assert hose.stdout is not None
        try:
            return asyncio.run(drink(int(hose.stdout.readline()), streams, events, checked=checked))
        finally:
            hose.terminate()


async def drink(port: int, streams: int, events: int, *, checked: bool) -> tuple[int, float]:
    """Take all streams to their end."""
    checks = load_recipe("en").checks
    url = f"http://127.0.0.1:{port}/v1"
    request = Request(PROMPT, Sampling(max_tokens=16384), 1)
    async with open_engine("openai", urls=(url,), model=str(SEEDLING), prefill="completions", concurrency=streams) as engine:
        watches: list[Watch | None] = [Guard(checks) if checked else None for _ in range(streams)]
        begun = time.perf_counter()
        answers = await asyncio.gather(*(engine.generate(request, watch) for watch in watches))
        seconds = time.perf_counter() - begun
    ended = [answer for answer in answers if answer.finish is Finish.STOP]
    assert len(ended) == streams, f"{streams - len(ended)} streams did not come to their end, one of them: {answers[0]}"
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/most") as response:
        most = int(await response.json())
    return most, streams * events / seconds


if __name__ == "__main__":
    main()
