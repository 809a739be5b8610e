"""Reads what people write by hand: UTF-8 text and JSON lines, every fault with its place and its remedy.

What does not live here: what the rows mean (`recipe` and `instructions` say that), and the datasets of a run, which a program writes (`store`).
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from selflengthen.errors import ConfigError
from selflengthen.records import Kind

_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", int: "a number", float: "a number", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object of a file; `place` is `path:line`, as editors open it."""

    place: str
    values: Mapping[str, object]


def read_bytes(file: Path) -> bytes:
    """The bytes of a file. Raises ConfigError when there are none to be had."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; check the path") from None
    except IsADirectoryError:
        raise ConfigError(f"{file} is a folder; name a file") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}; check the path and its permissions") from None


def decode(file: Path, data: bytes) -> str:
    """Text with plain newlines and without a byte order mark: editors add either, and neither is meant.

    Raises ConfigError naming the byte that is not UTF-8.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8; save the file as UTF-8") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def rows(file: Path, text: str, keys: Collection[str]) -> Iterator[Row]:
    """The JSON objects of a text, one a line, blank lines left out. Raises ConfigError at the first line that is none, or has other keys."""
    known = ", ".join(keys)
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 and its like may stand inside a JSON string
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
            what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise ConfigError(f"{place}: not valid JSON ({what}); write one object a line, with the keys {known}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{place}: {_JSON_NAMES[type(values)]}, not an object; write one object a line, with the keys {known}")
        unknown = [key for key in values if key not in keys]
        if unknown:
            raise ConfigError(f"{place}: unknown key {unknown[0]!r}; the keys are {known}: rename it or leave it out")
        yield Row(place, values)


def text_of(row: Row, key: str) -> str:
    """A text that must be there and say something; surrounding blanks are taken off."""
    value = row.values.get(key)
    if key not in row.values:
        raise ConfigError(f"{row.place}: no {key!r}; add it as a string")
    if not isinstance(value, str):
        raise ConfigError(f"{row.place}: {key!r} is {_JSON_NAMES[type(value)]}; make it a string")
    if not value.strip():
        raise ConfigError(f"{row.place}: {key!r} is empty; fill it in or delete the line")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # "\ud83d" alone is valid JSON, and no row that holds it can ever be written
        raise ConfigError(f"{row.place}: {key!r} holds half a character (\\u{ord(value[error.start]):04x}); write the whole character") from None
    return value.strip()


def kind_of(row: Row) -> Kind:
    """One of the seven kinds of writing."""
    name = text_of(row, "kind")
    try:
        return Kind(name)
    except ValueError:
        raise ConfigError(f"{row.place}: unknown kind {name!r}; the kinds are {', '.join(Kind)}") from None
