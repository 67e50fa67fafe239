"""``clearspan query``: where the SQL's answer is written, and in which form."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from collector.model.errors import QueryError
from storage.sql import print_setup, run_query
from storage.sql_output import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

    from storage.sql_output import Format, Result

_INTERRUPTED: Final = 128 + 2  # SIGINT


def show_setup(data_dir: Path) -> None:
    """Print the SQL with which a plain ``duckdb`` opens the data."""
    sys.stdout.write(print_setup(data_dir))
    sys.stdout.flush()


def answer(sql: str, data_dir: Path, form: Format | None, output: Path | None) -> None:
    """Run the SQL and write its rows to ``output`` (stdout), by default in its name's format.

    Raises ``QueryError`` with DuckDB's message, or when the file cannot be written.
    """
    form = form or _format_of(output)
    if output is None and form == "parquet" and sys.stdout.isatty():
        raise QueryError("Parquet is not for a terminal: give --output FILE or a pipe")
    result = _run_interruptibly(data_dir, sql)
    if output is not None:
        try:
            with output.open("wb") as file:
                result.write(file, form)
        except OSError as error:
            raise QueryError(f"{output} cannot be written: {error.strerror}") from error
    elif form == "table":
        result.show(sys.stdout)
    else:
        result.write(sys.stdout.buffer, form)
    # here rather than at exit, where a reader that has gone away could not be handled
    sys.stdout.flush()


def _run_interruptibly(data_dir: Path, sql: str) -> Result:
    """Run the query aside, so that Ctrl-C ends the process at once.

    DuckDB 2.0 lets Python see no signal until the query is done; a process that only reads can
    leave in the middle of one.
    """
    outcome: Future[Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(run_query(data_dir, sql))
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            outcome.set_exception(error)

    threading.Thread(target=work, name="query", daemon=True).start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        os._exit(_INTERRUPTED)


def _format_of(output: Path | None) -> Format:
    suffix = output.suffix.removeprefix(".") if output else ""
    return next((form for form in FORMATS if form == suffix), "table")
