"""Reads a recipe from its folder and refuses whatever could not work. What does not live here: what a recipe is and does (`recipe`).

A folder is whole or refused: no file falls back on another language's, because half a recipe would ask in one language and judge in another.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from selflengthen.errors import ConfigError
from selflengthen.recipes.files import decode, kind_of, read_bytes, rows, text_of
from selflengthen.recipes.recipe import PLACEHOLDER, PLACEHOLDERS, Recipe, Seed, bare
from selflengthen.text import CheckSettings

PACKAGE = Path(__file__).parent
SETTINGS, SEEDS = "recipe.toml", "seeds.jsonl"
FILES = (SETTINGS, SEEDS, *(f"{name}.txt" for name in PLACEHOLDERS))
"""All files of a recipe. Others in the folder are left alone: a person may keep notes there."""

_Name = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class _Settings(BaseModel):
    """The shape of `recipe.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: _Name
    name: _Name
    item_label: _Name
    item_separator: Annotated[str, StringConstraints(min_length=1)]
    yes: list[_Name]
    no: list[_Name]
    checks: CheckSettings


def languages_in_package() -> tuple[str, ...]:
    """The languages that need no folder of one's own."""
    return tuple(sorted(file.parent.name for file in PACKAGE.glob(f"*/{SETTINGS}")))


def load_recipe(language: str, folder: Path | None = None) -> Recipe:
    """The recipe of a language: the package's, or the one in `folder`.

    Raises ConfigError naming the file, the line, what is wrong and what to do.
    """
    folder = _folder(language, folder)
    data = {name: read_bytes(folder / name) for name in FILES}
    settings = _settings(folder / SETTINGS, data[SETTINGS], language)
    return Recipe(
        language=settings.language,
        name=settings.name,
        item_label=settings.item_label,
        item_separator=settings.item_separator,
        yes=tuple(settings.yes),
        no=tuple(settings.no),
        prompts={name: _prompt(folder / f"{name}.txt", data[f"{name}.txt"], wanted) for name, wanted in PLACEHOLDERS.items()},
        checks=settings.checks.model_copy(update={"language": settings.language}),
        seeds=_seeds(folder / SEEDS, data[SEEDS]),
        digest=_digest(data),
    )


def _folder(language: str, folder: Path | None) -> Path:
    known = languages_in_package()
    if folder is None:
        if language not in known:
            raise ConfigError(
                f"no recipe for language {language!r}; the package has {', '.join(known)}. For another, copy the folder "
                f"{PACKAGE / 'en'}, translate it, and name it in `recipes.{language}`"
            )
        return PACKAGE / language
    try:
        what = "" if folder.is_dir() else "is a file, not a folder" if folder.exists() else "does not exist"
        missing = [name for name in FILES if not (folder / name).exists()]
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    if what:
        raise ConfigError(f"{folder}: the recipe folder of language {language!r} {what}; correct the path in `recipes.{language}`")
    if missing:
        raise ConfigError(f"{folder} lacks {', '.join(missing)}; a recipe must be whole: copy what it lacks from {PACKAGE / 'en'} and translate it")
    return folder


def _settings(file: Path, data: bytes, language: str) -> _Settings:
    text = decode(file, data)
    try:
        settings = _Settings.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise ConfigError("; ".join(_fault(file, text, fault) for fault in error.errors())) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"\(at line (\d+)", str(error))
        place = f"{file}:{line[1]}" if line else f"{file}"
        raise ConfigError(f"{place}: not valid TOML: {error}; compare it with {PACKAGE / 'en' / SETTINGS}") from None
    for key, what in _nonsense(settings, language):
        raise ConfigError(f"{file}:{_line(text, key)}: {key} {what}")
    return settings


def _nonsense(settings: _Settings, language: str) -> Iterator[tuple[str, str]]:
    """Keys whose values have the right type and cannot work, with what is wrong and what to do."""
    if settings.language != language:
        yield "language", f"is {settings.language!r}, but {language!r} was asked for; make them equal, here or in `languages` and `recipes`"
    if settings.checks.language:
        yield "checks", "has a language of its own; it is the recipe's: delete the line in the table"
    if PLACEHOLDER.findall(settings.item_label) != ["n"]:
        yield "item_label", f"is {settings.item_label!r}; it needs {{n}} once, for the number, and no other placeholder, as in 'Item {{n}}:'"
    for key, words in (("yes", settings.yes), ("no", settings.no)):
        if not words:
            yield key, "is empty; list at least one word that the judge may say"
        for word in words:
            if not bare(word):
                yield key, f"holds {word!r}, which is punctuation alone; punctuation is not compared: give a word"
    for word in settings.no:
        if bare(word) in map(bare, settings.yes):
            yield "no", f"holds {word!r}, and so does yes; a word can mean only one of them: delete the other"


def _fault(file: Path, text: str, fault: Any) -> str:
    keys = [part for part in fault["loc"] if isinstance(part, str)]
    key, model = ".".join(keys), f"{PACKAGE / 'en' / SETTINGS}"
    if fault["type"] == "missing":
        return f"{file}: no {key!r}; add it, as in {model}"
    place = f"{file}:{_line(text, *keys)}"
    if fault["type"] == "extra_forbidden":
        known = [name for name in CheckSettings.model_fields if name != "language"] if keys[:-1] == ["checks"] else _Settings.model_fields
        return f"{place}: unknown key {key!r}; the keys are {', '.join(known)}: rename it or leave it out"
    if fault["type"] in {"string_too_short", "string_pattern_mismatch"}:
        return f"{place}: {key} is empty; fill it in, as in {model}"
    return f"{place}: {key} = {fault['input']!r}: {fault['msg']}; compare it with {model}"


def _line(text: str, *keys: str) -> int:
    """Where a key stands, within its table; as far as it is found, for the TOML reader does not say and there are many ways to write one."""
    place = 0
    for key in keys:
        match = re.compile(rf"""^[ \t]*\[?[ \t]*["']?{re.escape(key)}["']?[ \t]*[=\].]""", flags=re.MULTILINE).search(text, place)
        place = match.end() if match else place
    return text.count("\n", 0, place) + 1


def _prompt(file: Path, data: bytes, wanted: tuple[str, ...]) -> str:
    text = decode(file, data).strip()  # editors end a file with a newline; a prompt does not end with one
    if not text:
        raise ConfigError(f"{file} is empty; write the prompt, as in {PACKAGE / 'en' / file.name}")
    allowed = ", ".join(f"{{{name}}}" for name in wanted) or "none"
    for number, line in enumerate(decode(file, data).split("\n"), start=1):
        for name in PLACEHOLDER.findall(line):
            if name not in wanted:
                raise ConfigError(f"{file}:{number}: unknown placeholder {{{name}}}; this prompt takes {allowed}: correct it or drop the braces")
    for name in wanted:
        if f"{{{name}}}" not in text:
            raise ConfigError(f"{file}: no placeholder {{{name}}}; put it where the {name} belongs (this prompt takes {allowed})")
    return text


def _seeds(file: Path, data: bytes) -> tuple[Seed, ...]:
    seeds: list[Seed] = []
    places: dict[str, str] = {}
    for row in rows(file, decode(file, data), keys=("kind", "instruction")):
        seed = Seed(kind_of(row), text_of(row, "instruction"))
        same = "".join(seed.text.casefold().split())
        if same in places:
            raise ConfigError(f"{row.place}: the same instruction as {places[same]}; delete one of them or change what it asks for")
        places[same] = row.place
        seeds.append(seed)
    if len(seeds) < 2:
        raise ConfigError(f"{file}: too few seeds ({len(seeds)}); two are shown at a time, so write at least 2; 7 of each kind are better")
    return tuple(seeds)


def _digest(data: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(data.items()):
        digest.update(f"{name} {len(content)}\n".encode())  # name and size, so that text moved from one file to the next is a change
        digest.update(content)
    return digest.hexdigest()
