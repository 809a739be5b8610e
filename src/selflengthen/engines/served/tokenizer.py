"""The tokenizer of a model that a server runs: its template renders prompts here, its end tokens are told to the server. No weights, no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selflengthen.engines.embedded.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Local:
    """What can be had of a model here."""

    dialogue: Dialogue | None
    why_not: str
    """Why there is no dialogue."""
    context_tokens: int | None
    """As the model's own settings say; the server may have less."""
    ends: frozenset[int] = frozenset()
    """Tokens that end a turn."""


def read_local(model: str) -> Local:
    """Tokenizer and settings of a model folder or hub name. Whatever is missing is told, not raised: a server may do without."""
    import transformers

    quiet = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        return _read(model)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        return Local(None, f"model.path = {model!r} has no tokenizer here ({' '.join(str(error).split())[:160]})", None)
    finally:
        transformers.utils.logging.set_verbosity(quiet)


def _read(model: str) -> Local:
    from huggingface_hub import constants
    from transformers import AutoTokenizer

    from selflengthen.engines.embedded.hub import reach_hub

    found: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **found)
    except OSError:
        if Path(model).exists() or constants.HF_HUB_OFFLINE:
            raise
        reach_hub()
        found["local_files_only"] = False
        tokenizer = AutoTokenizer.from_pretrained(model, **found)
    if not tokenizer.chat_template:
        return Local(None, f"the tokenizer of model.path = {model!r} has no chat template", None)
    dialogue = Dialogue(tokenizer)
    if fault := dialogue.fault():
        return Local(None, f"model.path = {model!r} {fault}", None)
    context, ends = _settings(model, found)
    ends |= dialogue.end_of_turn() | ({tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set())
    return Local(dialogue, "", context, ends)


def _settings(model: str, found: dict[str, Any]) -> tuple[int | None, frozenset[int]]:
    """The context and the end tokens that the model's own files name."""
    from transformers import AutoConfig, GenerationConfig

    ends: set[int] = set()
    context = None
    try:
        config = AutoConfig.from_pretrained(model, **found)
        context = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
        for said in (config.eos_token_id, GenerationConfig.from_pretrained(model, **found).eos_token_id):
            ends.update(said if isinstance(said, list) else [] if said is None else [said])
    except (OSError, ValueError, AttributeError):
        pass  # a tokenizer alone will do
    return context, frozenset(ends)
