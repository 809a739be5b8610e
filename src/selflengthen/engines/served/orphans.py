"""What was started, written down, so that the next start ends what a crash left behind. What does not live here: starting it (`kept`).

A keeper ends its group when the driver dies. This is for the rest: a keeper that was killed too. On a system without /proc nothing is written
and nothing is ended: there the keeper is all there is.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from selflengthen.engines.served.keeper import PROC, Seen, look, members
from selflengthen.errors import EngineError
from selflengthen.records import Record
from selflengthen.store.dataset import write_whole

SERVERS_FILE = "servers.json"
ASK_SECONDS, KILL_SECONDS = 5.0, 30.0
"""For an orphan to end when asked, and when killed: giving back a GPU's memory takes seconds."""
TURN_SECONDS = 0.05


class Started(Record):
    """A group of processes: a server with its keeper."""

    name: str
    pid: int
    """Of the keeper, which is also the number of its group and session."""
    start_ticks: int
    """Clock ticks from the machine's start to the keeper's: tells it from a later process of the same number."""
    boot: str
    """The machine's start."""
    log: tuple[int, int]
    """Device and inode of the file that all of the group write to."""
    command: tuple[str, ...]


class AllStarted(Record):
    """The content of `servers.json`."""

    servers: tuple[Started, ...] = ()


def write_down(folder: Path, name: str, pid: int, log: int, command: Sequence[str]) -> None:
    """Add a group. `log`: an open file of it. Raises StoreError when it cannot be written."""
    seen = look(pid)
    if seen is None:
        return
    file = os.fstat(log)
    started = Started(name=name, pid=pid, start_ticks=seen.start_ticks, boot=_boot(), log=(file.st_dev, file.st_ino), command=tuple(command))
    _write(folder, [*_read(folder), started])


def strike_out(folder: Path, pid: int) -> None:
    """Take a group out that is gone."""
    _write(folder, [started for started in _read(folder) if started.pid != pid])


def end_orphans(folder: Path) -> list[str]:
    """End what an earlier driver left running, and forget it. Returns what was ended, in words. Blocks, some seconds at worst.

    To be called by the one that holds the run's lock: then what stands in the file is nobody's any more. Raises EngineError when the file
    is not what was written, or a process cannot be killed.
    """
    ended = []
    for started in _read(folder):
        if left := _members(started):
            end_group(started.pid, started.name)
            ended.append(f"{started.name} of an earlier start was still running ({len(left)} processes, group {started.pid}); it was ended")
    if (folder / SERVERS_FILE).exists():
        _write(folder, [])
    return ended


def end_group(group: int, name: str) -> None:
    """SIGTERM, then SIGKILL; returns when nobody is left. Raises EngineError when that does not help."""
    for number, seconds in ((signal.SIGTERM, ASK_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + seconds
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        while living(group):
            if time.monotonic() > deadline:
                break
            time.sleep(TURN_SECONDS)
        else:
            return
    raise stuck(name, group)


def living(group: int) -> list[int] | None:
    """Numbers of the processes of a group that have not ended; None when this system cannot tell."""
    found = members(group)
    return None if found is None else [seen.pid for seen in found if not seen.dead]


def stuck(name: str, group: int) -> EngineError:
    """What to say of processes that SIGKILL does not end."""
    return EngineError(
        f"{name}: processes {living(group)} were killed and do not end: they hang inside a driver. See `nvidia-smi` and `dmesg`; "
        "as a rule only a restart of the machine frees their GPU"
    )


def _members(started: Started) -> list[Seen]:
    """The living processes of a recorded group; none when its number means something else by now.

    A process number is not given anew while it is the number of a group that has members. So if the leader's number belongs to a process that
    started at another time, nothing of the recorded group is left. If there is no such process, the members may be the orphans of the
    recorded leader, or of another one that led a group of that number after ours was gone and has ended, too. What tells them apart is the
    log: our server and all it forks write to it. One that does proves it for all, for a number means one group at a time.
    """
    if started.boot != _boot():
        return []
    found = [seen for seen in members(started.pid) or [] if not seen.dead]
    leader = look(started.pid)
    if leader is not None:
        return found if leader.start_ticks == started.start_ticks else []
    ours = [seen for seen in found if seen.start_ticks >= started.start_ticks]
    return ours if any(_writes_to(seen.pid, started.log) for seen in ours) else []


def _writes_to(pid: int, log: tuple[int, int]) -> bool:
    for number in (1, 2):
        try:
            file = (PROC / str(pid) / "fd" / str(number)).stat()
        except OSError:  # gone, closed, or not ours to see
            continue
        if (file.st_dev, file.st_ino) == log:
            return True
    return False


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _read(folder: Path) -> tuple[Started, ...]:
    file = folder / SERVERS_FILE
    try:
        return AllStarted.model_validate_json(file.read_bytes()).servers
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"{file}, the list of servers that may still run, cannot be read ({str(error).splitlines()[0]}). "
            "Look whether a vLLM server of an earlier start still runs, end it, and delete the file"
        ) from None


def _write(folder: Path, servers: Sequence[Started]) -> None:
    write_whole(folder / SERVERS_FILE, AllStarted(servers=tuple(servers)).model_dump_json(indent=1))
