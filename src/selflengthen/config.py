"""What a person declares: settings from TOML and `-o a.b=c`, checked for sense. Nothing here touches a model or the run directory.

Defaults are the method's (method.md); `preset = "paper"` switches off what the published code did not have. A field marked `free` changes only
speed or how far a run goes: it may differ when a run is resumed. Every other field changes what is written, and resuming with another value
is refused (architecture: invariant 2).
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from selflengthen.address import base_url
from selflengthen.errors import ConfigError
from selflengthen.records import Sampling

FREE: dict[str, JsonValue] = {"free": True}
SECRETIVE = frozenset({"engine.urls", "engine.api_key_env", "engine.vllm"})
"""Settings whose value is not said again when it is refused: it may hold a password."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""An environment variable's name."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Place = Annotated[Path, AfterValidator(Path.absolute)]
"""A file or folder. Kept absolute, so that a run can be resumed from anywhere."""


class Settings(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # JSON has neither: they could not be read back


class ModelSettings(Settings):
    """The model that learns to write long."""

    path: str = Field("seedling", description="a folder, a hub name, or `seedling`: the small bilingual model in the package")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: float32 on a CPU, bfloat16 on a GPU")
    device: str = Field("auto", json_schema_extra=FREE, description="auto, cpu, cuda, cuda:1, ...")

    @field_validator("path")
    @classmethod
    def _folder_or_name(cls, path: str) -> str:
        """A folder's path is kept absolute; anything else is a hub name."""
        return str(Path(path).absolute()) if path != "seedling" and Path(path).is_dir() else path


class VllmSettings(Settings):
    """How `engine.kind = "vllm"` starts its servers. Flags only change speed and memory; that the model is the same is checked."""

    command: tuple[str, ...] = Field(
        (), json_schema_extra=FREE, description="what starts a server, without flags; empty: vLLM of this environment, else `vllm serve`"
    )
    args: tuple[str, ...] = Field((), json_schema_extra=FREE, description="further flags, as `vllm serve` takes them")
    env: dict[str, str] = Field({}, json_schema_extra=FREE, description="further environment variables")
    gpus: tuple[int, ...] = Field((), json_schema_extra=FREE, description="GPUs to use, by number; empty: all that are visible")
    tensor_parallel: int = Field(0, ge=0, json_schema_extra=FREE, description="GPUs per server; 0: the fewest that hold the weights")
    replicas: int = Field(0, ge=0, json_schema_extra=FREE, description="servers; 0: as many as the GPUs allow")
    gpu_memory: float = Field(0.9, gt=0, le=1, json_schema_extra=FREE, description="share of a GPU's memory a server may take")
    start_seconds: float = Field(1800.0, gt=0, json_schema_extra=FREE, description="a server that is not ready after this time has failed")

    @model_validator(mode="after")
    def _can_be_started(self) -> Self:
        if any("\0" in word for word in (*self.command, *self.args, *self.env, *self.env.values())):
            raise ValueError("command, args and env cannot hold a character of number 0")
        if bad := next((name for name in self.env if not VARIABLE.fullmatch(name)), None):
            raise ValueError(f"env has {bad!r}, which is no name of an environment variable")
        return self


class EngineSettings(Settings):
    """What answers."""

    kind: Literal["transformers", "openai", "vllm", "scripted"] = Field(
        "transformers",
        description="transformers: embedded; openai: servers that run already; vllm: servers the run starts; scripted: no model, for tests",
    )
    max_batch: Positive = Field(32, json_schema_extra=FREE, description="transformers, scripted: requests that run at once")
    threads: int = Field(0, ge=0, json_schema_extra=FREE, description="torch's on a CPU; 0 = its own choice. A small model is fastest with 1")
    urls: tuple[str, ...] = Field((), json_schema_extra=FREE, description="openai: base URLs (http://127.0.0.1:8000/v1); load is spread")
    served_name: str = Field("", json_schema_extra=FREE, description="openai: the model's name there; empty: model.path, or the only one")
    api_key_env: str = Field("OPENAI_API_KEY", json_schema_extra=FREE, description="openai: environment variable with the key")
    prefill: Literal["auto", "chat", "completions"] = Field(
        "auto",
        description="openai, vllm: how an answer goes on from its opening. completions: the prompt is rendered here, by model.path's tokenizer; "
        "chat: continue_final_message; auto: the first of these that the server takes",
    )
    context_tokens: int = Field(0, ge=0, json_schema_extra=FREE, description="openai: if the server does not tell; 0: ask it")
    concurrency: int = Field(0, ge=0, json_schema_extra=FREE, description="openai, vllm: most requests in flight per server; 0: found")
    silence_seconds: float = Field(60.0, gt=0, json_schema_extra=FREE, description="openai, vllm: then a silent server is asked if it lives")
    wait_seconds: float = Field(600.0, ge=0, json_schema_extra=FREE, description="openai: for a server, when none answers")
    vllm: VllmSettings = VllmSettings()
    script: str = Field("selflengthen.engines.pretend:pretend", description="scripted only: `module:function` that answers a request")
    delay_seconds: float = Field(0.0, ge=0, json_schema_extra=FREE, description="scripted only: time each piece of text takes")

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(base_url, urls)))

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, name: str) -> str:
        if name and not VARIABLE.fullmatch(name):
            raise ValueError("it names the environment variable that holds the key, in letters, digits and underscores; the key itself stays there")
        return name


class InstructSettings(Settings):
    """Stage 0: making instructions."""

    count: Positive = Field(5000, description="instructions wanted per iteration, over all languages")
    tries: Positive = Field(10, description="tries per wanted instruction")
    pool: Literal["growing", "seeds"] = Field(
        "growing", description="where examples come from: accepted instructions too, or the recipe's seeds alone"
    )
    block: Positive = Field(500, description="growing pool: instructions after which it restarts from the seeds")
    wave: Positive = Field(50, description="growing pool: accepted instructions join it after each wave of this many, so that a run can be repeated")
    min_words: int = Field(3, ge=0, description="an instruction has more words than this")
    max_words: Positive = Field(500, description="and fewer than this")
    near_duplicate: Share = Field(0.7, description="ROUGE-L from which two instructions count as the same (Self-Instruct's value); 1 = exact only")
    sampling: Sampling = Field(Sampling(max_tokens=512), description="decoding of the instruction list")
    file: Place | None = Field(None, description="JSON lines {instruction, language?, kind?} of your own; used before any is made")


class RespondSettings(Settings):
    """Stage 1: first answers."""

    samples: Positive = Field(2, description="responses per instruction")
    tries: Positive = Field(20, description="tries per response")
    window: Positive = Field(64, description="responses over which the length-biased selection ranks; a settled window goes on at once")
    select: bool = Field(True, description="length-biased selection (method.md)")


class ExtendSettings(Settings):
    """Stage 2: making them longer."""

    samples: Positive = Field(2, description="extensions per selected response")
    tries: Positive = Field(20, description="tries per extension")
    rounds: Positive = Field(3, description="micro-iterations per try")
    patience: Positive = Field(2, description="tries with a good text, but too short a one, after which an extension is given up early")
    min_gain: float = Field(1.2, ge=1, description="an extension has more than this times the words of its response")
    select: bool = Field(True, description="length-biased selection over all extensions of an iteration and language")


class CheckOptions(Settings):
    """Changes to the recipes' checks; the recipe's own values stand in its `recipe.toml`."""

    paper: bool = Field(False, description="the published checks and nothing else (n-gram, ending, English self-talk)")
    monotony: bool = Field(True, description="refuse windows of low diversity; thresholds calibrated on the base model's own texts")
    monotony_window: Positive = Field(256, description="words per window; smaller where the base model writes less")
    monotony_floor: Share = Field(0.85, description="least diversity of a window, as a share of the base model's")
    stream: bool = Field(True, description="check while the text is written and stop it when it cannot pass any more; off: check at its end")
    salvage: int = Field(2, ge=0, description="times a text that went wrong is cut back to its last clean paragraph and continued; 0 = never")


class TrainSettings(Settings):
    """Fine-tuning of both adapters (method.md, "Fine-tuning")."""

    kind: Literal["lora", "scripted"] = Field("lora", description="lora: TRL and PEFT; scripted: writes an empty adapter, for tests")
    rank: Positive = 8
    alpha: Positive = 16
    dropout: Share = 0.0
    learning_rate: float = Field(1e-4, gt=0)
    warmup: Share = Field(0.1, description="share of the steps")
    epochs: float = Field(4, gt=0)
    batch_size: Positive = Field(1, description="examples per step and device")
    accumulate: Positive = Field(1, description="steps whose gradients are added before the weights move")
    cutoff_tokens: Positive = Field(16384, description="longer examples are refused and counted, never cut")
    thin: Share = Field(0.2, description="share of the lines dropped from the extender's draft")
    gradient_checkpointing: bool | None = Field(None, json_schema_extra=FREE, description="less memory, more time; unset: on a GPU only")
    save_steps: Positive = Field(50, json_schema_extra=FREE, description="steps between checkpoints")
    at_once: Literal[1, 2] = Field(1, json_schema_extra=FREE, description="2: both adapters train side by side, sharing the cores or the GPU")


class MeasureSettings(Settings):
    """Held-out measurement after each iteration, and the gates it must pass."""

    count: Positive = Field(64, description="held-out instructions, over all languages; never trained on")
    file: Place | None = Field(None, description="JSON lines {instruction, language?, kind?} of your own; made by the base model otherwise")
    min_pass_rate: Share = Field(0.5, description="gate: share of held-out answers that pass the checks")
    min_diversity: Share = Field(0.85, description="gate: distinct 3-grams as a share of the base model's, at equal length")
    min_growth: float = Field(1.0, ge=0, description="gate: mean words over those of the last good generator")


PAPER: dict[str, Any] = {
    "checks": {"paper": True, "monotony": False, "salvage": 0},
    "instruct": {"near_duplicate": 1.0},
    "extend": {"patience": 20},
}
"""What the published code did, where the defaults differ. Its ten seeds are a recipe's matter, its stop strings were a mistake."""


class Config(Settings):
    """A whole run."""

    preset: Literal["default", "paper"] = Field("default", description="paper: the published constants and checks alone")
    languages: tuple[str, ...] = Field(("en", "zh"), min_length=1, description="recipes to use: a language in the package, or a key of `recipes`")
    recipes: dict[str, Place] = Field({}, description="language -> folder of a recipe of your own")
    iterations: Positive = Field(3, le=99, json_schema_extra=FREE, description="macro-iterations")
    seed: int = 0
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    sampling: Sampling = Field(Sampling(), description="decoding of all long texts")
    instruct: InstructSettings = InstructSettings()
    respond: RespondSettings = RespondSettings()
    extend: ExtendSettings = ExtendSettings()
    checks: CheckOptions = CheckOptions()
    train: TrainSettings = TrainSettings()
    measure: MeasureSettings = MeasureSettings()

    @model_validator(mode="after")
    def _pairs_that_cannot_be(self) -> Self:
        if len(set(self.languages)) != len(self.languages):
            raise ValueError(f"languages: {list(self.languages)} names one twice")
        if self.train.cutoff_tokens < self.sampling.max_tokens:
            raise ValueError(
                f"train.cutoff_tokens = {self.train.cutoff_tokens} is below sampling.max_tokens = {self.sampling.max_tokens}: "
                "the longest answers could never be trained on. Raise the first or lower the second",
            )
        if self.instruct.max_words - self.instruct.min_words < 2:
            raise ValueError(
                f"instruct.min_words = {self.instruct.min_words} and instruct.max_words = {self.instruct.max_words} leave no length between them: "
                "every instruction would be refused. Lower the first or raise the second",
            )
        if unused := sorted(self.recipes.keys() - set(self.languages)):
            raise ValueError(
                f"recipes.{unused[0]} is for a language that is not in languages = {list(self.languages)}: add it there, or drop the recipe"
            )
        for section, count in (("instruct", self.instruct.count), ("measure", self.measure.count)):
            if count < len(self.languages):
                raise ValueError(f"{section}.count = {count} is less than one for each of {len(self.languages)} languages")
        if self.engine.kind == "scripted" and self.train.kind == "lora":
            raise ValueError("engine.kind = 'scripted' cannot use the adapters of train.kind = 'lora': set train.kind = 'scripted' too")
        if self.engine.kind != "scripted" and self.train.kind == "scripted":
            raise ValueError(f"train.kind = 'scripted' makes adapters that engine.kind = {self.engine.kind!r} cannot load: set train.kind = 'lora'")
        if self.engine.kind == "openai" and not self.engine.urls:
            raise ValueError(
                "engine.kind = 'openai' needs engine.urls, the base URLs of the servers: -o 'engine.urls=[\"http://127.0.0.1:8000/v1\"]'"
            )
        return self

    def share(self, count: int, language: str) -> int:
        """How many of `count` items fall to `language`: equal shares, the first languages take the remainder."""
        whole, rest = divmod(count, len(self.languages))
        return whole + (self.languages.index(language) < rest)


def resolve_model(path: str) -> str:
    """A model's folder or hub name; `seedling` is the folder in the package."""
    return str(Path(__file__).parent / "seedling") if path == "seedling" else path


def load_config(file: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Settings from a TOML file and `a.b=c` overrides. Raises ConfigError naming each bad key, its value and the remedy."""
    data: dict[str, Any] = _read_toml(file) if file else {}
    for override in overrides:
        _override(data, override)
    if data.get("preset") == "paper":
        data = _layer(PAPER, data)
    return parse_config(data, origin=str(file) if file else "settings")


def parse_config(data: Mapping[str, Any], origin: str) -> Config:
    """Check a plain mapping. Raises ConfigError with one line per fault."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_fault(e) for e in error.errors())) from None


def with_overrides(config: Config, overrides: Iterable[str], file: Path | None = None) -> Config:
    """The same settings, with some replaced."""
    data = config.model_dump(mode="json")
    if file:
        data = _layer(data, _read_toml(file))
    for override in overrides:
        _override(data, override)
    return parse_config(data, origin="settings")


def changed_fields(old: Config, new: Config) -> list[str]:
    """Settings that differ and change what is written, as `a.b: old -> new`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {json.dumps(before.get(key))} -> {json.dumps(after.get(key))}" for key in sorted(before | after) if before.get(key) != after.get(key)
    ]


def _leaves(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("free"):
            continue
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", settings.model_dump(mode="json", include={name})[name]


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors add a byte order mark that nobody meant
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such settings file") from None
    except IsADirectoryError:
        raise ConfigError(f"{file} is a folder; name a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}; check the path and its permissions") from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ConfigError(f"{file} is not valid TOML: {error}") from None


def _layer(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, section by section."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _layer(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"-o {override!r}: write it as section.key=value, for example -o instruct.count=100")
    *sections, name = key.strip().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"-o {override!r}: {section!r} is a value, not a section")
    data[name] = _value(override, text)


def _value(override: str, text: str) -> Any:
    """What stands behind the `=`: TOML, or else a bare word, which is a string as in most command lines."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": text}
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise ConfigError(f"-o {override[:60]!r}...: {error}") from None
    if len(parsed) > 1:
        raise ConfigError(f"-o {override!r} holds more than one setting; give each an -o of its own")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"-o {override!r} is not UTF-8; no setting can hold such a value") from None
    return parsed["value"]


def _fault(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    if error["type"] == "tuple_type":
        message = f"it is a list: {place.rpartition('.')[2]} = [{json.dumps(str(error['input']))}]"
    if place in SECRETIVE:
        return f"{place}: {message}"
    return f"{place} = {error['input']!r}: {message}" if place else message
