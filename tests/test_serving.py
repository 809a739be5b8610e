"""The engine that serves a run: opened once, kept as long as it may be, with the adapters that are wanted; and whole runs whose servers die."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent / "engines"))

from asking import adapter_record, ask
from processes import gone, linux
from vllm_stage import Stage, playing

from selflengthen import cli, serving
from selflengthen.config import load_config, resolve_model
from selflengthen.engines.scripted import ScriptedEngine
from selflengthen.errors import EngineError
from selflengthen.pipeline import Pipeline, create
from selflengthen.serving import Serving, engine_for
from selflengthen.stages.events import Notice, RowWritten
from selflengthen.stages.ledger import Ledger
from selflengthen.store import RunDirectory

SCRIPTED = ("engine.kind=scripted", "train.kind=scripted")
stage = pytest.fixture(playing)


# -- one engine ---------------------------------------------------------------------------------------------------------------------------


class Notes(list[str]):
    """What was done with engines, and the ways in which they are odd."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: set[str] = set()


class Noting(ScriptedEngine):
    """A scripted engine that notes what is done with it."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self.notes, self.ways = notes, notes.ways

    @property
    def capabilities(self):
        return replace(super().capabilities, prefill="no prefill" not in self.ways, adapters="no adapters" not in self.ways)

    async def __aenter__(self):
        self.notes.append("open")
        if "fails" in self.ways:
            raise EngineError("it does not start")
        return await super().__aenter__()

    async def __aexit__(self, *how):
        self.notes.append("close")
        await super().__aexit__(*how)

    async def load(self, adapter):
        self.notes.append(f"+{adapter.name}")
        await super().load(adapter)

    async def unload(self, name):
        self.notes.append(f"-{name}")
        await super().unload(name)

    async def rest(self):
        self.notes.append("rest")
        return "rests" in self.ways


@pytest.fixture
def notes(monkeypatch) -> Notes:
    noted = Notes()
    monkeypatch.setattr(serving, "open_engine", lambda *_, **__: Noting(noted))
    return noted


def use(server: Serving, *names: str) -> None:
    """Work for which exactly these adapters are loaded."""

    async def work():
        async with server.engine([adapter_record(name, Path(name), "m") for name in names]) as engine:
            for name in (None, *names):
                await engine.generate(ask(adapter=name))
            with pytest.raises(EngineError, match="not loaded"):
                await engine.generate(ask(adapter="another"))

    server.run(work())


def test_one_engine_serves_all_stages(notes):
    with Serving(load_config(None, SCRIPTED)) as server:
        assert notes == [], "opened before anything is asked"
        use(server)
        use(server)
        assert notes == ["open"]
    assert notes == ["open", "close"]


def test_adapters_are_exchanged_and_none_is_loaded_twice(notes):
    with Serving(load_config(None, SCRIPTED)) as server:
        use(server, "generator-1", "extender-1")
        use(server, "extender-1", "generator-1")
        use(server, "generator-1", "generator-2")
        use(server)
    assert notes[:5] == ["open", "+generator-1", "+extender-1", "-extender-1", "+generator-2"]
    assert sorted(notes[5:7]) == ["-generator-1", "-generator-2"]
    assert notes[7:] == ["close"]


def test_it_is_closed_for_a_training_and_opened_anew(notes):
    with Serving(load_config(None, SCRIPTED)) as server:
        server.make_way()
        assert notes == [], "a training alone needs no engine"
        use(server, "generator-1")
        server.make_way()
        assert notes == ["open", "+generator-1", "rest", "close"]
        use(server, "generator-1", "generator-2")
    assert notes[4:] == ["open", "+generator-1", "+generator-2", "close"]


def test_one_that_can_rest_is_kept_with_its_adapters(notes):
    notes.ways.add("rests")
    with Serving(load_config(None, SCRIPTED)) as server:
        use(server, "generator-1")
        server.make_way()
        use(server, "generator-1", "generator-2")
    assert notes == ["open", "+generator-1", "rest", "+generator-2", "close"]


@pytest.mark.parametrize(
    ("lack", "names", "said"),
    [
        ("no prefill", (), "engine.kind = 'scripted' cannot go on with an answer that has begun, which the method needs"),
        ("no adapters", ("generator-1",), "engine.kind = 'scripted' takes no adapters, which the method needs after its first training"),
    ],
)
def test_an_engine_that_lacks_what_the_method_needs_is_refused(notes, lack, names, said):
    notes.ways.add(lack)
    with pytest.raises(EngineError) as caught, Serving(load_config(None, SCRIPTED)) as server:
        use(server, *names)
    assert str(caught.value) == said
    assert notes == ["open", "close"]


def test_without_adapters_an_engine_may_lack_them(notes):
    notes.ways.add("no adapters")
    with Serving(load_config(None, SCRIPTED)) as server:
        use(server)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_it_is_closed_on_any_error(notes, error):
    async def work():
        async with server.engine([]):
            raise error

    with pytest.raises(type(error)), Serving(load_config(None, SCRIPTED)) as server:
        server.run(work())
    assert notes == ["open", "close"]


def test_an_engine_that_does_not_start_leaves_nothing(notes):
    notes.ways.add("fails")
    with Serving(load_config(None, SCRIPTED)) as server:
        for _ in range(2):
            with pytest.raises(EngineError, match="does not start"):
                use(server)
    assert notes == ["open", "open"], "what cleans up after itself is not closed again"


# -- settings -----------------------------------------------------------------------------------------------------------------------------

GIVEN = {
    "scripted": (
        [*SCRIPTED, "engine.script=scripts:loops", "engine.delay_seconds=0.5", "engine.max_batch=7"],
        {"script": "scripts:loops", "delay_seconds": 0.5, "concurrency": 7},
    ),
    "transformers": (
        ["model.device=cuda:1", "model.dtype=float16", "engine.max_batch=7", "engine.threads=3"],
        {"device": "cuda:1", "dtype": "float16", "max_batch": 7, "threads": 3},
    ),
    "openai": (
        [
            'engine.urls=["http://a:1/v1"]', "engine.served_name=big", "engine.prefill=chat", "engine.api_key_env=KEY", "engine.context_tokens=9",
            "engine.concurrency=7", "engine.silence_seconds=5", "engine.wait_seconds=6",
        ],
        {
            "urls": ("http://a:1/v1",), "served_name": "big", "prefill": "chat", "api_key_env": "KEY", "context_tokens": 9,
            "concurrency": 7, "silence_seconds": 5, "wait_seconds": 6,
        },
    ),
    "vllm": (
        [
            "model.device=cuda:1", "model.dtype=float16", "train.rank=12", "engine.prefill=chat", "engine.concurrency=7", "engine.silence_seconds=5",
            "engine.vllm.replicas=3",
        ],
        {"trainer_device": "cuda:1", "dtype": "float16", "lora_rank": 12, "prefill": "chat", "concurrency": 7, "silence_seconds": 5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GIVEN)
def test_the_engine_gets_the_settings(kind, tmp_path, monkeypatch):
    really, given = serving.open_engine, {}
    script = lambda *_: None  # noqa: E731
    monkeypatch.setattr("selflengthen.engines.scripted.load_script", lambda _name: script)

    def opened(named, **settings):
        assert named == kind
        given.update(settings)
        return really(named, **settings)

    monkeypatch.setattr(serving, "open_engine", opened)
    overrides, wanted = GIVEN[kind]
    config = load_config(None, [*([] if kind == "scripted" else [f"engine.kind={kind}"]), *overrides])
    engine_for(config, tmp_path, print)
    if kind != "scripted":
        wanted = wanted | {"model": resolve_model("seedling")}
    if kind in {"openai", "vllm"}:
        wanted = wanted | {"memory": tmp_path / "server.json", "on_notice": print}
    if kind == "vllm":
        wanted = wanted | {"settings": config.engine.vllm, "folder": tmp_path}
    assert given == wanted
    given.clear()
    engine_for(config)
    assert given.get("memory") is None
    assert given.get("folder") is None
    assert list(tmp_path.iterdir()) == [], "an engine that is not entered makes nothing"


# -- whole runs over servers that die -----------------------------------------------------------------------------------------------------

SMALL = [
    'languages=["en"]',
    "iterations=1",
    "sampling.max_tokens=4000",
    "instruct.count=6",
    "instruct.wave=3",
    "respond.window=4",
    "respond.tries=6",
    "extend.tries=6",
    "measure.count=4",
]
WRITER = {"script": "selflengthen.engines.pretend:pretend", "quirks": {"tokens_per_event": 8}}
TEXTS = ("instruct", "respond", "extend")


def overrides(stage: Stage, **fields) -> list[str]:
    told = stage.settings(**fields)
    return [
        *SMALL,
        f"model.path={stage.model}",
        "engine.kind=vllm",
        "engine.prefill=chat",
        f"engine.vllm.command={json.dumps(told.command)}",
        f'engine.vllm.env={{PLAY = "{stage.play}"}}',
        *(f"engine.vllm.{name}={value}" for name, value in fields.items()),
    ]


def check(run: Path) -> None:
    """A run up to its extensions: whole, nothing twice, nothing rejected for what happened to a server."""
    ledger = Ledger(RunDirectory.open(run, readonly=True))
    for name in TEXTS:
        slot = ledger.slot(1, name)
        assert slot.done
        rejected = Counter(row.reason for row in slot.rejected)
        assert "refused" not in rejected
        assert len(slot.kept), rejected
        for file in (run / "iter_01").glob("*.jsonl"):
            keys = [json.loads(line)["key"] for line in file.read_text().splitlines()]
            assert len(keys) == len(set(keys)), file
        assert not set(slot.kept.keys) & set(slot.rejected.keys)
    assert len(ledger.slot(1, "instruct").kept) == 6


@linux
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_run_goes_on_when_a_server_is_killed(stage, tmp_path, replicas):
    stage.plays(**WRITER)
    run = create(tmp_path / "made", load_config(None, overrides(stage, replicas=replicas)))
    killed, keys, notices = [], [], []

    def observe(event):
        if isinstance(event, Notice):
            notices.append(event.text)
        if isinstance(event, RowWritten) and event.iteration == 1:
            keys.append((event.stage, event.key))
            if event.stage not in {name for name, _ in killed} and (alive := stage.alive):
                killed.append((event.stage, alive[0]))
                os.kill(alive[0], signal.SIGKILL)

    Pipeline(run, observe).run(until="extend")
    check(run.path)
    assert len(killed) >= 2
    assert len(keys) == len(set(keys)), "a row was written twice"
    assert any("was killed by signal 9" in text and text.endswith("starting it again") for text in notices)
    assert len(stage.starts) > replicas
    assert stage.alive == []


@linux
def test_a_run_whose_driver_is_killed_goes_on_without_its_servers(stage, tmp_path):
    stage.plays(**WRITER)
    run = tmp_path / "made"
    create(run, load_config(None, overrides(stage)))
    driver = subprocess.Popen([sys.executable, "-m", "selflengthen", "run", str(run)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    responses = run / "iter_01" / "responses.jsonl"
    while not (responses.exists() and responses.stat().st_size):
        assert driver.poll() is None
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    (group,) = [each["pid"] for each in json.loads((run / "servers.json").read_text())["servers"]]
    os.kill(group, signal.SIGSTOP)  # the server's keeper, which would end it: what it cannot do the next start does
    driver.kill()
    driver.wait()
    (orphan,) = stage.alive
    events = []
    Pipeline(RunDirectory.open(run), events.append).run(until="extend")
    assert gone(group)
    assert len(stage.starts) == 2
    assert stage.starts[0] == orphan
    assert stage.alive == []
    assert [event for event in events if isinstance(event, Notice) and "an earlier start had left" in event.text]
    check(run)


@linux
def test_a_server_that_does_not_start_ends_the_command_with_one_message(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stage.plays(dies=0)
    words = [word for override in overrides(stage) for word in ("-o", override)]
    result = CliRunner().invoke(cli.app, ["run", str(tmp_path / "made"), "--until", "extend", *words], prog_name="selflengthen")
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 1
    assert "error: vllm-0 stopped with exit code 1; it said last:" in result.stderr
    assert "this GPU has fallen off the bus" in result.stderr
    assert "Traceback" not in result.stderr
    assert stage.alive == []


@linux
def test_write_starts_a_server_for_the_adapter_and_leaves_nothing(stage, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    adapter = stage.adapter("generator-3").path
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(stage.model), "r": 100}))
    command = ["sh", "-c", 'echo "$@" > "$PLAY/words"; exec "$0" "$@"', *stage.settings().command]
    settings = ["engine.kind=vllm", "engine.prefill=chat", f"engine.vllm.command={json.dumps(command)}", f'engine.vllm.env={{PLAY = "{stage.play}"}}']
    words = [word for override in settings for word in ("-o", override)]
    result = CliRunner().invoke(cli.app, ["write", "Count to 5", "--seed", "3", "--adapter", str(adapter), *words], prog_name="selflengthen")
    assert result.exit_code == 0, result.output
    assert result.stdout == " ".join(f"3/generator-3/{n}" for n in range(5)) + "\n"
    assert "vllm-0: ready after" in result.stderr
    assert "--max-lora-rank 128" in (stage.play / "words").read_text(), "a server has room for adapters of train.rank, not of this one"
    assert stage.alive == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(("weights", "said"), [(False, True), (True, False)])
def test_weights_that_only_the_servers_have_are_asked_for_before_hours_of_writing(tmp_path, weights, said):
    model, notices = tmp_path / "model", []
    model.mkdir()
    (model / "config.json").write_text("{}")
    if weights:
        (model / "model.safetensors").touch()
    config = load_config(None, ["engine.kind=openai", 'engine.urls=["http://127.0.0.1:9/v1"]', f"model.path={model}"])
    pipeline = Pipeline(create(tmp_path / "run", config), notices.append)
    with pytest.raises(EngineError, match="no server answers"):
        pipeline.run()
    assert any("hf download" in event.text for event in notices if isinstance(event, Notice)) is said


def test_a_server_that_an_earlier_start_left_is_ended_whatever_the_run_owes(tmp_path, monkeypatch):
    """A training needs the memory it holds, and opens no engine."""
    looked, notices = [], []
    monkeypatch.setattr(serving, "end_orphans", lambda folder: looked.append(folder) or ["vllm-0 was still running"])
    with Serving(load_config(None, SCRIPTED), tmp_path, notices.append):
        pass
    assert looked == [tmp_path]
    assert notices == ["ended a server that an earlier start had left: vllm-0 was still running"]
