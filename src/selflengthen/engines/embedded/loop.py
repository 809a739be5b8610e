"""The thread that runs the rows: takes requests and commands, lets rows in as places come free, steps, and lets go of what was cancelled.

Prefill goes a bounded number of tokens at a time between steps, so that running rows wait for one such portion at most. What does not live here:
what a step is (`batch`).
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from selflengthen.engines.embedded.batch import Batch
from selflengthen.engines.embedded.row import Row
from selflengthen.errors import EngineError

PREFILL_TOKENS = 4096
"""Padded prompt tokens of one portion of prefill; a longer prompt is a portion of its own."""


class DecodingLoop:
    """One worker thread over one batch. All methods but the thread's own may be called from any thread."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._news = threading.Condition()
        self._arrived: list[Row] = []
        self._commands: list[tuple[Callable[[Batch], None], Future[None]]] = []
        self._closing = False
        self._failure: EngineError | None = None
        self._waiting: deque[Row] = deque()
        """Rows not yet in the batch; the thread's own, as the batch is."""
        self._batch: Batch | None = None
        self._held: list[Row] = []
        """Every row that the batch has a hand on, as it was before: a crash may leave some of them nowhere else."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="selflengthen-engine")
        self._running: Future[None] | None = None

    def start(self, make_batch: Callable[[], Batch]) -> None:
        """Begin; the batch is made in the thread, and the thread alone holds on to the model."""
        self._running = self._pool.submit(self._run, make_batch)
        self._running.add_done_callback(self._ended)

    def submit(self, row: Row) -> None:
        """Queue a row; it is settled in any case."""
        with self._news:
            if self._failure is None:
                self._arrived.append(row)
                self._news.notify()
                return
        row.fail(self._failure)

    def order(self, command: Callable[[Batch], None]) -> "Future[None]":
        """Run something between two steps."""
        done: Future[None] = Future()
        with self._news:
            if self._failure is None:
                self._commands.append((command, done))
                self._news.notify()
                return done
        done.set_exception(self._failure)
        return done

    def wake(self) -> None:
        """Have the thread look at cancelled rows, if it sleeps."""
        with self._news:
            self._news.notify()

    def stop(self) -> None:
        """End the thread and whatever is pending; returns when it is gone."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._pool.shutdown(wait=True)

    def _ended(self, running: "Future[None]") -> None:
        """The thread is over, in order or by a crash: nobody may wait for it any more."""
        error = running.exception()
        failure = EngineError("the engine was closed while this request ran" if error is None else f"the engine has died: {error!r}")
        failure.__cause__ = error
        with self._news:
            self._failure = failure
            rows, commands = [*self._arrived, *self._waiting], list(self._commands)
            self._arrived.clear()
            self._waiting.clear()
            self._commands.clear()
        rows += self._held
        self._held.clear()
        if self._batch is not None:
            self._batch.bank.close()
            self._batch = None
        for row in rows:
            if not row.done:
                row.fail(failure)
        for _, done in commands:
            done.set_exception(failure)

    def _run(self, make_batch: Callable[[], Batch]) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            batch = self._batch = make_batch()
            while self._take(batch):
                self._drop_cancelled(batch)
                portion = self._portion(batch)
                self._held = [*batch.rows, *portion]
                if portion:
                    batch.admit(portion)
                if batch.rows:
                    self._waiting.extendleft(batch.step())

    def _take(self, batch: Batch) -> bool:
        """Take what has arrived, asleep while there is nothing to do; False: the end."""
        with self._news:
            while not (self._closing or self._arrived or self._commands or self._waiting or batch.rows):
                self._news.wait()
            self._waiting.extend(self._arrived)
            self._arrived.clear()
            commands, closing = list(self._commands), self._closing
            if not closing:
                self._commands.clear()
        if closing:
            return False
        for command, done in commands:
            try:
                command(batch)
            except EngineError as error:
                done.set_exception(error)
            else:
                done.set_result(None)
        return True

    def _drop_cancelled(self, batch: Batch) -> None:
        for row in [row for row in batch.rows if row.cancelled]:
            batch.remove(row)
        if any(row.cancelled for row in self._waiting):
            self._waiting = deque(row for row in self._waiting if not row.cancelled)

    def _portion(self, batch: Batch) -> list[Row]:
        """The next rows to let in: in the order they came, as many as fit the batch and one portion."""
        portion: list[Row] = []
        longest = 0
        while self._waiting:
            row = self._waiting[0]
            longest = max(longest, len(row.tokens))
            if not batch.fits(portion, row) or (portion and longest * (len(portion) + 1) > PREFILL_TOKENS):
                break
            portion.append(self._waiting.popleft())
        return portion
