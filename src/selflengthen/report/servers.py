"""What `plan` says of servers: which a run would start (`engine.kind = "vllm"`), and what those can do that run already (`"openai"`).

Nothing is started. Servers that run are opened and asked by the engine itself, so that what is told here is what a run would find. What does not
live here: the asking (`engines`).
"""

import asyncio
import os
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from selflengthen.config import Config, resolve_model
from selflengthen.engines.openai import OpenAIEngine
from selflengthen.engines.served import gpus, launch
from selflengthen.engines.served.known import Known
from selflengthen.engines.served.wire import Mode
from selflengthen.engines.vllm import groups_of, in_the_way, trainers_gpu
from selflengthen.errors import EngineError
from selflengthen.report.where import UP_TO_DATA, Where, gigabytes
from selflengthen.serving import engine_for

DECODING = ("top_k", "repetition_penalty", "seed")
"""What the method asks for beyond the protocol."""

# -- servers that a run starts ---------------------------------------------------------------------------------------------------------


def look_at_vllm(config: Config, found: Where) -> None:
    """What starts the servers, where each runs, and what becomes of them while a training runs."""
    settings, model = config.engine.vllm, resolve_model(config.model.path)
    found.say("engine", f"vllm: servers that the run starts and ends; {_at_once(config)}")
    startable = _command(config, found)
    try:
        plan = groups_of(model, settings)
    except EngineError as error:
        found.refuse("servers", str(error))
        return
    if startable:
        try:
            launch.command_line(
                settings,
                model=model,
                dtype=config.model.dtype,
                port=0,
                tensor_parallel=plan.tensor_parallel,
                on_gpu=bool(plan.groups[0]),
                rank=config.train.rank,
            )
        except EngineError as error:
            found.refuse("", str(error))
    _groups(plan, config, found)
    asked = _asked_context(settings.args)
    found.context_tokens = gpus.context_tokens(model) if asked is None else asked
    if found.context_tokens:
        found.say("context", f"{found.context_tokens:,} tokens ({'the model' if asked is None else '--max-model-len'})")


def _command(config: Config, found: Where) -> bool:
    """Say what starts a server; whether there is such a thing."""
    settings = config.engine.vllm
    try:
        command = launch.server_command(settings)
    except EngineError as error:
        found.refuse("command", str(error))
        return False
    if shutil.which(command[0], path={**os.environ, **settings.env}.get("PATH")) is None:
        found.refuse(
            "command", f"engine.vllm.command begins with {command[0]!r}, which is no program here: correct it, or drop it to have vLLM looked for"
        )
        return False
    origin = (
        "engine.vllm.command"
        if settings.command
        else "found on the PATH"
        if command[-1] == "serve" and len(command) == 2
        else "vLLM of this environment"
    )
    found.say("command", f"{shlex.join(command)} ({origin})")
    if settings.args:
        found.say("", f"with {shlex.join(settings.args)}")
    return True


def _groups(plan: gpus.Plan, config: Config, found: Where) -> None:
    model = resolve_model(config.model.path)
    weights, memory = gpus.weight_bytes(model), {gpu.name: gpu.memory_bytes for gpu in gpus.visible_gpus()}
    count, size, first = len(plan.groups), plan.tensor_parallel, plan.groups[0]
    servers = "1 server" if count == 1 else f"{count} servers"
    if not first:
        found.say("servers", f"{servers} on the CPU, {_dtype(config, on_gpu=False)}")
        found.warn("", "no GPU is visible (nvidia-smi, CUDA_VISIBLE_DEVICES): that needs a vLLM built for CPUs, and is slow")
    else:
        if size > 1:
            where = f"{servers} of {size} GPUs (tensor parallel): {' and '.join('+'.join(group) for group in plan.groups)}"
        else:
            where = f"{servers}, one on each GPU: {', '.join(name for (name,) in plan.groups)}" if count > 1 else f"1 server on GPU {first[0]}"
        found.say("servers", f"{where}; {_dtype(config, on_gpu=True)}")
        may = f", of {gigabytes(size * config.engine.vllm.gpu_memory * least)} that a server may take" if (least := memory[first[0]]) else ""
        found.say("weights", f"{gigabytes(weights)}{may}" if weights else f"not known, since they are not here: hf download {shlex.quote(model)}")
    if plan.note:
        found.warn("", plan.note)
    _while_training(plan, config, found, weights)


def _while_training(plan: gpus.Plan, config: Config, found: Where, weights: int | None) -> None:
    """What becomes of the servers."""
    if config.train.kind != "lora":
        return
    if not in_the_way(plan, config.model.device):
        gpu = trainers_gpu(config.model.device)
        found.say(
            "training", f"on {f'GPU {gpu}' if gpu else 'the CPU'}, which no server has: the servers stay" if plan.groups[0] else "the servers stay"
        )
        return
    found.say("training", f"on GPU {trainers_gpu(config.model.device)}: the servers sleep meanwhile, their weights in the machine's memory")
    if weights:
        need, there = len(plan.groups) * weights, _memory_bytes()
        if need > 0.9 * there:
            found.warn(
                "",
                f"that takes {gigabytes(need)} of memory, and the machine has {gigabytes(there)}: have fewer servers (engine.vllm.replicas), or "
                "keep one GPU for the training alone (engine.vllm.gpus, model.device)",
            )


def _memory_bytes() -> int:
    """Of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _dtype(config: Config, *, on_gpu: bool) -> str:
    return ("bfloat16" if on_gpu else "float32") if config.model.dtype == "auto" else config.model.dtype


def _asked_context(args: tuple[str, ...]) -> int | None:
    """What --max-model-len asks for, which also takes 32k (thousands) and 32K (of 1,024)."""
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name.startswith("--") and name.replace("_", "-") == "--max-model-len":
            value = value if equals else args[place + 1] if place + 1 < len(args) else ""
            unit = {"k": 1000, "K": 1024}.get(value[-1:], 1)
            number = value[:-1] if unit > 1 else value
            return int(number) * unit if number.isdigit() else None
    return None


def _at_once(config: Config) -> str:
    most = config.engine.concurrency
    return f"at most {most} requests at once each" if most else "how many requests run at once is found out"


# -- servers that run already ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Answer:
    """What came of asking."""

    known: Known | None = None
    adapters: bool = False
    down: dict[str, str] = field(default_factory=dict)
    """Base URL and reason."""
    notices: list[str] = field(default_factory=list)
    fault: str = ""


def look_at_openai(config: Config, folder: Path | None, found: Where) -> None:
    """Ask the servers, and say what was found."""
    urls = list(config.engine.urls)
    key = config.engine.api_key_env
    found.say("engine", f"openai: servers that run already; {_at_once(config)}")
    answer = asyncio.run(_ask(config, folder, urls))
    if not answer.fault:
        for number, url in enumerate(urls):
            (found.warn if url in answer.down else found.say)("" if number else "servers", answer.down.get(url) or f"{url} answers")
    else:
        found.say("servers", ", ".join(urls))
        found.refuse("", answer.fault)
    found.say("key", f"{key} is set" if os.environ.get(key, "").strip() else f"{key or 'engine.api_key_env'} is not set: asked without a key")
    for notice in answer.notices:
        found.warn("", notice)
    if answer.known is not None:
        _abilities(answer.known, found, folder, adapters=answer.adapters)
    model = resolve_model(config.model.path)
    if config.train.kind == "lora" and not gpus.has_weights(model):
        found.warn("", f"the weights of model.path are not here, and trainings need them: hf download {shlex.quote(model)}")


async def _ask(config: Config, folder: Path | None, urls: list[str]) -> _Answer:
    answer = _Answer()
    # A run that has begun remembers which model answered. Only a run may write that down: without the file, nothing is remembered.
    remembered = folder if folder is not None and (folder / "server.json").exists() else None
    engine = engine_for(config, remembered, answer.notices.append)
    assert isinstance(engine, OpenAIEngine)
    try:
        async with engine:
            answer.known, answer.adapters = engine.known, engine.capabilities.adapters
            for url in urls:
                if not engine.is_up(url):
                    answer.down[url] = next((said for said in answer.notices if said.startswith(url)), f"{url} does not answer")
    except EngineError as error:
        answer.fault = str(error)
    told = {*answer.down.values(), *(answer.known.abilities.notes if answer.known else ())}
    answer.notices = [said for said in answer.notices if said not in told]
    return answer


def _abilities(known: Known, found: Where, folder: Path | None, *, adapters: bool) -> None:
    found.context_tokens = known.context_tokens
    found.say("model there", f"{known.card.name}; context {known.context_tokens:,} tokens")
    how = "the prompt is rendered here (completions)" if known.mode is Mode.COMPLETIONS else "continue_final_message (chat)"
    found.say("", f"goes on with an answer that has begun: {how}")
    taken = [name for name in DECODING if name in known.abilities.extras and (name != "seed" or known.abilities.seed)]
    if taken:
        found.say("", f"takes {', '.join(taken)}")
    for note in known.abilities.notes:
        found.warn("", note)
    if adapters:
        place = f"{folder.absolute()}/iter_*/adapters" if folder else "the adapters in the run's folder"
        found.say("", f"loads adapters while it runs; it must be able to read {place} at the same path")
    else:
        found.warn(
            "",
            "loads no adapters while it runs, so the run ends after its first training. vLLM loads them with --enable-lora and "
            f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True. What works as it is: the training data of iteration 1, {UP_TO_DATA}",
        )
