"""What can go wrong between us and a server, by what is to be done about it. What does not live here: doing it (`fleet`, `engines.openai`).

Busy       the server has too much to do: wait, and send it less
Faulty     this exchange went wrong: ask again, elsewhere if there is an elsewhere
Broken     so, because the connection broke: what answers there next may have been started anew, and is prepared like one that was down
Down       the server is gone or hangs: everything that runs there goes elsewhere, and it is asked now and then whether it is back
Lost       the server does not know the model or adapter (any more): it is prepared anew before it is asked again
RequestRefused (the seam's)   this request will not be answered, here or elsewhere
EngineError (the seam's)      no request will be answered: a wrong key, a wrong address
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from selflengthen.engines.base import RequestRefused
from selflengthen.errors import EngineError

BUSY = frozenset({425, 429, 503, 529})
DENIED = frozenset({401, 402, 403})
ABOUT_CONTEXT = re.compile(r"context|max_model_len|too (long|many tokens)|maximum.{0,20}(length|tokens)|input_tokens|exceed", re.IGNORECASE)
"""How servers say that a prompt is too long. They share no error code."""
DETAIL = 300
"""Characters of a server's own words that are passed on."""


class ServerFault(Exception):
    """Root of what is tried again. Not for people."""


class Busy(ServerFault):
    """Too much to do; `seconds` as the server asked, None when it did not say."""

    def __init__(self, detail: str, seconds: float | None = None) -> None:
        super().__init__(detail)
        self.seconds = seconds


class Faulty(ServerFault):
    """This exchange failed."""


class Broken(Faulty):
    """The connection broke."""


class Down(ServerFault):
    """The server does not answer at all."""


class Lost(ServerFault):
    """The server does not know the model or the adapter."""


def fault_of(status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """What an answer that is not 200 means."""
    said = said_in(body)
    detail = f"{status}: {said}"
    if b"insufficient_quota" in body or status in DENIED:
        return EngineError(
            f"the server denies access ({detail}): see to the key (engine.api_key_env names the variable that holds it) and the account"
        )
    if status in BUSY:
        return Busy(detail, retry_after(headers.get("Retry-After")))
    if status == 404:
        return Lost(detail)
    if status == 408 or status >= 500:
        return Faulty(detail)
    return RequestRefused(detail, context_full=status == 413 or ABOUT_CONTEXT.search(said) is not None)


def said_in(body: bytes) -> str:
    """The server's own words, shortened, out of an error's body."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    while isinstance(found, dict):
        found = next((found[name] for name in ("error", "message", "detail") if name in found), json.dumps(found))
    return " ".join(str(found).split())[:DETAIL] or "(nothing said)"


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
