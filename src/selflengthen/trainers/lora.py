"""The parent's side of a LoRA fine-tune: starts the process that trains, listens to it, and ends it. No torch is imported here.

The process (`child`) runs in a group of its own, so that Ctrl-C reaches the parent alone, which then stops it by its handle. It holds one
end of a pipe whose other end is the parent's: however the parent dies, the pipe closes and the process ends itself. It talks through a
second pipe, one JSON object a line; all it prints goes to the job's log. Memory is given back because it ends.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from selflengthen.errors import TrainerError
from selflengthen.records import Adapter
from selflengthen.store.dataset import write_whole
from selflengthen.trainers.base import TrainJob, TrainProgress
from selflengthen.trainers.task import CONFIG_FILE, TASK_FILE, Task, finished, identify, open_partial

LAST_LINES = 8
"""Lines of the log that a crash is reported with."""
TAIL_BYTES = 16384
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Without these, torch's threads spin while they wait, and two processes on the same cores can fall 80-fold."""


class LoraTrainer:
    """Fine-tunes a LoRA adapter in a child process. `device` and `dtype` as in the model's settings."""

    def __init__(self, *, device: str = "auto", dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto") -> None:
        self._device = device
        self._dtype = dtype
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def train(self, job: TrainJob, on_progress: Callable[[TrainProgress], None]) -> Adapter:
        """Train, resume, or return the finished adapter. Blocks; leaving by any exception ends the child."""
        identity = identify(job)
        if adapter := finished(job, identity):
            return adapter
        _check_previous(job)
        task = Task(
            name=job.name,
            base_model=job.base_model,
            data=job.data.absolute(),
            out=job.out.absolute(),
            settings=job.settings,
            seed=job.seed,
            start_from=job.start_from and job.start_from.absolute(),
            device=self._device,
            dtype=self._dtype,
            identity=identity,
        )
        task_file = open_partial(task.out, identity) / TASK_FILE
        write_whole(task_file, task.model_dump_json(indent=1))
        self._run(job, task_file, on_progress)
        adapter = finished(job, identity)
        if adapter is None:
            raise TrainerError(f"{job.name}: the training process ended without writing {job.out} (log: {job.log})")
        return adapter

    def stop(self) -> None:
        """End what runs, from another thread: each `train` under way raises TrainerError. For a Ctrl-C that another thread receives."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                _kill(child)

    def _run(self, job: TrainJob, task_file: Path, on_progress: Callable[[TrainProgress], None]) -> None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            start = log.tell()
            hears, says = os.pipe()
            with os.fdopen(hears, encoding="utf-8") as messages:
                child = self._start(job, task_file, says, log.fileno())
                try:
                    error = _listen(messages, job.name, on_progress)
                    code = child.wait()
                finally:
                    _kill(child)
                    child.wait()
                    if child.stdin:
                        child.stdin.close()
                    with self._lock:
                        self._running.discard(child)
        if code != 0:
            raise TrainerError(self._account(job, code, error, start))

    def _start(self, job: TrainJob, task_file: Path, says: int, log: int) -> subprocess.Popen[bytes]:
        # -P: a `torch.py` in the folder the run was started from is not the library
        command = [sys.executable, "-P", "-m", "selflengthen.trainers.child", str(task_file), str(says)]
        try:
            with self._lock:
                if self._stopped:
                    raise TrainerError(f"{job.name}: the trainer was stopped")
                child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(says,),
                    process_group=0,
                    env=environment(job.settings.at_once, self._device),
                )
                self._running.add(child)
        finally:
            os.close(says)  # the child's end: only then does its death close the pipe
        return child

    def _account(self, job: TrainJob, code: int, error: str | None, start: int) -> str:
        """What went wrong, for a person."""
        if self._stopped:
            return f"{job.name}: the trainer was stopped; the same job goes on from its last checkpoint"
        if error is not None:
            return f"{job.name}: {error} (log: {job.log})"
        if code < 0:
            how = f"was killed by signal {-code} ({_signal_name(-code)})"
            if -code == signal.SIGKILL:
                how += "; if nobody did that, the system ran out of memory"
        else:
            how = f"stopped with exit code {code}"
        lines = _last_lines(job.log, start)
        said = "\n  ".join(["; it said last:", *lines]) if lines else " and said nothing"
        return f"{job.name}: the training process {how}{said}\n(log: {job.log}). The same job goes on from its last checkpoint"


def environment(at_once: int, device: str) -> dict[str, str]:
    """The child's environment: no network, no spinning threads, half of the cores when two train side by side, one GPU at most."""
    env = PATIENT | dict(os.environ) | QUIET
    if at_once > 1:
        mine = max(1, _cores() // at_once)
        given = env.get("OMP_NUM_THREADS", "")
        env["OMP_NUM_THREADS"] = str(min(mine, int(given)) if given.isdigit() else mine)
    visible = [name for name in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif "CUDA_VISIBLE_DEVICES" not in env or visible:  # set but empty: somebody hid all GPUs
        # One is made visible: with several, the training library would spread a batch over all of them.
        number = int(device.partition(":")[2] or 0)
        if visible and number >= len(visible):
            raise TrainerError(f"model.device = {device!r}, but CUDA_VISIBLE_DEVICES names {len(visible)} GPU(s)")
        env["CUDA_VISIBLE_DEVICES"] = visible[number] if visible else str(number)
    return env


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_previous(job: TrainJob) -> None:
    """The adapter to continue has the shape that is asked for."""
    if job.start_from is None:
        return
    previous = json.loads((job.start_from / CONFIG_FILE).read_text(encoding="utf-8"))
    for name, key, wanted in (("rank", "r", job.settings.rank), ("alpha", "lora_alpha", job.settings.alpha)):
        if previous.get(key) != wanted:
            raise TrainerError(
                f"{job.name}: train.{name} = {wanted}, but the adapter it continues, {job.start_from}, has {previous.get(key)}; "
                f"set train.{name} = {previous.get(key)}",
            )


def _listen(messages: Iterable[str], name: str, on_progress: Callable[[TrainProgress], None]) -> str | None:
    """Pass progress on until the child is gone. Returns the error it named, if it named one."""
    error = None
    for line in messages:
        if not line.endswith("\n"):
            break  # killed in the middle of a word
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            error = str(message["error"])
        else:
            on_progress(TrainProgress(name=name, step=message["step"], steps=message["steps"], loss=message["loss"]))
    return error


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started. Nothing is lost by haste: checkpoints are marked when they are whole."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else "unknown"


def _last_lines(log: Path, start: int) -> list[str]:
    """The end of what this attempt wrote."""
    with log.open("rb") as stream:
        stream.seek(max(start, log.stat().st_size - TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LAST_LINES:]
