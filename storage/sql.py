"""Queries over the lake from any process, while the sidecar writes.

Readers follow the manifest: nothing is locked, no DuckDB file exists, and the writer leaves
replaced files in place for a while, so a query sees one whole moment of the lake.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb

from collector.model.errors import QueryError
from storage.sql_files import look_at_files, narrow_by, read_promoted
from storage.sql_lakes import (
    find_lakes,
    find_log_lakes,
    is_remote,
    load_remote_access,
    log_lake_of,
)
from storage.sql_output import Result
from storage.sql_types import without_loss
from storage.sql_views import MACROS, VIEWS, view_statements
from storage.trace_files import FUNCTION, TraceFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.sql_files import LakeFiles
    from storage.sql_lakes import DataSource

    Watch = Callable[[duckdb.DuckDBPyConnection], None]

Answer = TypeVar("Answer")

# Lake files never change, so a footer need not be read twice: 42 ms rather than 65 for one trace in
# 50 files. Threads of their own for reads that the page cache answers take an eighth more CPU; with
# none at all two recursions at once, or one where there is one thread, wait for ever (DuckDB 2.0).
_LOCAL_SETTINGS: Final = ("SET async_threads = 1",)
_SETTINGS: Final = (
    "SET parquet_metadata_cache = true",
    "SET TimeZone = 'UTC'",
    # counted, so that query_progress() can be asked, and shown by whoever asks
    "SET enable_progress_bar = true",
    "SET enable_progress_bar_print = false",
)
# DuckDB's messages when a file is not there, whichever exception they come in; httpfs has its own
_GONE: Final = re.compile(r"IO Error|HTTP Error.*\b404\b", re.DOTALL)
_MOST_FILES_GONE: Final = 10


def print_setup(data: DataSource) -> str:
    """Return the SQL with which a plain ``duckdb`` sees the lakes of data directories as one.

    Running it again shows what was written since. Raises QueryError when one is no lake.
    """
    lakes = find_lakes(data)
    with _connection(lakes) as connection:
        # the views are for the files that there will be, too
        files = replace(_open(connection, lakes), uniform=frozenset())
    head = (
        f"-- clearspan: views {', '.join(VIEWS)};\n"
        f"-- macros {', '.join(MACROS)}. Made for DuckDB 1.3 and newer.\n"
        "-- The first statement reads which files there are: run it again to see newer spans.\n"
    )
    remote = ["LOAD httpfs"] if any(map(is_remote, lakes)) else []
    statements = (*remote, files.refresh_statement(lakes), *view_statements(files))
    return head + "".join(f"{text};\n" for text in statements)


def connect(
    data: DataSource, *, spills: bool = True, is_session: bool = False
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB with the views and macros over the lakes as they are now.

    It downloads no extension; for S3 it loads httpfs where that is installed. ``spills`` lets large
    queries use the system's directory for temporary files. ``is_session`` makes the first look-up
    of a trace slower and others faster; the connection must be closed then. Raises QueryError,
    which names the lake that cannot be read.
    """
    lakes = find_lakes(data)
    connection = _connection(lakes, spills=spills)
    try:
        is_local = not any(map(is_remote, lakes))
        for statement in (*_SETTINGS, *(_LOCAL_SETTINGS if is_local else ())):
            connection.execute(statement)
        if is_session and is_local:
            TraceFiles([*lakes, *filter(None, map(log_lake_of, lakes))]).register(connection)
            connection.execute(narrow_by(FUNCTION))
        _open(connection, lakes)
    except BaseException:
        connection.close()
        raise
    return connection


def _connection(lakes: Sequence[str], *, spills: bool = True) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            # the default is a directory in whatever the working directory is
            "temp_directory": tempfile.gettempdir() if spills else "",
        }
    )
    try:
        if any(map(is_remote, lakes)):
            load_remote_access(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def run_query(data: DataSource, sql: str, watch: Watch | None = None) -> Result:
    """Run SQL over the lakes as they are now and return all rows of its last statement.

    ``watch`` is given the connection before the SQL runs, to ask for its progress or interrupt it.
    Raises QueryError.
    """
    return from_newest_files(lambda: _run(data, sql, watch))


def from_newest_files(ask: Callable[[], Answer]) -> Answer:
    """Return an answer, asked for once more whenever a file went away meanwhile.

    Compaction removes what it replaced after a grace time that a long query can exceed; erasure may
    do so at once, file after file. A file that is missed twice is lost: raises what ``ask`` raises.
    """
    missed: set[str] = set()
    while True:
        try:
            return ask()
        except (QueryError, duckdb.Error, OSError) as error:
            told = str(error.__cause__ if isinstance(error, QueryError) else error)
            if not _GONE.match(told) or told in missed or len(missed) == _MOST_FILES_GONE:
                raise
            missed.add(told)


def refresh(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str]) -> None:
    """Let the connection's views see what was written to ``find_lakes``' lakes since.

    Raises QueryError when a manifest cannot be read.
    """
    _open(connection, lakes)


def run_statements(connection: duckdb.DuckDBPyConnection, sql: str) -> Result | None:
    """Run SQL on a connection; return all rows of its last statement, None if there is none.

    Raises QueryError with DuckDB's message.
    """
    try:
        # sql() rather than execute(): the latter's Python values need pytz for timestamps
        relation = connection.sql(sql)
        return None if relation is None else Result.of(without_loss(relation).to_arrow_table())
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def _run(data: DataSource, sql: str, watch: Watch | None) -> Result:
    with connect(data) as connection:
        if watch is not None:
            watch(connection)
        result = run_statements(connection, sql)
    if result is None:
        raise QueryError("the SQL holds no statement")
    return result


def _open(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str]) -> LakeFiles:
    """Make views and macros over lakes and return the files they show.

    Raises QueryError that names the lake that prevents it.
    """
    try:
        log_lakes = find_log_lakes(connection, lakes)
        files = replace(read_promoted(connection, lakes), log_lakes=log_lakes)
        connection.execute(files.refresh_statement(lakes))
        files = look_at_files(connection, files)
        for statement in view_statements(files):
            connection.execute(statement)
    except (duckdb.Error, ValueError, TypeError, LookupError) as error:
        if len(lakes) > 1:
            for lake in lakes:  # DuckDB need not say which
                _open(connection, [lake])
        raise QueryError(f"the lake at {', '.join(lakes)} cannot be read: {error}") from error
    else:
        return files
