"""What reaches the loss, looked at inside the library's own trainer, in this process."""

import math
import os
import subprocess
import sys

import pytest
import torch
from jobs import DEVICE, SETTINGS, make_job, write_rows

from selflengthen.errors import TrainerError
from selflengthen.trainers import learn
from selflengthen.trainers.render import Renderer
from selflengthen.trainers.task import TASK_FILE, Task, identify, open_partial

pytestmark = pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning")


def make_task(folder, model, rows, device="cpu", **changes) -> Task:
    job = make_job(folder, model, rows, **changes)
    identity = identify(job)
    open_partial(job.out, identity)
    fields = {name: getattr(job, name) for name in ("name", "base_model", "data", "out", "settings", "seed", "start_from")}
    return Task(**fields, device=device, dtype="auto", identity=identity)


def build(task: Task, **plan):
    renderer = Renderer(task.base_model)
    rows = learn.read_rows(task, renderer)
    laid = learn.make_plan(task, rows)
    if plan:
        laid = learn.Plan(**{"device": task.device, "dtype": torch.float32, "rows_at_once": 1, "accumulate": 2, "steps": laid.steps} | plan)
    return learn.build(task, laid, rows, renderer), rows


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("together", [1, 3])
def test_the_collator_gives_the_rendered_ids_and_no_label_outside_the_answer(tmp_path, request, family, together):
    model = request.getfixturevalue(family)
    task = make_task(tmp_path, model, write_rows(tmp_path / "rows.jsonl", model))
    trainer, rows = build(task, rows_at_once=together)
    seen = []
    for batch in trainer.get_train_dataloader():
        width = batch["input_ids"].shape[1]
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            row = next(row for row in rows if list(row.ids) == ids[: len(row.ids)] and row not in seen)
            seen.append(row)
            assert labels == [*row.labels, *[-100] * (width - len(row.ids))]
    assert sorted(row.ids for row in seen) == sorted(row.ids for row in rows)


def test_the_loss_is_the_librarys_and_a_prompt_gets_no_gradient_of_its_own(tmp_path, qwen2, rows, monkeypatch):
    trainer, rendered = build(make_task(tmp_path, qwen2, rows))
    row = max(rendered, key=lambda row: len(row.ids))
    inputs = {"input_ids": torch.tensor([row.ids]), "labels": torch.tensor([row.labels])}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    count = torch.tensor(sum(row.mask))
    losses, gradients = [], []
    for limit in (learn.WHOLE_LOGITS, 0):  # ours, then TRL's own
        monkeypatch.setattr(learn, "WHOLE_LOGITS", limit)
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=count)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)
    logits = trainer.model(input_ids=inputs["input_ids"]).logits[0].log_softmax(-1)
    by_hand = [-logits[place - 1, token].item() for place, token in enumerate(row.ids) if row.mask[place]]
    assert losses[0] == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)


def test_single_rows_added_up_train_as_a_padded_batch_does(tmp_path, qwen2):
    rows = write_rows(tmp_path / "rows.jsonl", qwen2, rows=6)
    told = []
    for together in (1, 2):
        trainer, _ = build(make_task(tmp_path / str(together), qwen2, rows, DEVICE, epochs=1), rows_at_once=together, accumulate=2 // together)
        trainer.train()
        told.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert told[0] == pytest.approx(told[1], rel=1e-3)


def test_steps_are_known_before(tmp_path, qwen2, rows):
    task = make_task(tmp_path, qwen2, rows, batch_size=4, accumulate=2, epochs=2.5)
    rendered = learn.read_rows(task, Renderer(qwen2))
    plan = learn.make_plan(task, rendered)
    assert (plan.rows_at_once, plan.accumulate, plan.steps, plan.dtype) == (1, 8, 5, torch.float32)
    assert build(task)[0].args.warmup_steps == math.ceil(5 * SETTINGS.warmup)


def test_on_a_gpu_rows_share_a_pass_while_they_are_short(tmp_path, qwen2, rows, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    task = make_task(tmp_path, qwen2, rows, "auto", batch_size=6, accumulate=2, epochs=1)
    rendered = learn.read_rows(task, Renderer(qwen2))
    longest = max(len(row.ids) for row in rendered)
    for room, together in ((6 * longest, 6), (6 * longest - 1, 3), (2 * longest, 2), (1, 1)):
        monkeypatch.setattr(learn, "GPU_STEP_TOKENS", room)
        plan = learn.make_plan(task, rendered)
        assert (plan.device, plan.dtype, plan.rows_at_once, plan.accumulate, plan.steps) == ("cuda", torch.bfloat16, together, 12 // together, 1)


def test_a_library_that_drops_rows_is_noticed(tmp_path, qwen2, rows, monkeypatch):
    whole = learn.Dataset.from_dict
    monkeypatch.setattr(learn.Dataset, "from_dict", lambda data: whole({name: [row[:5] for row in column] for name, column in data.items()}))
    with pytest.raises(TrainerError, match="changed the rows"):
        build(make_task(tmp_path, qwen2, rows))


def test_a_row_that_is_none_is_named_with_its_line(tmp_path, qwen2, rows):
    data = tmp_path / "rows.jsonl"
    data.write_text(rows.read_text() + '{"key": "x"}\n')
    with pytest.raises(TrainerError, match=r"rows\.jsonl, line 11 is no training example"):
        learn.read_rows(make_task(tmp_path, qwen2, data), Renderer(qwen2))


def test_a_model_that_is_none_is_named(tmp_path, rows):
    (tmp_path / "hollow").mkdir()
    task = make_task(tmp_path, tmp_path / "hollow", rows)
    with pytest.raises(TrainerError, match="hollow"):
        Renderer(task.base_model).render((), "x")
    with pytest.raises(TrainerError, match=r"base model .*hollow"):
        learn.load_model(task, learn.Plan("cpu", torch.float32, 1, 1, 1))


def test_a_loss_that_is_no_number_stops_the_training(tmp_path, qwen2, rows):
    task = make_task(tmp_path, qwen2, rows, DEVICE, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainerError, match=r"the loss is nan at step \d+; lower train\.learning_rate"):
        learn.train(task, lambda *_: None)
    assert not task.out.exists()


def test_a_gpu_that_is_not_there_is_named(tmp_path, qwen2, rows):
    task = make_task(tmp_path, qwen2, rows).model_copy(update={"device": "cuda:1"})
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TrainerError, match="cuda:1"):
        learn.make_plan(task, [])


def run_child(task: Task, training: str) -> tuple[subprocess.Popen, int]:
    """The child process with a training of one expression: the real module takes seconds to import and is not what is looked at."""
    file = task.partial / TASK_FILE
    file.write_text(task.model_dump_json())
    code = "import sys, time, torch, types; from selflengthen import trainers; from selflengthen.trainers import child; "
    code += f"sys.modules['selflengthen.trainers.learn'] = trainers.learn = types.SimpleNamespace(train=lambda *_: {training}); "
    code += "sys.exit(child.main(*sys.argv[1:]))"
    hears, says = os.pipe()
    command = [sys.executable, "-c", code, str(file), str(says)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(says,))
    os.close(says)
    return process, hears


def test_out_of_memory_is_said_in_words(tmp_path, qwen2, rows):
    process, hears = run_child(make_task(tmp_path, qwen2, rows), f"torch.empty(10**15, device={DEVICE!r})")
    with process, os.fdopen(hears) as messages:
        said, trace = messages.read(), process.stderr.read()
    assert '"error": "out of memory. Set train.gradient_checkpointing' in said
    assert (b"can't allocate memory" if DEVICE == "cpu" else b"CUDA out of memory") in trace
    assert process.returncode == 1


def test_a_child_that_has_nothing_to_say_ends_with_its_parent_too(tmp_path, qwen2, rows):
    process, hears = run_child(make_task(tmp_path, qwen2, rows), "(torch.os.write(int(sys.argv[2]), b'.'), time.sleep(60))")
    with process, os.fdopen(hears) as messages:
        assert messages.read(1) == "."  # it is in the midst of its training
        process.stdin.close()  # as the system does for a parent that was killed
        assert process.wait(10) == 1
