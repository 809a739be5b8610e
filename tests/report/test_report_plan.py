"""`plan`: what it says cannot be exceeded is not exceeded, and it names what differs from the defaults."""

import io
from pathlib import Path

from rich.console import Console

from selflengthen.config import Config, load_config
from selflengthen.report.plan import estimates, plan_page
from selflengthen.report.status import run_figures
from selflengthen.report.where import where
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory


def shown(config: Config, ledger: Ledger | None = None) -> str:
    console = Console(file=io.StringIO(), width=100, markup=False, emoji=False, highlight=False)
    console.print(plan_page(config, ledger, where(config)))
    return console.file.getvalue()


def test_arithmetic():
    config = load_config(
        None,
        [
            "instruct.count=10",
            "measure.count=4",
            "iterations=1",
            "sampling.max_tokens=1200",
            "instruct.sampling.max_tokens=84",
            "respond.select=false",
        ],
    )
    found = {(each.iteration, each.stage): each for each in estimates(config, None, None)}
    assert list(found) == [(0, "instruct"), (0, "measure"), (1, "instruct"), (1, "respond"), (1, "extend"), (1, "measure")]
    instruct, respond, extend, measure = (found[1, stage] for stage in ("instruct", "respond", "extend", "measure"))
    assert (instruct.calls_most, instruct.tokens_most) == (10 * 10 * 2, 10 * 10 * 100)
    # 20 responses, 20 tries, each continued twice at most
    assert (respond.calls_most, respond.tokens_most) == (20 * 20 * 3, 20 * 20 * 3 * 1200)
    assert (respond.calls, respond.tokens) == (30, 30 * 100)
    # 40 extensions, 20 tries, 3 rounds of an opening and a whole that may be continued twice
    assert (extend.calls_most, extend.tokens_most) == (40 * 20 * 3 * 4, 40 * 20 * 3 * 4 * 1200)
    assert (extend.calls, extend.tokens) == (40 * 1.5 * 3 * 2, 40 * 1.5 * 3 * 150)
    assert (measure.calls_most, measure.tokens_most, measure.tokens) == (4, 4800, 800)


def test_no_run_exceeds_its_bounds(scripted: Path):
    ledger = Ledger(RunDirectory.open(scripted, readonly=True))
    measured = ledger.measurement(0)
    bounds = {(each.iteration, each.stage): each for each in estimates(ledger.run.config, ledger, measured)}
    for each in run_figures(scripted).iterations:
        for stage in ("instruct", "respond", "extend", "measure"):
            bound, cost = bounds[each.iteration, stage], each.cost.stages[stage]
            assert 0 < cost.generated < bound.tokens_most
            assert cost.generated / 4 < bound.tokens < cost.generated * 4  # an estimate, not a guess
            assert bound.state == "done"


def test_only_what_differs_is_listed():
    text = shown(load_config(None, ["iterations=2", "sampling.temperature=1.0", "train.at_once=2"]))
    settings = text[: text.index("What runs where")]
    assert "iterations = 2   (default 3)" in settings
    assert "sampling.temperature = 1.0   (default 0.7)" in settings
    assert "train.at_once = 2" in settings
    assert settings.count(" = ") == 3
    assert "generator and extender side by side" in text
    assert "  none" in shown(Config())


def test_settings_that_run_would_refuse_are_named(scripted: Path):
    ledger = Ledger(RunDirectory.open(scripted, readonly=True))
    other = ledger.run.config.model_copy(update={"seed": 9})
    assert "seed: 0 -> 9" in shown(other, ledger)
    assert "refuse" not in shown(ledger.run.config.model_copy(update={"iterations": 9}), ledger)
