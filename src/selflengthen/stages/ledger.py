"""Where each stage's rows are in a run directory, and what follows from them: measurements, adapters, the last good iteration.

What does not live here: making rows (the stages), figures for eyes (`report`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selflengthen.records import Adapter, Extension, HeldOut, Instruction, Measurement, Record, Response, Role, Selection, SftExample
from selflengthen.store import Dataset, RunDirectory, Slot
from selflengthen.store.run import read_record, write_record

STAGES = ("instruct", "respond", "extend", "sft_data", "train", "measure")
"""In the order of the method."""

SLOTS: Mapping[str, tuple[str, type[Record]]] = {
    "instruct": ("instructions", Instruction),
    "respond": ("responses", Response),
    "extend": ("extensions", Extension),
    "measure": ("held_out", HeldOut),
}
"""The slot that a stage of the flow writes: its file name and the type of its rows."""

_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "instruct": ("instructions.*",),
    "respond": ("responses.*",),
    "extend": ("extensions.jsonl", "extensions.rejected.jsonl", "extensions.done.json"),
    "sft_data": ("sft_*", "extensions.selection.jsonl"),
    "train": ("adapters",),
    "measure": ("measurement.json", "held_out.*"),
}
"""What a stage writes into its iteration's folder; together they are all that is there."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of a run."""

    run: RunDirectory

    def slot(self, iteration: int, stage: str) -> Slot[Any]:
        """The slot that `stage` writes."""
        name, row_type = SLOTS[stage]
        return self.run.slot(iteration, name, row_type)

    def sft(self, iteration: int) -> dict[Role, Slot[SftExample]]:
        """The fine-tuning examples of both roles."""
        return {role: self.run.slot(iteration, f"sft_{role}", SftExample) for role in Role}

    def selections(self, iteration: int, stage: str) -> Dataset[Selection]:
        """What the length-biased selection chose of a stage's rows."""
        return self.run.dataset(iteration, f"{SLOTS[stage][0]}.selection", Selection)

    def measurement(self, iteration: int) -> Measurement | None:
        """The held-out figures of an iteration, once it has them."""
        path = self._measurement_path(iteration)
        return read_record(path, Measurement) if path.exists() else None

    def write_measurement(self, measurement: Measurement) -> None:
        """The last thing an iteration writes: with it, the iteration is finished."""
        write_record(self._measurement_path(measurement.iteration), measurement)

    def last_good(self, before: int) -> Measurement | None:
        """The last iteration before `before` that passed its gates. The base model, which has none, always does."""
        measured = (self.measurement(number) for number in reversed(range(before)))
        return next((m for m in measured if m is not None and m.good), None)

    def adapter_folder(self, iteration: int) -> Path:
        """Where the adapters of an iteration are."""
        return self.run.iteration(iteration) / "adapters"

    def adapter_name(self, iteration: int, role: Role) -> str:
        """`generator-2`; with a suffix when the iteration was trained before and redone, so that a name never has other weights."""
        again = len(list(self.run.attic(iteration).glob(f"*/adapters/{role}-*")))
        return f"{role}-{iteration}" + (f".{again}" if again else "")

    def adapters(self, iteration: int) -> dict[Role, Adapter]:
        """The finished adapters of an iteration."""
        names = {role: self.adapter_name(iteration, role) for role in Role}
        folder = self.adapter_folder(iteration)
        return {
            role: Adapter(name=name, role=role, iteration=iteration, path=folder / name, base_model=self.run.config.model.path)
            for role, name in names.items()
            if (folder / name).is_dir()
        }

    def put_away(self, stage: str, iteration: int) -> None:
        """Move what `stage` wrote, and all that stands on it, to the attic, so that it is owed again. Nothing is deleted."""
        # Last written, first moved: a kill half-way leaves no iteration that looks finished and is not.
        # All that are there, not all that are wanted: `iterations` may have been lowered since.
        for number in sorted((n for n in self.run.iterations() if n > iteration), reverse=True):
            self.run.put_away(number, [pattern for each in reversed(STAGES) for pattern in _OUTPUTS[each]])
        later = STAGES[STAGES.index(stage) :]
        self.run.put_away(iteration, [pattern for each in reversed(later) for pattern in _OUTPUTS[each]])

    def _measurement_path(self, iteration: int) -> Path:
        return self.run.iteration(iteration) / "measurement.json"
