"""Server-sent events as they arrive: bytes cut anywhere in, the data of whole events out. What does not live here: what the data says (`wire`)."""


class EventCutter:
    """Collects bytes and gives the `data:` of each line that is complete.

    Every server of this kind puts an event's data on one line, so a line is an event; comments (keep-alives) and other fields are passed over.
    A character that spans two reads is whole again by then: only whole lines are given out.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the data of the events that they complete."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = lines.pop()
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
