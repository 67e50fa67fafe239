"""Queries over the lake from any process, while the sidecar writes.

Readers follow the manifest: nothing is locked, no DuckDB file exists, and the writer leaves
replaced files in place for a while, so a query sees one whole moment of the lake.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any, Final

import duckdb

from collector.model.errors import QueryError
from storage.lake_tables import SPAN_EVENTS, SPANS
from storage.manifest import MANIFEST
from storage.manifest_text import FORMAT_VERSION
from storage.sql_output import Result
from storage.sql_views import MACROS, VIEWS, refresh_statement, view_statements

if TYPE_CHECKING:
    from pathlib import Path

# Lake files never change, so a footer need not be read twice: 42 ms rather than 65 for one trace in
# 50 files.
_SETTINGS: Final = ("SET parquet_metadata_cache = true", "SET TimeZone = 'UTC'")


def print_setup(data_dir: Path) -> str:
    """Return the SQL with which a plain ``duckdb`` sees the lake under ``data_dir``.

    Running it again shows what was written since. Raises QueryError when there is no lake.
    """
    lake = _lake(data_dir)
    head = (
        f"-- clearspan: views {', '.join(VIEWS)};\n"
        f"-- macros {', '.join(MACROS)}. Made for DuckDB 1.3 and newer.\n"
        "-- The first statement reads which files there are: run it again to see newer spans.\n"
    )
    return head + "".join(f"{text};\n" for text in (refresh_statement(lake), *view_statements()))


def connect(data_dir: Path) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB with the views and macros over the lake as it is now.

    It loads no extension from anywhere. Raises QueryError when there is no lake.
    """
    lake = _lake(data_dir)
    connection = duckdb.connect(
        config={
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            # the default is a directory in whatever the working directory is
            "temp_directory": tempfile.gettempdir(),
        }
    )
    try:
        for statement in (*_SETTINGS, refresh_statement(lake), *view_statements()):
            connection.execute(statement)
    except duckdb.Error as error:
        connection.close()
        raise QueryError(f"the lake at {lake} cannot be read: {error}") from error
    return connection


def run_query(data_dir: Path, sql: str) -> Result:
    """Run SQL over the lake as it is now and return all rows of its last statement.

    Tried once more, on the newest manifest, when a file went away meanwhile: compaction removes
    what it replaced after a grace time that a long query can exceed. Raises QueryError.
    """
    try:
        return _run(data_dir, sql)
    except QueryError as error:
        if not isinstance(error.__cause__, duckdb.IOException):
            raise
    return _run(data_dir, sql)


def _run(data_dir: Path, sql: str) -> Result:
    with connect(data_dir) as connection:
        try:
            # sql() rather than execute(): the latter's Python values need pytz for timestamps
            relation = connection.sql(sql)
            table = None if relation is None else relation.to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error
    if table is None:
        raise QueryError("the SQL holds no statement")
    return Result.of(table)


def _lake(data_dir: Path) -> Path:
    """Return the absolute lake directory of a data directory, or of itself, once it is checked."""
    data = data_dir.absolute()
    if not data.is_dir():
        raise QueryError(f"there is no data directory {data}")
    lake = data if (data / MANIFEST).exists() else data / "lake"
    manifest = _read_manifest(lake / MANIFEST)
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise QueryError(
            f"{lake / MANIFEST} has format_version {version!r:.20}; this clearspan reads "
            f"{FORMAT_VERSION}"
        )
    if not all(isinstance(manifest.get(t), list) and manifest[t] for t in (SPANS, SPAN_EVENTS)):
        raise QueryError(f"{lake / MANIFEST} is not a clearspan manifest: it lists no files")
    return lake


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise QueryError(
            f"there is no {path}: is this the directory of exporters.lake.path, and has clearspan "
            "run with it?"
        ) from error
    except OSError as error:
        raise QueryError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise QueryError(f"{path} is not a clearspan manifest: it is not JSON") from error
    if not isinstance(manifest, dict):
        raise QueryError(f"{path} is not a clearspan manifest: it is not an object")
    return manifest
