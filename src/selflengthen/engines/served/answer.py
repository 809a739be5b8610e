"""One answer as it comes in, over as many servers as it takes: what is heard, watched and counted. No network here.

When a server dies in the middle, what it has written is kept: the next one is asked to go on from there, as salvage is. What does not live
here: asking (`engines.openai`), and what a text is checked for (`text`).
"""

from selflengthen.engines.base import Completion, Finish, Request, Watch
from selflengthen.engines.served.wire import Piece
from selflengthen.engines.stops import StopGuard
from selflengthen.text.verdict import Verdict

SHORTEST_ECHO = 8
"""Characters of an opening from which its coming back is no chance."""


class EchoGuard:
    """Takes the opening away from an answer of a server that says it again. Text is held back only while it could be that."""

    __slots__ = ("_expected", "_held")

    def __init__(self, opening: str) -> None:
        self._expected = opening if len(opening) >= SHORTEST_ECHO else ""
        self._held = ""

    def push(self, piece: str) -> str:
        """What of the piece, and of what was held, may go on."""
        if not self._expected:
            return piece
        self._held += piece
        if self._expected.startswith(self._held) and len(self._held) < len(self._expected):
            return ""
        text = self._held.removeprefix(self._expected)
        self._expected = self._held = ""
        return text

    def rest(self) -> str:
        """What is held when the answer has ended: it was no echo after all."""
        held, self._held, self._expected = self._held, "", ""
        return held


class Answer:
    """What has come of one request."""

    __slots__ = (
        "_blank", "_counted", "_echo", "_guard", "_high", "_lead", "_pieces", "_watch",
        "cached_tokens", "finish", "generated_before", "generated_now", "prompt_tokens", "request", "text", "verdict",
    )  # fmt: skip

    def __init__(self, request: Request, watch: Watch | None) -> None:
        self.request = request
        self.text = ""
        self.finish: Finish | None = None
        self.verdict: Verdict | None = None
        self.prompt_tokens = self.cached_tokens = 0
        self.generated_before = self.generated_now = 0
        """Tokens of earlier attempts, and of the one under way."""
        self._watch = watch
        self.begin(strips_blank=False)

    def begin(self, *, strips_blank: bool) -> str:
        """A new attempt; the opening that the server is to go on from.

        `strips_blank`: leave off the blanks at its end, which templates may trim, and the blanks the server then begins with. Only line breaks
        that it has more of are kept: the answer was cut in the middle of them.
        """
        opening = self.request.prefill + self.text
        sent = opening.rstrip() if strips_blank else opening
        self.generated_before += self.generated_now
        self.generated_now = self._pieces = 0
        self._counted = (0, 0)
        self._blank, self._lead = opening[len(sent) :], ""
        self._high = ""
        self._echo = EchoGuard(sent)
        self._guard = StopGuard(self.request.sampling.stop)
        return sent

    @property
    def generated_tokens(self) -> int:
        """By all attempts."""
        return self.generated_before + self.generated_now

    @property
    def begun(self) -> bool:
        """Something came in this attempt."""
        return self._pieces > 0

    def count(self, piece: Piece) -> None:
        """Take an event's numbers. A server that tells none is counted by its events, which are tokens with nearly all of them."""
        if piece.text:
            self._pieces += 1
        if piece.generated_tokens is not None:
            self.generated_now = piece.generated_tokens
        elif piece.text:
            self.generated_now += 1
        prompt, cached = self._counted
        if piece.prompt_tokens is not None and piece.prompt_tokens > prompt:
            self.prompt_tokens += piece.prompt_tokens - prompt
            prompt = piece.prompt_tokens
        if piece.cached_tokens is not None and piece.cached_tokens > cached:
            self.cached_tokens += piece.cached_tokens - cached
            cached = piece.cached_tokens
        self._counted = (prompt, cached)

    def take(self, text: str) -> bool:
        """Take the next text; whether the answer is over: a stop string came, or the watch has seen enough."""
        text = self._echo.push(self._whole(text))
        if self._blank and text:
            self._lead += text
            text = self._lead.lstrip()
            if text:
                lead = self._lead[: len(self._lead) - len(text)]
                text = "\n" * (lead.count("\n") - self._blank.count("\n")) + text
                self._blank = ""
        self._feed(self._guard.push(text))
        if self.finish is None and self._guard.hit:
            self.finish = Finish.STOP
        return self.finish is not None

    def end(self, finish: Finish) -> None:
        """The server has said all."""
        self._feed(self._guard.push(self._echo.rest()))
        if self.finish is None:
            self._feed(self._guard.rest())
        if self.finish is None:
            self.finish = Finish.STOP if self._guard.hit else finish

    def completion(self) -> Completion:
        """What there is."""
        assert self.finish is not None
        return Completion(self.text, self.finish, self.prompt_tokens, self.generated_tokens, self.verdict, self.cached_tokens)

    def _feed(self, delta: str) -> None:
        if not delta or self.finish is not None:
            return
        self.text += delta
        if self._watch is not None and (verdict := self._watch.feed(delta)) is not None:
            self.finish, self.verdict = Finish.WATCHED, verdict

    def _whole(self, text: str) -> str:
        """Text with no half characters: JSON writes some as two escapes, and a server may send them in two events."""
        if text.isascii() and not self._high:
            return text
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
