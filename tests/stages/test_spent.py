"""What rows say of their cost: to the token, and nothing twice."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from runs import small

from selflengthen.engines.base import Completion, Finish, Request, RequestRefused
from selflengthen.engines.metered import Metered
from selflengthen.pipeline import load_recipes
from selflengthen.records import Instruction, Kind, Made, Message, Reason, Rejection, Response, Sampling, Spent, Step
from selflengthen.stages.base import IterationPlan
from selflengthen.stages.drafting import Watching, write
from selflengthen.stages.events import RowWritten
from selflengthen.stages.extend import ExtendItem, ExtendWork
from selflengthen.stages.instruct import InstructItem, InstructWork
from selflengthen.stages.ledger import SLOTS, Ledger
from selflengthen.stages.measure import MeasureItem, MeasureWork
from selflengthen.stages.respond import RespondItem, RespondWork
from selflengthen.stages.spent import cost_of, tokens_of
from selflengthen.text.verdict import Verdict

MADE = Made(model="seedling", sampling=Sampling(), recipe="en@1", seed=7)
INSTRUCTION = Instruction(key="1-en-0000", language="en", kind=Kind.PERSONAL, text="Tell of the harbour.", made=MADE)
TRIED = 10_000
"""A prompt token of each answer of `Told`, so that sums say how many answers are in them."""


@dataclass
class Told:
    """An engine that gives these answers, one after the other, and notes what it was asked. Each has its own cached tokens and seconds."""

    answers: list[Completion | RequestRefused]
    asked: list[Request] = field(default_factory=list)

    async def generate(self, request: Request, watch=None) -> Completion:
        number = len(self.asked)
        self.asked.append(request)
        answer = self.answers[number]
        if isinstance(answer, RequestRefused):
            raise answer
        if watch is not None and answer.verdict is None:
            assert watch.feed(answer.text) is None
        return replace(answer, prompt_tokens=TRIED, cached_tokens=2**number, engine_seconds=2**number / 8)


def answer(text: str, tokens: int, finish: Finish = Finish.STOP, wrong: Reason | None = None, start: int = 0) -> Completion:
    verdict = Verdict(wrong, start, start + 1, "so it was told") if wrong else None
    return Completion(text, Finish.WATCHED if wrong else finish, 0, tokens, verdict)


def prose(name: str, words: int) -> str:
    """A sentence of different words, each eight characters with its space."""
    return " ".join(f"{name}{number:0{7 - len(name)}d}" for number in range(words)) + "."


def plan(*settings: str) -> IterationPlan:
    config = small("languages=['en']", *settings)
    recipes = load_recipes(config)
    watching = {name: Watching(recipe.checks, config.checks.stream, config.checks.salvage) for name, recipe in recipes.items()}
    return IterationPlan(1, config, recipes, watching)


def done(work, item, *answers: Completion | RequestRefused):
    """What comes of the item, after exactly these answers."""
    engine = Told(list(answers))
    row = asyncio.run(work(item, engine))
    assert len(engine.asked) == len(answers)
    return row


def spent(generated: int, *numbers: int) -> Spent:
    """So many tokens over the answers of these numbers."""
    cached = sum(2**number for number in numbers)
    return Spent(prompt=TRIED * len(numbers), cached=cached, generated=generated, seconds=cached / 8)


def test_salvage_says_what_it_cut_away_also_where_a_fault_reaches_back():
    """Texts of as many tokens as characters: 20 to a paragraph and 2 to a break, so that places are numbers of tokens."""
    names = [prose(name, 2) + "...." for name in "abcdefghij"]
    assert {len(name) for name in names} == {20}
    a, b, c, d, e, *_ = names
    first = answer(f"{a}\n\n{b}\n\n{c}\n\nloops", 71, wrong=Reason.MONOTONOUS, start=68)
    second = answer(f"{d}\n\n{e}\n\nagain", 49, wrong=Reason.REPEATED, start=30)
    third = answer(d, 21)
    engine = Told([first, second, third])
    request = Request((Message(role="user", content="Tell."),), Sampling(max_tokens=1000), seed=3)
    draft = asyncio.run(write(engine, request, Watching(plan().watching["en"].checks, salvage=2)))
    assert draft.verdict is None
    assert draft.text == f"{a}\n\n{d}"
    # Of the 71, 64 are clean. The second fault begins at 30, inside the second paragraph: of those 64, the first 20 stay.
    assert draft.spent.cut == {Reason.MONOTONOUS: 71 - 64, Reason.REPEATED: 64 - 20 + 49}
    assert draft.spent.model_copy(update={"cut": {}}) == spent(71 + 49 + 21, 0, 1, 2)
    assert [asked.sampling.max_tokens for asked in engine.asked] == [1000, 1000 - 64, 1000 - 20], "what was cut away gives its room back"


def test_a_text_that_nothing_can_be_salvaged_of_is_a_failed_try_and_nothing_is_cut():
    engine = Told([answer("loops and loops and", 19, wrong=Reason.REPEATED, start=6)])
    request = Request((Message(role="user", content="Tell."),), Sampling(max_tokens=1000), seed=3)
    draft = asyncio.run(write(engine, request, Watching(plan().watching["en"].checks, salvage=2)))
    assert (draft.salvaged, draft.spent) == (0, spent(19, 0))
    assert draft.failed().spent == draft.spent


def test_a_response():
    clean, loop = prose("a", 10), answer(prose("a", 10) + "\n\n" + "x" * 79, 160, wrong=Reason.REPEATED, start=90)
    assert len(clean) == 80
    row = done(
        RespondWork(plan("checks.salvage=1")),
        RespondItem("1-en-0000.r0", INSTRUCTION),
        answer("It ends with and", 5),
        loop,
        answer(prose("b", 10), 30),
    )
    assert isinstance(row, Response)
    assert row.made.spent == spent(190, 1, 2).model_copy(update={"cut": {Reason.REPEATED: 160 - round(160 * 80 / 161)}})
    assert [attempt.spent for attempt in row.made.failed] == [spent(5, 0)]
    cost = cost_of(row)
    assert cost.spent.generated == 195
    assert (cost.spent.prompt, cost.spent.cached, cost.spent.seconds) == (3 * TRIED, 7, 7 / 8)
    assert cost.rejected == {Reason.UNFINISHED: 5, Reason.REPEATED: 80}
    assert tokens_of(row) == (195, 85)


def test_a_response_that_is_given_up_is_rejected_whole_and_each_part_for_its_own_reason():
    row = done(
        RespondWork(plan("checks.salvage=1", "respond.tries=3")),
        RespondItem("1-en-0000.r0", INSTRUCTION),
        answer(prose("a", 10) + "\n\n" + "x" * 78, 160, wrong=Reason.REPEATED, start=90),
        answer("cut at the limit", 40, finish=Finish.LENGTH),
        RequestRefused("too long", context_full=True),
        answer("It ends with and", 5),
    )
    assert isinstance(row, Rejection)
    assert row.spent.generated == 205
    assert row.spent == sum((attempt.spent for attempt in row.attempts), Spent())
    assert row.attempts[1].spent == Spent()
    assert cost_of(row).rejected == {Reason.REPEATED: 80, Reason.AT_LIMIT: 120, Reason.UNFINISHED: 5}
    assert tokens_of(row) == (205, 205)


RESPONSE = Response(
    key="1-en-0000.r0",
    parent="1-en-0000",
    language="en",
    kind=Kind.PERSONAL,
    instruction="Tell.",
    text=prose("r", 10) + "\n\n" + prose("s", 10),
    words=20,
    made=MADE,
)
OPENING = "\n\n".join(prose(name, 4) for name in "opq")


def rounds(settings: tuple[str, ...], *answers: Completion | RequestRefused):
    return done(ExtendWork(plan("checks.salvage=1", "extend.tries=2", *settings)), ExtendItem("1-en-0000.r0.x0", RESPONSE), *answers)


def test_an_extension():
    row = rounds(
        ("extend.rounds=2",),
        # The first try: a round is taken, but the text is not long enough in the end.
        answer(OPENING, 30),
        answer(prose("a", 14), 40),
        answer(OPENING, 30),
        answer("It ends with and", 9),
        # The second: a text is salvaged and taken, the next is not longer.
        answer(OPENING, 30),
        answer(prose("b", 10) + "\n\n" + "x" * 78, 160, wrong=Reason.REPEATED, start=OPENING.rindex("\n\n") + 2 + 90),
        answer(prose("c", 20), 60),
        answer(OPENING, 30),
        answer("Short.", 2),
    )
    assert row.words == 8 + 10 + 20
    taken = {Reason.REPEATED: 80}
    assert [step.spent.model_copy(update={"cut": {}}) for step in row.steps] == [
        spent(70, 0, 1),
        spent(39, 2, 3),
        spent(250, 4, 5, 6),
        spent(32, 7, 8),
    ]
    assert [step.spent.cut for step in row.steps] == [{}, {}, taken, {}]
    assert row.made.spent == spent(282, 4, 5, 6, 7, 8).model_copy(update={"cut": taken})
    cost = cost_of(row)
    assert cost.spent.generated == 70 + 39 + 250 + 32
    assert cost.spent.cached == 2**9 - 1
    # The rewriting of the first half, of which the method cuts the last third off, is no rejected text where the round was taken.
    assert cost.rejected == {Reason.UNFINISHED: 70 + 39, Reason.REPEATED: 80, Reason.NOT_LONGER: 32}


def test_of_an_opening_that_went_wrong_what_stood_after_the_clean_part_is_rejected():
    row = rounds(
        ("extend.rounds=1",),
        answer(prose("o", 10) + "\n\n" + "x" * 78, 160, wrong=Reason.REPEATED, start=90),
        answer(prose("b", 20), 60),
    )
    assert row.words == 30
    assert cost_of(row).rejected == {Reason.REPEATED: 80}


def test_an_extension_that_is_given_up():
    row = rounds(
        ("extend.rounds=2",),
        *(answer(OPENING, 30), answer(prose("a", 14), 40), answer(OPENING, 30), answer("It ends with and", 9)),
        *(answer(OPENING, 30), RequestRefused("no"), answer(OPENING, 30), answer("Short.", 2)),
    )
    assert isinstance(row, Rejection)
    assert row.spent == spent(30 + 40 + 30 + 9 + 30 + 30 + 2, 0, 1, 2, 3, 4, 6, 7)
    assert cost_of(row).rejected == {Reason.UNFINISHED: 109, Reason.REFUSED: 30, Reason.NOT_LONGER: 32}


def test_an_instruction_with_what_the_judge_said():
    item = InstructItem("1-en-0000", "en", Kind.PERSONAL, 0, ("One.", "Two."))
    wish = " Write a long history of the lighthouse for its visitors."
    row = done(InstructWork(plan()), item, answer(" Hm.", 3), answer(wish, 20), answer("no", 2), answer(wish, 21), answer("yes", 1))
    assert row.made.spent == spent(22, 3, 4)
    assert cost_of(row).rejected == {Reason.TOO_SHORT: 3, Reason.UNSUITABLE: 22}
    assert cost_of(row).spent == spent(47, 0, 1, 2, 3, 4)
    own = done(InstructWork(plan()), replace(item, own="Write a history."))
    assert cost_of(own).spent == Spent()


@pytest.mark.parametrize(("text", "rejected"), [(prose("a", 9), {}), ("It ends with and", {Reason.UNFINISHED: 17})])
def test_a_held_out_answer(text: str, rejected: dict):
    row = done(MeasureWork(plan()), MeasureItem("0-en-0000.h1", INSTRUCTION), answer(text, 17))
    assert (cost_of(row).spent, cost_of(row).rejected) == (spent(17, 0), rejected)


def test_a_row_that_no_model_wrote_cost_nothing():
    refused = Rejection(key="1-en-0000.r0.x0", stage="sft_data", language="en", reason=Reason.OVER_CUTOFF)
    assert (cost_of(refused).spent, cost_of(refused).rejected, tokens_of(refused)) == (Spent(), {}, (0, 0))


def test_spent_adds_up_and_reads_back():
    one, other = spent(7, 0).model_copy(update={"cut": {Reason.REPEATED: 2}}), Spent(cut={Reason.REPEATED: 1, Reason.MONOTONOUS: 3})
    assert (one + other).cut == {Reason.REPEATED: 3, Reason.MONOTONOUS: 3}
    step = Step(attempt=0, round=0, spent=one + other)
    assert json.loads(step.model_dump_json())["spent"] == {
        "prompt": TRIED,
        "cached": 1,
        "generated": 7,
        "cut": {"repeated": 3, "monotonous": 3},
        "seconds": 0.125,
    }
    assert Step.model_validate_json(step.model_dump_json()) == step
    assert step.tokens == 7


def test_all_that_the_engine_gave_is_in_one_row(start, monkeypatch: pytest.MonkeyPatch):
    """Duplicates that were made anew, failed tries, openings, judges: everything, and everything once."""
    given: list[Spent] = []
    generate = Metered.generate

    async def noted(self: Metered, request: Request, watch=None) -> Completion:
        completion = await generate(self, request, watch)
        completion = replace(completion, cached_tokens=completion.prompt_tokens // 3)
        given.append(completion.spent)
        return completion

    monkeypatch.setattr(Metered, "generate", noted)
    directory, told = start()
    ledger = Ledger(directory)
    rows = [
        row for number in range(3) for stage in SLOTS for slot in [ledger.slot(number, stage)] for part in (slot.kept, slot.rejected) for row in part
    ]
    all_of_it = sum((cost_of(row).spent for row in rows), Spent())
    assert all_of_it.model_copy(update={"cut": {}, "seconds": 0.0}) == sum(given, Spent()).model_copy(update={"seconds": 0.0})
    assert all_of_it.seconds == pytest.approx(sum(each.seconds for each in given), abs=1e-3)
    assert all_of_it.seconds > 0
    rejected = sum((cost_of(row).rejected for row in rows), Counter())
    assert {Reason.DUPLICATE, Reason.UNSUITABLE, Reason.UNFINISHED, Reason.REPEATED} <= set(rejected)
    assert all(row.spent.generated == cost_of(row).rejected.total() for row in rows if isinstance(row, Rejection))
    written = [event for event in told if isinstance(event, RowWritten)]
    assert sum(event.tokens for event in written) == all_of_it.generated
    assert sum(event.tokens_rejected for event in written) == rejected.total()


def test_salvage_s_losses_are_told_while_a_run_goes_on(start):
    directory, told = start(script="loops_later", until="respond")
    kept = list(Ledger(directory).slot(1, "respond").kept)
    assert kept
    for row in kept:
        assert set(row.made.spent.cut) == {Reason.REPEATED}
        (event,) = [event for event in told if isinstance(event, RowWritten) and event.key == row.key]
        assert 0 < event.tokens_rejected == row.made.spent.cut[Reason.REPEATED] < event.tokens


def test_the_scripted_engine_s_tokens_are_four_characters_so_the_cut_is_known(start):
    """The estimate by characters against what was cut in truth: every token of English is four characters there."""
    given = {}
    directory, _ = start("checks.stream=true", script="loops_later", until="respond")
    for row in Ledger(directory).slot(1, "respond").kept:
        if row.language == "en":
            paragraphs = row.text.split("\n\n")
            # Two clean paragraphs, then two of the continuation: only the first two and the last two are in the text.
            assert len(paragraphs) == 4
            given[row.key] = row.made.spent.generated - row.made.spent.cut[Reason.REPEATED], len(row.text) / 4
    assert given
    assert all(abs(tokens - truth) <= 2 for tokens, truth in given.values()), given
