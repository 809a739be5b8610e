"""Fine-tuning both roles on an iteration's examples. What does not live here: how a model learns (`trainers`)."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from selflengthen.config import resolve_model
from selflengthen.errors import TrainerError
from selflengthen.records import Role
from selflengthen.stages.base import IterationPlan
from selflengthen.stages.ledger import Ledger
from selflengthen.trainers.base import Trainer, TrainJob, TrainProgress

STAGE = "train"


def jobs(plan: IterationPlan, ledger: Ledger) -> list[TrainJob]:
    """A job for each role, continuing the adapters of the last good iteration. Raises TrainerError when there is nothing to learn from."""
    good = ledger.last_good(plan.number)
    before = ledger.adapters(good.iteration) if good else {}
    made = []
    for role, slot in ledger.sft(plan.number).items():
        if not len(slot.kept):
            raise TrainerError(_nothing_to_learn_from(plan, ledger, role))
        name = ledger.adapter_name(plan.number, role)
        job = TrainJob(
            name=name,
            role=role,
            iteration=plan.number,
            base_model=resolve_model(plan.config.model.path),
            data=slot.kept.path,
            out=ledger.adapter_folder(plan.number) / name,
            log=ledger.run.path / "logs" / f"train-{name}.log",
            settings=plan.config.train,
            seed=plan.seed(STAGE, name) % 2**31,
            start_from=before[role].path if role in before else None,
        )
        made.append(job)
    return made


def run_jobs(trainer: Trainer, todo: Sequence[TrainJob], at_once: int, on_progress: Callable[[TrainProgress], None]) -> None:
    """Run the jobs, `at_once` side by side. The first failure, or a Ctrl-C, ends the others too; each can be resumed."""
    threads = ThreadPoolExecutor(at_once)
    running = [threads.submit(trainer.train, job, on_progress) for job in todo]
    try:
        for future in as_completed(running):
            future.result()
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        trainer.stop()
        raise
    finally:
        threads.shutdown()


def _where_it_dried_up(plan: IterationPlan, ledger: Ledger) -> str:
    """The stage before the extensions that let nothing through, and why."""
    for stage, name in (("instruct", "instruction"), ("respond", "response")):
        slot = ledger.slot(plan.number, stage)
        if not len(slot.kept) and len(slot.rejected):
            reasons = Counter(str(row.reason) for row in slot.rejected)
            return f"no {name} was kept ({', '.join(f'{reason} {n}' for reason, n in reasons.most_common())})"
    return "there are no extensions"


def _nothing_to_learn_from(plan: IterationPlan, ledger: Ledger, role: Role) -> str:
    examples, extensions = ledger.sft(plan.number)[role], ledger.slot(plan.number, "extend")
    if len(examples.rejected):
        reasons = Counter(str(row.reason) for row in examples.rejected)
        why = f"all {len(examples.rejected)} examples were refused ({', '.join(f'{reason} {n}' for reason, n in reasons.items())})"
    elif not len(extensions.kept) + len(extensions.rejected):
        why = _where_it_dried_up(plan, ledger)
    else:
        why = f"of {len(extensions.kept) + len(extensions.rejected)} extensions {len(extensions.rejected)} were rejected and none was selected"
    return (
        f"iteration {plan.number} has nothing to train the {role} on: {why}. "
        f"What was rejected, and why: selflengthen status {ledger.run.path}. Nothing is lost; a larger instruct.count, other sampling or "
        "more tries (a new run) may help"
    )
