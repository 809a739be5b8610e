"""What a server of the tests does differently from vLLM (`Quirks`, always) and what goes wrong with one request (`Fault`). Values only."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum

STALL_EVENTS = 3
"""Events with text after which a stream falls silent while `Quirks.stalls` is set."""


@dataclass
class Quirks:
    """How a server is; each may be set while it runs."""

    ignores_seed: bool = False
    ignores_stop: bool = False
    echoes_prefill: bool = False
    """The answer begins with the prefill."""
    ignores_prefill: bool = False
    """An opened answer is closed, and another one begun."""
    refuses_unknown_fields: bool = False
    """400 for every field that OpenAI itself does not have."""
    no_completions: bool = False
    no_lora: bool = False
    no_usage: bool = False
    """Never tells token counts."""
    no_context: bool = False
    """/v1/models does not tell the context."""
    no_logprobs: bool = False
    """Leaves out the probabilities that are asked for."""
    missing: frozenset[str] = frozenset()
    """Paths that are 404, such as /metrics, /v1/models, /health."""
    busy: frozenset[str] = frozenset()
    """Paths that are 503, to be asked for again soon."""
    caches: bool = False
    """Counts as cached what a prompt shares with an earlier one that it begins with, in blocks of 16 tokens."""
    wobbles: float = 0.0
    """Log probabilities differ by up to so much from one time to the next, as they do with other neighbours in a batch."""
    tokens_per_event: int = 1
    buffers: bool = False
    """Sends the whole stream at its end."""
    cut_bytes: int = 0
    """Streams are written in pieces of so many bytes; 0: an event at a time."""
    cut_pause_seconds: float = 0.0
    """Between two such pieces: 0 lets others run, more makes sure that the reader sees them apart."""
    hangs: bool = False
    """Accepts connections and says nothing, on streams under way neither, until it is taken back."""
    stalls: bool = False
    """Streams fall silent after three events, all else answers, until it is taken back."""


class Kind(StrEnum):
    """What goes wrong. The kinds that need a stream close the connection at once when the answer is none."""

    STATUS = "status"
    """An error answer: `status`, `message`, `headers`."""
    HTML = "html"
    """200, and a page of HTML."""
    CLOSED = "closed"
    """The connection is closed before any byte."""
    CLOSES = "closes"
    """The connection is closed in mid-stream, after `after` events, at the place `where`."""
    GARBAGE = "garbage"
    """After `after` events one that is no JSON; the stream goes on."""
    ENDS = "ends"
    """After `after` events the stream ends in good order, without finish_reason and [DONE]."""
    ERROR = "error"
    """After `after` events an error object as an event, as vLLM does when its engine dies, and [DONE]."""
    FILTERED = "filtered"
    """After `after` events, finish_reason content_filter."""
    DRIPS = "drips"
    """The body comes byte by byte, `seconds` apart."""
    WAITS = "waits"
    """Nothing comes for `seconds`, not even the headers; then all is well."""


class Where(StrEnum):
    """Where a connection is closed in mid-stream."""

    BETWEEN = "between"
    """Between two events."""
    EVENT = "event"
    """In the middle of an event."""
    CHARACTER = "character"
    """After the first byte of a character of several: in the next event that has one."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one request. Which fields count is said at the kinds."""

    kind: Kind
    after: int = 2
    """Events with text that are sent in good order."""
    where: Where = Where.BETWEEN
    resets: bool = False
    """A connection is closed by RST, as by a machine that is gone, not by FIN."""
    seconds: float = 0.001
    status: int = 503
    message: str = "The server has a fault."
    headers: dict[str, str] = field(default_factory=dict)


def refused(status: int, retry_after: float | str | None = None, message: str = "The server has a fault.") -> Fault:
    """An answer with an error status; `retry_after` in seconds, or as it is to be sent."""
    return Fault(Kind.STATUS, status=status, message=message, headers={} if retry_after is None else {"Retry-After": str(retry_after)})


def http_date(seconds: float) -> str:
    """The time in so many seconds, as Retry-After may have it. Whole seconds: the format has no others."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
