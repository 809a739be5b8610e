"""Every type that crosses the disk. What does not live here: how rows are stored (`store`) or made (`stages`).

All are frozen pydantic models that refuse unknown keys. A row is self-contained: it holds the texts it was made from, what made it,
each failed attempt, and the key of its parent, so that `selflengthen why KEY` needs nothing else.

Keys are readable and say where a row hangs: `1-en-0042` is the English instruction of slot 42 in iteration 1, `1-en-0042.r1` its response 1,
`1-en-0042.r1.x0` extension 0 of that response, all counted from 0. A key names the work, not its outcome: a kept row and a rejection of the
same work share it, so what is still owed is plain set arithmetic.
"""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Base of all rows: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(StrEnum):
    """The seven kinds of long writing that instructions are spread over."""

    LITERATURE = "literature"
    ACADEMIC = "academic"
    BUSINESS = "business"
    JOURNALISM = "journalism"
    PROFESSIONAL = "professional"
    PERSONAL = "personal"
    TECHNICAL = "technical"


class Reason(StrEnum):
    """Why a text or a row was not kept. The value is what people read in tables."""

    MALFORMED = "malformed"
    """No instruction in the answer, or a judge that says neither yes nor no."""
    UNSUITABLE = "unsuitable"
    """The judge said no."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    DUPLICATE = "duplicate"
    """The same as, or too near to, an accepted instruction or a held-out one."""
    EMPTY = "empty"
    """The model stopped at once."""
    UNFINISHED = "unfinished"
    """Does not end like a finished text."""
    REPEATED = "repeated"
    """An n-gram occurs twice."""
    MONOTONOUS = "monotonous"
    """Says one thing in many variations: a window of low diversity."""
    WRONG_LANGUAGE = "wrong_language"
    SELF_TALK = "self_talk"
    """The model talks about its task ("here is the revised version")."""
    AT_LIMIT = "at_limit"
    """Reached the token limit before it ended."""
    NOT_LONGER = "not_longer"
    """An extension that does not outgrow its draft enough."""
    NOT_SELECTED = "not_selected"
    """Passed every check, dropped by the length-biased selection."""
    OVER_CUTOFF = "over_cutoff"
    """A training example longer than the cut-off; refused, never cut."""
    UNRENDERABLE = "unrenderable"
    """A training example that the model's chat template cannot render exactly."""
    CONTEXT_FULL = "context_full"
    """Prompt and answer do not fit the model's context."""
    REFUSED = "refused"
    """The engine would not answer this request."""


class Sampling(Record):
    """Decoding settings, the method's values by default (method.md, "Decoding")."""

    model_config = ConfigDict(allow_inf_nan=False)

    temperature: float = Field(0.7, ge=0, description="0 is greedy")
    top_p: float = Field(0.8, gt=0, le=1)
    top_k: int = Field(20, ge=0, description="0 means all tokens")
    repetition_penalty: float = Field(1.1, ge=0.01, le=100)
    max_tokens: int = Field(16384, gt=0, description="new tokens at most, the prefill not counted")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), description="stop strings; the text ends before the first of them")


class Message(Record):
    """One turn of a chat."""

    role: str
    content: str


class Spent(Record):
    """What some work with a model cost, summed over its requests."""

    prompt: Count = Field(0, description="prompt tokens; a prompt counts each time it is asked, and so does what an answer goes on from")
    cached: Count = Field(0, description="those of the prompt that the engine had computed before; 0 where it does not say")
    generated: Count = Field(0, description="generated tokens")
    cut: dict[Reason, Count] = Field({}, description="those of the generated that were cut away to salvage the rest, by what was wrong with them")
    seconds: float = Field(0.0, ge=0, description="shares of the time the engine was at work: engines.metered")

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            prompt=self.prompt + other.prompt,
            cached=self.cached + other.cached,
            generated=self.generated + other.generated,
            cut=dict(Counter(self.cut) + Counter(other.cut)),
            seconds=round(self.seconds + other.seconds, 6),
        )


class Attempt(Record):
    """One failed try at a row. `text` is what there was when it failed."""

    reason: Reason
    detail: str = ""
    text: str = ""
    words: Count = 0
    spent: Spent = Spent()

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return self.spent.generated


class Made(Record):
    """How a row came to be: enough to do it again."""

    model: str
    adapter: str | None = None
    sampling: Sampling
    recipe: str
    seed: int
    spent: Spent = Field(Spent(), description="on the try that was kept")
    salvaged: Count = Field(0, description="times the kept text was cut back to a clean paragraph and continued")
    seconds: float = Field(0.0, ge=0, description="from the first try to the last, side by side with other work")
    failed: tuple[Attempt, ...] = Field((), description="the tries before the one that was kept")

    @property
    def tokens(self) -> int:
        """Generated tokens of the try that was kept."""
        return self.spent.generated

    @property
    def tokens_rejected(self) -> int:
        """Generated tokens of the tries that were not kept."""
        return sum(attempt.tokens for attempt in self.failed)


class Instruction(Record):
    """A request for a long text (stage 0)."""

    key: str
    language: str
    kind: Kind
    text: str
    examples: tuple[str, ...] = Field((), description="the two instructions that were shown")
    made: Made


class Response(Record):
    """A first answer to an instruction (stage 1)."""

    key: str
    parent: str
    language: str
    kind: Kind
    instruction: str
    text: str
    words: Count
    made: Made


class Step(Record):
    """One micro-iteration of an extension: what it made, and why it was not taken (`reason` is None when it was)."""

    attempt: Count
    round: Count
    reason: Reason | None = None
    detail: str = ""
    text: str = ""
    words: Count = 0
    spent: Spent = Field(Spent(), description="on both its requests, the free rewriting of the first half and the rewriting of the whole")

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return self.spent.generated


class Extension(Record):
    """A longer version of a response (stage 2). `text` is the best accepted step."""

    key: str
    parent: str
    language: str
    kind: Kind
    instruction: str
    initial: str
    initial_words: Count
    text: str
    words: Count
    steps: tuple[Step, ...]
    made: Made


class SftExample(Record):
    """A fine-tuning example: loss on `answer` and its end-of-turn token alone."""

    key: str
    language: str
    messages: tuple[Message, ...]
    answer: str
    tokens: Count = Field(description="of the rendered prompt and answer together")


class Rejection(Record):
    """A row that did not come to be. `attempts` holds every try, the last one first to be looked at by `why`."""

    key: str
    stage: str
    language: str
    reason: Reason
    detail: str = ""
    parent: str | None = None
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[Step, ...] = ()
    spent: Spent = Field(Spent(), description="on all its tries")

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return self.spent.generated


class Selection(Record):
    """A settled window of the length-biased selection: which keys went on."""

    key: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


class Role(StrEnum):
    """The two roles that pull each other up."""

    GENERATOR = "generator"
    EXTENDER = "extender"


class Adapter(Record):
    """A LoRA adapter on disk. Its name is used once: never the same name with other weights."""

    name: str
    role: Role
    iteration: Count
    path: Path
    base_model: str


class HeldOut(Record):
    """One answer to a held-out instruction, passing or not; never trained on."""

    key: str
    language: str
    kind: Kind
    instruction: str
    text: str
    words: Count
    reason: Reason | None = Field(None, description="why it does not pass; None when it does")
    detail: str = ""
    made: Made


class Floors(Record):
    """Where monotony begins in one language: the least diversity that a window may have. All 0: no floor."""

    window: int = Field(0, ge=0, description="units per window")
    distinct_3_min: float = Field(0.0, ge=0, le=1)
    compression_min: float = Field(0.0, ge=0)


class Figures(Record):
    """Held-out figures of one model, over one language or all. Words are of passing texts; rates are shares of `n`."""

    n: Count
    words_mean: float
    words_median: float
    words_p90: float
    pass_rate: float
    repetition_rate: float
    at_limit_rate: float
    distinct_3: float | None = Field(description="distinct over all 3-grams, mean over windows of equal length; None when every text is shorter")
    compression: float | None = Field(description="zlib-compressed over raw bytes, mean over the same windows")


class Gate(Record):
    """One gate of an iteration: a figure, the least it had to be, and whether it was."""

    name: str
    language: str
    value: float
    least: float
    passed: bool


class Measurement(Record):
    """What the held-out answers of an iteration say. Iteration 0 is the base model; it also sets the floors of the monotony check."""

    iteration: Count
    overall: Figures
    languages: dict[str, Figures]
    growth: float | None = Field(None, description="mean words over those of the last good iteration before")
    growth_over_base: float | None = None
    growth_by_language: dict[str, float] = Field({}, description="over the base")
    gates: tuple[Gate, ...] = ()
    floors: dict[str, Floors] = {}
    tokens: Count = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether its adapters may be used further."""
        return all(gate.passed for gate in self.gates)
