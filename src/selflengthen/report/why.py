"""The history of a row, as a page: where it came from, how it was made, every try that failed and where, what became of it.

What does not live here: finding the rows (`family`). Texts are excerpts unless all of them is wanted.
"""

import ast
import re
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from selflengthen.records import Attempt, Extension, HeldOut, Instruction, Made, Rejection, Response, SftExample, Step
from selflengthen.report.family import NAMES, Family, Member
from selflengthen.report.screen import counted, excerpt, one_line, printable
from selflengthen.text import count_words

ENDS = 300
"""Characters shown of each end of a text."""
BEFORE, AFTER = 160, 40
"""Characters shown before and after the place that a text failed at."""

_QUOTED = re.compile(r"""(['"]).*\1""", re.DOTALL)


def why_page(family: Family, *, full: bool) -> Group:
    """The whole history."""
    return Group(*_parts(family, full=full))


def _parts(family: Family, *, full: bool) -> Iterator[RenderableType]:
    member = family.member
    yield _headline(member)
    if family.parents:
        yield _title("Came from")
        yield from (_relative(parent) for parent in family.parents)
    made = getattr(member.row, "made", None)
    if isinstance(made, Made):
        yield _title("Made by")
        yield _indented(_made(made))
        if isinstance(member.row, Instruction) and member.row.examples:
            yield _indented(Text("shown as examples:"))
            yield from (_indented(Text(f"- {one_line(text, 10**6 if full else 90)}"), 4) for text in member.row.examples)
    attempts = member.row.attempts if isinstance(member.row, Rejection) else made.failed if made else ()
    if attempts:
        yield _title("Tries that failed" if made else "Tries, all of which failed")
        for number, attempt in enumerate(attempts):
            yield from _attempt(number, attempt, full=full)
    steps = member.row.steps if isinstance(member.row, Extension | Rejection) else ()
    if steps:
        yield _title("Micro-iterations")
        for step in steps:
            yield from _step(step, full=full)
    yield from _afterwards(family)
    yield from _text(member, full=full)


def _headline(member: Member) -> Text:
    row = member.row
    place = f"iteration {member.iteration}" if member.iteration else "the base model"
    text = Text.assemble((printable(member.key), "bold"), f": {NAMES[member.stage]}, ", (member.outcome, _style(member)))
    kind = f", {row.kind}" if isinstance(row, Instruction | Response | Extension | HeldOut) else ""
    text.append(f"\n{place}, {row.language}{kind}", style="dim")
    if isinstance(row, Extension):
        text.append(f", {row.initial_words:,} -> {row.words:,} words", style="dim")
    elif isinstance(row, Response | HeldOut):
        text.append(f", {row.words:,} words", style="dim")
    if isinstance(row, Rejection | HeldOut) and row.detail:
        text.append(f"\n{printable(row.detail)}")
    return text


def _relative(member: Member) -> RenderableType:
    """A parent or a child, on two lines."""
    text = str(getattr(member.row, "text", ""))
    words = f", {count_words(text):,} words" if text else ""
    line = Text.assemble((printable(member.key), "bold"), f"  {NAMES[member.stage]}, ", (member.outcome, _style(member)), words)
    if text:
        line.append(f"\n{one_line(text, 92)}", style="dim")
    return _indented(line)


def _made(made: Made) -> Text:
    sampling = made.sampling
    with_adapter = f" with {made.adapter}" if made.adapter else ", no adapter"
    text = Text(f"{printable(made.model)}{with_adapter}, recipe {printable(made.recipe)}\n")
    text.append(
        f"temperature {sampling.temperature:g}, top_p {sampling.top_p:g}, top_k {sampling.top_k}, "
        f"repetition_penalty {sampling.repetition_penalty:g}, max_tokens {sampling.max_tokens:,}\nseed {made.seed}\n",
        style="dim",
    )
    text.append(f"{made.tokens:,} tokens")
    if made.spent.cut:
        reasons = counted((str(reason), tokens) for reason, tokens in made.spent.cut.items())
        text.append(f", {sum(made.spent.cut.values()):,} of them cut away ({reasons})")
    if made.tokens_rejected:
        text.append(f", and {made.tokens_rejected:,} in tries that failed")
    if made.salvaged:
        text.append(f", {'once' if made.salvaged == 1 else f'{made.salvaged} times'} cut back to a clean paragraph and continued")
    text.append(f", {made.seconds:g} s side by side with others, {made.spent.seconds:.3g} s of the engine's time")
    return text


def _attempt(number: int, attempt: Attempt, *, full: bool) -> Iterator[RenderableType]:
    yield _indented(
        Text.assemble(f"try {number + 1}: ", (str(attempt.reason), "red"), f", {attempt.words:,} words, {attempt.tokens:,} tokens", _detail(attempt))
    )
    if attempt.text:
        yield _indented(Text(printable(attempt.text)) if full else place_of_fault(attempt.text, attempt.detail), 4)


def _step(step: Step, *, full: bool) -> Iterator[RenderableType]:
    said = (str(step.reason), "red") if step.reason else ("taken", "green")
    place = f"try {step.attempt + 1} round {step.round + 1}: "
    yield _indented(Text.assemble(place, said, f", {step.words:,} words, {step.tokens:,} tokens", _detail(step)))
    if step.text and full:
        yield _indented(Text(printable(step.text)), 4)
    elif step.text and step.reason:
        yield _indented(place_of_fault(step.text, step.detail), 4)


def _detail(what: Attempt | Step) -> str:
    return f" ({one_line(what.detail, 200)})" if what.detail else ""


def place_of_fault(text: str, detail: str) -> Text:
    """The part of a failed text that shows why: around what the detail quotes, or the end, where a watched text was stopped."""
    quoted = _quote(detail)
    start = text.rfind(quoted) if quoted else -1
    if start < 0:
        tail = text[-(BEFORE + AFTER) :]
        return Text(("[...] " if len(tail) < len(text) else "") + printable(tail), style="dim")
    end = start + len(quoted)
    before, after = text[max(0, start - BEFORE) : start], text[end : end + AFTER]
    shown = Text(("[...] " if start > BEFORE else "") + printable(before), style="dim")
    shown.append(printable(quoted), style="not dim red")
    return shown.append(printable(after) + (" [...]" if end + AFTER < len(text) else ""))


def _quote(detail: str) -> str:
    """What a detail quotes of the text, if anything."""
    match = _QUOTED.search(detail)
    if match is None:
        return ""
    try:
        value = ast.literal_eval(match[0])
    except (ValueError, SyntaxError):  # quotes that are not a quotation
        return ""
    return value if isinstance(value, str) else ""


def _afterwards(family: Family) -> Iterator[RenderableType]:
    member = family.member
    if member.selection is not None:
        kept, dropped = len(member.selection.kept), len(member.selection.dropped)
        yield _title("Selection by length")
        chosen = "selected" if member.key in member.selection.kept else "dropped"
        yield _indented(Text(f"{chosen}, in window {member.selection.key}: {kept} of {kept + dropped} were selected"))
    if family.examples:
        yield _title("Training examples")
        for role, row in family.examples.items():
            yield _indented(Text(_example(role, row)))
    if family.children:
        yield _title("Became" if member.iteration else "Was answered")
        yield from (_relative(child) for child in family.children)


def _example(role: str, row: SftExample | Rejection) -> str:
    return f"{role}: {row.tokens:,} tokens" if isinstance(row, SftExample) else f"{role}: refused, {row.reason} ({row.detail})"


def _text(member: Member, *, full: bool) -> Iterator[RenderableType]:
    row = member.row
    if isinstance(row, Rejection):
        return
    if isinstance(row, Extension):
        yield _title("Text before")
        yield _indented(_shown(row.initial, full=full))
    yield _title("Text")
    yield _indented(_shown(row.text, full=full))


def _shown(text: str, *, full: bool) -> Text:
    return Text(printable(text) if full else excerpt(text, ENDS))


def _style(member: Member) -> str:
    return "red" if member.row_reason else "yellow" if "dropped" in member.outcome else "green"


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _indented(text: Text, by: int = 2) -> RenderableType:
    return Padding(text, (0, 0, 0, by), expand=False)
