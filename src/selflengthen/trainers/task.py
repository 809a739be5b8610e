"""What a training job leaves on disk: its identity, the folder it works in, and the finished adapter. No training happens here.

<out>.partial/     task.json (this job), identity.json (what it must equal to be resumed), checkpoint-<step>/, adapter/
<out>/             adapter_config.json, the weights, training.json; renamed here from <out>.partial/adapter, so complete or absent
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selflengthen.config import TrainSettings
from selflengthen.errors import TrainerError
from selflengthen.records import Adapter, Record, Role
from selflengthen.store.dataset import write_whole
from selflengthen.trainers.base import TrainJob

TRAINING_FILE = "training.json"
IDENTITY_FILE = "identity.json"
TASK_FILE = "task.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
EDGE_BYTES = 65536


class Identity(Record):
    """All that decides an adapter's weights. Two jobs with one identity are the same job."""

    name: str
    role: Role
    iteration: int
    base: str
    """Digest of the base model's folder, or its hub name. Not its path, which may move."""
    data: str
    """SHA-256 of the training rows."""
    start_from: str | None
    """SHA-256 of the previous adapter's weights."""
    settings: dict[str, Any]
    """Those of the train settings that change what is written."""
    seed: int


class Training(Record):
    """How an adapter came to be: `training.json` beside its weights."""

    identity: Identity
    steps: int
    rows: int
    tokens: int
    """Of all rows, prompt and answer, times the epochs."""
    seconds: float
    """Of training alone, over all attempts, without start-up."""
    resumed: int
    """Times it was taken up again from a checkpoint."""
    device: str
    loss: tuple[float, ...]
    """After each step."""
    versions: dict[str, str]


class Task(Record):
    """A job as it is handed to the process that runs it."""

    name: str
    base_model: str
    data: Path
    out: Path
    settings: TrainSettings
    seed: int
    start_from: Path | None
    device: str
    dtype: str
    identity: Identity

    @property
    def partial(self) -> Path:
        """Where the work is done until it is finished."""
        return partial_folder(self.out)


def partial_folder(out: Path) -> Path:
    """The working folder of the adapter at `out`."""
    return out.with_name(f"{out.name}.partial")


def identify(job: TrainJob) -> Identity:
    """The job's identity. Raises TrainerError when there is nothing to train on or to continue from."""
    try:
        data = job.data.read_bytes()
    except FileNotFoundError:
        raise TrainerError(f"{job.name}: its training data {job.data} does not exist") from None
    if not data.strip():
        raise TrainerError(f"{job.name}: its training data {job.data} is empty; nothing passed the checks of this iteration")
    return Identity(
        name=job.name,
        role=job.role,
        iteration=job.iteration,
        base=_digest_model(job.base_model),
        data=hashlib.sha256(data).hexdigest(),
        start_from=_digest_adapter(job),
        settings=_lasting(job.settings),
        seed=job.seed,
    )


def finished(job: TrainJob, identity: Identity) -> Adapter | None:
    """The adapter if this job is done. Raises TrainerError when something else has its place."""
    if not job.out.exists():
        return None
    try:
        there = Training.model_validate_json((job.out / TRAINING_FILE).read_bytes()).identity
    except (OSError, ValidationError) as error:
        raise TrainerError(f"{job.out} exists but is no finished adapter ({_first_line(error)}); move it away") from error
    if there != identity:
        old, new = there.model_dump(mode="json"), identity.model_dump(mode="json")
        changed = ", ".join(f"{field}: {_short(old[field])} -> {_short(new[field])}" for field in old if old[field] != new[field])
        raise TrainerError(
            f"{job.out} already holds the adapter {there.name!r} of another job ({changed}). "
            "An adapter's name is used once: redo the iteration, or move that folder away",
        )
    return Adapter(name=job.name, role=job.role, iteration=job.iteration, path=job.out, base_model=job.base_model)


def open_partial(out: Path, identity: Identity) -> Path:
    """The working folder, kept when it belongs to this very job, emptied when it was another's."""
    partial = partial_folder(out)
    text = identity.model_dump_json()
    marker = partial / IDENTITY_FILE
    if partial.exists() and not (marker.is_file() and marker.read_text(encoding="utf-8") == text):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_whole(marker, text)
    return partial


def publish(folder: Path, out: Path) -> None:
    """Rename a complete folder into place, so that a power cut leaves all of it or nothing."""
    sync(folder.iterdir())
    folder.rename(out)
    sync([out.parent])


def sync(paths: Iterable[Path]) -> None:
    """Wait until the disk has them."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lasting(settings: TrainSettings) -> dict[str, Any]:
    def free(extra: object) -> bool:
        return isinstance(extra, dict) and bool(extra.get("free"))

    names = {name for name, field in TrainSettings.model_fields.items() if not free(field.json_schema_extra)}
    return settings.model_dump(mode="json", include=names)


def _digest_model(base_model: str) -> str:
    """Names, sizes and both ends of each file: reading all of a large model would take longer than its training's start."""
    folder = Path(base_model)
    if not folder.is_dir():
        return base_model
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin", ".json", ".jinja"}):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(EDGE_BYTES))
            stream.seek(max(0, size - EDGE_BYTES))
            digest.update(stream.read(EDGE_BYTES))
    return digest.hexdigest()


def _digest_adapter(job: TrainJob) -> str | None:
    if job.start_from is None:
        return None
    if not (job.start_from / CONFIG_FILE).is_file():
        raise TrainerError(f"{job.name}: it continues from {job.start_from}, which is no adapter (no {CONFIG_FILE})")
    weights = job.start_from / WEIGHTS_FILE
    with (weights if weights.is_file() else job.start_from / CONFIG_FILE).open("rb") as stream:  # scripted adapters have no weights
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] + "..." if len(text) == hashlib.sha256().digest_size * 2 else text


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
