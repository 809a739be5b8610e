"""What runs where, as far as it can be known before a run begins: the engine, the model, the trainer. Starts nothing and loads no model.

What stands in the way of a run is told beside what is there. What does not live here: looking at servers (`servers`), counting calls and
tokens (`plan`).
"""

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from selflengthen.config import Config, resolve_model
from selflengthen.engines.served import gpus
from selflengthen.report.screen import printable
from selflengthen.stages.ledger import STAGES


class Where:
    """What was found, line by line."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Text]] = []
        self.faults: list[str] = []
        """Why `run` could not begin; each also stands among the rows."""
        self.context_tokens: int | None = None
        """Of the model as it will be asked; None when it is not known."""

    def say(self, name: str, text: str) -> None:
        """A line; `name` is empty where it belongs to the one before."""
        self.rows.append((name, Text(printable(text))))

    def warn(self, name: str, text: str) -> None:
        """A line that a person should not miss."""
        self.rows.append((name, Text(printable(text), "yellow")))

    def refuse(self, name: str, text: str) -> None:
        """A line that says why the run cannot begin."""
        self.faults.append(text)
        self.rows.append((name, Text(f"cannot begin: {printable(text)}", "red")))

    def page(self) -> Iterator[RenderableType]:
        """For the screen."""
        yield Text("What runs where", style="bold")
        grid = Table.grid(padding=(0, 2))
        for name, text in self.rows:
            grid.add_row(f"  {name}", text)
        yield grid


def where(config: Config, folder: Path | None = None) -> Where:
    """Look. `folder`: of the run, if it is there. Servers that run already are asked what they can do, which costs them a few tokens."""
    found = Where()
    kind = config.engine.kind
    if kind == "scripted":
        found.say("engine", f"scripted: no model, {config.engine.script} answers; {config.engine.max_batch} requests at once")
    elif kind == "transformers":
        device = "auto: a GPU when there is one, else the CPU" if config.model.device == "auto" else config.model.device
        found.say("engine", f"transformers, in this process; {config.engine.max_batch} requests at once")
        found.say("device", f"{device}; dtype {config.model.dtype}")
        found.say("model", _model(config))
        found.context_tokens = gpus.context_tokens(resolve_model(config.model.path))
    else:
        from selflengthen.report.servers import look_at_openai, look_at_vllm  # what speaks HTTP is imported late

        if kind == "vllm":
            look_at_vllm(config, found)
        else:
            look_at_openai(config, folder, found)
        found.say("model", _model(config))
    _trainer(config, found)
    _room(config, found)
    found.say("stages", ", ".join(STAGES))
    found.say("languages", ", ".join(config.languages))
    return found


def _trainer(config: Config, found: Where) -> None:
    train = config.train
    if train.kind == "scripted":
        found.say("trainer", "scripted: empty adapters, nothing is learnt")
        return
    order = "side by side" if train.at_once == 2 else "one after the other"
    found.say("trainer", f"LoRA (TRL, PEFT) in a child process; generator and extender {order}")
    found.say("", f"rank {train.rank}, {train.epochs:g} epochs, rate {train.learning_rate:g}, examples up to {train.cutoff_tokens:,} tokens")
    visible, number = gpus.visible_gpus(), gpu_number(config.model.device)
    if config.engine.kind == "openai":
        said = config.model.device if config.model.device != "auto" else "auto: the first GPU that is visible, else the CPU"
        found.say("", f"device {said}; dtype {config.model.dtype}")
    if number is None or not visible:
        return
    if number >= len(visible):
        names = ", ".join(gpu.name for gpu in visible)
        found.refuse(
            "", f"model.device = {config.model.device!r} names a GPU that is not there; visible are {names} (nvidia-smi, CUDA_VISIBLE_DEVICES)"
        )
        return
    weights, memory = gpus.weight_bytes(resolve_model(config.model.path)), visible[number].memory_bytes
    if weights and memory and weights > gpus.TIGHT * memory:
        found.warn(
            "",
            f"a training holds the whole model on one GPU, and {gigabytes(weights)} of weights on one of {gigabytes(memory)} leave no room for it. "
            f"What can run here are the stages up to sft_data: {UP_TO_DATA}",
        )


UP_TO_DATA = "selflengthen run DIR --until sft_data"


def gpu_number(device: str) -> int | None:
    """The GPU that `model.device` names, counted from 0 among the visible ones; None for a CPU."""
    if device == "cpu":
        return None
    number = device.partition(":")[2]
    return int(number) if number.isdigit() else 0


def _room(config: Config, found: Where) -> None:
    """Whether the longest texts fit into the model's context."""
    context, limit = found.context_tokens, config.sampling.max_tokens
    if context is None:
        return
    if limit >= context:
        found.warn(
            "room",
            f"sampling.max_tokens = {limit:,} does not fit the context of {context:,} tokens, which prompt and answer share: an answer that reaches "
            "its end is rejected (at_limit). Lower sampling.max_tokens, or give the model a longer context",
        )
    elif 2 * limit > context:
        said = f"sampling.max_tokens = {limit:,}, but a draft and its extension share the context of {context:,} tokens"
        found.warn("room", f"{said}: drafts of more than {context // 2:,} tokens can hardly be extended")


def _model(config: Config) -> str:
    path = config.model.path
    folder = Path(resolve_model(path))
    if folder.is_dir():
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        return f"{path} ({size / 1e6:,.0f} MB)"
    if path == "seedling":
        return "seedling (not in this installation)"
    return f"{path} (a hub name: {'in the local cache' if gpus.has_weights(path) else 'from the local cache, or downloaded'})"


def gigabytes(number: float) -> str:
    """15.2 GB."""
    return f"{number / 1e9:,.1f} GB"
