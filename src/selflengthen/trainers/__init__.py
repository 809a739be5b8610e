"""The model that learns: the seam (`base`), its back-ends, and the one door to them.

`open_trainer` imports a back-end only when it is asked for: neither it nor this room loads torch. What does not live here: which examples
are trained on (`stages`), where adapters are served (`engines`).
"""

from collections.abc import Callable, Sequence

from selflengthen.errors import ConfigError
from selflengthen.records import Message
from selflengthen.trainers.base import Trainer, TrainJob, TrainProgress

__all__ = ["TrainJob", "TrainProgress", "Trainer", "open_token_counter", "open_trainer"]


def open_trainer(kind: str, **settings: object) -> Trainer:
    """A trainer of the named kind. The settings are the keyword arguments of its class (`lora`: device, dtype; `scripted`: fail)."""
    back_end: type[Trainer]
    if kind == "lora":
        from selflengthen.trainers.lora import LoraTrainer as back_end  # noqa: N813 - one name for whichever class it is
    elif kind == "scripted":
        from selflengthen.trainers.scripted import ScriptedTrainer as back_end  # noqa: N813
    else:
        raise ConfigError(f"train.kind {kind!r} is unknown; there are: lora, scripted")
    try:
        return back_end(**settings)
    except TypeError as error:
        raise ConfigError(f"the settings do not fit the {kind} trainer: {error}") from error


def open_token_counter(kind: str, model: str) -> Callable[[Sequence[Message], str], int]:
    """Counts the tokens of a prompt and its answer as the trainer of the named kind will see them."""
    if kind == "lora":
        from selflengthen.trainers.render import Renderer

        return Renderer(model).count_tokens
    from selflengthen.trainers.scripted import count_tokens

    return count_tokens
