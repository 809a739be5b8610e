"""The documents say what is so: every file, name, setting and command that they point to exists."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from selflengthen import cli
from selflengthen.config import Config, load_config
from selflengthen.records import Reason

ROOT = Path(__file__).parents[1]
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
REFERENCES = sorted(set(re.findall(r"`([a-z_0-9/]+\.py)`(?: `(\w+)`)?", METHOD)))
SETTINGS = sorted(set(re.findall(r"`((?:instruct|respond|extend|checks|train|measure|sampling|engine|model)\.\w+)`", METHOD)))
PROSE = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
SECTIONS = "|".join(name for name, value in Config() if isinstance(value, BaseModel))
NAMED = sorted(
    {
        (document, name.rstrip("."))
        for document, text in PROSE.items()
        for name in re.findall(rf"(?<![\w/.-])(?:{SECTIONS})\.[a-z_.]+", text)
        if not name.endswith((".py", ".json", ".jsonl", ".generate"))  # files, and a method of the library's models
    }
)
CALLS = sorted(
    {
        (document, call)
        for document, text in PROSE.items()
        for line in text.replace("`selflengthen`", "").splitlines()
        for call in (re.findall(r"`(selflengthen [^`]+)`", line) or re.findall(r"^(?:nohup )?(selflengthen .+)", line))
    }
)
"""`selflengthen ...` in a text between backticks, or at the beginning of a line of a block."""
COMMANDS = typer.main.get_command(cli.app).commands


@pytest.mark.parametrize(("file", "name"), REFERENCES)
def test_the_code_that_method_md_names_exists(file: str, name: str):
    path = ROOT / file if file.startswith("tests/") else ROOT / "src" / "selflengthen" / file
    assert path.is_file()
    assert not name or re.search(rf"(def|class) {name}\b", path.read_text(encoding="utf-8")), f"{file} has no {name}"


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_settings_that_method_md_names_exist(setting: str):
    section, field = setting.split(".")
    assert field in getattr(Config(), section).__class__.model_fields


def test_method_md_names_much():
    assert len(REFERENCES) > 20
    assert len(SETTINGS) > 20


@pytest.mark.parametrize(("document", "setting"), NAMED)
def test_the_settings_that_a_document_names_exist(document: str, setting: str):
    place = Config()
    for part in setting.split("."):
        assert isinstance(place, BaseModel), f"{document}: {setting} is deeper than settings are"
        assert part in type(place).model_fields, f"{document}: there is no {setting}"
        place = getattr(place, part)


@pytest.mark.parametrize(("document", "call"), CALLS)
def test_the_commands_that_a_document_names_exist(document: str, call: str):
    words = [word for word in shlex.split(call, comments=True) if word not in {"&", "2>&1"}]
    assert words[1] in COMMANDS, f"{document}: there is no command {words[1]}"
    options = {name for param in COMMANDS[words[1]].params for name in param.opts}
    assert {word for word in words[2:] if word.startswith("-")} <= options, f"{document}: {call}"
    for flag, value in pairwise(words):
        if flag == "-o":
            load_config(None, [value] if not value.startswith("engine.kind=") else [value, 'engine.urls=["http://a/v1"]'])
        if flag == "-c":
            assert (ROOT / value).is_file(), f"{document}: there is no {value}"


def test_documents_name_much():
    assert len(NAMED) > 40
    assert {words.split()[1] for _, words in CALLS} >= {"init", "plan", "run", "status", "why", "write"}


def test_files_and_reasons_that_the_guide_names_exist():
    guide = PROSE["first-real-run.md"]
    for name in set(re.findall(r"configs/[\w.-]+\.toml", guide)):
        assert (ROOT / name).is_file(), name
    table = guide[guide.index("| reason |") : guide.index("**An iteration fails")]
    named = [name for row in table.splitlines() for name in re.findall(r"`([a-z_]+)`", row.split("|")[1] if "|" in row else "")]
    assert len(named) > 5
    assert set(named) <= set(Reason)


def test_what_the_guide_says_may_change_is_free():
    guide = PROSE["first-real-run.md"]
    sentence = guide[guide.index("What only changes\nspeed") : guide.index("## Run it")]
    named = set(re.findall(r"`([a-z_.]+)`", sentence))
    assert len(named) > 5
    for name in named:
        *section, field = name.split(".")
        place = Config()
        for part in section:
            place = getattr(place, part)
        value = getattr(place, field)
        fields = type(value).model_fields.values() if isinstance(value, BaseModel) else [type(place).model_fields[field]]
        assert all((each.json_schema_extra or {}).get("free") for each in fields), name
