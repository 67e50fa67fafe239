"""Lists of the lake's files, and how SQL reads them when they do not all have the same columns.

Files of today's layout are read as they are. Others are read by the names of their columns, which
costs 1 ms a file, and give promoted columns out of their attributes. Filters, columns and Bloom
filters pass through the UNION ALL between the two (DuckDB 2.0).
"""
# ruff: noqa: S608 - what is put together here is column names and paths from the manifest

from __future__ import annotations

import glob
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from collector.model import schema as s
from storage.lake_tables import LOGS, SPAN_EVENTS, SPANS, SPANS_SCHEMA
from storage.layout import Layout, PromotedColumn
from storage.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

_VARIABLE: Final = "clearspan"
_NARROW: Final = "clearspan_narrow"
_TABLES: Final = (SPANS, SPAN_EVENTS)
# An aggregate that needs no column reads the first one: the smallest.
_COLUMNS: Final = (s.IS_ROOT, *(name for name in SPANS_SCHEMA.names if name != s.IS_ROOT))


@dataclass(frozen=True, slots=True)
class LakeFiles:
    """The files of lakes as SQL sees them.

    ``log_lakes`` are the lakes of log records beside them. ``promoted`` are the columns that the
    views show beside the schema's own. ``uniform`` are the tables of which all files are of today's
    layout; ``is_stored`` tells whether any of ``spans`` is. What is not known is never wrong: it is
    read in the way that suits all files. ``narrow`` is the SQL function of ``TraceFiles``, if the
    connection has it.
    """

    promoted: tuple[PromotedColumn, ...] = ()
    log_lakes: tuple[str, ...] = ()
    uniform: frozenset[str] = frozenset()
    is_stored: bool = False
    narrow: str = ""

    @property
    def promoted_names(self) -> list[str]:
        """The promoted columns' names in SQL."""
        return [one.name_sql for one in self.promoted]

    def refresh_statement(self, lakes: Sequence[str]) -> str:
        """Return the statement that reads the manifests of lakes (absolute paths, URLs) now."""
        manifests = {"m": _manifests(lakes, _TABLES)}
        if self.log_lakes:
            manifests["l"] = _manifests(self.log_lakes, (LOGS,))
        lists: dict[str, str] = {}
        for table in self.tables:
            of = "l" if table == LOGS else "m"
            # unnest and list rather than a lambda, whose syntax differs between DuckDB versions
            lists[table] = (
                f"SELECT list(lake || f) FROM (SELECT lake, unnest({table}) AS f FROM {of})"
            )
            today = f"'{Layout.of_today(table, self.promoted).id}'"
            lists[f"{table}_today"] = _listed(
                of, table, f"WHERE layout.{table} = {today}", f"f.layout = {today}"
            )
            if self.promoted and table == SPANS:
                lists["spans_before"] = _listed(of, table, "", f"f.layout IS DISTINCT FROM {today}")
        ctes = ",\n  ".join(f"{name} AS ({query})" for name, query in manifests.items())
        packed = ",\n".join(f"  {name} := ({query})" for name, query in lists.items())
        return f"SET VARIABLE {_VARIABLE} = (\n  WITH {ctes}\n  SELECT struct_pack(\n{packed}))"

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that there are files of."""
        return (*_TABLES, LOGS) if self.log_lakes else _TABLES

    def table(self, table: str, trace: str = "") -> str:
        """Return the table expression of all rows of a table, without promoted columns.

        ``trace`` is an SQL expression: then the rows in files that may hold this trace are enough.
        """
        if table in self.uniform:
            return self._read(f"{table}_today", trace, by_name=False)
        return self._read(table, trace, by_name=True)

    def spans(self, trace: str = "") -> str:
        """Return the table expression of all rows of ``spans``, with the promoted columns."""
        if not self.promoted or SPANS in self.uniform:
            return self.table(SPANS, trace)
        # the name of its file as well, for look-ups
        columns = ", ".join([*_COLUMNS, "filename"])
        made = ", ".join(f"{one.value_sql} AS {one.name_sql}" for one in self.promoted)
        before = f"SELECT {columns}, {made} FROM {self._read('spans_before', trace, by_name=True)}"
        if not self.is_stored:
            return f"({before})"
        names = ", ".join(self.promoted_names)
        stored = self._read("spans_today", trace, by_name=False)
        return f"(SELECT {columns}, {names} FROM {stored} UNION ALL {before})"

    def _read(self, name: str, trace: str, *, by_name: bool) -> str:
        listed = f"getvariable('{_VARIABLE}').{name}"
        if self.narrow and trace:
            listed = f"{self.narrow}({listed}, {trace})"
        # paths hold date=…/hour=…, which must not become two more columns; a file written by an
        # older version may lack a column, which is null then
        return (
            f"read_parquet({listed}, hive_partitioning = false,"
            f" union_by_name = {str(by_name).lower()})"
        )


def read_promoted(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str]) -> LakeFiles:
    """Return the columns that the lakes promote now; where two differ, the first lake decides.

    Raises duckdb.Error when a manifest cannot be read, ValueError, TypeError or LookupError when it
    says what no clearspan of this version does.
    """
    keys = f"layout: 'STRUCT({SPANS} VARCHAR)', layouts: 'JSON'"
    query = " UNION ALL ".join(
        f"SELECT {number} AS number, * FROM ({_manifest(lake, keys)})"
        for number, lake in enumerate(lakes)
    )
    found = connection.sql(
        f"SELECT layout.{SPANS} AS id, layouts::VARCHAR AS layouts FROM ({query}) ORDER BY number"
    )
    columns: dict[str, PromotedColumn] = {}
    for row in found.to_arrow_table().to_pylist():  # over lakes
        if row["id"]:
            layout = Layout.of_plain(json.loads(row["layouts"])[row["id"]])
            columns = {one.column: one for one in layout.columns} | columns
    return LakeFiles(tuple(columns.values()))


def narrow_by(function: str) -> str:
    """Return the statement that lets look-ups use an SQL function of ``TraceFiles``."""
    return f"SET VARIABLE {_NARROW} = {quote(function)}"


def look_at_files(connection: duckdb.DuckDBPyConnection, files: LakeFiles) -> LakeFiles:
    """Return the same with what the connection's variables say now; raises duckdb.Error."""
    listed = f"getvariable('{_VARIABLE}')"
    counts = ", ".join(
        f"len({listed}.{table}), len({listed}.{table}_today)" for table in files.tables
    )
    narrow = f"getvariable('{_NARROW}')"
    ((*found, function),) = connection.sql(f"SELECT {counts}, {narrow}").fetchall()
    pairs = zip(files.tables, found[::2], found[1::2], strict=True)
    uniform = frozenset(table for table, all_files, today in pairs if all_files == today)
    return replace(files, uniform=uniform, is_stored=bool(found[1]), narrow=function or "")


def quote(text: str) -> str:
    """Return the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _manifests(lakes: Sequence[str], tables: Sequence[str]) -> str:
    # columns are named, so nothing is inferred from what a manifest happens to hold
    lists = ", ".join(f"{table}: 'VARCHAR[]'" for table in tables)
    layouts = ", ".join(f"{table} VARCHAR" for table in tables)
    columns = (
        f"{lists}, layout: 'STRUCT({layouts})', files: 'STRUCT(path VARCHAR, layout VARCHAR)[]'"
    )
    return "\n  UNION ALL ".join(_manifest(lake, columns) for lake in lakes)


def _manifest(lake: str, columns: str) -> str:
    """Return the SELECT of a lake's directory and of keys of its manifest (``name: 'TYPE'``)."""
    # a path with * in it would also match its neighbours, and show their spans
    directory = f"{glob.escape(lake)}/"
    manifest = quote(f"{directory}{MANIFEST}")
    return (
        f"SELECT {quote(directory)} AS lake, * FROM read_json({manifest}, columns = {{{columns}}})"
    )


def _listed(of: str, table: str, empty: str, condition: str) -> str:
    """Return the query for the files without rows and those that fit a condition."""
    return (
        f"SELECT list(path) FROM (SELECT lake || {table}[1] AS path FROM {of} {empty}"
        f" UNION ALL SELECT lake || f.path FROM (SELECT lake, unnest(files) AS f FROM {of})"
        f" WHERE {condition} AND starts_with(f.path, '{table}/'))"
    )
