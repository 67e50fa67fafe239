"""The command line: every verb, its options and what the exit code says.

0: done. 1: the thing asked about is not well (a query that fails, a check of ``doctor`` or
``verify``, a drain cut short). 2: it could not start (configuration, ports, directory, wrong
usage). Whatever is heavy is imported by the verb that needs it, so that ``--help`` is quick.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Final, Literal

import typer

from collector.cli.data_verbs import DATA_VERBS
from collector.cli.options import DEFAULT_DATA, ConfigFiles, Data, Overrides
from collector.memory import set_up_allocation
from collector.model.errors import ClearspanError, ConfigError, StartupError
from collector.model.printable import printable

_CANNOT_START: Final = 2
_FAILED: Final = 1

app = typer.Typer(
    name="clearspan",
    help="An OpenTelemetry Collector sidecar that redacts before disk, prices LLM calls and "
    "answers by SQL.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; end the process with the verb's exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding may not have what is stored
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except (ConfigError, StartupError) as error:
        _say(error)
        sys.exit(_CANNOT_START)
    except ClearspanError as error:
        _say(error)
        sys.exit(_FAILED)


def _say(error: ClearspanError) -> None:
    # DuckDB's words quote stored values
    sys.stderr.write(f"clearspan: {printable(str(error))}\n")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - see module docstring

        typer.echo(f"clearspan {version('clearspan')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit."),
    ] = False,
) -> None:
    """Take the options that belong to no verb."""


@app.command()
def run(config: ConfigFiles = None, overrides: Overrides = None) -> None:
    """Run the sidecar until SIGTERM or Ctrl-C; needs no configuration."""
    set_up_allocation()
    from config.loader import load_settings  # noqa: PLC0415 - see module docstring

    settings = load_settings(config or [], overrides or [], os.environ)
    from collector.service import run as run_service  # noqa: PLC0415 - see module docstring

    raise typer.Exit(run_service(settings))


@app.command()
def validate(config: ConfigFiles = None, overrides: Overrides = None) -> None:
    """Check the configuration and name every mistake; start nothing."""
    from config.loader import load_settings  # noqa: PLC0415 - see module docstring
    from config.rules import unused_sections  # noqa: PLC0415 - see module docstring

    settings = load_settings(config or [], overrides or [], os.environ)
    for name in unused_sections(settings):
        typer.echo(
            f"note: processors.{name} is configured but in no pipeline of service.pipelines",
            err=True,
        )
    typer.echo("configuration is valid")


@app.command("print-config")
def print_config(config: ConfigFiles = None, overrides: Overrides = None) -> None:
    """Print the configuration in effect as YAML, secrets as ****."""
    from config.loader import load  # noqa: PLC0415 - see module docstring
    from config.rendering import plain, to_yaml  # noqa: PLC0415 - see module docstring

    loaded = load(config or [], overrides or [], os.environ)
    typer.echo(to_yaml(plain(loaded.settings, loaded.outside)), nl=False)


@app.command()
def components(
    form: Annotated[
        Literal["table", "json"] | None,
        typer.Option(
            "--format",
            metavar="table|json",
            help="Default: table on a terminal, json elsewhere.",
        ),
    ] = None,
) -> None:
    """List what a configuration can name, with a line on each."""
    from collector.cli.inventory import print_components  # noqa: PLC0415 - see module docstring

    print_components(form or ("table" if sys.stdout.isatty() else "json"))


@app.command()
def query(
    sql: Annotated[
        str | None, typer.Argument(metavar="[SQL]", help="The SQL; - reads it from stdin.")
    ] = None,
    data: Data = DEFAULT_DATA,
    form: Annotated[
        Literal["table", "json", "csv", "parquet", "arrow"] | None,
        typer.Option(
            "--format",
            metavar="table|json|csv|parquet|arrow",
            help="Default: what FILE's name ends in, else table.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there instead of stdout."),
    ] = None,
    print_setup: Annotated[
        bool,
        typer.Option("--print-setup", help="Print the SQL that opens the data in a plain duckdb."),
    ] = False,
) -> None:
    """Run SQL over spans, their events, log records and feedback, while clearspan writes."""
    if print_setup == (sql is not None):
        raise typer.BadParameter("give either the SQL or --print-setup")
    from collector.cli import answers  # noqa: PLC0415 - see module docstring

    if sql is None:
        answers.show_setup(data)
    else:
        answers.answer(sys.stdin.read() if sql == "-" else sql, data, form, output)


@app.command()
def shell(data: Data = DEFAULT_DATA) -> None:
    """Ask SQL of the same views, statement by statement, with completion and history."""
    from collector.cli.shell import run_shell  # noqa: PLC0415 - see module docstring

    run_shell(data)


for verb in DATA_VERBS:
    app.command()(verb)


@app.command()
def redact(  # noqa: PLR0913, PLR0917 - one parameter an option
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Text or OTLP/JSON; stdin if there is none."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help='Read JSON lines {"text", "key"} and answer each with {"text", "redacted", '
            '"findings"}.',
        ),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Take text for values of this attribute."),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Take all of a file for one value, not each line."),
    ] = False,
    config: ConfigFiles = None,
    overrides: Overrides = None,
) -> None:
    """Show what redaction would cut and why (on a terminal), or write the redacted text (else).

    Nothing is stored or sent.
    """
    from collector.cli.redact import redact as run_redact  # noqa: PLC0415 - see module docstring

    is_ok = run_redact(
        inputs or [],
        config or [],
        overrides or [],
        os.environ,
        key=key,
        whole=whole,
        as_json=as_json,
    )
    raise typer.Exit(0 if is_ok else _FAILED)


@app.command()
def demo(
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the sidecar running at the end, until Ctrl-C."),
    ] = False,
) -> None:
    """Show everything at work on a small app: redaction, costs, sampling, SQL, signals."""
    from collector.demo import run_demo  # noqa: PLC0415 - see module docstring

    raise typer.Exit(run_demo(keep))


@app.command()
def doctor(config: ConfigFiles = None, overrides: Overrides = None) -> None:
    """Check configuration, versions, ports, data directory, redaction and the sidecar."""
    from collector.cli.checks import examine  # noqa: PLC0415 - see module docstring

    healthy = examine(config or [], overrides or [])
    raise typer.Exit(0 if healthy else _FAILED)
