"""Which checks hold for a language in a run: the recipe's, as the settings change them, with monotony floors set by the base model's own texts."""

from selflengthen.config import CheckOptions
from selflengthen.recipes import Recipe
from selflengthen.records import Floors, HeldOut, Measurement
from selflengthen.stages.base import IterationPlan
from selflengthen.stages.drafting import Watching
from selflengthen.store import Dataset
from selflengthen.text import calibrate


def watching(recipe: Recipe, options: CheckOptions, base: Measurement | None) -> Watching:
    """How texts of the recipe's language are watched. `base` None: the base model itself, whose diversity is not known yet."""
    checks = recipe.checks.paper() if options.paper else recipe.checks
    if not options.monotony:
        checks = checks.with_floors(Floors())
    elif base and recipe.language in base.floors:
        checks = checks.with_floors(base.floors[recipe.language])
    return Watching(checks, stream=options.stream, salvage=options.salvage)


def floors_of(plan: IterationPlan, answers: Dataset[HeldOut]) -> dict[str, Floors]:
    """The floors of each language, from the base model's held-out answers that pass. A language with too little text has none."""
    options = plan.config.checks
    floors = {}
    for language, recipe in plan.recipes.items():
        texts = [row.text for row in sorted(answers, key=lambda row: row.key) if row.language == language and row.reason is None]
        found = calibrate(texts, recipe.checks.unit, options.monotony_window, ratio=options.monotony_floor)
        if found.window:
            floors[language] = found
    return floors
