"""``clearspan query``: where the SQL's answer is written, and in which form."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from collector.model.errors import QueryError
from storage.sql import print_setup, run_query
from storage.sql_output import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

    from storage.sql_output import Format


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
    result = run_query(data_dir, sql)
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


def _format_of(output: Path | None) -> Format:
    suffix = output.suffix.removeprefix(".") if output else ""
    return next((form for form in FORMATS if form == suffix), "table")
