"""Progress: few plain lines without a terminal, a live display with one; both count what was written."""

import io
import re
import sys

import pytest
from rich.console import Console

from selflengthen.records import Figures, Gate, Measurement
from selflengthen.report.progress import ProgressView
from selflengthen.stages.events import Measured, RowWritten, StageBegan, StageEnded, TrainStep


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def view(clock: Clock, *, terminal: bool = False, width: int = 100) -> ProgressView:
    return ProgressView(Console(file=io.StringIO(), force_terminal=terminal, width=width, markup=False), 3, clock)


def lines(seen: ProgressView) -> list[str]:
    return seen.console.file.getvalue().splitlines()


def row(number: int, reason: str | None = None, words: int = 200, planned: int = 100) -> RowWritten:
    return RowWritten(1, "respond", f"1-en-{number:04d}.r0", planned, reason, words, 300, 300 if reason else 0)


def measured(number: int, mean: float, *gates: Gate) -> Measured:
    figures = Figures(
        n=4, words_mean=mean, words_median=mean, words_p90=mean, pass_rate=0.75, repetition_rate=0, at_limit_rate=0, distinct_3=0.9, compression=0.5
    )
    return Measured(number, Measurement(iteration=number, overall=figures, languages={"en": figures}, gates=gates))


def test_plain_lines_are_few_and_plain(clock: Clock):
    seen = view(clock)
    with seen:
        seen(StageBegan(1, "respond", 100, 0))
        for number in range(100):
            clock.now += 0.25
            seen(row(number, "repeated" if number % 10 == 0 else None))
        seen(StageEnded(1, "respond"))
    assert lines(seen) == [
        "[0:00] iteration 1 respond: begins",
        "[0:10] iteration 1 respond: 40 of 100, 36 kept, 200 words, 4 rejected (repeated 4), 4.0/s, 0:15 left",
        "[0:20] iteration 1 respond: 80 of 100, 72 kept, 200 words, 8 rejected (repeated 8), 4.0/s, 0:05 left",
        "[0:25] iteration 1 respond: 100 of 100, 90 kept, 200 words, 10 rejected (repeated 10)",
    ]


def test_a_resumed_stage_counts_what_was_there(clock: Clock):
    seen = view(clock)
    seen(StageBegan(1, "respond", 100, 1050))
    clock.now = 20
    seen(row(0, planned=2100))
    assert lines(seen) == [
        "[0:00] iteration 1 respond: begins, 1,050 rows are there already",
        "[0:20] iteration 1 respond: 1,051 of 2,100, 1 kept, 200 words, 3.0/min, 5:49:40 left",
    ]


def test_training_and_stages_without_rows(clock: Clock):
    seen = view(clock)
    seen(StageBegan(1, "train", 2, 0))
    for step in range(1, 41):
        clock.now += 1
        seen(TrainStep(1, "generator-1", step, 40, 2 / step))
    seen(StageEnded(1, "train"))
    said = lines(seen)
    assert said[0] == "[0:00] iteration 1 train: begins"
    assert said[-2:] == ["[0:40] iteration 1 generator-1: 40 of 40, loss 0.050", "[0:40] iteration 1 train: done"]
    assert len(said) <= 7


def test_results_name_failed_gates_and_growth_over_the_base(clock: Clock):
    seen = view(clock)
    seen.seen_before([measured(0, 100).measurement, None])
    seen(measured(1, 250))
    seen(measured(2, 50, Gate(name="growth", language="en", value=0.2, least=1.0, passed=False)))
    assert lines(seen) == [
        "[0:00] iteration 1: 250 words (x2.50 the base), 75% of 4 held-out answers pass, distinct 3-grams 0.90",
        "[0:00] iteration 2: 50 words (x0.50 the base), 75% of 4 held-out answers pass, distinct 3-grams 0.90",
        "[0:00]   failed its gates: growth en 0.20 < 1. Its files stay, its adapters are not used further",
    ]


def test_the_display_counts_and_fits(clock: Clock):
    seen = view(clock, terminal=True, width=78)
    with seen:
        seen(StageBegan(1, "instruct", 50, 50))
        seen(StageBegan(1, "respond", 100, 0))
        for number in range(60):
            clock.now += 1
            seen(row(number, "repeated" if number % 6 == 0 else None))
        seen(TrainStep(1, "generator-1", 30, 40, 1.5))
        heading, instruct, respond, rejected, train = seen.render().plain.splitlines()
    assert heading.startswith("iteration 1 of 3  1:00  18k tokens, 17% of them in rejected text")
    assert instruct.split()[0] == "instruct"
    assert "50/50" in instruct
    assert re.search(r"60/100\s+50 kept, 200 words, 1.0/s, 0:40 left", respond)
    assert rejected.split() == ["rejected", "10:", "repeated", "10"]
    assert "30/40" in train
    assert "loss 1.500" in train
    assert max(map(len, (heading, instruct, respond, train))) < 78


def test_chatter_goes_above_the_display(clock: Clock):
    seen = view(clock, terminal=True)
    with seen:
        seen(StageBegan(1, "respond", 100, 0))
        print("a library says hello")  # as libraries do
        print("a library warns", file=sys.stderr)
        assert sys.stdout is not sys.__stdout__
    text = seen.console.file.getvalue()
    assert "a library says hello\n" in text
    assert "a library warns" in text
    assert "\x1b[?25h" in text  # the cursor is given back


def test_a_new_iteration_begins_with_a_clean_page(clock: Clock):
    seen = view(clock, terminal=True)
    with seen:
        seen(StageBegan(1, "respond", 100, 0))
        seen(row(0))
        seen(measured(1, 100))
        seen(StageBegan(2, "respond", 100, 0))
        assert seen.render().plain.splitlines()[0].split()[:4] == ["iteration", "2", "of", "3"]
        assert "tokens" not in seen.render().plain
