"""The command line as a person meets it: what is printed where, and how it ends."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selflengthen import __version__, cli
from selflengthen.engines import Request

DEMO = """
iterations = 1
engine.kind = "scripted"
train.kind = "scripted"
instruct.count = 4
measure = {count = 8, min_pass_rate = 0, min_diversity = 0}
"""
SCRIPTED = ("-o", "engine.kind=scripted", "-o", "train.kind=scripted")


@pytest.fixture(autouse=True)
def _demo_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "demo.toml").write_text(DEMO)
    monkeypatch.setattr(cli, "DEMO", tmp_path / "demo.toml")
    monkeypatch.setenv("COLUMNS", "200")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], prog_name="selflengthen")


def fine(*arguments: object) -> Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result


def refused(*arguments: object) -> str:
    """The one message of a command that a person can mend."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output + str(result.exception)
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def scripted_run(path: Path, *more: str) -> Path:
    fine("init", path, "-c", cli.DEMO, *more)
    return path


# -- help ------------------------------------------------------------------------------------------------------------------------------


def test_help_is_there_at_once_and_without_torch():
    code = (
        "import sys, time; start = time.perf_counter(); sys.argv = ['selflengthen', '--help']\n"
        "import selflengthen.cli\n"
        "try: selflengthen.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "took = time.perf_counter() - start\n"
        "print(took, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    found = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert "write" in found[0].stdout
    assert "completion" not in found[0].stdout
    assert not {"torch", "transformers", "numpy", "peft", "trl", "pydantic", "asyncio"} & set(found[0].stderr.split())
    assert min(float(each.stderr.split()[0]) for each in found) < 0.5  # the best of three: the machine may be busy


def test_alone_it_prints_the_help():
    result = fine()
    assert "Usage: selflengthen" in result.output
    for command in ("demo", "init", "plan", "run", "stage", "status", "why", "write"):
        assert re.search(rf"│ {command} ", result.output)


@pytest.mark.parametrize("command", ["demo", "init", "plan", "run", "stage", "status", "why", "write"])
def test_each_command_has_help(command: str):
    assert f"Usage: selflengthen {command}" in fine(command, "--help").output


def test_version_and_module():
    assert fine("--version").stdout == f"selflengthen {__version__}\n"
    done = subprocess.run([sys.executable, "-m", "selflengthen", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"selflengthen {__version__}\n"


def test_a_mistyped_command_is_refused():
    result = call("statsu")
    assert result.exit_code == 2
    assert "Did you mean 'status'" in result.output


# -- the whole way -----------------------------------------------------------------------------------------------------------------------


def test_demo_shows_growth_and_where_to_look_next(tmp_path: Path):
    run = tmp_path / "a demo"
    result = fine("demo", run)
    assert re.search(r"^base +en ", result.stdout, re.MULTILINE)
    assert re.search(r"^1 +en .* x\d\.\d\d ", result.stdout, re.MULTILINE)
    assert "iteration 1 respond: " in result.stderr
    assert "\x1b" not in result.output
    commands = [shlex.split(line, comments=True) for line in result.stdout.splitlines() if line.startswith("  selflengthen ")]
    assert [command[1] for command in commands] == ["status", "why", "write"]
    for command in commands:  # each can be copied and works
        fine(*command[1:], *(SCRIPTED if command[1] == "write" else ()))
    again = fine("demo", run)
    assert again.stdout == result.stdout
    assert "respond" not in again.stderr  # nothing was owed


def test_demo_fresh_puts_the_old_run_aside(tmp_path: Path):
    for _ in range(3):
        fine("demo", tmp_path / "demo", "--fresh", "-o", "instruct.count=2")
    assert sorted(path.name for path in tmp_path.glob("demo*/")) == ["demo", "demo.old-1", "demo.old-2"]
    assert json.loads(fine("status", tmp_path / "demo.old-2", "--json").stdout)["state"] == "finished"


def test_run_stage_by_stage(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    assert f"selflengthen run {run}" in fine("run", run, "--until", "respond").stdout

    def iteration() -> dict:
        return json.loads(fine("status", run, "--json").stdout)["iterations"][0]

    assert (iteration()["stage"], iteration()["slots"]["extensions"]["kept"]) == ("extend", 0)
    fine("stage", run, "train", "--iteration", "1")
    assert iteration()["stage"] == "measure"
    fine("run", run)
    assert iteration()["stage"] is None
    fine("stage", run, "sft_data", "-n", "1", "--redo")
    assert iteration()["stage"] == "train"
    fine("run", run)
    assert Path(iteration()["adapters"]["generator"]).name == "generator-1.1"  # a name is used once


def test_run_makes_a_directory_that_is_not_there(tmp_path: Path):
    fine("run", tmp_path / "new", "-c", cli.DEMO, "-o", "instruct.count=2")
    assert json.loads(fine("status", tmp_path / "new", "--json").stdout)["iterations"][0]["slots"]["instructions"]["planned"] == 2


def test_free_settings_may_change_others_may_not(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    fine("run", run, "-o", "engine.max_batch=3")
    assert json.loads((run / "config.json").read_text())["engine"]["max_batch"] == 3
    assert "sampling.temperature: 0.7 -> 1.0" in refused("run", run, "-o", "sampling.temperature=1.0")


def test_plan(tmp_path: Path):
    assert "instruct.count = 7" in fine("plan", "-o", "instruct.count=7").stdout
    run = scripted_run(tmp_path / "run")
    assert "scripted: empty adapters" in fine("plan", run).stdout
    assert "`run` will refuse this" in fine("plan", run, "-o", "seed=9").stdout
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "run.json"]  # nothing was begun


# -- what can go wrong -------------------------------------------------------------------------------------------------------------------


def test_bad_input_is_told_in_one_message(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    assert "no config.json" in refused("run", tmp_path / "none")
    assert "no config.json" in refused("status", tmp_path / "none")
    assert "not empty" in refused("init", run)
    assert "unknown key 'instruct.cuont'" in refused("init", tmp_path / "new", "-o", "instruct.cuont=3")
    assert "no such settings file" in refused("plan", "-c", tmp_path / "none.toml")
    assert "no stage 'wash'" in refused("run", run, "--until", "wash")
    assert "no stage 'wash'" in refused("run", tmp_path / "new", "-o", "seed=3", "--until", "wash")
    assert "no iteration 7" in refused("stage", run, "measure", "--iteration", 7)
    assert "no row '1-en-0000'" in refused("why", run, "1-en-0000")
    assert not (tmp_path / "new").exists()


def test_files_and_folders_that_cannot_be_used_are_told(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    assert f"{'n' * 300}/config.json" in refused("run", tmp_path / ("n" * 300))
    (run / "iter_01").touch()
    (run / "iter_00").mkdir()
    (run / "iter_00" / "instructions.jsonl").mkdir()
    assert "instructions.jsonl: Is a directory. Mend that" in refused("run", run)
    (tmp_path / "own.jsonl").write_text("junk")
    assert "own.jsonl:1: not valid JSON" in refused("plan", *SCRIPTED, "-o", f"instruct.file={tmp_path / 'own.jsonl'}")


def test_an_event_log_that_is_none_stops_no_status(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    (run / "events.jsonl").mkdir()
    fine("status", run)


def test_what_a_terminal_cannot_show_is_spelled_out(tmp_path: Path):
    run = scripted_run(tmp_path / "run", "-o", "model.path=模型")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "selflengthen", "status", run], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"model \u6a21\u578b" in done.stdout


@pytest.mark.parametrize("columns", ["0", "00", "wide", ""])
def test_a_width_that_is_none_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str):
    run = scripted_run(tmp_path / "run")
    monkeypatch.setenv("COLUMNS", columns)
    assert "nothing has been done yet" in fine("status", run).stdout


def test_a_message_does_not_act_in_the_terminal(tmp_path: Path):
    assert r"\x1b[2J[red]" in refused("status", tmp_path / "\x1b[2J[red]")


def test_a_run_in_use_is_refused_but_can_be_looked_at(tmp_path: Path):
    from selflengthen.store import RunDirectory

    run = scripted_run(tmp_path / "run")
    with RunDirectory.open(run).locked():
        assert f"in use by another process (pid {os.getpid()}" in refused("run", run)
        assert "in use" in refused("demo", run, "--fresh")
        assert json.loads(fine("status", run, "--json").stdout)["state"] == "running"


@pytest.mark.parametrize("polite", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, polite: signal.Signals):
    run = scripted_run(tmp_path / "run", "-o", "engine.delay_seconds=0.02")
    process = subprocess.Popen([sys.executable, "-m", "selflengthen", "run", run], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(400):
        if (run / "iter_01" / "responses.jsonl").exists():
            break
        time.sleep(0.05)
    process.send_signal(polite)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == f"stopped; nothing that is done is lost. Go on with: selflengthen run {run}"
    assert "Traceback" not in stderr
    assert json.loads(fine("status", run, "--json").stdout)["state"] == "stopped"
    fine("run", run, "-o", "engine.delay_seconds=0")
    assert json.loads(fine("status", run, "--json").stdout)["state"] == "finished"


def test_sigterm_ends_a_run_that_ignores_ctrl_c(tmp_path: Path):
    run = scripted_run(tmp_path / "run", "-o", "engine.delay_seconds=0.05")
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from selflengthen import cli; cli.main()"  # as in a script's background
    process = subprocess.Popen([sys.executable, "-c", code, "run", run], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (run / "iter_00").exists():
            time.sleep(0.05)
            assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def broken(_request: Request) -> str:
    return str(1 // 0)


def test_a_bug_keeps_its_traceback(tmp_path: Path):
    run = scripted_run(tmp_path / "run", "-o", "engine.script=test_cli:broken")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-m", "selflengthen", "run", run], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


def test_a_closed_pipe_is_no_bug(tmp_path: Path):
    run = scripted_run(tmp_path / "run")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "selflengthen", "status", run], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert "Traceback" not in done.stderr


# -- write -------------------------------------------------------------------------------------------------------------------------------


def test_write_prints_the_text_alone_and_its_length_beside():
    result = fine("write", "Tell me about the sea.", "--seed", "3", *SCRIPTED)
    found = re.fullmatch(r"([\d,]+) words, ([\d,]+) tokens; seed 3\n", result.stderr)
    assert found
    assert int(found[1]) == len(result.stdout.split())
    assert fine("write", "Tell me about the sea.", "--seed", "3", *SCRIPTED).stdout == result.stdout
    assert fine("write", "Tell me about the sea.", "--seed", "4", *SCRIPTED).stdout != result.stdout


def test_write_says_when_it_was_cut():
    result = fine("write", "Tell me about the sea.", "--max-tokens", "10", *SCRIPTED)
    assert re.search(r"10 tokens, cut at its limit; seed \d+$", result.stderr)


def acting(_request: Request) -> str:
    return "before \x1b[31mred\x1b]0;title\x07 [bold]after[/bold]"


def test_write_lets_nothing_act_in_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    result = fine("write", "Act.", *SCRIPTED, "-o", "engine.script=test_cli:acting")
    assert result.stdout == "before \\x1b[31mred\\x1b]0;title\\x07 [bold]after[/bold]\n"


def test_write_refuses_what_cannot_be(tmp_path: Path):
    assert "no adapter there" in refused("write", "x", "--adapter", tmp_path, *SCRIPTED)
    assert "--top-p 7" in refused("write", "x", "--top-p", "7", *SCRIPTED)
    (tmp_path / "adapter_config.json").write_text("{")
    assert "cannot be read" in refused("write", "x", "--adapter", tmp_path, *SCRIPTED)
    (tmp_path / "adapter_config.json").write_text("[]")
    assert "unknown key 'x'" in refused("write", "x", "--adapter", tmp_path, *SCRIPTED, "-o", "x=1")
    assert "instruction is empty" in refused("write", " \n", *SCRIPTED)
    assert "not UTF-8" in refused("write", "\udcff", *SCRIPTED)


def test_write_takes_settings_and_options_over_them():
    few = ("-o", "sampling.max_tokens=10", *SCRIPTED)
    assert "10 tokens, cut at its limit" in fine("write", "Tell me about the sea.", *few).stderr
    assert "12 tokens, cut at its limit" in fine("write", "Tell me about the sea.", "--max-tokens", "12", *few).stderr
