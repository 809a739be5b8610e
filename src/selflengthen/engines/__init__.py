"""The model that answers: the seam (`base`), its back-ends, and the one door to them.

`open_engine` imports a back-end only when it is asked for, so that reading settings or a run directory costs no torch. What does not live
here: prompts (`recipes`), what is asked of a model (`stages`), where an engine runs (`executors`).
"""

from selflengthen.engines.base import Capabilities, Completion, Engine, Finish, Request, RequestRefused, Watch
from selflengthen.errors import ConfigError

__all__ = ["Capabilities", "Completion", "Engine", "Finish", "Request", "RequestRefused", "Watch", "open_engine"]


def open_engine(kind: str, **settings: object) -> Engine:
    """An engine of the named kind, not entered yet. The settings are the keyword arguments of its class."""
    back_end: type[Engine]
    if kind == "transformers":
        from selflengthen.engines.transformers import TransformersEngine as back_end  # noqa: N813 - one name for whichever class it is
    elif kind == "openai":
        from selflengthen.engines.openai import OpenAIEngine as back_end  # noqa: N813
    elif kind == "vllm":
        from selflengthen.engines.vllm import VllmEngine as back_end  # noqa: N813
    elif kind == "scripted":
        from selflengthen.engines.scripted import ScriptedEngine as back_end  # noqa: N813
    else:
        raise ConfigError(f"engine kind {kind!r} is unknown; there are: openai, scripted, transformers, vllm")
    try:
        return back_end(**settings)
    except TypeError as error:
        raise ConfigError(f"the settings do not fit the {kind} engine: {error}") from error
