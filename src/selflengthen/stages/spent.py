"""What a row cost, and how many of its tokens went into text that was not kept, by what was wrong with it. Reads rows, writes nothing.

Not rejected is what the method itself leaves out of a text that is kept: the last third of the free rewriting that opens an extension. What
becomes of a whole row later (the length-biased selection may drop it) is not in the row, so it is not here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from selflengthen.records import Attempt, Extension, HeldOut, Instruction, Reason, Record, Rejection, Response, Spent, Step


@dataclass(frozen=True, slots=True)
class RowCost:
    """What all tries at a row cost together."""

    spent: Spent
    rejected: Counter[Reason]
    """Generated tokens in text that was not kept: failed tries, rounds that were not taken, and what salvage cut away of a text that was."""


def cost_of(row: Record) -> RowCost:
    """What `row` cost; nothing for rows that no model wrote."""
    match row:
        case Rejection():
            return RowCost(row.spent, _in_steps(row.steps, row.attempts) if row.steps else _in_tries(row.attempts))
        case HeldOut():
            return RowCost(row.made.spent, _lost(row.made.spent, row.reason))
        case Extension():
            return RowCost(_with_failed(row), _in_steps(row.steps, row.made.failed))
        case Instruction() | Response():
            return RowCost(_with_failed(row), _in_tries(row.made.failed) + _lost(row.made.spent, None))
        case _:
            return RowCost(Spent(), Counter())


def tokens_of(row: Record) -> tuple[int, int]:
    """Generated tokens of a row in all, and those in text that was not kept."""
    cost = cost_of(row)
    return cost.spent.generated, cost.rejected.total()


def _with_failed(row: Instruction | Response | Extension) -> Spent:
    return sum((attempt.spent for attempt in row.made.failed), row.made.spent)


def _in_tries(tries: Sequence[Attempt]) -> Counter[Reason]:
    return sum((_lost(attempt.spent, attempt.reason) for attempt in tries), Counter[Reason]())


def _in_steps(steps: Sequence[Step], tries: Sequence[Attempt]) -> Counter[Reason]:
    """Of an extension: each round for its own reason. One that was taken is lost when its try failed in the end, for the reason of that."""
    lost: Counter[Reason] = Counter()
    for step in steps:
        of_try = tries[step.attempt].reason if step.attempt < len(tries) else None
        lost += _lost(step.spent, step.reason or of_try)
    return lost


def _lost(spent: Spent, reason: Reason | None) -> Counter[Reason]:
    """What salvage cut away, each for its own reason; the rest too, for `reason`, unless that is None and it was kept."""
    lost = Counter(spent.cut)
    if reason is not None:
        lost[reason] += spent.generated - lost.total()
    return lost
