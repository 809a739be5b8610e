"""Groups of processes, looked up in another way than the code does it."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


def in_group(group: int) -> list[int]:
    """Living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ProcessLookupError):
                status = (entry / "status").read_text()
                if os.getpgid(int(entry.name)) == group and not ("State:\tZ" in status and "Threads:\t1\n" in status):
                    found.append(int(entry.name))
    return found


def gone(group: int, seconds: float = 5.0) -> bool:
    """Whether nobody of a group is left, waited for so long."""
    end = time.monotonic() + seconds
    while in_group(group):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
