"""Models, rows and one training shared by the tests of this room: each is made once."""

import os
import sys
from pathlib import Path

import pytest
from jobs import Trained, make_job, train, write_rows

# Models this small are slower on two threads than on one, above all where others use the cores too. Read when torch is imported.
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", OMP_NUM_THREADS="1")
sys.path.insert(0, str(Path(__file__).parents[1]))
import torch

from tiny_models import tiny_llama, tiny_qwen2

torch.set_num_threads(1)  # in case another room's tests imported it before


@pytest.fixture(scope="session")
def qwen2(tmp_path_factory):
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2") / "model")


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="session")
def rows(tmp_path_factory, qwen2):
    return write_rows(tmp_path_factory.mktemp("rows") / "generator.jsonl", qwen2)


@pytest.fixture(scope="session")
def first(tmp_path_factory, qwen2, rows) -> Trained:
    """An uninterrupted LoRA training on Qwen2."""
    return train("lora", make_job(tmp_path_factory.mktemp("first"), qwen2, rows))
