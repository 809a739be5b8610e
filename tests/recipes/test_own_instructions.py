"""Instructions that a person brings as JSON lines: what is read, and what is refused with which words."""

import pytest

from selflengthen.errors import ConfigError
from selflengthen.recipes import OwnInstruction, load_instructions
from selflengthen.records import Kind

GOOD = '{"instruction": "A"}'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "own.jsonl"


def test_what_is_read(file):
    text = (
        '\ufeff{"instruction": " Tell of bees. "}\r\n\r\n  \n'
        '{"instruction": "写一写蜜蜂。", "language": "zh", "kind": "technical"}\n'
        '{"instruction": "Tell of bees.", "language": null, "kind": null}'
    )
    file.write_bytes(text.encode())
    assert load_instructions(file) == (
        OwnInstruction("Tell of bees."),
        OwnInstruction("写一写蜜蜂。", "zh", Kind.TECHNICAL),
        OwnInstruction("Tell of bees."),
    )


FAULTS = [
    ([GOOD, "", "Tell of bees."], ":3: not valid JSON (Expecting value at column 1)", "with the keys instruction, language, kind"),
    ([GOOD, '"Tell of bees."'], ":2: a string, not an object", "one object a line"),
    ([GOOD, '{"query": "B"}'], ":2: unknown key 'query'", "the keys are instruction, language, kind"),
    ([GOOD, "{}"], ":2: no 'instruction'", "add it"),
    ([GOOD, '{"instruction": ""}'], ":2: 'instruction' is empty", "delete the line"),
    ([GOOD, '{"instruction": ["B"]}'], ":2: 'instruction' is a list", "make it a string"),
    ([GOOD, '{"instruction": "B", "language": 7}'], ":2: 'language' is a number", "make it a string"),
    ([GOOD, '{"instruction": "B", "language": ""}'], ":2: 'language' is empty", "fill it in"),
    ([GOOD, '{"instruction": "B", "language": "fr"}'], ":2: language 'fr' is not one of this run (en, zh)", "add it to `languages`"),
    ([GOOD, '{"instruction": "B", "kind": "poetry"}'], ":2: unknown kind 'poetry'", "literature, academic"),
    ([GOOD, '{"instruction": "B", "kind": true}'], ":2: 'kind' is a truth value", "make it a string"),
    ([GOOD, '{"instruction": "\\udc00"}'], ":2: 'instruction' holds half a character", "whole"),
    ([], " holds no instruction", "one object a line"),
    (["", "  "], " holds no instruction", "one object a line"),
]


@pytest.mark.parametrize(("lines", "what", "remedy"), FAULTS)
def test_faults(file, lines, what, remedy):
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_instructions(file, languages=("en", "zh"))
    assert str(caught.value).startswith(f"{file}{what}")
    assert remedy in str(caught.value)


def test_any_language_when_none_is_prescribed(file):
    file.write_text('{"instruction": "B", "language": "fr"}', encoding="utf-8")
    assert load_instructions(file)[0].language == "fr"


def test_another_encoding(file):
    file.write_bytes(GOOD.encode() + b'\n{"instruction": "caf\xe9"}')
    with pytest.raises(ConfigError, match=r"own\.jsonl:2: byte 0xe9 at offset 41 is not UTF-8"):
        load_instructions(file)


def test_no_such_file_and_a_folder(file, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_instructions(file)
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        load_instructions(tmp_path)


def test_a_path_that_the_system_refuses(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: File name too long; check the path"):
        load_instructions(tmp_path / ("x" * 300))
