"""The fine-tune itself, with TRL and PEFT: loads, trains, checkpoints, publishes. Runs in the child process only; imports torch.

Rows come from `render` and reach the loss untouched: no packing, no cutting, nothing dropped, and it is asserted. A batch is made of single
rows whose gradients are added (the loss is a mean over the batch's answer tokens either way), so that no row is padded to its neighbour's
length: on two CPU cores that trains 3 times as many tokens per second as padded batches of 8. On a GPU short rows still share a step.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from selflengthen.errors import TrainerError
from selflengthen.records import SftExample
from selflengthen.store.dataset import write_whole
from selflengthen.trainers.render import Rendered, Renderer
from selflengthen.trainers.task import TRAINING_FILE, Task, Training, publish, sync

MARKER = "complete.json"
"""Written last into a checkpoint: sizes of its files, seconds trained until then, times resumed."""
GPU_STEP_TOKENS = 8192
"""Rows share a forward pass on a GPU while together they have no more tokens than this."""
WHOLE_LOGITS = 2**26
"""Answer tokens times vocabulary up to which the logits are built at once (256 MiB) on a CPU."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows are laid out over steps."""

    device: str
    dtype: torch.dtype
    rows_at_once: int
    accumulate: int
    steps: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint to go on from."""

    folder: Path
    seconds: float
    resumed: int


def train(task: Task, on_progress: Callable[[int, int, float], None]) -> None:
    """From the task to the published adapter."""
    renderer = Renderer(task.base_model)
    rows = read_rows(task, renderer)
    plan = make_plan(task, rows)
    checkpoint = last_checkpoint(task.partial)
    trainer = build(task, plan, rows, renderer)
    watch = Watch(on_progress, checkpoint)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    if trainer.state.global_step != plan.steps:
        raise TrainerError(f"{trainer.state.global_step} steps were trained where {plan.steps} were due")
    folder = task.partial / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    trainer.model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # the library's form of a model card, not filled in
    training = Training(
        identity=task.identity,
        steps=plan.steps,
        rows=len(rows),
        tokens=round(sum(len(row.ids) for row in rows) * task.settings.epochs),
        seconds=round(watch.seconds, 3),
        resumed=watch.resumed,
        device=plan.device,
        loss=tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry),
        versions={"python": sys.version.split()[0]} | {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
    )
    (folder / TRAINING_FILE).write_text(training.model_dump_json(indent=1), encoding="utf-8")
    publish(folder, task.out)
    shutil.rmtree(task.partial)


def read_rows(task: Task, renderer: Renderer) -> list[Rendered]:
    """All examples, rendered. One that is over the cut-off is an error here: the stage that wrote it should have refused it."""
    rows = []
    for number, line in enumerate(task.data.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            example = SftExample.model_validate_json(line)
        except ValidationError as error:
            raise TrainerError(f"{task.data}, line {number} is no training example: {error}") from error
        row = renderer.render(example.messages, example.answer)
        if len(row.ids) > task.settings.cutoff_tokens:
            raise TrainerError(
                f"{task.data}: example {example.key} has {len(row.ids)} tokens, over train.cutoff_tokens = {task.settings.cutoff_tokens}; "
                "it would have to be cut, which is never done",
            )
        rows.append(row)
    return rows


def make_plan(task: Task, rows: Sequence[Rendered]) -> Plan:
    """Device, number format and steps."""
    settings = task.settings
    gpu = torch.cuda.is_available() and task.device != "cpu"
    if task.device.startswith("cuda") and not gpu:
        raise TrainerError(f"model.device = {task.device!r}, but torch sees no GPU here")
    dtype = getattr(torch, task.dtype) if task.dtype != "auto" else torch.bfloat16 if gpu else torch.float32
    together = 1
    if gpu:
        longest = max(len(row.ids) for row in rows)
        together = next(n for n in range(settings.batch_size, 0, -1) if settings.batch_size % n == 0 and (n * longest <= GPU_STEP_TOKENS or n == 1))
    accumulate = settings.batch_size * settings.accumulate // together
    per_epoch = math.ceil(math.ceil(len(rows) / together) / accumulate)
    steps = math.ceil(settings.epochs * per_epoch)
    return Plan(device="cuda" if gpu else "cpu", dtype=dtype, rows_at_once=together, accumulate=accumulate, steps=steps)


def build(task: Task, plan: Plan, rows: Sequence[Rendered], renderer: Renderer) -> "AnswerTrainer":
    """The library's trainer, with all that it would do of its own accord switched off."""
    settings = task.settings
    checkpointing = settings.gradient_checkpointing
    arguments = SFTConfig(
        output_dir=str(task.partial),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=plan.rows_at_once,
        gradient_accumulation_steps=plan.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(plan.steps * settings.warmup),
        bf16=plan.dtype == torch.bfloat16,
        fp16=plan.dtype == torch.float16,
        gradient_checkpointing=plan.device == "cuda" if checkpointing is None else checkpointing,
        use_cpu=plan.device == "cpu",
        dataloader_pin_memory=plan.device == "cuda",
        seed=task.seed % 2**32,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"input_ids": [list(row.ids) for row in rows], "labels": [row.labels for row in rows]})
    trainer = AnswerTrainer(model=load_model(task, plan), args=arguments, train_dataset=data, processing_class=renderer.tokenizer)
    trainer.remove_callback(PrinterCallback)
    kept = [len(ids) for ids in trainer.train_dataset.data.column("input_ids")]
    if kept != [len(row.ids) for row in rows]:
        raise TrainerError("the training library changed the rows it was given (their number or their lengths)")
    return trainer


def load_model(task: Task, plan: Plan) -> Any:
    """The base model with the adapter to train: a new one, or the role's previous one."""
    torch.manual_seed(task.seed)  # the adapter's first weights are random
    try:
        base = AutoModelForCausalLM.from_pretrained(task.base_model, dtype=plan.dtype)
    except (OSError, ValueError) as error:
        raise TrainerError(f"the base model {task.base_model!r} cannot be loaded: {error}") from error
    base.config.use_cache = False
    settings = task.settings
    if task.start_from is None:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return get_peft_model(base, config)
    config = LoraConfig.from_pretrained(str(task.start_from))
    config.lora_dropout = settings.dropout
    config.inference_mode = False
    try:
        return PeftModel.from_pretrained(base, str(task.start_from), is_trainable=True, config=config)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainerError(f"the adapter {task.start_from} does not fit {task.base_model!r}: {error}") from error


class AnswerTrainer(SFTTrainer):  # type: ignore[misc, unused-ignore]
    """TRL's trainer; on a CPU with a loss that reads only the answer's positions."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:  # noqa: FBT001, FBT002 - the library's signature
        """TRL's, except for one row with a small enough answer on a CPU: there its kernel scores the prompt too, and its entropy costs 5 passes."""
        labels = inputs["labels"]
        alone = labels.shape[0] == 1 and labels.device.type == "cpu" and num_items_in_batch is not None and not return_outputs
        answer = int((labels != -100).sum()) if alone else 0  # on a GPU, looking would mean waiting
        if not alone or answer * model.config.get_text_config().vocab_size > WHOLE_LOGITS:
            return super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        # One row has no padding: no mask is needed, and attention takes its causal path. The answer stands at the end.
        logits = model(input_ids=inputs["input_ids"], use_cache=False, logits_to_keep=answer + 1).logits
        loss = torch.nn.functional.cross_entropy(logits[0, :-1].float(), labels[0, -answer:], reduction="sum")
        return loss / num_items_in_batch

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """None: it would be written at every checkpoint, and looks for accounts of three trackers."""


class Watch(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Tells how far the training is, stops it when it has gone wrong, and marks whole checkpoints."""

    def __init__(self, on_progress: Callable[[int, int, float], None], checkpoint: Checkpoint | None) -> None:
        self._on_progress = on_progress
        self._before = checkpoint.seconds if checkpoint else 0.0
        self._start = time.monotonic()
        self.resumed = checkpoint.resumed + 1 if checkpoint else 0

    @property
    def seconds(self) -> float:
        """Trained so far, over all attempts."""
        return self._before + time.monotonic() - self._start

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        self._start = time.monotonic()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_kwargs: Any) -> None:
        if "loss" not in logs:
            return  # the summary at the end
        if not math.isfinite(logs["loss"]):
            raise TrainerError(f"the loss is {logs['loss']} at step {state.global_step}; lower train.learning_rate")
        self._on_progress(state.global_step, state.max_steps, logs["loss"])

    def on_save(self, args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        files = [file for file in folder.iterdir() if file.is_file()]
        sync(files)
        sizes = {file.name: file.stat().st_size for file in files}
        write_whole(folder / MARKER, json.dumps({"sizes": sizes, "seconds": self.seconds, "resumed": self.resumed}))


def last_checkpoint(partial: Path) -> Checkpoint | None:
    """The newest whole checkpoint. Torn ones are removed: their names are needed again."""
    best: tuple[int, Checkpoint] | None = None
    for folder in partial.glob("checkpoint-*"):
        marker = folder / MARKER
        told = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else None
        if told is None or any(not (folder / name).is_file() or (folder / name).stat().st_size != size for name, size in told["sizes"].items()):
            shutil.rmtree(folder)
            continue
        step = int(folder.name.rpartition("-")[2])
        if best is None or step > best[0]:
            best = step, Checkpoint(folder=folder, seconds=told["seconds"], resumed=told["resumed"])
    return best[1] if best else None
