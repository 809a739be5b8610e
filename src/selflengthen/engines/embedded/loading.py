"""Opens a model and its tokenizer, or says in one sentence why not. What does not live here: running them.

Never asks a person anything, never runs code from a model folder, and looks at what is on disk before the network.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from selflengthen.engines.embedded import attention
from selflengthen.engines.embedded.dialogue import Dialogue
from selflengthen.engines.embedded.hub import reach_hub
from selflengthen.errors import EngineError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(slots=True)
class Loaded:
    """A model ready to run, and what the loop must know of it."""

    model: Any
    dialogue: Dialogue
    context_tokens: int
    ends: frozenset[int]
    """Tokens that end a turn."""
    vocabulary: int
    layers: tuple[str, ...]
    """Each layer's kind of attention."""
    window: int | None
    """How far a sliding layer looks back."""
    key_heads: int
    head_width: int
    device: torch.device
    dtype: torch.dtype
    grouped_attention: bool
    """The attention of `attention` is in place and may read rows in groups."""

    @property
    def cache_bytes_per_token(self) -> int:
        """What one token of one row takes in the cache."""
        return 2 * len(self.layers) * self.key_heads * self.head_width * self.dtype.itemsize


def load(name: str, device_name: str, dtype_name: str) -> Loaded:
    """The model, or EngineError."""
    device = _device(device_name)
    dtype = _dtype(dtype_name, device)
    is_folder = _source(name)
    with _plain_errors(name):
        try:
            tokenizer, model, report = _read(name, dtype, local_files_only=True)
        except OSError:
            if is_folder:
                raise
            reach_hub()
            tokenizer, model, report = _read(name, dtype, local_files_only=False)
    missing = sorted(report["missing_keys"])
    if missing:
        raise EngineError(f"model {name!r} lacks weights: {', '.join(missing[:3])}{' ...' if missing[3:] else ''}; its files are incomplete")
    dialogue = Dialogue(tokenizer)
    if fault := dialogue.fault():
        raise EngineError(f"model {name!r} {fault}")
    try:
        model = model.to(device).eval()
    except RuntimeError as error:  # torch's out-of-memory error is one, and so is the driver's
        raise EngineError(
            f"model {name!r} does not fit on {device}: {str(error).splitlines()[0]}. Free its memory, or name another device"
        ) from error
    model.requires_grad_(requires_grad=False)
    return _describe(name, model, tokenizer, dialogue, device)


def _read(name: str, dtype: Any, **found: bool) -> tuple[Any, Any, dict[str, Any]]:
    """Tokenizer, model and the library's report of what it found."""
    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **found)
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **found)
    if not tokenizer.chat_template:
        raise EngineError(f"model {name!r} has no chat template: use an instruct model, or put a chat_template.jinja next to its tokenizer")
    model, report = AutoModelForCausalLM.from_pretrained(name, config=config, dtype=dtype, output_loading_info=True, trust_remote_code=False, **found)
    return tokenizer, model, report


def _describe(name: str, model: Any, tokenizer: Any, dialogue: Dialogue, device: torch.device) -> Loaded:
    text = model.config.get_text_config(decoder=True)
    window = getattr(text, "sliding_window", None)
    kinds = getattr(text, "layer_types", None) or ["sliding_attention" if window else "full_attention"] * text.num_hidden_layers
    if strange := set(kinds) - KNOWN_LAYERS:
        raise EngineError(f"model {name!r} has layers the embedded engine cannot hold ({', '.join(sorted(strange))}); use a server engine for it")
    grouped = model.config._attn_implementation == "sdpa"  # noqa: SLF001 - the library has no public name for it
    if grouped:
        attention.register()
        model.set_attn_implementation(attention.NAME)
    context = getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length
    heads = text.num_attention_heads
    dtype = model.get_input_embeddings().weight.dtype
    return Loaded(
        model=model,
        dialogue=dialogue,
        context_tokens=int(context),
        ends=_ends(model, tokenizer) | dialogue.end_of_turn(),
        vocabulary=model.get_output_embeddings().weight.shape[0],
        layers=tuple(kinds),
        window=window if "sliding_attention" in kinds else None,
        key_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // heads,
        device=device,
        dtype=dtype,
        grouped_attention=grouped and device.type == "cpu" and dtype == torch.float32,
    )


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """End tokens by the generation settings (one or a list), the model's settings and the tokenizer."""
    ends: set[int] = set()
    for said in (model.generation_config.eos_token_id if model.generation_config else None, model.config.eos_token_id, tokenizer.eos_token_id):
        ends.update(said if isinstance(said, list) else [] if said is None else [said])
    return frozenset(ends)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _dtype(name: str, device: torch.device) -> Any:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise EngineError(f"dtype {name!r} is unknown; there are: auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _source(name: str) -> bool:
    """Whether the model is a folder; otherwise its name can be one of the hub, whose cache is looked at before the network."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EngineError(f"model folder {name!r} holds no config.json: it is not a model saved by transformers")
        return True
    if folder.exists() or not HUB_NAME.fullmatch(name):
        raise EngineError(f"model folder {name!r} does not exist")
    return False


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """The library's many ways to say that a model cannot be had, as one sentence, without its own lines on the way."""
    bar, verbosity = transformers.utils.logging.is_progress_bar_enabled(), hub_logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    except EngineError:
        raise
    except SafetensorError as error:
        raise EngineError(
            f"model {name!r} has damaged weights{_damaged(Path(name))}: {error}. Its copy was cut short or overwritten; copy or download it again"
        ) from error
    except Exception as error:  # the library reads files that others wrote, and falls over them in any way there is
        reason = " ".join(str(error).split())
        if Path(name).is_dir():
            raise EngineError(f"model folder {name!r} cannot be loaded: {reason}") from error
        if not isinstance(error, OSError):
            raise EngineError(f"model {name!r} cannot be loaded: {reason}") from error
        raise EngineError(f"model {name!r} is no folder here, and the hub did not give it (is there a network?): {reason}") from error
    finally:
        hub_logging.set_verbosity(verbosity)
        if bar:
            transformers.utils.logging.enable_progress_bar()


def _damaged(folder: Path) -> str:
    """The first file of weights in a folder that cannot be opened, to be put into a sentence."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError:
            return f" ({file.name})"
    return ""
