"""The process that trains: `python -m selflengthen.trainers.child TASK_FILE PIPE`. Dies with its parent; says how far it is.

What does not live here: the training (`learn`), which is imported only after the watch over the parent has begun, since that takes seconds.
"""

import gc
import json
import os
import sys
import threading
from pathlib import Path

from selflengthen.errors import TrainerError
from selflengthen.trainers.task import Task

NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED", "CUDA driver error: out of memory")
"""How torch says it on a CPU, and on a GPU where no allocator of its own was asked: when it starts there, or in NVIDIA's libraries."""
TOLD = 3
"""Exit code after an error that was told in words."""
OUT_OF_MEMORY = (
    "out of memory. Set train.gradient_checkpointing = true, lower train.rank or train.cutoff_tokens, "
    "or train one adapter at a time (train.at_once = 1)"
)


class Parent:
    """The other end of the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "w", encoding="utf-8", buffering=1)

    def progress(self, step: int, steps: int, loss: float) -> None:
        """Said after each optimiser step."""
        self._say({"step": step, "steps": steps, "loss": loss})

    def error(self, text: str) -> None:
        """Said once, before the end."""
        self._say({"error": text})

    def _say(self, message: dict[str, float | str]) -> None:
        self._pipe.write(json.dumps(message, ensure_ascii=False) + "\n")


def main(task_file: str, pipe: str) -> int:
    """Run one task."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    parent = Parent(int(pipe))
    task = Task.model_validate_json(Path(task_file).read_bytes())
    gc.disable()  # a quarter of the start-up is the collector walking over modules that will never be garbage
    import torch

    from selflengthen.trainers import learn

    gc.freeze()
    gc.enable()
    try:
        learn.train(task, parent.progress)
    except TrainerError as error:
        parent.error(str(error))
    except (MemoryError, torch.OutOfMemoryError):
        parent.error(OUT_OF_MEMORY)
        raise
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            parent.error(OUT_OF_MEMORY)
        raise
    else:
        return 0
    return TOLD


def _die_with_parent() -> None:
    """The parent holds the other end of our standard input and never writes: the read returns when it is gone."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
