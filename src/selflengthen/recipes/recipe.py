"""A recipe: everything about a language that is not code, and the prompts it makes. What does not live here: reading one from a folder (`folder`).

Placeholders are replaced in one pass, so a text that itself contains "{draft}" stays as it is, and so do the JSON braces of a template.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from selflengthen.records import Kind
from selflengthen.text import CheckSettings

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "instruct": (),
    "judge": ("instruction",),
    "extend": ("instruction", "draft"),
    "demand": ("instruction", "demand"),
    "quality": ("instruction", "text"),
}
"""The prompt templates of a recipe (`<name>.txt`), and what each must contain: these and no others."""

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]*)\}")
"""A name in braces and nothing else, so `{"analysis": 0}` is not one."""


@dataclass(frozen=True, slots=True)
class Seed:
    """An example instruction that the first ones are made from."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One language. Made by `load_recipe`, which refuses whatever could not work."""

    language: str
    name: str
    item_label: str
    item_separator: str
    yes: tuple[str, ...]
    no: tuple[str, ...]
    prompts: Mapping[str, str] = field(hash=False)
    checks: CheckSettings
    seeds: tuple[Seed, ...]
    digest: str
    """SHA-256 over the bytes of every file of the recipe: a resumed run notices a changed one."""

    def label(self, number: int) -> str:
        """How item `number` of the instruction list begins, without a blank after it. The next item's label is the stop string."""
        return self.item_label.replace("{n}", str(number))

    def item(self, number: int, text: str) -> str:
        """Item `number` of the instruction list. A blank follows the label where words are set apart by blanks, and none after `：`."""
        label = self.label(number)
        return f"{label} {text}" if label[-1:].isascii() else label + text

    def list_prompt(self) -> str:
        """Asks for a list of instructions."""
        return self._fill("instruct")

    def judge_prompt(self, instruction: str) -> str:
        """Asks whether an instruction is fit for a long text; `verdict` reads the answer."""
        return self._fill("judge", instruction=instruction)

    def extend_prompt(self, instruction: str, draft: str) -> str:
        """Asks for a longer version of a draft."""
        return self._fill("extend", instruction=instruction, draft=draft)

    def demand_prompt(self, instruction: str, demand: str) -> str:
        """Asks to write a length demand into an instruction."""
        return self._fill("demand", instruction=instruction, demand=demand)

    def quality_prompt(self, instruction: str, text: str) -> str:
        """Asks for the scores of a text."""
        return self._fill("quality", instruction=instruction, text=text)

    def verdict(self, answer: str) -> bool | None:
        """What the suitability judge said: True for yes, False for no, None for neither.

        The first line must be that word alone, whatever its case and the punctuation around it ("**Yes.**"). Later lines are not read: a model
        may answer and then run on. "Yes, because ..." is None: the judge was asked for one word, and an essay may end elsewhere than it began
        ("Yes and no", "No doubt it could").
        """
        word = bare(answer.strip().partition("\n")[0])
        if word in map(bare, self.yes):
            return True
        if word in map(bare, self.no):
            return False
        return None

    def _fill(self, name: str, **texts: str) -> str:
        return PLACEHOLDER.sub(lambda match: texts[match[1]], self.prompts[name])


def bare(text: str) -> str:
    """A word as it is compared: no case, no width variants, no punctuation, marks or blanks around it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    start, end = 0, len(folded)
    while start < end and unicodedata.category(folded[start])[0] in "PSZC":
        start += 1
    while end > start and unicodedata.category(folded[end - 1])[0] in "PSZC":
        end -= 1
    return folded[start:end]
