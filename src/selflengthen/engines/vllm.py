"""Starts vLLM servers, one per group of GPUs, watches over them, and answers through them as through any others (`engines.openai`).

A server that dies or hangs is started again; its requests go on with the others meanwhile, or wait for it. What does not live here: a server's
process (`served.replica`), its command line and GPUs (`served.launch`, `served.gpus`), and asking (`engines.openai`).
"""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selflengthen.config import VllmSettings
from selflengthen.engines.base import Capabilities, Completion, Request, Watch
from selflengthen.engines.openai import OpenAIEngine
from selflengthen.engines.served import gpus, launch
from selflengthen.engines.served.replica import PortTaken, Replica, end_orphans
from selflengthen.errors import EngineError
from selflengthen.records import Adapter

DEATHS = 3
"""Times in a row that a server may die without having answered anything in between. A start that fails is one of them."""
AGAIN_SECONDS = 2.0
"""Before a server is started again that died once more: what it lacks (a GPU's memory, its port) may be given back late."""
PORT_TRIES = 5
HUNG_SECONDS = 3.0
"""A server that fell and after so long does not even say that it lives, though its process is there, hangs."""
BACK_SECONDS = 90.0
"""So does one that says it lives, and is not ready to answer after so long."""


class VllmEngine:
    """Answers with servers of its own."""

    def __init__(
        self,
        *,
        model: str,
        dtype: str = "auto",
        settings: VllmSettings,
        lora_rank: int,
        trainer_device: str = "auto",
        prefill: str = "auto",
        concurrency: int = 0,
        silence_seconds: float = 60.0,
        folder: Path | None = None,
        memory: Path | None = None,
        on_notice: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """`lora_rank`: the largest that will be loaded. `trainer_device`: where trainings run, as `model.device` has it; servers elsewhere go on.

        `folder`: for logs, and for the record of what was started; None: a temporary one, which stays only after an error. The rest is as for
        `OpenAIEngine`.
        """
        self._model, self._dtype, self._settings, self._lora_rank = model, dtype, settings, lora_rank
        self._trainer_device = trainer_device
        self._prefill, self._concurrency, self._silence = prefill, concurrency, silence_seconds
        self._folder, self._memory, self._on_notice = folder.absolute() if folder else None, memory, on_notice
        self._temporary = folder is None
        self._plan: gpus.Plan | None = None
        self._replicas: dict[str, Replica] = {}
        """By base URL."""
        self._engine: OpenAIEngine | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._mending: set[int] = set()
        """Process ids of servers that are watched for hanging."""
        self._asleep = False
        self._waking = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return self._opened().capabilities

    @property
    def pids(self) -> list[int]:
        """Of the servers that run now."""
        return [replica.pid for replica in self._replicas.values() if replica.pid is not None]

    # -- starting and stopping --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()
        if self._temporary and self._folder is not None and not (kind is not None and issubclass(kind, Exception)):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _open(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="selflengthen-"))
        for ended in await asyncio.to_thread(end_orphans, self._folder):
            self._on_notice(f"ended a server that an earlier start had left: {ended}")
        self._plan = plan = await asyncio.to_thread(self._groups)
        if plan.note:
            self._on_notice(plan.note)
        key = secrets.token_hex(16)
        await self._start_all(plan.groups, key)
        env = launch.environment(self._settings, group=plan.groups[0], key=key)
        self._engine = engine = OpenAIEngine(
            urls=list(self._replicas),
            model=self._model,
            served_name=launch.SERVED_NAME,
            prefill=self._prefill,
            api_key=env["VLLM_API_KEY"],
            concurrency=self._concurrency,
            silence_seconds=self._silence,
            wait_seconds=float("inf"),  # how long is decided here: a server is restarted, or given up
            memory=self._memory,
            own_servers=True,
            on_notice=self._on_notice,
            on_down=self._fell,
        )
        await engine.__aenter__()
        for url in self._replicas:
            self._spawn(self._watch(url))

    def _groups(self) -> gpus.Plan:
        return groups_of(self._model, self._settings)

    async def _start_all(self, groups: Sequence[tuple[str, ...]], key: str) -> None:
        """Start all servers side by side. One that does not come up ends it for all, at once: loading the others can take long."""
        starting = [asyncio.create_task(self._start(number, group, key)) for number, group in enumerate(groups)]
        try:
            await asyncio.gather(*starting)
        finally:
            for each in starting:
                each.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _start(self, number: int, group: tuple[str, ...], key: str) -> None:
        """Start a server, at another port when somebody was faster to take the first."""
        for attempt in range(PORT_TRIES):
            replica = self._replica(number, group, key)
            self._replicas[replica.url] = replica
            try:
                await replica.start()
            except PortTaken:
                del self._replicas[replica.url]
                if attempt == PORT_TRIES - 1:
                    raise
            else:
                return

    def _replica(self, number: int, group: tuple[str, ...], key: str) -> Replica:
        assert self._plan is not None
        assert self._folder is not None
        (port,) = launch.free_ports(1)
        while _url(port) in self._replicas:  # nobody's yet: of one that does not listen so far
            (port,) = launch.free_ports(1)
        return Replica(
            f"vllm-{number}",
            command=launch.command_line(
                self._settings,
                model=self._model,
                dtype=self._dtype,
                port=port,
                tensor_parallel=self._plan.tensor_parallel,
                on_gpu=bool(group),
                rank=self._lora_rank,
            ),
            env=launch.environment(self._settings, group=group, key=key),
            url=_url(port),
            log=self._folder / "logs" / f"vllm-{number}.log",
            on_progress=self._on_notice,
            start_seconds=self._settings.start_seconds,
            folder=self._folder,
        )

    async def _close(self) -> None:
        engine, self._engine = self._engine, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            if engine is not None:
                await engine.__aexit__(None, None, None)
        finally:
            ends = await asyncio.gather(*(replica.stop() for replica in self._replicas.values()), return_exceptions=True)
            self._replicas.clear()
            self._asleep = False
        for end in ends:
            if end is not None:
                raise end

    # -- watching ---------------------------------------------------------------------------------------------------------------------

    async def _watch(self, url: str) -> None:
        """Start a server again whenever it ends, until it ends too often."""
        replica, engine, deaths, answered = self._replicas[url], self._opened(), 0, -1
        fault: EngineError | None = None
        while True:
            if not engine.is_up(url):
                self._fell(url)  # of one that is not used yet nobody will tell that it hangs
            how = await replica.wait()
            completed = engine.completed(url)
            deaths = 1 if completed > answered else deaths + 1
            answered = completed
            engine.lose(url, f"{replica.name} {how}")
            if deaths > DEATHS:
                last = fault or replica.account(how)
                self._give_up(url, f"{replica.name} ended {deaths} times in a row without an answer. The last time: {last}")
                return
            self._on_notice(f"{replica.name} {how}; starting it again")
            await asyncio.sleep(AGAIN_SECONDS * (deaths - 1))
            fault = None
            try:
                await replica.restart()
            except EngineError as error:
                fault = error
                self._on_notice(str(error))

    def _give_up(self, url: str, why: str) -> None:
        """Go on without a server, or end when it was the last one."""
        del self._replicas[url]
        if self._replicas:
            self._opened().forget(url)
            self._on_notice(f"{why}; going on without it")
        else:
            self._opened().fail(EngineError(f"{why}. Nothing is lost; mend that and run again to go on"))

    def _fell(self, url: str, _why: str = "") -> None:
        """A server is not used, though its process may be there: see to it that it does not hang."""
        replica = self._replicas.get(url)
        if replica is not None and replica.pid is not None and replica.pid not in self._mending:
            self._mending.add(replica.pid)
            self._spawn(self._mend(url, replica, replica.pid))

    async def _mend(self, url: str, replica: Replica, pid: int) -> None:
        """End a server that does not answer though its process is there; `_watch` starts it again."""
        engine = self._opened()
        try:
            for pause in (HUNG_SECONDS, BACK_SECONDS):
                await asyncio.sleep(pause)
                hangs = pause == BACK_SECONDS or not await engine.is_healthy(url)
                if replica.pid != pid or engine.is_up(url):
                    return
                if hangs:
                    self._on_notice(f"{replica.name} hangs; ending it")
                    await replica.stop()
                    return
        finally:
            self._mending.discard(pid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception) and self._engine is not None:
            self._engine.fail(error)

    # -- answering --------------------------------------------------------------------------------------------------------------------

    async def generate(self, request: Request, watch: Watch | None = None) -> Completion:
        await self._wake()
        return await self._opened().generate(request, watch)

    async def load(self, adapter: Adapter) -> None:
        await self._wake()
        await self._opened().load(adapter)

    async def unload(self, name: str) -> None:
        await self._wake()
        await self._opened().unload(name)

    async def rest(self) -> bool:
        assert self._plan is not None
        if not in_the_way(self._plan, self._trainer_device):
            return True
        engine = self._opened()
        # One that is just being started would take its memory in the middle of the training.
        if not all(map(engine.is_up, self._replicas)) or await engine.post_to_all(launch.SLEEP_PATH):
            return False  # closing frees the memory, and takes the longer start
        self._asleep = True
        return True

    async def _wake(self) -> None:
        if not self._asleep:
            return
        async with self._waking:
            if self._asleep:
                engine = self._opened()
                for url in await engine.post_to_all(launch.WAKE_PATH):
                    engine.lose(url, "it does not wake up")
                    if replica := self._replicas.get(url):
                        await replica.stop()  # if it is not dead already; `_watch` starts it again, awake
                self._asleep = False

    def _opened(self) -> OpenAIEngine:
        if self._engine is None:
            raise EngineError("the engine is not open: use it as `async with`")
        return self._engine


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def groups_of(model: str, settings: VllmSettings) -> gpus.Plan:
    """Which GPUs each server gets. Raises EngineError when it cannot be done."""
    return gpus.plan_groups(
        gpus.visible_gpus(),
        gpus=settings.gpus,
        tensor_parallel=settings.tensor_parallel,
        replicas=settings.replicas,
        gpu_memory=settings.gpu_memory,
        weight_bytes=gpus.weight_bytes(model),
        heads=gpus.attention_heads(model),
    )


def in_the_way(plan: gpus.Plan, trainer_device: str) -> bool:
    """Whether a server holds the GPU that a training needs."""
    return trainers_gpu(trainer_device) in {gpu for group in plan.groups for gpu in group}


def trainers_gpu(device: str) -> str:
    """The GPU that `model.device` names to the trainer, as CUDA_VISIBLE_DEVICES names it; empty when there is none."""
    names = [gpu.name for gpu in gpus.visible_gpus()]
    number = int(device.partition(":")[2] or 0) if device.startswith("cuda") else 0
    if device == "cpu" or number >= len(names):
        return ""
    return names[number]
