"""Keeps one server: `python -I -S keeper.py SECONDS COMMAND...`. Standard library alone, run by its path: it starts in a few hundredths of a second.

The keeper leads a session and a process group of its own, in which the server runs with all that it forks (vLLM: engine core, workers), and none of
them outlives the driver, the server, or the keeper's order to end. It knows that the driver is gone by the end of its standard input, which is a pipe
that only the driver holds: the kernel closes it however the driver dies. What it hears and says:

    standard input    the first byte: start the server; the end: end the group (SIGTERM, after SECONDS SIGKILL)
    SIGTERM, SIGINT   the same
    standard output   `pid NUMBER` once the server is started, then `exit CODE` or `signal NUMBER`, or else `failed TEXT`
    standard error    passed on to the server, with its standard output

The server starts only at the first byte, so that the driver can write the group down before there is anything to lose. What does not live here: the
driver's side (`kept`), and what happens when the keeper itself is killed (`kept`, `orphans`).
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TURN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as /proc shows it."""

    pid: int
    dead: bool
    """Ended with all its threads, and not yet waited for by its parent: holds a number and nothing else. In a container without init it stays."""
    group: int
    start_ticks: int
    """Clock ticks from the machine's start to the process's."""


def look(pid: int) -> Seen | None:
    """One process; None when it is gone, or this system has no /proc."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The second field is the name, in brackets, with any character in it.
    fields = stat.rpartition(b")")[2].split()
    # A process whose first thread has ended is shown as a zombie, though others are about to end and hold its memory, a GPU's above all.
    dead = fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1
    return Seen(pid, dead, int(fields[2]), int(fields[19]))


def members(group: int) -> list[Seen] | None:
    """The processes of a group; None on a system without /proc."""
    if look(os.getpid()) is None:
        return None
    return [seen for name in os.listdir(PROC) if name.isdigit() and (seen := look(int(name))) and seen.group == group]  # noqa: PTH208 - fast


def main(seconds: float, command: list[str]) -> int:
    """Keep the server until it ends or has to. Often does not return: the last SIGKILL goes to the keeper's own group."""
    if not os.read(0, 1):
        return 0
    bell, rope = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(rope, False)
    signal.set_wakeup_fd(rope)  # writes the number of each signal into the pipe, on which one can wait beside others
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2)  # noqa: S603 - what the driver asks for
    except OSError as error:
        tell(f"failed {error}")
        return 1
    tell(f"pid {server.pid}")
    while server.poll() is None:
        ready, _, _ = select.select([0, bell], [], [])
        if bell in ready and {signal.SIGTERM, signal.SIGINT} & set(os.read(bell, 4096)):
            return end(server, seconds, bell)
        if 0 in ready and not os.read(0, 4096):
            return end(server, seconds, bell)
    return leave(server)  # it ended by itself: what it forked is good for nothing any more, and holds the GPU's memory


def end(server: "subprocess.Popen[bytes]", seconds: float, bell: int) -> int:
    """End the group: ask, wait, kill."""
    os.killpg(0, signal.SIGTERM)  # the keeper gets it, too, and only writes that down
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None and alone() is not False:
            break
        select.select([bell], [], [], TURN_SECONDS)
        if select.select([bell], [], [], 0)[0]:
            os.read(bell, 4096)
    return leave(server)


def leave(server: "subprocess.Popen[bytes]") -> int:
    """Say how the server ended, and take along what is left of the group."""
    code = server.poll()
    if code is None:
        code = -signal.SIGKILL  # in a moment
    tell(f"exit {code}" if code >= 0 else f"signal {-code}")
    if not alone():
        # The kernel signals a whole group at once, so none of it can fork its way out. The keeper is part of it: all is said by now.
        os.killpg(0, signal.SIGKILL)
    return 0


def alone() -> bool | None:
    """Whether the keeper is all that is left of its group; None when it cannot be known."""
    found = members(os.getpgrp())
    return None if found is None else all(seen.dead or seen.pid == os.getpid() for seen in found)


def tell(text: str) -> None:
    """Tell the driver, if it is still there."""
    with contextlib.suppress(OSError):
        os.write(1, text.encode(errors="replace").replace(b"\n", b" ") + b"\n")


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
