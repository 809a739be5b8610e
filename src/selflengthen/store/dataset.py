"""An append-only JSON-lines file of one record type, indexed by key. Whole files are never rewritten here, and rows are never changed.

A row is one line, written by one `write`. A process killed in mid-write leaves a torn last line: it is cut off when the file is next opened,
and its work is owed again. A reader (`readonly`) passes over it instead: another process may be about to write the rest. Rows stay on disk;
memory holds a key and an offset for each.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from selflengthen.errors import StoreError
from selflengthen.records import Record

Row = TypeVar("Row", bound=Record)


class Dataset(Generic[Row]):
    """Rows of `row_type` (with a `key`) in `path`, in the order they were written.

    Raises StoreError when a line other than the last is corrupt, a key stands twice, or the disk is full.
    """

    def __init__(self, path: Path, row_type: type[Row], *, readonly: bool = False) -> None:
        self.path = path
        self.row_type = row_type
        self.readonly = readonly
        self._offsets: dict[str, int] = {}
        self._size = 0
        if path.exists():
            self._open_existing()

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __iter__(self) -> Iterator[Row]:
        """Rows one by one from the disk; rows appended meanwhile are not seen."""
        if not self._size:
            return
        end = self._size
        with self.path.open("rb") as file:
            while file.tell() < end:
                yield self.row_type.model_validate_json(file.readline())

    @property
    def keys(self) -> list[str]:
        """All keys, in the order of writing."""
        return list(self._offsets)

    def get(self, key: str) -> Row:
        """The row of `key`; KeyError when there is none."""
        offset = self._offsets[key]
        with self.path.open("rb") as file:
            file.seek(offset)
            return self.row_type.model_validate_json(file.readline())

    def append(self, row: Row) -> None:
        """Write one row down. After a failed write the file is as it was before."""
        key = _key(row)
        if self.readonly:
            raise AssertionError(f"{self.path} was opened to be read")
        if key in self._offsets:
            raise AssertionError(f"{self.path}: {key} written twice")
        line = row.model_dump_json().encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StoreError(_cannot_write(self.path, error)) from error
        if os.fstat(descriptor).st_size != self._size:
            os.close(descriptor)
            raise StoreError(f"{self.path} was changed, moved or deleted by others while this run wrote to it; put it back if you can, and run again")
        try:
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
        except OSError as error:
            os.ftruncate(descriptor, self._size)
            raise StoreError(_cannot_write(self.path, error)) from error
        finally:
            os.close(descriptor)
        self._offsets[key] = self._size
        self._size += len(line)

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def _open_existing(self) -> None:
        """Index the rows; cut off a torn last line, or pass over it."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                key = self._check(line, number)
                if key in self._offsets:
                    raise StoreError(f"{self.path}:{number}: key {key!r} stands twice in this file; delete one of the two lines and run again")
                self._offsets[key] = self._size
                self._size += len(line)
        if not self.readonly and self._size < self.path.stat().st_size:
            os.truncate(self.path, self._size)

    def _check(self, line: bytes, number: int) -> str:
        try:
            return _key(self.row_type.model_validate_json(line))
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"])
            raise StoreError(
                f"{self.path}:{number} is not a {self.row_type.__name__} row ({place + ': ' if place else ''}{fault['msg']}). "
                "Delete that line and run again: its work is done anew, the other rows stay",
            ) from None


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there complete or not at all: temporary file, fsync, rename."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StoreError(_cannot_write(path, error)) from error


def _key(row: Record) -> str:
    return str(row.key)  # type: ignore[attr-defined]  # every stored record has one


def _cannot_write(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {error.strerror}. All earlier rows are safe; make room (or mend the folder) and run again to go on"
