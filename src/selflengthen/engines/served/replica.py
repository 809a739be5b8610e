"""One server: started until it answers, watched, stopped, started again. A person hears how far it is, and why it did not come up.

What does not live here: its processes (`kept`), its command line (`launch`), what its log means (`remedies`), and what it is asked (`endpoint`).
"""

import asyncio
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from selflengthen.engines.served.kept import END_SECONDS, Kept
from selflengthen.engines.served.orphans import end_orphans
from selflengthen.engines.served.remedies import PORT_TAKEN, last_words, news, read_lines, remedy
from selflengthen.errors import EngineError

__all__ = ["PortTaken", "Replica", "end_orphans"]

POLL_SECONDS = 0.25
HEALTH_SECONDS = 10.0
"""For an answer: a machine that starts several servers at once is slow."""
PROGRESS_SECONDS = 1.0
SILENCE_SECONDS = 15.0
"""Without news, a start is heard of so often."""
PROGRESS_BYTES = 1 << 14


class PortTaken(EngineError):
    """Somebody else listens at the server's port; another port will do."""


class Replica:
    """A server process. Not started when made; can be started again after it ended. Not for several tasks that start and stop it at once."""

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        url: str,
        log: Path,
        on_progress: Callable[[str], None],
        start_seconds: float,
        folder: Path | None = None,
        end_seconds: float = END_SECONDS,
    ) -> None:
        """`env`: the whole environment. `url`: the base URL it will answer at. `log`: what it prints is appended there.

        `on_progress`: told how far a start is, when its log has news. `start_seconds`: a start that takes longer has failed. `folder`: where it is
        written down for `end_orphans`. `end_seconds`: from SIGTERM to SIGKILL.
        """
        self.name, self.url = name, url
        self._command, self._env, self._log = tuple(command), dict(env), log
        self._on_progress = on_progress
        self._start_seconds, self._end_seconds = start_seconds, end_seconds
        self._folder = folder
        self._kept: Kept | None = None
        self._log_start = 0

    @property
    def alive(self) -> bool:
        """The server's own process runs. It may hang all the same."""
        return self._kept is not None and self._kept.alive

    @property
    def pid(self) -> int | None:
        """Of the server's own process; None when it does not run."""
        return self._kept.pid if self._kept is not None and self._kept.alive else None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises EngineError, with what its log says, when it does not; then nothing of it is left."""
        assert self._kept is None or self._kept.over, f"{self.name} is started twice"
        host, port = self._place()
        if await asyncio.to_thread(_somebody_listens, host, port):
            raise PortTaken(f"{self.name}: port {port}: {PORT_TAKEN}")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            log.write(f"== {datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {self.name}: {shlex.join(self._command)}\n".encode())
            log.flush()
            self._log_start = log.tell()
            self._kept = await Kept.start(self.name, self._command, env=self._env, log=log, folder=self._folder, end_seconds=self._end_seconds)
        try:
            await self._until_ready(self._kept)
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> str:
        """Wait for its end, planned or not. Returns how it ended, in words, once no process of it is left."""
        assert self._kept is not None, f"{self.name} was never started"
        return await self._kept.wait()

    async def stop(self) -> None:
        """End it: SIGTERM, after a while SIGKILL. Returns when no process of it is left. Does nothing when none is."""
        if self._kept is not None and not self._kept.over:
            await self._kept.end()

    async def restart(self) -> None:
        """Stop it if it runs, and start it. Raises as `start` does."""
        await self.stop()
        await self.start()

    def account(self, how: str) -> EngineError:
        """Why it ended, for a person. `how`: as `wait` says it."""
        lines = read_lines(self._log, self._log_start)
        mend = remedy(lines, how)
        said = "; it said last:\n  " + "\n  ".join(last_words(lines)) + "\n" if lines else " and said nothing "
        text = f"{self.name} {how}{f': {mend}' if mend else ''}{said}(log: {self._log})"
        return PortTaken(text) if mend == PORT_TAKEN else EngineError(text)

    # -- while it starts ----------------------------------------------------------------------------------------------------------------

    async def _until_ready(self, kept: Kept) -> None:
        begun = time.monotonic()
        teller = asyncio.create_task(self._tell(begun))
        patience = aiohttp.ClientTimeout(total=HEALTH_SECONDS)
        try:
            async with asyncio.timeout(self._start_seconds), aiohttp.ClientSession(timeout=patience) as session:
                while not (await self._answers(session) and kept.alive):
                    if await kept.over_within(POLL_SECONDS):
                        raise self.account(await kept.wait())
        except TimeoutError:
            raise self.account(f"was not ready after {self._start_seconds:g} s (engine.vllm.start_seconds) and was stopped") from None
        finally:
            teller.cancel()
        self._on_progress(f"{self.name}: ready after {time.monotonic() - begun:.0f} s")

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url.removesuffix('/v1')}/health") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _tell(self, begun: float) -> None:
        """How far it is: when there is news, and now and then without."""
        told, told_at = None, 0.0
        while True:
            said, now = news(read_lines(self._log, self._log_start, PROGRESS_BYTES)), time.monotonic()
            if said != told or now - told_at > SILENCE_SECONDS:
                self._on_progress(f"{self.name}: starting, {now - begun:.0f} s" + (f": {said}" if said else ""))
                told, told_at = said, now
            await asyncio.sleep(PROGRESS_SECONDS)

    def _place(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return parts.hostname, parts.port or 80


def _somebody_listens(host: str, port: int) -> bool:
    """Whether a connection is taken there: a stranger that answers at our port would be taken for our server."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False
