"""The disk: append-only datasets, the run directory with its done markers, the event log. Knows no model and no algorithm."""

from selflengthen.store.dataset import Dataset
from selflengthen.store.run import RunDirectory, Slot

__all__ = ["Dataset", "RunDirectory", "Slot"]
