"""What a check says of a text: a reason and the place. Shared by the checks, by the engines' watches and by salvage."""

from dataclasses import dataclass

from selflengthen.records import Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a text does not pass, and where.

    `start` and `end` are character offsets of the place at fault: the second occurrence of a repeated n-gram, the window that is monotonous.
    Text before `start` is clean, so salvage cuts there. `first` is where the repeated thing stood before, if it did.
    """

    reason: Reason
    start: int
    end: int
    detail: str = ""
    first: int | None = None
