"""Jobs to train on: a few rows, a few steps."""

import os
from dataclasses import dataclass
from pathlib import Path

from selflengthen.config import TrainSettings
from selflengthen.records import Adapter, Message, Role, SftExample
from selflengthen.trainers import Trainer, TrainJob, TrainProgress, open_trainer
from selflengthen.trainers.render import Renderer

DEVICE = os.environ.get("SELFLENGTHEN_TEST_DEVICE", "cpu")
"""Where the trainings run; in the number format that users get there."""
LINES = [
    "The storm came.",
    "灯塔回了两行。",
    "The second is closed, the third was never built.",
    "The keeper wrote a long letter.\n\nThen the storm came.",
]
SETTINGS = TrainSettings(rank=4, alpha=8, learning_rate=0.01, epochs=12, batch_size=2, save_steps=10)
STEPS = 60


def write_rows(file: Path, model: Path, rows: int = 10) -> Path:
    """Examples of unlike lengths, one JSON object a line."""
    renderer = Renderer(model)
    examples = []
    for number in range(rows):
        messages = (Message(role="user", content=f"Tell me of day {number}."),)
        answer = " ".join(LINES[: 1 + number % len(LINES)])
        tokens = renderer.count_tokens(messages, answer)
        examples.append(SftExample(key=f"1-en-{number:04}", language="en", messages=messages, answer=answer, tokens=tokens))
    file.write_text("".join(example.model_dump_json() + "\n" for example in examples), encoding="utf-8")
    return file


def make_job(folder: Path, model: Path, data: Path, name: str = "generator-1", **changes) -> TrainJob:
    """A job in a folder of its own; `changes` to its settings or to the job itself."""
    fields = {field: changes.pop(field) for field in ("start_from", "seed") if field in changes}
    return TrainJob(
        name=name,
        role=Role.GENERATOR,
        iteration=int(name[-1]),
        base_model=str(model),
        data=data,
        out=folder / "adapters" / name,
        log=folder / "logs" / f"{name}.log",
        settings=SETTINGS.model_copy(update=changes),
        **{"seed": 7} | fields,
    )


@dataclass
class Trained:
    """One job run to its end."""

    trainer: Trainer
    job: TrainJob
    adapter: Adapter
    told: list[TrainProgress]


def train(kind: str, job: TrainJob) -> Trained:
    """Run a job with a trainer of its own."""
    told: list[TrainProgress] = []
    trainer = open_trainer(kind, **{"device": DEVICE} if kind == "lora" else {})
    return Trained(trainer, job, trainer.train(job, told.append), told)
