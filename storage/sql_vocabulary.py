"""The words that SQL over the lake is made of, for completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collector.model import schema as s
from collector.model.errors import QueryError
from storage.lake_tables import LOGS, SPAN_EVENTS, SPANS
from storage.sql import run_statements
from storage.sql_views import MACROS

if TYPE_CHECKING:
    import duckdb

# The newest files' first rows: keys that are in use, in a few tens of milliseconds however large
# the lake is.
_SAMPLE_FILES: Final = 4
_SAMPLE_ROWS: Final = 10_000
_MOST_KEYS: Final = 2_000
_MAPS: Final = {
    SPANS: (s.ATTRIBUTES, s.RESOURCE_ATTRIBUTES, s.SCOPE_ATTRIBUTES),
    SPAN_EVENTS: (s.ATTRIBUTES,),
}
_MAPS_OF_LOGS: Final = (s.ATTRIBUTES, s.RESOURCE_ATTRIBUTES, s.SCOPE_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Distinct words of each sort; ``tables`` gives each one's columns in order, with types."""

    keywords: tuple[str, ...]
    tables: dict[str, dict[str, str]]
    macros: tuple[str, ...]
    attribute_keys: tuple[str, ...]


def read_vocabulary(connection: duckdb.DuckDBPyConnection) -> Vocabulary:
    """Return the words that queries on this connection can use.

    Attribute keys are those of a bounded sample; none where it cannot be read.
    """
    keywords = _column(connection, "SELECT upper(keyword_name) FROM duckdb_keywords() ORDER BY 1")
    return Vocabulary(keywords, read_tables(connection), MACROS, _attribute_keys(connection))


def read_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Return the views and the session's own tables: columns in order, with their types."""
    columns = run_statements(
        connection,
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE NOT internal ORDER BY table_name, column_index",
    )
    tables: dict[str, dict[str, str]] = {}
    for row in columns.table.to_pylist() if columns else []:  # over columns of views
        tables.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    return tables


def _attribute_keys(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    samples = [
        f"SELECT unnest(map_keys({column})) AS key FROM (SELECT {column} FROM read_parquet("  # noqa: S608 - our own names
        f"getvariable('clearspan').{table}[-{_SAMPLE_FILES}:], hive_partitioning = false,"
        f" union_by_name = true) LIMIT {_SAMPLE_ROWS})"
        for table, columns in _MAPS.items()
        for column in columns
    ]
    # the view, because there need not be any files
    samples += [
        f"SELECT unnest(map_keys({column})) AS key FROM (FROM {LOGS} LIMIT {_SAMPLE_ROWS})"  # noqa: S608 - likewise
        for column in _MAPS_OF_LOGS
    ]
    try:
        union = " UNION ".join(samples)
        keys = _column(connection, f"SELECT key FROM ({union}) ORDER BY key LIMIT {_MOST_KEYS}")  # noqa: S608 - likewise
    except QueryError:
        return ()
    # what a terminal would obey is no word to offer
    return tuple(filter(str.isprintable, keys))


def _column(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[str, ...]:
    result = run_statements(connection, sql)
    return tuple(result.table.column(0).to_pylist()) if result else ()
