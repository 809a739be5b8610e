"""Models and rows shared by the tests of this room: each is made once."""

import os

import pytest
from families import tiny_llama, tiny_qwen2
from jobs import write_rows

os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0")


@pytest.fixture(scope="session")
def qwen2(tmp_path_factory):
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2") / "model")


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="session")
def rows(tmp_path_factory, qwen2):
    return write_rows(tmp_path_factory.mktemp("rows") / "generator.jsonl", qwen2)
