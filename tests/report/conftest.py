"""A run by hand, whose figures are known, and a scripted one with everything in it."""

import sys
from pathlib import Path

import pytest
from rows import made, response, spent, words

from selflengthen.config import load_config
from selflengthen.pipeline import Pipeline, create
from selflengthen.records import (
    Attempt,
    Extension,
    Instruction,
    Kind,
    Reason,
    Rejection,
    Selection,
    SftExample,
    Step,
)
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "engines")]  # helpers that are shared

SMALL = ["engine.kind=scripted", "train.kind=scripted", "instruct.count=6", "measure.count=4", "iterations=2", "measure.min_pass_rate=0"]


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """Iteration 1 of a run that was stopped: three instructions, four responses of which two are selected, one extension."""
    config = load_config(None, ["instruct.count=4", "languages=['en']", "measure.count=4"])
    run = RunDirectory.create(tmp_path / "run", config, {})
    ledger = Ledger(run)
    instructions, responses, extensions = (ledger.slot(1, stage) for stage in ("instruct", "respond", "extend"))
    for index, count in enumerate((10, 20, 30)):
        key = f"1-en-{index:04d}"
        instructions.write(Instruction(key=key, language="en", kind=Kind.PERSONAL, text=words(count), examples=("One.", "Two."), made=made(10)))
    duplicate = Attempt(reason=Reason.DUPLICATE, detail="near to: w0", text="w0 w1", words=2, spent=spent(5))
    instructions.write(Rejection(key="1-en-0003", stage="instruct", language="en", reason=Reason.DUPLICATE, attempts=(duplicate,), spent=spent(5)))
    repeated = Attempt(
        reason=Reason.REPEATED, detail="10 units occur twice: 'again and again'", text="Once again and again " * 20, words=80, spent=spent(40)
    )
    for key, count in (("1-en-0000.r0", 100), ("1-en-0000.r1", 200), ("1-en-0001.r0", 50)):
        responses.write(response(key, count, 100, *([repeated] if count == 200 else [])))
    responses.write(response("1-en-0002.r0", 300))
    unfinished = Attempt(reason=Reason.UNFINISHED, detail="ends with 'and'", text="a b and", words=3, spent=spent(60))
    responses.write(
        Rejection(
            key="1-en-0001.r1",
            stage="respond",
            language="en",
            reason=Reason.UNFINISHED,
            detail="ends with 'and'",
            parent="1-en-0001",
            attempts=(repeated, unfinished),
            spent=spent(100),
        )
    )
    chosen = Selection(key="1-en-w000", kept=("1-en-0000.r0", "1-en-0000.r1"), dropped=("1-en-0001.r0",))
    ledger.selections(1, "respond").append(chosen)
    steps = (
        Step(attempt=0, round=0, reason=Reason.NOT_LONGER, detail="90 words after 100", text=words(90), words=90, spent=spent(70)),
        Step(attempt=0, round=1, text=words(150), words=150, spent=spent(130, repeated=30)),
    )
    extensions.write(
        Extension(
            key="1-en-0000.r0.x0",
            parent="1-en-0000.r0",
            language="en",
            kind=Kind.PERSONAL,
            instruction="Tell.",
            initial=words(100),
            initial_words=100,
            text=words(150),
            words=150,
            steps=steps,
            made=made(200, adapter="extender-1", salvaged=2, repeated=30),
        )
    )
    ledger.selections(1, "extend").append(Selection(key="1-en", kept=("1-en-0000.r0.x0",), dropped=()))
    generator, extender = ledger.sft(1).values()
    generator.write(SftExample(key="1-en-0000.r0.x0", language="en", messages=(), answer=words(150), tokens=321))
    extender.write(Rejection(key="1-en-0000.r0.x0", stage="sft_data", language="en", reason=Reason.OVER_CUTOFF, detail="99999 tokens"))
    return run.path


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two iterations."""
    path = tmp_path_factory.mktemp("scripted") / "run"
    create(path, load_config(None, SMALL))
    Pipeline(RunDirectory.open(path)).run()
    return path
