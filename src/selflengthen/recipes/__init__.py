"""What a person declares per language: prompt templates, seed instructions and check settings, as files; and instructions of their own.

`en/` and `zh/` are the package's recipes. `folder` reads one, `recipe` is what it reads, `instructions` reads a person's own, `files` is what
those readers share. What does not live here: the settings of a run (`config`), what the checks do (`text`), and any model.
"""

from selflengthen.recipes.folder import languages_in_package, load_recipe
from selflengthen.recipes.instructions import OwnInstruction, load_instructions
from selflengthen.recipes.recipe import Recipe, Seed

__all__ = ["OwnInstruction", "Recipe", "Seed", "languages_in_package", "load_instructions", "load_recipe"]
