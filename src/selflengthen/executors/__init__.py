"""Where work runs. `local` runs it in this process; what the work is, and in which order, is the stages' business."""

from selflengthen.executors.base import Executor, Item, ItemWork, OpenEngine
from selflengthen.executors.local import LocalExecutor

__all__ = ["Executor", "Item", "ItemWork", "LocalExecutor", "OpenEngine"]
