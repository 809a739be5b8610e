"""A pretended trainer: writes a tiny adapter folder at once, the same for the same job, and fails when told to. No model is touched."""

import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence

from selflengthen.errors import TrainerError
from selflengthen.records import Adapter, Message
from selflengthen.trainers.base import TrainJob, TrainProgress
from selflengthen.trainers.task import CONFIG_FILE, TRAINING_FILE, Training, finished, identify, open_partial, publish

FAIL_VARIABLE = "SELFLENGTHEN_SCRIPTED_TRAINER_FAIL"
"""Names of adapters whose training fails, separated by commas."""
STEPS = 3


class ScriptedTrainer:
    """For tests and dry runs. `fail`: names of adapters whose training fails after its first step."""

    def __init__(self, *, fail: Collection[str] = ()) -> None:
        self._fail = frozenset(fail)

    def train(self, job: TrainJob, on_progress: Callable[[TrainProgress], None]) -> Adapter:
        """Pretend."""
        identity = identify(job)
        if adapter := finished(job, identity):
            return adapter
        partial = open_partial(job.out, identity)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        losses = tuple(round(2.0 / step, 3) for step in range(1, STEPS + 1))
        for step, loss in enumerate(losses, start=1):
            on_progress(TrainProgress(name=job.name, step=step, steps=STEPS, loss=loss))
            if job.name in self._fail | set(os.environ.get(FAIL_VARIABLE, "").split(",")):
                job.log.write_text(f"{job.name} was told to fail\n", encoding="utf-8")
                raise TrainerError(f"{job.name}: told to fail at step {step} of {STEPS} (log: {job.log})")
        job.log.write_text(f"{job.name} pretended {STEPS} steps\n", encoding="utf-8")
        rows = sum(bool(line.strip()) for line in job.data.read_bytes().splitlines())
        training = Training(
            identity=identity,
            steps=STEPS,
            rows=rows,
            tokens=0,
            seconds=0.0,
            resumed=0,
            device="none",
            loss=losses,
            versions={},
        )
        folder = partial / "adapter"
        folder.mkdir(exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps({"name": job.name, "data": identity.data}), encoding="utf-8")
        (folder / TRAINING_FILE).write_text(training.model_dump_json(indent=1), encoding="utf-8")
        publish(folder, job.out)
        shutil.rmtree(partial)
        return Adapter(name=job.name, role=job.role, iteration=job.iteration, path=job.out, base_model=job.base_model)

    def stop(self) -> None:
        """Nothing runs for longer than a moment."""


def count_tokens(messages: Sequence[Message], answer: str) -> int:
    """Four characters to a token: near enough where no model is."""
    return (sum(len(message.content) for message in messages) + len(answer)) // 4
