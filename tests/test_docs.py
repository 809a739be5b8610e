"""The documents say what is so: every file, name and setting that docs/method.md points to exists."""

import re
from pathlib import Path

import pytest

from selflengthen.config import Config

ROOT = Path(__file__).parents[1]
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
REFERENCES = sorted(set(re.findall(r"`([a-z_0-9/]+\.py)`(?: `(\w+)`)?", METHOD)))
SETTINGS = sorted(set(re.findall(r"`((?:instruct|respond|extend|checks|train|measure|sampling|engine|model)\.\w+)`", METHOD)))


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
