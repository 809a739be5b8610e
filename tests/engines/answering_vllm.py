"""Looks like a vLLM server to those who start it, and really answers: `OpenAIServer` as a process, with vLLM's flags and environment.

`PLAY` in the environment is a folder. `play.json` there says what the server is, `stalls` there (an empty file) that streams fall silent for now;
each server adds a line to `starts` (its process id) and to `seen` (its number, method, path and adapter's name) for what it is asked. Servers are
numbered from 0 in the order in which they were started. Fields of `play.json`, each of which may be missing:

    script          what it answers: `module:function`; by default `asked_to_count`
    delay_seconds   for each token
    model_seeds     of the servers by number, the last one for all others: another seed is another model
    dies            from this number on servers die before they listen
    dies_asked      from this number on servers die of the first request for an answer
    quirks          fields of `Quirks`
"""

import argparse
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from openai_quirks import Quirks
from openai_server import OpenAIServer, Seen

from selflengthen.engines.base import Request
from selflengthen.engines.scripted import load_script


def steady(request: Request) -> str:
    """Counts to the number that the last message ends with; each word says the seed and the adapter. It goes on from any opening of that text.

    What it was not begun with it begins anew: text that was lost or doubled on the way shows.
    """
    number = int(request.messages[-1].content.split()[-1])
    text = " ".join(f"{request.seed}{f'/{request.adapter}' if request.adapter else ''}/{n}" for n in range(number))
    return text.removeprefix(request.prefill)


def asked_to_count(request: Request) -> str:
    """As `steady`, for a server that is asked other things too: those get a short answer."""
    return steady(request) if request.messages[-1].content.split()[-1].isdigit() else "A lamp by the sea."


def die(_request: Any) -> str:
    """The end of a server that is asked something."""
    sys.stdout.write("RuntimeError: an illegal memory access was encountered\n")
    sys.stdout.flush()
    os._exit(4)


class Playing(Quirks):
    """Looks whether it is to stall before each event."""

    file = Path()

    @property
    def stalls(self) -> bool:
        return self.file.exists()

    @stalls.setter
    def stalls(self, _value: bool) -> None:
        pass


class Written(list[Seen]):
    """What a server was asked, in a file too."""

    def __init__(self, number: int, file: Path) -> None:
        super().__init__()
        self._number, self._file = number, file

    def append(self, seen: Seen) -> None:
        super().append(seen)
        name = seen.body.get("lora_name") if isinstance(seen.body, dict) else None
        with self._file.open("a") as out:
            out.write(json.dumps([self._number, seen.method, seen.path, name]) + "\n")


def enter(folder: Path) -> int:
    """This server's number."""
    with (folder / "starts").open("a") as out:
        out.write(f"{os.getpid()}\n")
    return (folder / "starts").read_text().split().index(str(os.getpid()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name", required=True)
    args, _ = parser.parse_known_args()
    folder = Path(os.environ["PLAY"])
    play = json.loads((folder / "play.json").read_text())
    number = enter(folder)
    sys.stdout.write(f"INFO 11-24 05:02:11 [core.py:97] Loading {args.model}\n")
    sys.stdout.flush()
    if number >= play.get("dies", number + 1):
        sys.exit("RuntimeError: this GPU has fallen off the bus")
    seeds = play.get("model_seeds", [0])
    server = OpenAIServer(
        die if number >= play.get("dies_asked", number + 1) else load_script(play["script"]) if "script" in play else asked_to_count,
        name=args.served_model_name,
        root=args.model,
        context_tokens=1 << 16,
        concurrency=64,
        delay_seconds=play.get("delay_seconds", 0.0),
        api_key=os.environ["VLLM_API_KEY"],
        model_seed=seeds[min(number, len(seeds) - 1)],
        port=args.port,
        **(quirks := play.get("quirks", {})),
    )
    server.seen = Written(number, folder / "seen")
    server.quirks = Playing(**quirks)
    server.quirks.file = folder / "stalls"
    with server:
        threading.Event().wait()


if __name__ == "__main__":
    main()
