"""Tables: they say what the figures say, fit a terminal, and take nothing for markup."""

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from selflengthen.records import Figures, Gate
from selflengthen.report.cost import Cost, StageCost
from selflengthen.report.screen import amount, duration, excerpt, one_line, printable, screen
from selflengthen.report.status import BaseFigures, HeldOutFigures, IterationFigures, RunFigures, held_out
from selflengthen.report.tables import best_adapter, cost_table, growth_table, next_steps, status_page


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    console.print(what)
    return console.file.getvalue()


def figures(mean: float, distinct: float = 0.9) -> Figures:
    return Figures(
        n=128,
        words_mean=mean,
        words_median=mean,
        words_p90=2 * mean,
        pass_rate=0.75,
        repetition_rate=0,
        at_limit_rate=0,
        distinct_3=distinct,
        compression=0.5,
    )


def spent(times: int) -> Cost:
    """Figures of the greatest widths."""
    stage = StageCost(
        prompt=987_654_321 * times,
        cached=555_555_555 * times,
        generated=123_456 * times,
        rejected=43_210 * times,
        rejected_by_reason={"wrong_language": 40_741 * times, "not_longer": 2_469 * times},
        rejected_share_by_reason={"wrong_language": 0.33, "not_longer": 0.02, "repeated": 0.0004},
        not_selected=24_691 * times,
        engine_seconds=36_754.6 * times,
    )
    return Cost(total=stage, stages={"respond": stage, "extend": StageCost(), "measure": stage}, kept_words=9, tokens_per_kept_word=123.456)


def iteration(number: int, mean: float, *gates: Gate) -> IterationFigures:
    now, base = figures(mean, 0.81), figures(1000.0)
    grown: HeldOutFigures = held_out(now, base, base)
    return IterationFigures(
        iteration=number,
        stage=None,
        slots={},
        examples={},
        cost=spent(number),
        held_out=grown,
        languages={"en": grown, "zh": grown},
        gates=gates,
        good=all(gate.passed for gate in gates),
        adapters={"generator": f"runs/a b/iter_{number:02d}/adapters/generator-{number}"},
        seconds=75,
    )


def run(*iterations: IterationFigures, path: str = "runs/a b") -> RunFigures:
    base = held_out(figures(1000.0), None, None)
    return RunFigures(
        path=path,
        state="stopped",
        model="seedling",
        languages_wanted=("en", "zh"),
        iterations_wanted=3,
        base=BaseFigures(**base.model_dump(), languages={"en": base, "zh": base}),
        iterations=iterations,
        cost=spent(3),
    )


GOOD = [Gate(name=name, language=language, value=1.0, least=0.5, passed=True) for name in ("growth", "diversity") for language in ("en", "zh")]
BAD = Gate(name="growth", language="zh", value=0.934, least=1.0, passed=False)


def test_growth_table_says_what_grew_and_which_gate_failed():
    text = shown(growth_table(run(iteration(1, 2000.0, *GOOD), iteration(2, 8765.0, *GOOD, BAD))))
    lines = text.splitlines()
    row = {tuple(line.split()[:2]): line for line in lines if line.strip()}
    assert row["base", "en"].split() == ["base", "en", "1,000", "1,000", "2,000", "75%", "0.90", "100%", "0.50"]
    assert row["1", "en"].split() == ["1", "en", "2,000", "2,000", "4,000", "x2.00", "x2.00", "75%", "0.81", "90%", "0.50", "passed"]
    chinese = lines[lines.index(row["2", "en"]) + 1]
    assert chinese.split()[:2] == ["zh", "8,765"]
    assert "growth 0.93 < 1" in shown(growth_table(run(iteration(2, 8765.0, *GOOD, BAD))), 100)
    assert "passed" not in chinese


@pytest.mark.parametrize("width", [80, 100])
def test_growth_table_fits(width: int):
    lines = shown(growth_table(run(iteration(1, 2000.0, *GOOD), iteration(2, 8765.0, *GOOD, BAD))), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("8,765" in line for line in lines) == 3
    assert not any("…" in line for line in lines)


def test_the_cost_table_says_what_was_spent_and_what_it_was_lost_to():
    lines = shown(cost_table(run(iteration(1, 2000.0))), 100).splitlines()
    rows = [line.split() for line in lines]
    cells = ["988M", "56%", "123k", "35%", "20%", "10:12:35"]
    lost = ["wrong_language", "33%,", "not_longer"]
    assert ["1", "respond", *cells, *lost] in rows
    assert ["measure", *cells, *lost] in rows
    assert ["all", *cells, "123.46", *lost] in rows
    assert ["run", "all", "2.96G", "56%", "370k", "35%", "20%", "30:37:44", "123.46", *lost] in rows
    text = "\n".join(lines)
    assert "extend" not in text.split("/word: ")[0], "a stage that cost nothing has no row"
    assert "repeated" not in text, "less than half a percent is not worth a word"


@pytest.mark.parametrize("width", [80, 100])
def test_the_cost_table_fits(width: int):
    lines = shown(cost_table(run(iteration(1, 2000.0), iteration(2, 2000.0))), width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert sum("10:12:35" in line for line in lines) == 3
    last = "".join(line[lines[1].index("lost to") :].strip() for line in lines)  # the column, its folded lines joined
    assert last.count("wrong_language 33%,not_longer2%" if width == 80 else "wrong_language 33%, not_longer2%") == 7


def test_nothing_is_taken_for_markup_and_nothing_acts():
    text = shown(status_page(run(path="runs/[red]x[/red]:smile:\x1b[31m\u202e")), 200)
    assert r"runs/[red]x[/red]:smile:\x1b[31m\u202e: stopped" in text
    assert "\x1b" not in text


def test_next_steps_can_be_copied_and_name_the_last_good_adapter():
    bad = iteration(2, 900.0, BAD)
    text = shown(next_steps(run(iteration(1, 2000.0, *GOOD), bad), "1-en-0000.r0.x0"), 300)
    assert "selflengthen run 'runs/a b'" in text
    assert "selflengthen why 'runs/a b' 1-en-0000.r0.x0" in text
    assert "--adapter 'runs/a b/iter_01/adapters/generator-1'" in text
    assert best_adapter(run(bad)) is None


def test_status_of_a_real_run_fits(scripted: Path):
    from selflengthen.report.status import run_figures

    text = shown(status_page(run_figures(scripted)), 100)
    assert "finished, 2 of 2 iterations done" in text
    assert "not_selected" in text
    assert max(map(cell_len, text.splitlines())) <= 100


def test_figures_for_people():
    assert [amount(n) for n in (0, 999, 1000, 999_400, 999_600, 12_345_678, 2.5e9)] == ["0", "999", "1k", "999k", "1M", "12.3M", "2.5G"]
    assert [duration(n) for n in (0, 59.6, 3599, 3661)] == ["0:00", "1:00", "59:59", "1:01:01"]


def test_texts_are_plain():
    assert printable("a\tb\nc\x1b]0;x\x07\r\x9b漢字") == "a\tb\nc\\x1b]0;x\\x07\\r\\x9b漢字"
    assert one_line("a\n\n  b", 80) == "a b"
    assert one_line("word " * 50, 20) == "word word word wo..."
    text = " ".join(f"w{n}" for n in range(1000))
    cut = excerpt(text, 300)
    head, note, tail = cut.splitlines()
    assert text.startswith(head + " ")
    assert text.endswith(" " + tail)
    assert f"{len(text) - len(head) - len(tail):,} characters" in note
    assert excerpt(text[:610], 300) == text[:610]
    assert excerpt("字" * 1000, 300).startswith("字" * 300 + "\n[")


def test_a_console_takes_nothing_for_markup(capsys: pytest.CaptureFixture):
    screen().print("[red]x[/red] :smile:")
    assert capsys.readouterr().out == "[red]x[/red] :smile:\n"


def test_a_console_without_a_terminal_is_wide_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen().width == 100
    monkeypatch.setenv("COLUMNS", "60")
    assert screen().width == 60
