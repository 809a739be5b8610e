"""How many requests one server is given at once: found while it works. Pure, with the clock passed in.

Additive increase, multiplicative decrease. An answer that begins soon after it was asked for shows that the server took the request at once, so
one more may be sent: at first one for each such answer, which doubles the number with every round, and after the first sign of too much one
for a whole round. A refusal for being busy halves it, once for all requests that were sent before. A server that tells how many wait
in its queue is given twice as many at once while it runs all that it was sent, however late they begin (the first ones wait for its kernels to be
compiled), and no more while some wait: those would be begun no earlier, and would be lost with it. Who names a number starts with it.
"""

from dataclasses import dataclass, field

START = 32
MOST = 1024
"""Where no bound is given."""
SOON_SECONDS = 5.0
"""An answer that begins later than this was queued, or its prompt is long: no reason to send more."""
CUT = 0.5
FULL = 0.9
"""Share of the limit from which a server is busy with what it is given; a little is always on its way."""
QUEUE_SHARE = 0.1
"""Requests that may wait in a server's queue, as a share of those it runs: it never idles, and little waits in vain."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class Pace:
    """The limit of one server."""

    most: int = 0
    """Never more; 0: no bound but `MOST`."""
    limit: float = field(init=False)
    paused_until: float = 0.0
    _doubling: bool = True
    _queueing: bool = False
    _cut_at: float = -1.0
    _refusals: int = 0

    def __post_init__(self) -> None:
        self.limit = float(self.most or START)

    @property
    def bound(self) -> int:
        """The most that will ever be sent at once."""
        return self.most or MOST

    def room(self, in_flight: int, now: float) -> bool:
        """Whether one more may be sent."""
        return now >= self.paused_until and in_flight < int(self.limit)

    def began(self, waited: float, in_flight: int) -> None:
        """An answer began, `waited` seconds after it was asked for."""
        self._refusals = 0
        if waited > SOON_SECONDS or self._queueing or in_flight < int(self.limit) - 1:
            return  # no sign of room, or none needed
        self.limit = min(self.bound, self.limit + (1.0 if self._doubling else 1.0 / self.limit))

    def busy(self, sent_at: float, now: float, seconds: float | None) -> None:
        """The server refused a request for having too much to do, or let it time out."""
        self._doubling = False
        if sent_at > self._cut_at:
            self.limit, self._cut_at = max(1.0, self.limit * CUT), now
            self._refusals += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._refusals, 10)) / 2 if seconds is None else seconds
        self.paused_until = max(self.paused_until, now + pause)

    def queued(self, running: int, waiting: int) -> None:
        """What the server tells of itself."""
        spare = max(2, int(QUEUE_SHARE * running))
        self._queueing = waiting >= spare
        if self._doubling and not waiting and running >= FULL * int(self.limit):
            self.limit = min(float(self.bound), 2 * self.limit)
        if waiting > 2 * spare:
            self._doubling = False
            self.limit = max(1.0, min(self.limit, float(running + spare)))
