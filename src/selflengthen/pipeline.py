"""The order of the arrows: measure the base, then iterate - write, train, measure - with the adapters of the last good iteration.

Nothing is remembered between two starts: which step is next is asked of the disk. What does not live here: what a step does (`stages`), and how
it looks (`report`, `cli`).
"""

import hashlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from selflengthen.config import Config, resolve_model
from selflengthen.engines.served.gpus import has_weights
from selflengthen.errors import ConfigError, StoreError
from selflengthen.executors import LocalExecutor
from selflengthen.recipes import OwnInstruction, Recipe, load_instructions, load_recipe
from selflengthen.recipes.files import read_bytes
from selflengthen.records import Adapter, HeldOut, Instruction, Record, Rejection, Role
from selflengthen.serving import Serving
from selflengthen.stages import extend, instruct, measure, respond, sft_data, train
from selflengthen.stages.base import Arrow, IterationPlan
from selflengthen.stages.checks import floors_of, watching
from selflengthen.stages.events import Event, Measured, Notice, RowWritten, StageBegan, StageEnded, TrainStep
from selflengthen.stages.ledger import STAGES, Ledger
from selflengthen.stages.runner import Flow
from selflengthen.stages.spent import tokens_of
from selflengthen.store import RunDirectory, Slot
from selflengthen.trainers import open_token_counter, open_trainer
from selflengthen.trainers.base import Trainer, TrainProgress

FLOWING = STAGES[:3]
"""The stages that run as one flow."""

Observer = Callable[[Event], None]


def load_recipes(config: Config) -> dict[str, Recipe]:
    """The recipes of a configuration, by language."""
    return {language: load_recipe(language, config.recipes.get(language)) for language in config.languages}


def create(path: Path, config: Config) -> RunDirectory:
    """Make a run directory, after everything its settings name was read once."""
    recipes = load_recipes(config)
    check_own_instructions(config)
    return RunDirectory.create(path, config, _digests(config, recipes))


def check_own_instructions(config: Config) -> None:
    """Read the files of instructions once, for their complaints."""
    for file in (config.instruct.file, config.measure.file):
        _own_instructions(file, config)


class Pipeline:
    """One run. `run` does all that is owed; calling it again goes on."""

    def __init__(self, directory: RunDirectory, observer: Observer = lambda _event: None, config: Config | None = None) -> None:
        """`config` takes the place of the run's own settings; only free ones may differ. Raises StoreError when others do."""
        self.recipes = load_recipes(config or directory.config)
        directory.resume_with(config or directory.config, _digests(config or directory.config, self.recipes))
        self.directory, self.config, self.observer = directory, directory.config, observer
        self.ledger = Ledger(directory)
        self._serving: Serving | None = None

    def run(self, until: str | None = None) -> None:
        """Do all that is owed. `until`: stop after this stage of the first iteration that is not finished."""
        if until is not None:
            known_stage(until)
        with self._at_work():
            for number in range(self.config.iterations + 1):
                if self.ledger.measurement(number) is not None:
                    continue
                self._iterate(number, until if number else None)
                if until is not None and number:
                    return

    def run_stage(self, stage: str, iteration: int, *, redo: bool = False) -> None:
        """Do what an iteration owes up to a stage. `redo`: first put away what the stage wrote and all that stands on it."""
        known_stage(stage)
        if not 0 <= iteration <= self.config.iterations:
            raise ConfigError(f"no iteration {iteration}: the run has 0 (the base model) to {self.config.iterations}")
        with self._at_work():
            missing = next((n for n in range(iteration) if self.ledger.measurement(n) is None), None)
            if missing is not None:
                raise ConfigError(f"iteration {missing} is not finished; finish it first: selflengthen run {self.directory.path}")
            if redo:
                self.ledger.put_away(stage, iteration)
            self._iterate(iteration, stage if iteration else None)

    def plan(self, number: int) -> IterationPlan:
        """What holds in an iteration: its adapters and its checks follow from what was measured before."""
        good, base = self.ledger.last_good(number), self.ledger.measurement(0)
        adapters = self.ledger.adapters(good.iteration) if good else {}
        if good and good.iteration and len(adapters) < len(Role):
            folder, path = self.ledger.adapter_folder(good.iteration), shlex.quote(str(self.directory.path))
            raise StoreError(
                f"{folder} lacks an adapter, and iteration {number} stands on it: put it back, "
                f"or train it anew: selflengthen stage {path} train --iteration {good.iteration} --redo"
            )
        return IterationPlan(
            number=number,
            config=self.config,
            recipes=self.recipes,
            watching={name: watching(recipe, self.config.checks, base) for name, recipe in self.recipes.items()},
            generator=adapters[Role.GENERATOR].name if adapters else None,
            extender=adapters[Role.EXTENDER].name if adapters else None,
        )

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """The run is ours, and so is the engine that serves it."""
        with self.directory.locked(), Serving(self.config, self.directory.path, lambda text: self._tell(Notice(text))) as self._serving:
            self._look_for_weights()
            yield

    def _look_for_weights(self) -> None:
        """Servers elsewhere have the model; trainings, hours from now, are here."""
        model = resolve_model(self.config.model.path)
        if self.config.engine.kind == "openai" and not has_weights(model):
            self._tell(Notice(f"the weights of model.path are not here, and the first training will need them: hf download {shlex.quote(model)}"))

    # -- the steps of an iteration; each does what it still owes --------------------------------------------------------------------

    def _iterate(self, number: int, until: str | None) -> None:
        wanted = STAGES[: STAGES.index(until) + 1] if until else STAGES
        plan = self.plan(number)
        if number:
            self._write_texts(plan, [stage for stage in wanted if stage in FLOWING])
            if sft_data.STAGE in wanted:
                self._make_examples(plan)
            if train.STAGE in wanted:
                self._train(plan)
        if measure.STAGE in wanted:
            self._measure(plan)

    def _write_texts(self, plan: IterationPlan, stages: Sequence[str]) -> None:
        slots = [self.ledger.slot(plan.number, stage) for stage in FLOWING]
        if all(slot.done for slot in slots[: len(stages)]):
            return
        known = [row for number in range(plan.number) for row in self.ledger.slot(number, instruct.STAGE).kept]
        own = _own_instructions(self.config.instruct.file, self.config)
        instructing = instruct.Instruct(plan, slots[0], self.config.instruct.count, known, own)
        responding = respond.Respond(plan, slots[1], self.ledger.selections(plan.number, respond.STAGE), instructing)
        arrows: list[Arrow] = [instructing, responding, extend.Extend(plan, slots[2], responding)]
        self._flow(arrows[: len(stages)], plan.number)

    def _make_examples(self, plan: IterationPlan) -> None:
        slots, extensions = self.ledger.sft(plan.number), self.ledger.slot(plan.number, extend.STAGE)
        if all(slot.done for slot in slots.values()):
            return
        self._tell(StageBegan(plan.number, sft_data.STAGE, len(Role) * len(extensions.kept), sum(len(slot.kept) for slot in slots.values())))
        chosen = sft_data.select_extensions(plan, extensions, self.ledger.selections(plan.number, extend.STAGE))
        count_tokens = open_token_counter(self.config.train.kind, resolve_model(self.config.model.path))
        sft_data.make_examples(plan, extensions, chosen, slots, count_tokens)
        self._tell(StageEnded(plan.number, sft_data.STAGE))

    def _train(self, plan: IterationPlan) -> None:
        if len(self.ledger.adapters(plan.number)) == len(Role):
            return
        todo = train.jobs(plan, self.ledger)
        self._tell(StageBegan(plan.number, train.STAGE, len(todo), len(self.ledger.adapters(plan.number))))

        def progress(done: TrainProgress) -> None:
            self._tell(TrainStep(plan.number, done.name, done.step, done.steps, done.loss))

        assert self._serving is not None
        self._serving.make_way()
        train.run_jobs(trainer_for(self.config), todo, self.config.train.at_once, progress)
        self._tell(StageEnded(plan.number, train.STAGE))

    def _measure(self, plan: IterationPlan) -> None:
        """Answer the held-out instructions with what the iteration made. Iteration 0 has the base model make them first."""
        number = plan.number
        if number:
            plan = replace(plan, generator=self.ledger.adapters(number)[Role.GENERATOR].name)
        instructions, answers = self.ledger.slot(0, instruct.STAGE), self.ledger.slot(number, measure.STAGE)
        arrows: list[Arrow] = [measure.Measure(plan, answers, instructions)]
        if number == 0:
            own = _own_instructions(self.config.measure.file, self.config)
            arrows.insert(0, instruct.Instruct(plan, instructions, self.config.measure.count, [], own))
        self._flow(arrows, number)
        if number == 0:
            self._something_to_measure(instructions)
        base = self.ledger.measurement(0)
        floors = base.floors if base else floors_of(plan, answers.kept)
        result = measure.measurement(plan, answers.kept, floors, base, self.ledger.last_good(number))
        self.ledger.write_measurement(result)
        self._tell(Measured(number, result))

    def _something_to_measure(self, instructions: Slot[Instruction]) -> None:
        """Without a held-out instruction in each language no iteration could be measured, so none is begun."""
        there = {row.language for row in instructions.kept}
        if missing := [language for language in self.config.languages if language not in there]:
            reasons = Counter(str(row.reason) for row in instructions.rejected if row.language in missing)
            said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            raise ConfigError(
                f"the base model made no held-out instruction in {', '.join(missing)} ({said}), so nothing could be measured there. "
                "Give some in measure.file, or see to the recipe's prompts and labels"
            )

    def _flow(self, arrows: Sequence[Arrow], number: int) -> None:
        """Run arrows to their end."""
        for arrow in arrows:
            slot = self.ledger.slot(number, arrow.stage)
            self._tell(StageBegan(number, arrow.stage, arrow.planned, len(slot.kept) + len(slot.rejected)))
        flow = Flow(arrows, lambda arrow, row: self._tell(_row_written(number, arrow, row)))
        assert self._serving is not None
        serving = self._serving
        serving.run(flow.run(LocalExecutor(), lambda: serving.engine(self._adapters_of(number))))
        for arrow in arrows:
            self._tell(StageEnded(number, arrow.stage))

    def _adapters_of(self, number: int) -> list[Adapter]:
        """The adapters that iteration `number` works with: its own once trained, and those of the last good one before."""
        good = self.ledger.last_good(number)
        return [*(self.ledger.adapters(good.iteration) if good else {}).values(), *self.ledger.adapters(number).values()]

    def _tell(self, event: Event) -> None:
        self.directory.event(type(event).__name__, **asdict(event))
        self.observer(event)


def trainer_for(config: Config) -> Trainer:
    """The trainer that settings name."""
    if config.train.kind == "scripted":
        return open_trainer("scripted")
    return open_trainer("lora", device=config.model.device, dtype=config.model.dtype)


def _row_written(number: int, arrow: Arrow, row: Record) -> RowWritten:
    tokens, rejected = tokens_of(row)
    reason = row.reason if isinstance(row, Rejection | HeldOut) else None
    return RowWritten(
        iteration=number,
        stage=arrow.stage,
        key=str(getattr(row, "key", "")),
        planned=arrow.planned,
        reason=str(reason) if reason else None,
        words=getattr(row, "words", 0),
        tokens=tokens,
        tokens_rejected=rejected,
    )


def known_stage(name: str) -> None:
    """Raise ConfigError when there is no such stage."""
    if name not in STAGES:
        raise ConfigError(f"no stage {name!r}; the stages are {', '.join(STAGES)}")


def _digests(config: Config, recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Of the files that settings name, so that a change of them is seen."""
    files = {"instruct.file": config.instruct.file, "measure.file": config.measure.file}
    own = {name: hashlib.sha256(read_bytes(file)).hexdigest() for name, file in files.items() if file}
    return {language: recipe.digest for language, recipe in recipes.items()} | own


def _own_instructions(file: Path | None, config: Config) -> tuple[OwnInstruction, ...]:
    return load_instructions(file, config.languages) if file else ()
