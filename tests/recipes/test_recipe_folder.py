"""Reading a recipe: the package's two, one of a person's own, and every fault such a folder can have."""

import json
import re
import shutil
from pathlib import Path

import pytest

from selflengthen.errors import ConfigError
from selflengthen.recipes import Recipe, languages_in_package, load_recipe
from selflengthen.recipes.folder import FILES, PACKAGE
from selflengthen.recipes.recipe import PLACEHOLDERS
from selflengthen.records import Kind
from selflengthen.text import CheckSettings

SETTINGS = """\
language = "fr"
name = "français"
item_label = "Consigne {n} :"
item_separator = "\\n\\n"
yes = ["oui"]
no = ["non"]

[checks]
unit = "word"
ngram = 10
endings = "."
"""
SEEDS = [{"kind": "literature", "instruction": "Racontez une île."}, {"kind": "technical", "instruction": "Décrivez une horloge."}]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small whole recipe of a third language."""
    own = tmp_path / "fr"
    own.mkdir()
    (own / "recipe.toml").write_text(SETTINGS, encoding="utf-8")
    (own / "seeds.jsonl").write_text("".join(json.dumps(seed, ensure_ascii=False) + "\n" for seed in SEEDS), encoding="utf-8")
    for name, placeholders in PLACEHOLDERS.items():
        (own / f"{name}.txt").write_text(f"Voici {name}.\n" + "".join(f"{{{each}}}\n" for each in placeholders), encoding="utf-8")
    return own


def refusal(folder: Path, language: str = "fr") -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(language, folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_the_package_has_english_and_chinese():
    assert languages_in_package() == ("en", "zh")
    for language in languages_in_package():
        recipe = load_recipe(language)
        assert recipe.language == language
        assert set(recipe.prompts) == {"instruct", "judge", "extend", "demand", "quality"}
        assert (recipe.checks.language, recipe.checks.ngram) == (language, {"en": 10, "zh": 13}[language])
        assert load_recipe(language, PACKAGE / language) == recipe


def test_an_own_recipe(folder):
    recipe = load_recipe("fr", folder)
    assert (recipe.name, recipe.label(2), recipe.item_separator, recipe.yes, recipe.no) == ("français", "Consigne 2 :", "\n\n", ("oui",), ("non",))
    assert recipe.checks == CheckSettings(language="fr", unit="word", ngram=10, endings=".")
    assert [(seed.kind, seed.text) for seed in recipe.seeds] == [(Kind.LITERATURE, "Racontez une île."), (Kind.TECHNICAL, "Décrivez une horloge.")]
    assert recipe.judge_prompt("X") == "Voici judge.\nX"


def test_what_windows_editors_add_is_not_part_of_a_prompt(folder):
    plain = load_recipe("fr", folder)
    for name in FILES:
        file = folder / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    windows = load_recipe("fr", folder)
    assert windows.prompts == plain.prompts
    assert windows.seeds == plain.seeds


@pytest.mark.parametrize("name", FILES)
def test_the_digest_notices_one_byte_of_every_file(folder, name):
    before = load_recipe("fr", folder).digest
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert load_recipe("fr", folder).digest == before
    (folder / "notes.md").write_text("mine", encoding="utf-8")
    assert load_recipe("fr", folder).digest == before
    content = (folder / name).read_bytes()
    assert content.endswith(b"\n")
    (folder / name).write_bytes(content[:-1] + b" ")  # of the same size
    assert load_recipe("fr", folder).digest != before


def test_the_digest_notices_text_moved_between_files(folder):
    (folder / "instruct.txt").write_bytes(b"ab")
    (folder / "judge.txt").write_bytes(b"{instruction}")
    before = load_recipe("fr", folder).digest
    (folder / "instruct.txt").write_bytes(b"a")
    (folder / "judge.txt").write_bytes(b"b{instruction}")
    assert load_recipe("fr", folder).digest != before


SETTING_FAULTS = {
    "invalid TOML": ('name = "français"', "name = français", [":2:", "not valid TOML", "compare it with"]),
    "TOML twice": ('yes = ["oui"]', 'yes = ["oui"]\nyes = ["si"]', ["not valid TOML"]),
    "unknown key": (
        'name = "français"',
        'name = "français"\nitem_lable = "x"',
        [":3: unknown key 'item_lable'", "item_label, item_separator", "rename"],
    ),
    "unknown table": ("[checks]", "[prompts]\nx = 1\n[checks]", [":8: unknown key 'prompts'"]),
    "missing key": ('yes = ["oui"]\n', "", ["no 'yes'; add it"]),
    "missing checks": ('[checks]\nunit = "word"\nngram = 10\nendings = "."\n', "", ["no 'checks'; add it"]),
    "missing check": ("ngram = 10\n", "", ["no 'checks.ngram'; add it"]),
    "unknown check": ("ngram = 10", "ngram = 10\nn_gram = 9", [":11: unknown key 'checks.n_gram'", "the keys are unit, ngram, "]),
    "key of the other table": ("[checks]", '[checks]\nname = "x"', [":9: unknown key 'checks.name'"]),
    "check out of range": ("ngram = 10", "ngram = 0", [":10: checks.ngram = 0", "greater than 0"]),
    "unknown unit": ('unit = "word"', 'unit = "syllable"', [":9: checks.unit = 'syllable'", "'word'"]),
    "no endings": ('endings = "."', 'endings = ""', [":11: checks.endings is empty"]),
    "language among the checks": ("[checks]", '[checks]\nlanguage = "en"', [":8: checks has a language of its own", "delete the line"]),
    "two faults": ('yes = ["oui"]\nno = ["non"]', "", ["no 'yes'", "no 'no'"]),
    "other type": ('yes = ["oui"]', 'yes = "oui"', [":5: yes = 'oui'", "list"]),
    "other type within": ('yes = ["oui"]', "yes = [1]", [":5: yes = 1", "string"]),
    "truth value": ('no = ["non"]', "no = false", [":6: no = False", "list"]),
    "other language": ('language = "fr"', 'language = "de"', [":1: language is 'de', but 'fr' was asked for", "make them equal"]),
    "empty name": ('name = "français"', 'name = " "', [":2: name is empty"]),
    "empty separator": ('item_separator = "\\n\\n"', 'item_separator = ""', [":4: item_separator is empty"]),
    "label without number": ("Consigne {n} :", "Consigne :", [":3: item_label is 'Consigne :'", "{n} once"]),
    "label with other placeholder": ("Consigne {n} :", "Consigne {n} {instruction} :", [":3: item_label", "no other placeholder"]),
    "label with two numbers": ("Consigne {n} :", "{n}. Consigne {n} :", [":3: item_label", "{n} once"]),
    "no word for yes": ('yes = ["oui"]', "yes = []", [":5: yes is empty", "list at least one"]),
    "no word for no": ('no = ["non"]', "no = []", [":6: no is empty"]),
    "punctuation for no": ('no = ["non"]', 'no = ["!"]', [":6: no holds '!'", "give a word"]),
    "yes is no": ('no = ["non"]', 'no = ["non", "Oui."]', [":6: no holds 'Oui.', and so does yes", "delete"]),
}


@pytest.mark.parametrize("fault", SETTING_FAULTS)
def test_faults_of_the_settings(folder, fault):
    old, new, parts = SETTING_FAULTS[fault]
    assert old in SETTINGS
    (folder / "recipe.toml").write_text(SETTINGS.replace(old, new), encoding="utf-8")
    message = refusal(folder)
    assert message.startswith(f"{folder / 'recipe.toml'}:")
    assert [part for part in parts if part not in message] == [], message


PROMPT_FAULTS = [
    ("judge", "Fit?", ": no placeholder {instruction}; put it"),
    ("extend", "{instruction}", ": no placeholder {draft}"),
    ("extend", "{draft}", ": no placeholder {instruction}"),
    ("demand", "{instruction}", ": no placeholder {demand}"),
    ("quality", '{instruction} {"text": 1}', ": no placeholder {text}"),
    ("judge", "Fit?\n\n{instrution}", ":3: unknown placeholder {instrution}; this prompt takes {instruction}"),
    ("judge", "\ufeff\n\nFit?\n\n{instruction} {draft}", ":5: unknown placeholder {draft}"),
    ("instruct", "List\nitems {n}", ":2: unknown placeholder {n}; this prompt takes none"),
    ("instruct", " \n", " is empty; write the prompt"),
    ("quality", "", " is empty"),
]


@pytest.mark.parametrize(("name", "text", "part"), PROMPT_FAULTS)
def test_faults_of_the_prompts(folder, name, text, part):
    file = folder / f"{name}.txt"
    file.write_text(text, encoding="utf-8")
    assert refusal(folder).startswith(f"{file}{part}")


GOOD = '{"kind": "business", "instruction": "A"}'
SEED_FAULTS = [
    ([GOOD, "", '{"kind": "business", "instruction": "B"'], ":3: not valid JSON (", "write one object a line, with the keys kind, instruction"),
    ([GOOD, '["business", "B"]'], ":2: a list, not an object", "one object a line"),
    ([GOOD, "null"], ":2: null, not an object", "one object a line"),
    ([GOOD, "[" * 100_000], ":2: not valid JSON (", "one object a line"),
    ([GOOD, "9" * 5_000], ":2: not valid JSON (", "one object a line"),
    ([GOOD, '{"kind": "business", "text": "B"}'], ":2: unknown key 'text'", "the keys are kind, instruction: rename"),
    ([GOOD, '{"kind": "business"}'], ":2: no 'instruction'", "add it"),
    ([GOOD, '{"instruction": "B"}'], ":2: no 'kind'", "add it"),
    ([GOOD, '{"kind": "business", "instruction": 3}'], ":2: 'instruction' is a number", "make it a string"),
    ([GOOD, '{"kind": null, "instruction": "B"}'], ":2: 'kind' is null", "make it a string"),
    ([GOOD, '{"kind": "business", "instruction": " "}'], ":2: 'instruction' is empty", "fill it in"),
    ([GOOD, '{"kind": "business", "instruction": "B \\ud83d"}'], ":2: 'instruction' holds half a character (\\ud83d)", "whole"),
    (
        [GOOD, '{"kind": "poetry", "instruction": "B"}'],
        ":2: unknown kind 'poetry'",
        "literature, academic, business, journalism, professional, personal, technical",
    ),
    ([GOOD, '{"kind": "personal", "instruction": " a "}'], ":2: the same instruction as ", "seeds.jsonl:1; delete"),
    ([GOOD], ": too few seeds (1)", "at least 2"),
    ([], ": too few seeds (0)", "at least 2"),
]


@pytest.mark.parametrize(("lines", "what", "remedy"), SEED_FAULTS)
def test_faults_of_the_seeds(folder, lines, what, remedy):
    file = folder / "seeds.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    message = refusal(folder)
    assert message.startswith(f"{file}{what}")
    assert remedy in message


def test_a_line_separator_inside_a_seed_is_not_the_end_of_its_line(folder):
    (folder / "seeds.jsonl").write_text(GOOD + '\n{"kind": "personal", "instruction": "B\u2028C"}\n', encoding="utf-8")
    assert load_recipe("fr", folder).seeds[1].text == "B\u2028C"


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_another_encoding(folder, name):
    file = folder / name
    file.write_bytes(b"premi\n\xe8re" + file.read_bytes())
    assert refusal(folder) == f"{file}:2: byte 0xe8 at offset 6 is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize("name", FILES)
def test_a_folder_must_be_whole(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder} lacks {name}; a recipe must be whole: copy")


def test_all_missing_files_are_named_at_once(tmp_path):
    assert all(name in refusal(tmp_path) for name in FILES)


def test_a_folder_that_is_none(folder):
    assert refusal(folder / "nowhere").endswith("does not exist; correct the path in `recipes.fr`")
    assert "is a file, not a folder" in refusal(folder / "judge.txt")


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / "judge.txt").unlink()
    (folder / "judge.txt").mkdir()
    assert refusal(folder) == f"{folder / 'judge.txt'} is a folder; name a file"


def test_a_path_that_the_system_refuses(folder):
    """A name too long stands for all of them: unlike a missing permission, it stops root too."""
    assert "cannot be read (File name too long); correct the path" in refusal(folder / ("x" * 300))


@pytest.mark.parametrize("language", ["fr", "", "..", "../recipes/en", "EN"])
def test_a_language_that_the_package_lacks(language):
    with pytest.raises(ConfigError, match="the package has en, zh") as caught:
        load_recipe(language)
    assert repr(language) in str(caught.value)
    assert f"recipes.{language}`" in str(caught.value)


def test_a_copy_of_the_english_recipe_needs_its_language_changed(tmp_path):
    """The first thing that goes wrong when people follow the comment in recipe.toml."""
    copy = shutil.copytree(PACKAGE / "en", tmp_path / "fr")
    assert ":2: language is 'en', but 'fr' was asked for" in refusal(copy)
    assert isinstance(load_recipe("en", copy), Recipe)
