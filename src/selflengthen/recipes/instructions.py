"""Instructions that a person brings instead of having the model make them. What does not live here: whether they are any good (stage 0 judges)."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from selflengthen.errors import ConfigError
from selflengthen.recipes.files import decode, kind_of, read_bytes, rows, text_of
from selflengthen.records import Kind


@dataclass(frozen=True, slots=True)
class OwnInstruction:
    """A row of such a file; what it does not say is None, for the stage to settle."""

    text: str
    language: str | None = None
    kind: Kind | None = None


def load_instructions(file: Path, languages: Collection[str] | None = None) -> tuple[OwnInstruction, ...]:
    """The rows of JSON lines `{"instruction": ..., "language"?: ..., "kind"?: ...}`, in order; `null` is as good as a key left out.

    `languages`, when given, are the only ones a row may name. A row that occurs twice is no fault here: the stage drops and counts duplicates.
    Raises ConfigError naming path, line, fault and remedy.
    """
    own: list[OwnInstruction] = []
    for row in rows(file, decode(file, read_bytes(file)), keys=("instruction", "language", "kind")):
        language = None if row.values.get("language") is None else text_of(row, "language")
        if language is not None and languages is not None and language not in languages:
            raise ConfigError(
                f"{row.place}: language {language!r} is not one of this run ({', '.join(languages)}); "
                "add it to `languages`, correct it, or delete the line"
            )
        kind = None if row.values.get("kind") is None else kind_of(row)
        own.append(OwnInstruction(text_of(row, "instruction"), language, kind))
    if not own:
        raise ConfigError(f'{file} holds no instruction; write one object a line, such as {{"instruction": "..."}}')
    return tuple(own)
