"""The run directory: what was meant (`config.json`), what was done (slots), one writer at a time (`lock`), what happened (`events.jsonl`).

    runs/<name>/
      config.json  run.json  lock            settings; versions and recipe digests; held by the one writer
      events.jsonl  logs/                    for eyes, never read by resume
      iter_00/                               the base model: held-out instructions, its answers to them
      iter_01/<slot>.jsonl                   rows that were kept
      iter_01/<slot>.rejected.jsonl          rows that were given up, with their reason and each attempt
      iter_01/<slot>.done.json               written last: the slot is complete
      iter_01/adapters/generator-1/          weights

What does not live here: what a slot owes (`stages`), and what its figures mean (`report`).
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Generic, Self

from pydantic import ValidationError

from selflengthen import __version__
from selflengthen.config import Config, changed_fields, parse_config
from selflengthen.errors import StoreError
from selflengthen.records import Record, Rejection
from selflengthen.store.dataset import Dataset, Row, write_whole


@dataclass(slots=True)
class Slot(Generic[Row]):
    """One stage's rows of one iteration: kept, rejected, and whether it is complete."""

    kept: Dataset[Row]
    rejected: Dataset[Rejection]
    marker: Path

    @property
    def done(self) -> bool:
        """Nothing more will be written here. Rows that somebody deleted since (a corrupt line, say) are owed again."""
        if not self.marker.exists():
            return False
        try:
            facts = self.facts()
        except ValueError:
            return False
        return (facts.get("kept"), facts.get("rejected")) == (len(self.kept), len(self.rejected))

    def settled(self, key: str) -> bool:
        """Whether the work `key` has an outcome, good or bad."""
        return key in self.kept or key in self.rejected

    def write(self, outcome: Row | Rejection) -> None:
        """Write an outcome down where it belongs."""
        if isinstance(outcome, Rejection):
            self.rejected.append(outcome)
        else:
            self.kept.append(outcome)

    def finish(self, **facts: Any) -> None:
        """Mark the slot complete; the rows reach the disk before the marker does."""
        assert not self.kept.readonly, f"{self.marker}: this run was opened to be read"
        self.kept.sync()
        self.rejected.sync()
        write_whole(self.marker, json.dumps({"kept": len(self.kept), "rejected": len(self.rejected), **facts}, ensure_ascii=False, indent=1))

    def facts(self) -> dict[str, Any]:
        """What `finish` wrote."""
        return dict(json.loads(self.marker.read_text(encoding="utf-8")))


@dataclass(slots=True)
class RunDirectory:
    """A run on disk. `create` and `open` check it; `locked` makes this process its one writer."""

    path: Path
    config: Config
    readonly: bool = False
    """Opened to be looked at, perhaps while another process writes: nothing is repaired, and writing is a bug."""
    _slots: dict[Path, Slot[Any]] = field(default_factory=dict)

    @classmethod
    def create(cls, path: Path, config: Config, digests: dict[str, str]) -> Self:
        """Make a new run directory. Raises StoreError when `path` holds something already."""
        # config.json is written last: what stands beside it without it is what a kill left of an earlier `create`.
        left = {"run.json", "run.json.partial", "config.json.partial"}
        if path.exists() and (not path.is_dir() or any(file.name not in left for file in path.iterdir())):
            raise StoreError(f"{path} is there already and not empty; choose another folder, or go on with it: selflengthen run {quote(str(path))}")
        write_whole(path / "run.json", json.dumps({"selflengthen": __version__, "recipes": digests}, indent=1))
        write_whole(path / "config.json", config.model_dump_json(indent=1))
        return cls(path, config)

    @classmethod
    def open(cls, path: Path, *, readonly: bool = False) -> Self:
        """Open a run directory as it is. Raises StoreError when it is none."""
        file = path / "config.json"
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{path} is not a run directory (no config.json); make one with: selflengthen init {quote(str(path))}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{file} cannot be read: {error}") from None
        return cls(path, parse_config(data, origin=str(file)), readonly)

    def resume_with(self, config: Config, digests: dict[str, str]) -> None:
        """Go on under `config`; only `free` settings may differ from what the run was begun with."""
        assert not self.readonly, f"{self.path} was opened to be read"
        changed = changed_fields(self.config, config)
        before = self._digests()
        changed += [
            f"recipe {name!r}: its files have changed" if name in config.languages else f"{name}: what stands in it has changed"
            for name in sorted(before | digests)
            if before.get(name) != digests.get(name)
        ]
        if changed:
            raise StoreError(
                f"{self.path} was begun with other settings: {'; '.join(changed)}. Rows made under both would not fit together: "
                "go on with the old settings, or begin a new run directory",
            )
        if config != self.config:
            with self.locked():  # who is refused changes nothing
                write_whole(self.path / "config.json", config.model_dump_json(indent=1))
            self.config = config

    def _digests(self) -> dict[str, str]:
        """What `create` was given."""
        file = self.path / "run.json"
        try:
            return dict(json.loads(file.read_text(encoding="utf-8"))["recipes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file} cannot be read ({error}); it tells whether the recipes are those the run was begun with. "
                f"Put it back, or copy that of a new run with the same settings: selflengthen init"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against other writers. Raises StoreError naming the one that has it."""
        assert not self.readonly, f"{self.path} was opened to be read"
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write {self.path / 'lock'}: {error.strerror}; a run needs a folder that it may write to") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 200).decode(errors="replace").strip()
                raise StoreError(f"{self.path} is in use by another process ({holder}); wait for it, or end it first") from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)  # closing gives the lock back, and so does dying

    def in_use(self) -> bool:
        """Whether a process holds the run now. Asks by holding it for a moment itself, against writers but not against others who ask."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def iteration(self, number: int) -> Path:
        """The folder of a macro-iteration; 0 is the base model's."""
        return self.path / f"iter_{number:02d}"

    def iterations(self) -> list[int]:
        """The numbers of those that have a folder."""
        return sorted(int(folder.name.removeprefix("iter_")) for folder in self.path.glob("iter_[0-9][0-9]"))

    def slot(self, iteration: int, name: str, row_type: type[Row]) -> Slot[Row]:
        """A slot of an iteration; the same object each time, since it holds an index of what is on disk."""
        marker = self.iteration(iteration) / f"{name}.done.json"
        if marker not in self._slots:
            rows = Dataset(marker.with_name(f"{name}.jsonl"), row_type, readonly=self.readonly)
            rejected = Dataset(marker.with_name(f"{name}.rejected.jsonl"), Rejection, readonly=self.readonly)
            both = set(rows.keys) & set(rejected.keys)
            if both:
                raise StoreError(f"{rows.path}: {min(both)!r} is kept here and rejected in {rejected.path.name}; delete one of the two lines")
            self._slots[marker] = Slot(rows, rejected, marker)
        return self._slots[marker]

    def attic(self, iteration: int) -> Path:
        """Where what was redone lies, one numbered folder each time."""
        return self.iteration(iteration) / "attic"

    def put_away(self, iteration: int, patterns: Iterable[str]) -> None:
        """Move files of an iteration to its attic, in the order of `patterns`."""
        assert not self.readonly, f"{self.path} was opened to be read"
        folder = self.iteration(iteration)
        found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
        if found:
            away = self.attic(iteration) / f"{len(list(self.attic(iteration).glob('*'))):03d}"
            away.mkdir(parents=True)
            for path in found:
                path.rename(away / path.name)
        self._slots.clear()

    def dataset(self, iteration: int, name: str, row_type: type[Row]) -> Dataset[Row]:
        """A plain dataset of an iteration."""
        return Dataset(self.iteration(iteration) / f"{name}.jsonl", row_type, readonly=self.readonly)

    def event(self, event: str, **facts: Any) -> None:
        """Log what happened, for eyes: one JSON line with the time. Never read by resume; a failure to log stops nothing."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts}, ensure_ascii=False, default=str)
        try:
            with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return


def read_record(path: Path, row_type: type[Row]) -> Row:
    """A record that has a file of its own. Raises StoreError when it is none."""
    try:
        return row_type.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is not a {row_type.__name__} ({error.errors()[0]['msg']}). Delete it and run again: it is made anew") from None


def write_record(path: Path, record: Record) -> None:
    """Write a record that has a file of its own, whole or not at all."""
    write_whole(path, record.model_dump_json(indent=1))
