"""Tokens that went into a row, and how many of them into text that was not kept. Reads rows, writes nothing."""

from selflengthen.records import Extension, HeldOut, Instruction, Record, Rejection, Response


def tokens_of(row: Record) -> tuple[int, int]:
    """Tokens generated for `row` in all, and those of them that went into rejected text. (0, 0) for rows no model wrote."""
    match row:
        case Rejection():
            return row.tokens, row.tokens
        case HeldOut():
            return row.made.tokens, row.made.tokens if row.reason else 0
        case Extension():
            last = row.steps[-1].attempt
            lost = sum(step.tokens for step in row.steps if step.attempt == last and step.reason is not None)
            return row.made.tokens + row.made.tokens_rejected, row.made.tokens_rejected + lost
        case Instruction() | Response():
            return row.made.tokens + row.made.tokens_rejected, row.made.tokens_rejected
        case _:
            return 0, 0
