"""A command and all it starts, as one group of processes that can be ended whole: the driver's side of a keeper (`keeper`).

Only ever signals the group of a keeper that was started here and not yet waited for: until then the kernel gives its number to nobody else. What
does not live here: what the command is, and whether it does its work (`replica`).
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from selflengthen.engines.served import keeper, orphans
from selflengthen.errors import SelfLengthenError

END_SECONDS = 10.0
"""From SIGTERM to SIGKILL."""
SPARE_SECONDS = 3.0
"""A keeper that needs so much longer to end its group hangs itself."""
LONGEST_TURN_SECONDS = 0.2


class Kept:
    """One run of a command, from its start to the end of its last process. Made by `start`; belongs to the event loop of that moment."""

    def __init__(self, name: str, leader: "subprocess.Popen[bytes]", folder: Path | None, end_seconds: float) -> None:
        self.pid: int | None = None
        """Of the command itself; None until it was started, and when it could not be."""
        self._name, self._leader, self._folder, self._end_seconds = name, leader, folder, end_seconds
        self._how: str | None = None
        self._asked = False
        self._task: asyncio.Task[None] | None = None
        self._ear: asyncio.BaseTransport | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: BinaryIO,
        folder: Path | None,
        end_seconds: float = END_SECONDS,
    ) -> Self:
        """Start it. `log`: all it prints is written there. `folder`: where it is written down for `end_orphans`; None: nowhere.

        `env` is the whole environment. Whether the command could be started is known later: `wait` says so.
        """
        leader = subprocess.Popen(  # noqa: ASYNC220, S603 - our own interpreter and file; returns after the fork, and its output is read asynchronously
            # -I -S: nothing from the folder of this file, from PYTHONPATH or site-packages. It is quick, and no file there shadows the library.
            [sys.executable, "-I", "-S", keeper.__file__, str(end_seconds), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(env),
            bufsize=0,
            start_new_session=True,
        )
        self = cls(name, leader, folder, end_seconds)
        try:
            if folder is not None:
                orphans.write_down(folder, name, leader.pid, log.fileno(), command)
            loop, said = asyncio.get_running_loop(), asyncio.StreamReader()
            self._ear, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), leader.stdout)
            assert leader.stdin is not None
            with suppress(BrokenPipeError):  # it is dead already: its output ends, too
                leader.stdin.write(b"\n")
        except BaseException:
            await self._clear()
            raise
        self._task = asyncio.create_task(self._attend(said), name=f"attend {name}")
        return self

    @property
    def alive(self) -> bool:
        """The command runs."""
        return self.pid is not None and self._how is None and not self.over

    @property
    def over(self) -> bool:
        """No process of it is left."""
        return self._task is None or self._task.done()

    async def over_within(self, seconds: float) -> bool:
        """Wait for its end, but no longer than this."""
        assert self._task is not None
        return bool((await asyncio.wait({self._task}, timeout=seconds))[0])

    async def wait(self) -> str:
        """How it ended, once no process of it is left. Raises EngineError when one does not end, even killed."""
        assert self._task is not None
        await asyncio.shield(self._task)
        if self._asked:
            return "was stopped"
        return self._how or "was killed, because its keeper (the process that watches over it) was"

    async def end(self) -> None:
        """End it. Returns when no process of it is left; EngineError when one does not end, even killed. Can be called again."""
        assert self._task is not None
        assert self._leader.stdin is not None
        self._asked = self._asked or self._how is None
        # What the keeper sees when the driver dies: there is one way to the end, and each run goes it.
        self._leader.stdin.close()
        if not await self.over_within(self._end_seconds + SPARE_SECONDS) and self._leader.returncode is None:
            os.killpg(self._leader.pid, signal.SIGKILL)
        await asyncio.shield(self._task)

    async def _attend(self, said: asyncio.StreamReader) -> None:
        """Listen until the keeper's output ends, which is when it has ended or was killed."""
        try:
            while line := await said.readline():
                self._hear(line.decode(errors="replace").strip())
        finally:
            await self._clear()

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "pid":
                self.pid = int(rest)
            case "exit":
                self._how = f"stopped with exit code {rest}"
            case "signal":
                number = int(rest)
                known = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
                self._how = f"was killed by signal {number} ({known})"
                if number == signal.SIGKILL:
                    self._how += "; if nobody did that, the system ran out of memory"
            case "failed":
                self._how = f"could not be started: {rest}"

    async def _clear(self) -> None:
        """Kill what is left of the group, wait for its end, and strike it out. As a rule nothing is left."""
        turn, waited, left = 0.01, 0.0, True
        while left and waited <= orphans.KILL_SECONDS:
            with suppress(ProcessLookupError, PermissionError):  # the second: what macOS says of a group that has ended
                os.killpg(self._leader.pid, signal.SIGKILL)
            if left := bool(orphans.living(self._leader.pid)):
                await asyncio.sleep(turn)
                waited, turn = waited + turn, min(2 * turn, LONGEST_TURN_SECONDS)
        reap = self._leader.poll if left else self._leader.wait
        reap()
        for end in (self._ear, self._leader.stdin, self._leader.stdout):
            if end is not None:
                end.close()
        if left:  # it stays in the list: the next start tries again
            raise orphans.stuck(self._name, self._leader.pid)
        if self._folder is not None:
            with suppress(SelfLengthenError):  # it stays in the list, where the next start finds that it is gone
                orphans.strike_out(self._folder, self._leader.pid)
