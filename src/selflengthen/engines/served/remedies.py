"""What a server's log says: how far it is, why it ended, and what can be done about that. Pure but for reading the log's end.

The words are vLLM's, 0.26 to 0.32. A fault that is not known here is shown as the server put it.
"""

import re
from pathlib import Path

TAIL_BYTES = 1 << 18
"""A traceback of several processes, with all their settings, has tens of kilobytes."""
SHORT = 100
"""Characters of a line beside the progress."""
LAST_LINES = 8
WIDE = 300
"""Characters of a line in a message."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"^(\(\w[^()]*pid=\d+\)\s*)*((DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d [\d:.]+ \[[^\]]*\]\s?)?")
_WARNING = re.compile(r"\bWARNING \d\d-\d\d ")
_NO_NEWS = re.compile(r"^(Route: |Triton is installed|OpenMP thread binding|Enabled custom fusions|non-default args)")
"""Lines that each start has and that say nothing of how far it is."""
_ERROR = re.compile(r"^([A-Za-z_]\w*\.)*[A-Za-z_]*(Error|Exception|Interrupt)\b|: error: ")
_CONSEQUENCE = re.compile(
    r"See root cause above|Engine core (proc|initialization)|EngineDeadError|WorkerProc initialization failed|Error in (chat )?completion"
)
"""Errors that only say that another process had one."""
_LITTER = re.compile(r"^\s*(- leaked |- \.\.\. skipped|nanobind: |See https://nanobind)|resource_tracker|warnings\.warn\(")
"""What a process that was killed leaves in a log after the reason."""

INSTALL = "install it beside this package (pip install vllm), or name in engine.vllm.command what starts it from an environment of its own"

PORT_TAKEN = "another process took the port between its choice and now; run again, and another one is chosen"
NO_ROOM = (
    "not even one text of full length fits beside the weights: limit the context by --max-model-len in engine.vllm.args (a number, or auto), "
    "raise engine.vllm.gpu_memory if the GPU has more to give, or engine.vllm.tensor_parallel; on a CPU raise VLLM_CPU_KVCACHE_SPACE (GiB) in "
    "engine.vllm.env"
)
OTHERS_HOLD = (
    "less memory is free than is asked for: end what else holds it, lower engine.vllm.gpu_memory (on a CPU VLLM_CPU_KVCACHE_SPACE, GiB, in "
    "engine.vllm.env), or choose other GPUs in engine.vllm.gpus"
)
FULL = (
    "the GPU's memory is full: lower engine.vllm.gpu_memory, limit the context by --max-model-len in engine.vllm.args, "
    "or raise engine.vllm.tensor_parallel"
)
NO_GPU = (
    "this vLLM is built for GPUs and sees none: see to the driver and CUDA_VISIBLE_DEVICES (nvidia-smi lists what is there), "
    "or use a vLLM that is built for CPUs"
)
NO_LORA = "vLLM cannot run this model with adapters, which the method needs: use engine.kind = 'transformers', or another model"
NO_MODEL = "the server cannot read model.path: see that the folder or hub name is right, and that its files are there or can be fetched"

NO_SCRIPT = (
    "this build of vLLM cannot run its own command, because its package has another name: set engine.vllm.command = "
    '["/path/to/its/python", "-m", "vllm.entrypoints.openai.api_server"]'
)

REMEDIES: tuple[tuple[str, str], ...] = (
    (r"unrecognized arguments: (?P<it>.+)", "this vLLM does not know {it}: drop it from engine.vllm.args, or update vLLM (0.26 or newer)"),
    (r"greater than max_lora_rank", "drop --max-lora-rank from engine.vllm.args: it is chosen to fit train.rank"),
    (r"error: argument (?P<it>-\S+): ", "correct {it} in engine.vllm.args"),
    (r"No module named '?vllm\b|vllm: (command )?not found", f"vLLM is not there: {INSTALL}"),
    (
        r"could not be started: .*No such file",
        f"that program, or the interpreter in its first line, is not there: correct engine.vllm.command, or {INSTALL}",
    ),
    (r"could not be started: .*(Permission denied|Exec format)", "engine.vllm.command names something that cannot be run: correct it"),
    (r"stopped with exit code 0$", "it ended without serving anything: see that engine.vllm.command starts a vLLM server"),
    (r"No package metadata was found for vllm", NO_SCRIPT),
    (r"Errno \d+\] .{0,60}ddress already in use", PORT_TAKEN),
    (r"No available memory for the cache blocks|is needed, which is larger than the available KV cache|can be stored in (the )?KV cache", NO_ROOM),
    (r"less than (desired (GPU|CPU) memory utilization|the engine's budget)|is less than requested memory for kv", OTHERS_HOLD),
    (r"OutOfMemoryError|(CUDA|HIP) out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation", FULL),
    (r"does not support LoRA", NO_LORA),
    (r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver", NO_GPU),
    (r"Bfloat16 is only supported on GPUs with compute capability", "this GPU does not know bfloat16: set model.dtype = 'float16'"),
    (r"must be divisible by tensor parallel size", "set engine.vllm.tensor_parallel to a number that divides the model's attention heads"),
    (
        r"VLLM_ALLOW_RUNTIME_LORA_UPDATING cannot be used",
        "drop --api-server-count and --data-parallel-size: engine.vllm.replicas starts more servers",
    ),
    (r"odel architectures? .*(not supported|failed to be inspected)", "this vLLM does not know this kind of model: update vLLM"),
    (r"No space left on device", "a disk is full, or /dev/shm, which vLLM's processes share: make room"),
    (r"not a valid model identifier|is not a local folder|couldn't connect to|ffline mode is enabled|Repository Not Found|gated repo", NO_MODEL),
)
"""What vLLM says, and what to do; the first that matches the log counts."""


def read_lines(log: Path, start: int, most_bytes: int = TAIL_BYTES) -> list[str]:
    """The end of what a log got since `start`, line by line, as a terminal would show it. Blank lines are left out."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(start, stream.seek(0, 2) - most_bytes))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = (_COLOUR.sub("", line.rstrip().rpartition("\r")[2]).rstrip() for line in text.split("\n"))
    return [line for line in lines if line.strip()]


def bare(line: str) -> str:
    """A line without the name of the process, time and place that vLLM puts before it."""
    return _PREFIX.sub("", line, count=1)


def news(lines: list[str]) -> str:
    """The last line that says something to a person, shortened; empty when there is none. vLLM's warnings, of which each start has many, are not."""
    for line in reversed(lines):
        words = bare(line)
        if words[:1].isalpha() and " " in words.strip() and not _WARNING.search(line) and not _NO_NEWS.search(words):
            return words if len(words) <= SHORT else words[: SHORT - 3] + "..."
    return ""


def remedy(lines: list[str], how: str = "") -> str:
    """What to do, empty when it is not known. `how`: what is known of the end beside the log."""
    text = "\n".join([*map(bare, lines), how])
    for pattern, sentence in REMEDIES:
        if found := re.search(pattern, text):
            return sentence.format(**{name: value.strip() for name, value in found.groupdict().items()})
    return ""


def last_words(lines: list[str]) -> list[str]:
    """What to show of a log in a message: its last lines, before them the error that all others come from, if it stands further up."""
    words = [bare(line)[:WIDE] for line in lines if not _LITTER.search(line)]
    errors = [each for each in words if _ERROR.search(each) and not _CONSEQUENCE.search(each)]
    if errors and errors[-1] == words[-1] and ": error: " in words[-1]:
        return words[-1:]  # of a command line that is not taken; before it all flags there are
    last = words[-LAST_LINES:]
    return last if not errors or errors[-1] in last else [errors[-1], "...", *last]
