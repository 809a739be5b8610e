"""Where a key hangs: the row or rejection it names, its parents up to the instruction, its children, what selection and training made of it.

What does not live here: how that looks (`why`). A key says itself where its row is (see `records`), so only that slot is read.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from selflengthen.errors import StoreError
from selflengthen.records import Extension, HeldOut, Instruction, Rejection, Response, Role, Selection, SftExample
from selflengthen.stages.ledger import SLOTS, Ledger

Row = Instruction | Response | Extension | HeldOut | Rejection

_KEY = re.compile(r"(?P<instruction>(?P<iteration>\d{1,9})-.+-\d+)(?P<tail>(\.[a-z]\d{1,9})*)")
_STAGES = {"": "instruct", "r": "respond", "x": "extend", "h": "measure"}
NAMES = {"instruct": "instruction", "respond": "response", "extend": "extension", "measure": "held-out answer"}
NEAR = 5


@dataclass(frozen=True, slots=True)
class Member:
    """A row or rejection, and what became of it."""

    key: str
    stage: str
    iteration: int
    row: Row
    selection: Selection | None = None
    """The settled window that it was ranked in."""

    @property
    def outcome(self) -> str:
        """What became of it, in a word or two."""
        if self.row_reason:
            return f"rejected: {self.row_reason}" if isinstance(self.row, Rejection) else f"does not pass: {self.row_reason}"
        if self.stage in ("respond", "extend"):
            if self.selection is None:
                return "kept, not yet selected from"
            return "kept and selected" if self.key in self.selection.kept else "kept, then dropped by the selection (not_selected)"
        return "passes" if self.stage == "measure" else "kept"

    @property
    def row_reason(self) -> str | None:
        """Why it was rejected, or does not pass."""
        return str(self.row.reason) if isinstance(self.row, Rejection | HeldOut) and self.row.reason else None


@dataclass(frozen=True, slots=True)
class Family:
    """A member with its parents, the instruction first, its children, and the training examples made of it."""

    member: Member
    parents: tuple[Member, ...]
    children: tuple[Member, ...]
    examples: dict[Role, SftExample | Rejection]


def family(ledger: Ledger, key: str) -> Family:
    """The family of `key`. Raises StoreError, with the keys nearest to it, when the run has none of that name."""
    member = find(ledger, key)
    if member is None:
        near = difflib.get_close_matches(key, list(all_keys(ledger)), n=NEAR, cutoff=0.6)
        there = f"; near to it: {', '.join(near)}" if near else "; keys look like 1-en-0042, 1-en-0042.r1, 1-en-0042.r1.x0 and 0-en-0003.h1"
        raise StoreError(f"{ledger.run.path} has no row {key!r}{there}")
    parents = [parent for parent in (find(ledger, above) for above in _above(key)) if parent]
    children = [child for child in (find(ledger, below) for below in _below(ledger, member)) if child]
    return Family(member, tuple(parents), tuple(children), _examples(ledger, member))


def find(ledger: Ledger, key: str) -> Member | None:
    """The row or rejection named `key`."""
    parts = _KEY.fullmatch(key)
    if parts is None:
        return None
    last = parts["tail"].rpartition(".")[2]
    stage, iteration = _STAGES.get(last[:1]), int(last[1:]) if last[:1] == "h" else int(parts["iteration"])
    if stage is None or not ledger.run.iteration(iteration).is_dir():
        return None
    slot = ledger.slot(iteration, stage)
    if not slot.settled(key):
        return None
    row = slot.kept.get(key) if key in slot.kept else slot.rejected.get(key)
    return Member(key, stage, iteration, row, _selection(ledger, iteration, stage, key))


def all_keys(ledger: Ledger) -> Iterator[str]:
    """Every key of a run."""
    for folder in sorted(ledger.run.path.glob("iter_??")):
        iteration = int(folder.name.removeprefix("iter_"))
        for stage in SLOTS:
            slot = ledger.slot(iteration, stage)
            yield from slot.kept.keys
            yield from slot.rejected.keys


def example_key(ledger: Ledger) -> str | None:
    """A key worth looking at: the longest text that was trained on last, or the last row there is."""
    last: str | None = None
    for folder in sorted(ledger.run.path.glob("iter_??"), reverse=True):
        iteration = int(folder.name.removeprefix("iter_"))
        examples: list[SftExample] = list(ledger.sft(iteration)[Role.GENERATOR].kept)
        if examples:
            return max(examples, key=lambda row: (row.tokens, row.key)).key
        last = last or next((ledger.slot(iteration, stage).kept.keys[-1] for stage in SLOTS if len(ledger.slot(iteration, stage).kept)), None)
    return last


def _above(key: str) -> Iterator[str]:
    """The keys of the parents, the instruction first."""
    parts = key.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])


def _below(ledger: Ledger, member: Member) -> Iterator[str]:
    config, key = ledger.run.config, member.key
    if member.stage == "instruct" and member.iteration == 0:
        yield from (f"{key}.h{int(folder.name.removeprefix('iter_'))}" for folder in sorted(ledger.run.path.glob("iter_??")))
    elif member.stage == "instruct":
        yield from (f"{key}.r{sample}" for sample in range(config.respond.samples))
    elif member.stage == "respond":
        yield from (f"{key}.x{sample}" for sample in range(config.extend.samples))


def _selection(ledger: Ledger, iteration: int, stage: str, key: str) -> Selection | None:
    if stage not in ("respond", "extend"):
        return None
    return next((window for window in ledger.selections(iteration, stage) if key in window.kept or key in window.dropped), None)


def _examples(ledger: Ledger, member: Member) -> dict[Role, SftExample | Rejection]:
    if member.stage != "extend":
        return {}
    found: dict[Role, Any] = {}
    for role, slot in ledger.sft(member.iteration).items():
        if slot.settled(member.key):
            found[role] = slot.kept.get(member.key) if member.key in slot.kept else slot.rejected.get(member.key)
    return found
