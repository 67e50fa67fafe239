"""``clearspan query``: where the SQL's answer is written, and in which form."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from collector.cli.aside import await_answer, percent_of, run_aside
from collector.cli.paging import page, pager
from collector.model.errors import QueryError
from storage.sql import print_setup, run_query
from storage.sql_output import BINARY, FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from storage.sql_output import Format, Result

_INTERRUPTED: Final = 128 + 2  # SIGINT


def show_setup(data: Sequence[str]) -> None:
    """Print the SQL with which a plain ``duckdb`` opens the data."""
    sys.stdout.write(print_setup(data))
    sys.stdout.flush()


def answer(sql: str, data: Sequence[str], form: Format | None, output: Path | None) -> None:
    """Run the SQL and write its rows to ``output`` (stdout), by default in its name's format.

    Raises ``QueryError`` with DuckDB's message, or when the file cannot be written.
    """
    form = form or _format_of(output)
    if output is None and form in BINARY and sys.stdout.isatty():
        raise QueryError(f"{form} is not for a terminal: give --output FILE or a pipe")
    result = _run_interruptibly(data, sql)
    if output is not None:
        try:
            _write(result, form, output)
        except OSError as error:
            raise QueryError(f"{output} cannot be written: {error.strerror}") from error
    elif form == "table":
        show(result)
    else:
        # a pipe cannot be read from its end, as an Arrow file has to be
        result.write(sys.stdout.buffer, "arrows" if form == "arrow" else form)
    # here rather than at exit, where a reader that has gone away could not be handled
    sys.stdout.flush()


def show(result: Result) -> None:
    """Print rows on stdout; on a terminal, through the pager when they do not fit."""
    command = pager() if sys.stdout.isatty() else None
    if command is None:
        result.show(sys.stdout)
        return
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    text = io.StringIO()
    result.show(text, width=columns or 80, paged=True)
    if text.getvalue().count("\n") < lines:
        sys.stdout.write(text.getvalue())
    else:
        page(text.getvalue(), command)


def _write(result: Result, form: Format, output: Path) -> None:
    """Write a file beside it first: what is there stays until the new one is whole."""
    if output.exists() and not output.is_file():  # a pipe or a device
        with output.open("wb") as file:
            result.write(file, form)
        return
    target = output.resolve()  # what a link points to is replaced, not the link
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            result.write(file, form)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _run_interruptibly(data: Sequence[str], sql: str) -> Result:
    """Run the query aside, so that Ctrl-C ends the process at once.

    A process that only reads can leave in the middle of a query.
    """
    connections: list[duckdb.DuckDBPyConnection] = []
    outcome = run_aside(lambda: run_query(data, sql, connections.append))
    try:
        return await_answer(outcome, lambda: percent_of(connections[-1] if connections else None))
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


def _format_of(output: Path | None) -> Format:
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    return next((form for form in FORMATS if form == suffix), "table")
