"""Fingers: the commands. Each body says what is done with what; how is said below (`pipeline`) and how it looks beside (`report`).

Everything heavier than Typer is imported by the command that needs it, so that `--help` is there at once. Exit codes: 0 fine, 2 something a
person can mend, 130 stopped by Ctrl-C or SIGTERM, 1 a bug, with its traceback.
"""

import errno
import io
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from selflengthen import __version__
from selflengthen.errors import ConfigError, EngineError, SelfLengthenError, StoreError

if TYPE_CHECKING:
    from selflengthen.config import Config
    from selflengthen.engines import Completion
    from selflengthen.pipeline import Pipeline
    from selflengthen.records import Sampling

DEMO = Path(__file__).with_name("demo.toml")


class Commands(TyperGroup):
    """All commands. What a person can mend is told in one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SelfLengthenError as error:
            from selflengthen.report.screen import printable

            typer.echo(f"error: {printable(str(error))}", err=True)
            raise typer.Exit(2) from None
        except OSError as error:
            if error.filename is None and error.errno not in {errno.ENOSPC, errno.EDQUOT}:  # no file of anybody's: a closed pipe, or a bug
                raise
            from selflengthen.report.screen import printable

            what = f"{error.filename or 'the disk of the run'}: {error.strerror}. Mend that file or folder and try again; what is done is not lost"
            typer.echo(f"error: {printable(what)}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Examples:\n\nselflengthen demo\n\nselflengthen init runs/mine -o model.path=Qwen/Qwen2.5-0.5B-Instruct -o instruct.count=200\n\n"
    "selflengthen run runs/mine\n\nselflengthen status runs/mine",
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The run directory.")]
SettingsFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings in TOML.")]
Overrides = Annotated[list[str] | None, typer.Option("--override", "-o", metavar="A.B=C", help="One setting; may be given many times.")]


def main() -> None:
    """The command `selflengthen`."""
    # A polite request to end is a Ctrl-C: the same line, the same exit code.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # ignored in a shell script's background: SIGTERM must end it there all the same
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another encoding gets \\u4e2d for what it cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="selflengthen")


def _version(wanted: bool) -> None:  # noqa: FBT001  # Typer's shape
    if wanted:
        typer.echo(f"selflengthen {__version__}")
        raise typer.Exit


@app.callback()
def selflengthen(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version.")] = False,  # noqa: ARG001, FBT002
) -> None:
    """Make a language model write several times longer texts, with nothing but the model itself."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), nl=False)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the run goes.")] = Path("runs/demo"),
    fresh: Annotated[bool, typer.Option("--fresh", metavar="", help="Begin anew; a run that is there is put aside, not deleted.")] = False,  # noqa: FBT002
    override: Overrides = None,
) -> None:
    """Run three iterations on the small model in the package; goes on if stopped."""
    if fresh:
        _put_aside(directory)
    if not (directory / "config.json").exists():
        _create(directory, DEMO, override or [])
        override = None
    _work(directory, None, override, lambda pipeline: pipeline.run())


@app.command()
def init(directory: Directory, config: SettingsFile = None, override: Overrides = None) -> None:
    """Make a run directory and check its settings; runs nothing."""
    _create(directory, config, override or [])
    where = shlex.quote(str(directory))
    typer.echo(f"{directory} is ready. What it will do: selflengthen plan {where}\nBegin: selflengthen run {where}")


@app.command()
def plan(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A run directory; without one, the settings alone are looked at.")] = None,
    config: SettingsFile = None,
    override: Overrides = None,
) -> None:
    """Show settings, what runs where, calls and tokens; begins nothing."""
    from selflengthen.config import load_config, with_overrides
    from selflengthen.pipeline import check_own_instructions, load_recipes
    from selflengthen.report.plan import show_plan
    from selflengthen.stages.ledger import Ledger
    from selflengthen.store import RunDirectory

    ledger = Ledger(RunDirectory.open(directory, readonly=True)) if directory else None
    settings = with_overrides(ledger.run.config, override or [], config) if ledger else load_config(config, override or [])
    load_recipes(settings)  # for its complaints
    check_own_instructions(settings)
    show_plan(settings, ledger)


@app.command(epilog="Run again to go on after a stop: nothing is done twice. A DIR that is not there yet is made from -c and -o.")
def run(
    directory: Directory,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage of the iteration that is under way.")] = None,
    config: SettingsFile = None,
    override: Overrides = None,
) -> None:
    """Do all that a run still owes: begin it, or go on."""
    from selflengthen.pipeline import known_stage

    if until is not None:
        known_stage(until)
    if not (directory / "config.json").exists() and (config or override):
        _create(directory, config, override or [])
        config = override = None
    _work(directory, config, override, lambda pipeline: pipeline.run(until))


@app.command()
def stage(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="instruct, respond, extend, sft_data, train or measure.")],
    iteration: Annotated[int, typer.Option("--iteration", "-n", metavar="N", help="Of which iteration; 0 is the base model's.")],
    redo: Annotated[bool, typer.Option("--redo", metavar="", help="Anew: what it wrote, and all that stands on it, is put aside first.")] = False,  # noqa: FBT002
) -> None:
    """Do what one iteration owes up to a stage, or redo a stage."""
    _work(directory, None, None, lambda pipeline: pipeline.run_stage(name, iteration, redo=redo))


@app.command()
def status(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="All figures as JSON.")] = False,  # noqa: FBT002
) -> None:
    """Show how a run stands, also while it runs."""
    from selflengthen.report.screen import screen
    from selflengthen.report.status import run_figures
    from selflengthen.report.tables import status_page

    figures = run_figures(directory)
    if as_json:
        typer.echo(figures.model_dump_json(indent=1))
    else:
        screen().print(status_page(figures))


@app.command()
def why(
    directory: Directory,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Of an instruction, response, extension or held-out answer, such as 1-en-0042.r1.x0")],
    full: Annotated[bool, typer.Option("--full", metavar="", help="Whole texts instead of excerpts.")] = False,  # noqa: FBT002
) -> None:
    """Show the whole history of a text, kept or rejected."""
    from selflengthen.report.family import family
    from selflengthen.report.screen import screen
    from selflengthen.report.why import why_page
    from selflengthen.stages.ledger import Ledger
    from selflengthen.store import RunDirectory

    screen().print(why_page(family(Ledger(RunDirectory.open(directory, readonly=True)), key), full=full))


@app.command()
def write(
    instruction: Annotated[str, typer.Argument(help="What to write.")],
    *,
    model: Annotated[str | None, typer.Option(help="A folder, a hub name, or seedling. Default: what the adapter was made for, or seedling.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="The folder of an adapter: RUN/iter_03/adapters/generator-3")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy. Default 0.7")] = None,
    top_p: Annotated[float | None, typer.Option(help="Default 0.8")] = None,
    top_k: Annotated[int | None, typer.Option(help="0 is all tokens. Default 20")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Default 1.1")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="At most this many new tokens. Default 16384")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text. Default: a new one each time")] = None,
    override: Overrides = None,
) -> None:
    """Write a text, shown as it comes; its length is told on stderr."""
    import asyncio
    import random

    from selflengthen.text import count_words

    if not instruction.strip():
        raise ConfigError("the instruction is empty; say what to write")
    try:
        instruction.encode()
    except UnicodeEncodeError:
        raise ConfigError("the instruction is not UTF-8; give it as UTF-8") from None
    adapter = adapter.resolve() if adapter else None
    settings = _write_settings(model, adapter, override or [])
    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "repetition_penalty": repetition_penalty, "max_tokens": max_tokens}
    sampling = _sampling(settings.sampling, **given)
    seed = random.randrange(10**6) if seed is None else seed
    try:
        answer = asyncio.run(_answer(settings, instruction, sampling, seed, adapter))
    except KeyboardInterrupt:
        typer.echo("\nstopped", err=True)
        raise typer.Exit(130) from None
    typer.echo()
    cut = ", cut at its limit" if answer.finish == "length" else ""
    typer.echo(f"{count_words(answer.text):,} words, {answer.generated_tokens:,} tokens{cut}; seed {seed}", err=True)


# -- what the commands share -----------------------------------------------------------------------------------------------------------


def _create(directory: Path, file: Path | None, overrides: list[str]) -> None:
    from selflengthen.config import load_config
    from selflengthen.pipeline import create

    create(directory, load_config(file, overrides))


def _work(directory: Path, file: Path | None, overrides: list[str] | None, work: "Callable[[Pipeline], None]") -> None:
    """Do `work` on a run, with its progress shown; then what came of it."""
    from selflengthen.config import with_overrides
    from selflengthen.pipeline import Pipeline
    from selflengthen.report.progress import ProgressView
    from selflengthen.report.screen import screen
    from selflengthen.store import RunDirectory

    run_directory = RunDirectory.open(directory)
    settings = with_overrides(run_directory.config, overrides or [], file)
    try:
        with ProgressView(screen(stderr=True), settings.iterations) as view:
            pipeline = Pipeline(run_directory, view, settings)
            view.seen_before([pipeline.ledger.measurement(number) for number in range(settings.iterations + 1)])
            work(pipeline)
    except KeyboardInterrupt:
        typer.echo(f"stopped; nothing that is done is lost. Go on with: selflengthen run {shlex.quote(str(directory))}", err=True)
        raise typer.Exit(130) from None
    _result(directory)


def _result(directory: Path) -> None:
    """How far a run has come, and where to look next."""
    from selflengthen.report.family import example_key
    from selflengthen.report.screen import screen
    from selflengthen.report.status import run_figures
    from selflengthen.report.tables import growth_table, next_steps
    from selflengthen.stages.ledger import Ledger
    from selflengthen.store import RunDirectory

    figures, console = run_figures(directory), screen()
    if figures.base.n is not None:
        console.print()
        console.print(growth_table(figures))
        console.print()
    console.print(next_steps(figures, example_key(Ledger(RunDirectory.open(directory, readonly=True)))), soft_wrap=True, end="")


def _put_aside(directory: Path) -> None:
    """Give a run that is there another name, so that its place is free."""
    from selflengthen.store import RunDirectory

    if not (directory / "config.json").exists():
        return
    if RunDirectory.open(directory, readonly=True).in_use():
        raise StoreError(f"{directory} is in use by another process; end it before you begin anew")
    number = 1
    while (aside := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    directory.rename(aside)
    typer.echo(f"the run that was there is now {aside}", err=True)


def _sampling(settings: "Sampling", **given: float | None) -> "Sampling":
    from pydantic import ValidationError

    from selflengthen.records import Sampling

    try:
        return Sampling(**settings.model_dump() | {name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = (f"--{str(fault['loc'][0]).replace('_', '-')} {fault['input']}: {fault['msg']}" for fault in error.errors())
        raise ConfigError("; ".join(faults)) from None


def _write_settings(model: str | None, adapter: Path | None, overrides: list[str]) -> "Config":
    """Settings with the model that an adapter was made for, unless another is named, and room for an adapter of its rank."""
    import json

    from selflengthen.config import load_config

    if adapter is not None:
        file = adapter / "adapter_config.json"
        try:
            told = found if isinstance(found := json.loads(file.read_text(encoding="utf-8")), dict) else {}
        except OSError as error:
            raise ConfigError(
                f"--adapter {adapter}: no adapter there ({file.name}: {error.strerror}); a run keeps them in iter_*/adapters/"
            ) from None
        except ValueError as error:
            raise ConfigError(f"--adapter: {file} cannot be read: {error}") from None
        model = model or told.get("base_model_name_or_path")
        overrides = [*([f"train.rank={rank}"] if isinstance(rank := told.get("r"), int) and rank > 0 else []), *overrides]
    return load_config(None, [*([f"model.path={json.dumps(model)}"] if model else []), *overrides])


async def _answer(settings: "Config", instruction: str, sampling: "Sampling", seed: int, adapter: Path | None) -> "Completion":
    """One answer, printed while it is written."""
    from selflengthen.engines import Request, RequestRefused
    from selflengthen.records import Adapter, Message, Role
    from selflengthen.report.screen import StreamPrinter
    from selflengthen.serving import engine_for

    request = Request((Message(role="user", content=instruction),), sampling, seed, adapter=adapter.name if adapter else None)
    async with engine_for(settings, on_notice=lambda text: typer.echo(text, err=True)) as engine:
        if adapter:
            await engine.load(Adapter(name=adapter.name, role=Role.GENERATOR, iteration=0, path=adapter, base_model=settings.model.path))
        try:
            return await engine.generate(request, StreamPrinter(sys.stdout))
        except RequestRefused as refused:
            raise EngineError(f"the model cannot answer this: {refused.detail}") from None
