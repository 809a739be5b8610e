"""From the events of one exchange to its answer. No network here; what an event says is `wire`, what becomes of the text `answer`."""

from collections.abc import Callable

from selflengthen.engines.base import Finish
from selflengthen.engines.served.answer import Answer
from selflengthen.engines.served.faults import Faulty
from selflengthen.engines.served.wire import finish_fault, read_event


class Hearing:
    """Takes the events of one exchange."""

    __slots__ = ("_answer", "_began", "_finish")

    def __init__(self, answer: Answer, began: Callable[[], None]) -> None:
        self._answer = answer
        self._began: Callable[[], None] | None = began
        self._finish: str | None = None

    def take(self, events: list[bytes]) -> bool:
        """The next events; whether enough was heard. Texts that came together are looked at together."""
        answer, text, done = self._answer, "", False
        fault: Faulty | None = None
        for data in events:
            if data == b"[DONE]":
                done = True
                break
            try:
                piece = read_event(data)
            except Faulty as met:
                fault = met  # raised once the text before it is taken: it is counted already
                break
            answer.count(piece)
            text += piece.text
            self._finish = piece.finish or self._finish
        if self._began is not None:
            self._began()
            self._began = None
        if text and answer.take(text):
            return True
        if fault is not None:
            raise fault
        if done and not self.over():
            raise Faulty("the stream ended before the answer did")
        return done

    def over(self) -> bool:
        """Whether the answer is at its end, now that nothing more will come."""
        answer = self._answer
        if answer.finish is None and self._finish is not None:
            if fault := finish_fault(self._finish):
                raise fault
            answer.end(Finish.LENGTH if self._finish in {"length", "max_tokens"} else Finish.STOP)
        return answer.finish is not None
