"""The tables of a run: how it stands, what it cost, and how its texts grew. What does not live here: the figures (`status`)."""

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from selflengthen.records import Gate
from selflengthen.report.cost import Cost, StageCost
from selflengthen.report.screen import amount, counted, duration, percent, printable, times
from selflengthen.report.screen import table as new_table
from selflengthen.report.status import HeldOutFigures, IterationFigures, RunFigures, SlotFigures


def status_page(run: RunFigures) -> Group:
    """All there is to say of a run on one page."""
    parts: list[RenderableType] = [_heading(run)]
    if run.iterations:
        parts += [Text(), work_table(run)]
    if run.cost.total.generated:
        parts += [Text(), cost_table(run)]
    if run.base.n is not None:
        parts += [Text(), growth_table(run)]
    return Group(*parts)


def _heading(run: RunFigures) -> Text:
    if run.state == "new":
        state = "new: nothing has been done yet"
    else:
        done = sum(each.stage is None for each in run.iterations)
        state = f"{run.state}, {done} of {run.iterations_wanted} iterations done"
        under_way = next((each for each in run.iterations if each.stage is not None), None)
        if under_way:
            state += f"; iteration {under_way.iteration} is at {under_way.stage}"
    seconds = run.base.seconds + sum(each.seconds for each in run.iterations)
    text = Text.assemble((printable(run.path), "bold"), f": {state}\n")
    text.append(f"model {printable(run.model)}, languages {', '.join(run.languages_wanted)}, worked {duration(seconds)}", style="dim")
    return text


def work_table(run: RunFigures) -> Table:
    """What each iteration made."""
    table = new_table("What was made")
    table.add_column("")
    table.add_column("")
    for name in ("planned", "kept", "words", "p90"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("rejected", overflow="fold", ratio=1)
    for each in run.iterations:
        for index, (name, slot) in enumerate(each.slots.items()):
            table.add_row("" if index else str(each.iteration), name, *_slot_cells(slot))
        for role, examples in each.examples.items():
            if examples.kept or examples.refused:
                tokens = f"{amount(examples.tokens)} tokens"
                refused = f", {counted(examples.refused)}" if examples.refused else ""
                table.add_row("", f"{role} examples", "", f"{examples.kept:,}", "", "", tokens + refused)
        table.add_row("", "worked", "", "", "", "", duration(each.seconds), style="dim", end_section=True)
    table.caption = "words: mean of the kept."
    return table


def _slot_cells(slot: SlotFigures) -> tuple[str, ...]:
    return (
        "-" if slot.planned is None else f"{slot.planned:,}",
        f"{slot.kept:,}",
        _words(slot.words_mean),
        _words(slot.words_p90),
        counted(slot.rejected),
    )


def cost_table(run: RunFigures) -> Table:
    """Tokens and engine time, by stage, by iteration and in all."""
    table = new_table("What it cost")
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("prompt", "cached", "output", "lost", "unused", "engine", "/word"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("lost to", overflow="fold")
    _add_costs(table, "base", run.base.cost)
    for each in run.iterations:
        _add_costs(table, str(each.iteration), each.cost)
    table.add_row("run", "all", *_cost_cells(run.cost.total, run.cost.tokens_per_kept_word), style="bold")
    table.caption = (
        "prompt, output: tokens. cached: of the prompt, computed before. engine: time at work.\n"
        "lost: of the output, in text that failed. unused: in text that passed, not selected.\n"
        "/word: output without measure, per word of the extensions that pass."
    )
    return table


def _add_costs(table: Table, name: str, cost: Cost) -> None:
    """A row for each stage that cost something, and one for all."""
    rows = [(stage, of_stage) for stage, of_stage in cost.stages.items() if of_stage.prompt or of_stage.generated]
    for index, (stage, of_stage) in enumerate(rows):
        table.add_row("" if index else name, stage, *_cost_cells(of_stage))
    if rows:
        table.add_row("", "all", *_cost_cells(cost.total, cost.tokens_per_kept_word), style="dim", end_section=True)


def _cost_cells(cost: StageCost, per_word: float | None = None) -> tuple[str, ...]:
    share = cost.generated or 1
    return (
        amount(cost.prompt),
        percent(cost.cached / cost.prompt) if cost.prompt else "-",
        amount(cost.generated),
        percent(cost.rejected / share),
        percent(cost.not_selected / share),
        duration(cost.engine_seconds),
        "" if per_word is None else f"{per_word:.2f}",
        ", ".join(f"{reason} {percent(part)}" for reason, part in cost.rejected_share_by_reason.items() if part >= 0.005),
    )


def growth_table(run: RunFigures) -> Table:
    """Held-out words after each iteration, the base model first."""
    table = new_table("Held-out answers")
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("words", "median", "p90", "x last", "x base", "pass", "dist-3", "zip"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gates", overflow="fold", min_width=6)
    base = run.base
    _add_rows(table, "base", run, overall=base, languages=base.languages, gates=())
    for each in run.iterations:
        if each.held_out.n is not None:
            _add_rows(table, str(each.iteration), run, overall=each.held_out, languages=each.languages, gates=each.gates)
    table.caption = (
        "words: of texts that pass. x last: over the last iteration whose gates passed.\n"
        "dist-3: distinct 3-grams, and as a share of the base's. zip: compressed size.\n"
        "Both over windows of equal length."
    )
    return table


def _add_rows(
    table: Table,
    name: str,
    run: RunFigures,
    *,
    overall: HeldOutFigures,
    languages: dict[str, HeldOutFigures],
    gates: tuple[Gate, ...],
) -> None:
    """One row for each language, and one for all where there are several."""
    several = len(languages) > 1
    rows = [(language, figures, run.base.languages.get(language)) for language, figures in languages.items()]
    if several:
        rows.append(("all", overall, run.base))
    for index, (language, now, base) in enumerate(rows):
        of_language = [gate for gate in gates if gate.language == language]
        said = gates_said(of_language) if of_language else Text()
        cells = _growth_cells(now, base)
        style = "bold" if language == "all" else ""
        table.add_row("" if index else name, language, *cells, said, style=style, end_section=index == len(rows) - 1)


def _growth_cells(now: HeldOutFigures, base: HeldOutFigures | None) -> tuple[str, ...]:
    share = now.distinct_3 / base.distinct_3 if base and now.distinct_3 is not None and base.distinct_3 else None
    return (
        _words(now.words_mean),
        _words(now.words_median),
        _words(now.words_p90),
        "" if now.growth is None else times(now.growth),
        "" if now.growth_over_base is None else times(now.growth_over_base),
        percent(now.pass_rate),
        "-" if now.distinct_3 is None else f"{now.distinct_3:.2f} {percent(share):>4}",
        "-" if now.compression is None else f"{now.compression:.2f}",
    )


def gates_said(gates: list[Gate]) -> Text:
    """`passed`, or each gate that was not and by how much it missed."""
    failed = [gate for gate in gates if not gate.passed]
    if not failed:
        return Text("passed", style="green")
    return Text("\n".join(f"{gate.name.removesuffix('_rate')} {gate.value:.2f} < {gate.least:g}" for gate in failed), style="red")


def result_lines(iteration: int, figures: HeldOutFigures, gates: tuple[Gate, ...]) -> Iterator[Text]:
    """What an iteration came to, in a line, and a line for its gates when one of them failed."""
    name = "the base model" if iteration == 0 else f"iteration {iteration}"
    grown = f" ({times(figures.growth_over_base)} the base)" if figures.growth_over_base is not None else ""
    yield Text.assemble(
        (name, "bold"),
        f": {_words(figures.words_mean)} words{grown}, {percent(figures.pass_rate)} of {figures.n} held-out answers pass",
        "" if figures.distinct_3 is None else f", distinct 3-grams {figures.distinct_3:.2f}",
    )
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        said = ", ".join(f"{gate.name} {gate.language} {gate.value:.2f} < {gate.least:g}" for gate in failed)
        yield Text(f"  failed its gates: {said}. Its files stay, its adapters are not used further", style="red")


def next_steps(run: RunFigures, key: str | None) -> Text:
    """Where to look and what to do next: commands that can be copied, with names that are there."""
    path = shlex.quote(printable(run.path))
    steps = [] if run.state == "finished" else [(f"selflengthen run {path}", "go on")]
    steps.append((f"selflengthen status {path}", "how it stands; --json for programs"))
    if key:
        steps.append((f"selflengthen why {path} {key}", "the history of one text, from its instruction on"))
    if adapter := best_adapter(run):
        wish = "Write a story about a lighthouse." if "en" in run.languages_wanted else "请写一个关于灯塔的故事。"
        steps.append((f'selflengthen write "{wish}" --adapter {shlex.quote(printable(adapter))}', "let it write"))
    steps.append((f"ls {path}/iter_*", "every row, kept and rejected, as JSON lines"))
    text = Text("Where to look next\n", style="bold")
    for command, what in steps:
        text.append(Text.assemble(f"  {command}", (f"   # {what}\n", "dim"), style="not bold"))
    return text


def best_adapter(run: RunFigures) -> str | None:
    """The generator of the last iteration whose gates passed."""
    good: list[IterationFigures] = [each for each in run.iterations if each.good]
    return good[-1].adapters.get("generator") if good else None


def _words(words: float | None) -> str:
    return "-" if words is None else f"{words:,.0f}"
