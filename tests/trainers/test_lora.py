"""The LoRA trainer's child process: continuing, dying, resuming. Few trainings, each looked at from several sides."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import DEVICE, STEPS, make_job
from safetensors.numpy import load_file

from selflengthen.errors import TrainerError
from selflengthen.trainers import open_trainer
from selflengthen.trainers.lora import LoraTrainer, environment

DEAD_PARENT = """
import sys, pickle, pathlib
from selflengthen.trainers.lora import LoraTrainer
job = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
trainer = LoraTrainer(device=sys.argv[2])
def tell(progress):
    print(progress.step, *(child.pid for child in trainer._running), flush=True)
trainer.train(job, tell)
"""


def weights(folder: Path) -> dict[str, list]:
    return {name: tensor.tolist() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def wait_until(true, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_the_loss_goes_down(first):
    told = first.told
    assert [progress.step for progress in told] == list(range(1, STEPS + 1))
    assert sum(p.loss for p in told[-5:]) < 0.5 * sum(p.loss for p in told[:5])


def test_the_folder_holds_the_adapter_and_its_history_alone(first, rows):
    job = first.job
    assert {file.name for file in job.out.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "training.json"}
    history = json.loads((job.out / "training.json").read_text())
    tokens = sum(json.loads(line)["tokens"] for line in rows.read_text().splitlines())
    assert (history["rows"], history["tokens"], history["resumed"]) == (10, tokens * 12, 0)
    assert history["versions"].keys() >= {"torch", "transformers", "peft", "trl"}
    layers = {name.split(".")[-3] for name in weights(job.out)}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_continuing_changes_the_new_adapter_and_not_the_old(first, tmp_path, qwen2, rows):
    job, told = first.job, first.told
    before = {file.name: file.read_bytes() for file in job.out.iterdir()}
    losses: list[float] = []
    following = make_job(tmp_path, qwen2, rows, name="generator-2", start_from=job.out, epochs=1)
    adapter = open_trainer("lora", device=DEVICE).train(following, lambda progress: losses.append(progress.loss))
    assert {file.name: file.read_bytes() for file in job.out.iterdir()} == before
    assert weights(adapter.path).keys() == weights(job.out).keys()
    assert weights(adapter.path) != weights(job.out)
    assert losses[0] < 0.7 * told[0].loss  # it begins where the first one ended
    other = replace(following, out=tmp_path / "other", settings=following.settings.model_copy(update={"rank": 8}))
    with pytest.raises(TrainerError, match=r"train\.rank = 8.*has 4"):
        open_trainer("lora", device=DEVICE).train(other, lambda _: None)


def test_killed_child_and_killed_parent_lose_nothing(first, tmp_path, qwen2, rows):
    job = make_job(tmp_path, qwen2, rows)
    partial = job.out.with_name(job.out.name + ".partial")
    trainer = LoraTrainer(device=DEVICE)
    steps: list[int] = []

    def kill_the_child(progress):
        steps.append(progress.step)
        if progress.step == 12:
            (child,) = trainer._running
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(TrainerError, match=r"(?s)generator-1: .*signal 9 \(SIGKILL\).*out of memory.*generator-1\.log"):
        trainer.train(job, kill_the_child)
    assert steps[:12] == list(range(1, 13))
    assert not job.out.exists()
    whole = max(int(folder.name.rpartition("-")[2]) for folder in partial.glob("checkpoint-*"))
    torn = partial / "checkpoint-55"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 55')

    last = killed_parent(tmp_path, job, at=whole + 3)
    assert last[0] == whole + 1  # went on from the whole checkpoint, not from the torn one
    assert not torn.exists()

    steps.clear()
    open_trainer("lora", device=DEVICE).train(job, lambda progress: steps.append(progress.step))
    assert steps[0] > whole
    assert steps[-1] == STEPS
    history = json.loads((job.out / "training.json").read_text())
    assert (history["steps"], len(history["loss"])) == (STEPS, STEPS)
    assert history["resumed"] > 0
    if DEVICE == "cpu":
        assert weights(job.out) == weights(first.job.out)
    else:  # kernels there add up in any order; other rows, or rows in another order, would differ by far more
        assert history["loss"] == pytest.approx([progress.loss for progress in first.told], rel=0.1, abs=0.02)
    assert not partial.exists()


def killed_parent(folder: Path, job, at: int) -> list[int]:
    """Train in another process, kill that one at a step, and see its child go too. Returns the steps it was told of."""
    import pickle

    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    steps = []
    with subprocess.Popen([sys.executable, "-c", DEAD_PARENT, str(folder / "job.pickle"), DEVICE], stdout=subprocess.PIPE, text=True) as parent:
        for line in parent.stdout:
            step, child = map(int, line.split())
            steps.append(step)
            if step == at:
                assert alive(child)
                os.kill(parent.pid, signal.SIGKILL)
                break
        parent.wait()
    assert wait_until(lambda: not alive(child))
    assert not job.out.exists()
    return steps


def test_ctrl_c_ends_the_child(tmp_path, qwen2, rows):
    job = make_job(tmp_path, qwen2, rows)
    trainer = LoraTrainer(device=DEVICE)
    children = []

    def interrupt(_progress):
        children.extend(trainer._running)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(job, interrupt)
    assert children[0].returncode == -signal.SIGKILL
    assert not job.out.exists()


def test_stop_from_another_thread_ends_the_child(tmp_path, qwen2, rows):
    trainer = LoraTrainer(device=DEVICE)
    job = make_job(tmp_path, qwen2, rows)
    caught = []

    def run():
        try:
            trainer.train(job, lambda _: None)
        except TrainerError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert wait_until(lambda: bool(trainer._running))
    trainer.stop()
    thread.join(10)
    assert "generator-1: the trainer was stopped" in caught[0]
    with pytest.raises(TrainerError, match="stopped"):
        trainer.train(job, lambda _: None)


@pytest.mark.parametrize("what", ["over the cut-off", "a crash"])
def test_an_error_of_the_child_is_told(tmp_path, qwen2, rows, what, monkeypatch):
    job = make_job(tmp_path, qwen2, rows, cutoff_tokens=20)
    pattern = r"generator-1: .*example 1-en-0000 has \d+ tokens, over train\.cutoff_tokens = 20.*generator-1\.log"
    if what == "a crash":
        (tmp_path / "torch.py").write_text("raise RuntimeError('no such kernel')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        pattern = r"(?s)generator-1: .*exit code 1; it said last:.*RuntimeError: no such kernel.*generator-1\.log"
    with pytest.raises(TrainerError, match=pattern):
        open_trainer("lora", device=DEVICE).train(job, lambda _: None)
    assert not job.out.exists()


def test_two_at_once_share_the_cores_and_one_gpu_is_seen(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("selflengthen.trainers.lora._cores", lambda: 6)
    assert "OMP_NUM_THREADS" not in environment(1, "auto")
    assert environment(2, "auto")["OMP_NUM_THREADS"] == "3"
    assert (environment(1, "auto")["CUDA_VISIBLE_DEVICES"], environment(1, "cpu")["CUDA_VISIBLE_DEVICES"]) == ("0", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert environment(1, "cuda:1")["CUDA_VISIBLE_DEVICES"] == "5"
    with pytest.raises(TrainerError, match="cuda:2"):
        environment(1, "cuda:2")
