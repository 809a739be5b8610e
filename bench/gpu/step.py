"""Where the time of a decoding step goes on a GPU: launching kernels one by one, or computing. Used by `check.sh`.

    python bench/gpu/step.py MODEL [MODEL ...]

Times the engine's own step over 32 rows, its forward alone, and the same forward replayed as a CUDA graph, which costs one launch.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable

import torch

from selflengthen.engines import Request
from selflengthen.engines.embedded.batch import Batch
from selflengthen.engines.embedded.loading import load
from selflengthen.engines.embedded.row import Reply, Row
from selflengthen.records import Message, Sampling

ROWS = 32
STEPS = 40


def milliseconds(run: Callable[[], object]) -> float:
    """Each of `STEPS` runs."""
    run()
    wait()
    start = time.perf_counter()
    for _ in range(STEPS):
        run()
    wait()
    return (time.perf_counter() - start) / STEPS * 1000


def wait() -> None:
    """Until the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


async def measure(name: str) -> None:
    """One model's numbers."""
    loaded = load(name, "auto", "auto")
    batch = Batch(loaded, max_rows=ROWS, max_tokens=ROWS * 1024, context_tokens=1024)
    dice = random.Random(0)
    rows = []
    loop = asyncio.get_running_loop()
    for seed in range(ROWS):
        request = Request((Message(role="user", content="Write about the harbour. " * dice.randint(1, 12)),), Sampling(max_tokens=900), seed)
        prompt = loaded.dialogue.encode(loaded.dialogue.prompt(request))
        rows.append(Row.of(request, None, Reply(loop, loop.create_future()), prompt=prompt, limit=900, dialogue=loaded.dialogue))
    loaded.ends = batch._ends = frozenset()  # noqa: SLF001 - looked at from inside
    batch.admit(rows)
    batch.step()
    whole = milliseconds(batch.step)
    cache, latest = batch._cache, batch._latest  # noqa: SLF001
    positions = cache.begin_step([len(row.tokens) - 1 for row in batch.rows], same_rows=True)

    def forward() -> torch.Tensor:
        output = batch._model(  # noqa: SLF001
            input_ids=latest, attention_mask=cache.masks(), position_ids=positions, past_key_values=cache.library, use_cache=True, logits_to_keep=1
        )
        return output.logits

    alone = milliseconds(forward)
    chances = [0.5] * len(batch.rows)
    logits = forward()[:, -1].clone()
    pick = milliseconds(lambda: batch._sampler.pick(logits, chances))  # noqa: SLF001
    line = f"{name}: step {whole:.1f} ms ({len(batch.rows)} rows), forward alone {alone:.1f}, sampling {pick:.2f}"
    if not torch.cuda.is_available():
        print(line)
        return
    small = torch.zeros(1, device="cuda")
    launch = milliseconds(lambda: [small.add_(1) for _ in range(100)]) * 10
    start = time.perf_counter()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = forward()
    wait()
    capture = (time.perf_counter() - start) * 1000
    replay = milliseconds(graph.replay)
    apart = (captured.float() - forward().float()).abs().max().item()
    line += f"; one launch {launch:.1f} us; as a graph {replay:.2f} ms, recorded in {capture:.0f} ms, logits at most {apart:.2g} apart"
    print(line, flush=True)


if __name__ == "__main__":
    for one in sys.argv[1:]:
        with torch.inference_mode():
            asyncio.run(measure(one))
