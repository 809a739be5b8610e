"""That a process may have as many streams open as it has work for, whatever the shell it was started from allows."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import asyncio, resource
from selflengthen.engines.served.endpoint import open_session
async def go():
    async with open_session(None):
        print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
asyncio.run(go())
"""


def test_a_small_limit_of_open_files_is_raised_as_far_as_it_goes():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= 256:
        pytest.skip("this machine allows no more")
    shell = f"ulimit -Sn 256; exec {sys.executable} -c '{PROGRAM}'"
    said = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert int(said) == (65536 if hard == resource.RLIM_INFINITY else min(65536, hard))
