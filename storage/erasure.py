"""What is to be erased: which spans a condition names, and everything that is stored of them."""
# ruff: noqa: S608 - what is put together here is column names from the schema and quoted text

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.errors import QueryError
from storage.erased import KEY_SCHEMA, RECORD_SCHEMA, Erased
from storage.lake_tables import LOGS, SPANS, TABLES
from storage.sql_files import quote
from storage.sql_views import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from storage.layout import Layout
    from storage.live_data import LiveData
    from storage.rewrite import StoredData

_ROWS_AT_A_TIME: Final = 16384
# A query over all files can take longer than a sidecar keeps what it replaces.
_FILES_AT_A_TIME: Final = 32
# Each looks into what a newer manifest added.
_MOST_PASSES: Final = 100
Found = TypeVar("Found")

_FOUND: Final = pa.schema([*KEY_SCHEMA, *RECORD_SCHEMA])


@dataclass(frozen=True, slots=True)
class Condition:
    """Which spans: those of traces, those that hold a text anywhere, those that SQL selects.

    ``where`` is SQL over the columns of the view ``spans``. A span that fits one of them is meant;
    with ``whole_traces`` its whole trace is. An event or log record that holds a text means its
    span; a log record without one means itself.
    """

    trace_ids: tuple[bytes, ...] = ()
    texts: tuple[str, ...] = ()
    where: str = ""
    whole_traces: bool = False

    def sql(self, table: str) -> str:
        """Return it as a condition on the table's view."""
        ids = ", ".join(quote(one.hex()) for one in self.trace_ids)
        parts = [f"{s.TRACE_ID} IN ({ids})"] if ids else []
        parts += _holding(TABLES[table], self.texts)
        if self.where and table == SPANS:
            parts.append(f"({self.where})")
        return " OR ".join(f"coalesce({part}, false)" for part in parts) or "false"


def _holding(schema: pa.Schema, texts: Sequence[str]) -> Iterator[str]:
    """Yield conditions of which one is true where a text is in any string of a row."""
    for field in schema:
        for text in map(quote, texts):
            yield from _held(field.type, field.name, text)


def _held(kind: pa.DataType, value: str, text: str, depth: int = 0) -> Iterator[str]:
    """Yield conditions of which one is true where a text is in a value, however nested."""
    if pa.types.is_string(kind):
        yield f"contains({value}, {text})"
    elif pa.types.is_map(kind):
        for part, inner in (("map_keys", kind.key_type), ("map_values", kind.item_type)):
            yield from _held(pa.list_(inner), f"{part}({value})", text, depth)
    elif pa.types.is_list(kind):
        each = f"_v{depth}"  # as no promoted column is called
        any_of = " OR ".join(
            f"coalesce({one}, false)" for one in _held(kind.value_type, each, text, depth + 1)
        )
        if any_of:
            yield f"len(list_filter({value}, lambda {each}: {any_of})) > 0"
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            part = kind.field(index)
            yield from _held(part.type, f"{value}.{part.name}", text, depth)


def find(stores: Sequence[StoredData | LiveData], condition: Condition) -> Erased:
    """Return the spans and log records in files and journals that fit, not yet erased.

    Raises:
        QueryError: Its SQL is wrong, or a file cannot be read; with DuckDB's words.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")  # as in a query that the user tried before
        found = [one for stored in stores for one in _found(connection, stored, condition)]
    rows = pa.concat_tables([_FOUND.empty_table(), *found])
    has_key = rows.column(s.TRACE_ID).is_valid()
    if not condition.whole_traces:
        has_key = pc.and_(has_key, rows.column(s.SPAN_ID).is_valid())
    return Erased(
        rows.filter(has_key).select(KEY_SCHEMA.names),
        whole_traces=condition.whole_traces,
        records=rows.filter(pc.invert(has_key)).select(RECORD_SCHEMA.names),
        named=condition.trace_ids,
    )


def _found(
    connection: duckdb.DuckDBPyConnection, stored: StoredData | LiveData, condition: Condition
) -> Iterator[pa.Table]:
    """Yield what fits in the journal and files of one signal."""
    layout = stored.layout
    # the journal first: what it drops meanwhile is in the files
    for gathered in _gathered(stored.journalled()):
        for table, rows in gathered.items():
            connection.register("journalled", rows)
            yield _select(connection, table, _columns(table, layout), "journalled", condition)

    def look(table: str, files: list[Path]) -> pa.Table:
        # every column is there then, though no file of today has been written yet
        empty = [stored.empty_file(table)] if stored.empty_file(table).exists() else []
        listed = ", ".join(quote(glob.escape(str(file))) for file in empty + files)
        source = f"read_parquet([{listed}], hive_partitioning=false, union_by_name=true)"
        return _select(connection, table, _columns(table, layout), source, condition)

    for _, found in _of_files(stored, _FILES_AT_A_TIME, look, set()):
        yield found


def _of_files(
    stored: StoredData | LiveData,
    at_once: int,
    look: Callable[[str, list[Path]], Found],
    listed: set[Path],
) -> Iterator[tuple[list[Path], Found]]:
    """Look into all files of the lake, so many at a time; yield them and what was found.

    Of files that a running sidecar deletes meanwhile, what replaced them is looked into; ``listed``
    holds in the end the files that are the lake then. Raises QueryError.
    """
    seen: set[Path] = set()
    gone: set[Path] = set()
    for _ in range(_MOST_PASSES):
        has_gone = False
        by_table = stored.files_by_table()
        listed.clear()
        listed.update(*by_table.values())
        for table, files in by_table.items():
            new = [file for file in files if file not in seen]
            for start in range(0, len(new), at_once):
                some = new[start : start + at_once]
                try:
                    found = look(table, some)
                except (duckdb.Error, QueryError) as error:
                    missing = {file for file in some if not file.exists()}
                    if not missing or missing & gone:  # a newer manifest lists it still
                        raise QueryError(str(error)) from error
                    gone |= missing
                    has_gone = True
                else:
                    seen.update(some)
                    yield some, found
        if not has_gone:
            return
    raise QueryError(f"the lake changed {_MOST_PASSES} times while it was read")


def _gathered(batches: Iterator[dict[str, pa.Table]]) -> Iterator[dict[str, pa.Table]]:
    """Put batches together: a query costs 10 ms, however little it is asked of."""
    waiting: list[dict[str, pa.Table]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(next(iter(one.values())).num_rows for one in waiting) >= _ROWS_AT_A_TIME:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _together(batches: Sequence[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {table: pa.concat_tables(one[table] for one in batches) for table in batches[0]}


def affected(stored: StoredData | LiveData, erased: Erased) -> dict[str, int]:
    """Return the lake's files with rows, or links, to erase, and how many such rows."""
    with duckdb.connect() as connection:
        connection.register("gone", pa.table({s.TRACE_ID: erased.unlinked}))

        def look(table: str, files: list[Path]) -> int | None:
            """Return None where nothing of a file goes."""
            source = f"read_parquet({quote(glob.escape(str(files[0])))}, hive_partitioning=false)"
            is_named = table == LOGS and erased.records.num_rows > 0
            names = (*KEY_SCHEMA.names, *(RECORD_SCHEMA.names if table == LOGS else ()))
            ids = connection.sql(
                f"SELECT {', '.join(names)} FROM {source} "
                f"WHERE {is_named} OR {s.TRACE_ID} IN (SELECT {s.TRACE_ID} FROM gone)"
            ).to_arrow_table()
            hits: int = pc.sum(erased.hits(ids)).as_py() or 0
            is_linked = table == SPANS and _has_links(connection, source)
            return hits if hits or is_linked else None

        listed: set[Path] = set()
        found = {file: hits for (file,), hits in _of_files(stored, 1, look, listed)}
        # not what was merged since it was looked into: its rows are in a file that is listed
        return {
            stored.relative(file): hits
            for file, hits in found.items()
            if file in listed and hits is not None
        }


def _has_links(connection: duckdb.DuckDBPyConnection, source: str) -> bool:
    links = connection.sql(
        f"SELECT 1 FROM (SELECT unnest({s.LINKS}) AS l FROM {source}) "
        f"WHERE l.{s.TRACE_ID} IN (SELECT {s.TRACE_ID} FROM gone) LIMIT 1"
    )
    return bool(links.to_arrow_table().num_rows)


def _columns(table: str, layout: Layout) -> str:
    """Return the view's columns; the promoted ones of the attributes, which every file has."""
    promoted = layout.of_table(table).columns
    return ", ".join(
        [columns_of(TABLES[table]), *(f"{one.value_sql} AS {one.name_sql}" for one in promoted)]
    )


def _select(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: str,
    source: str,
    condition: Condition,
) -> pa.Table:
    record = ", ".join(name if table == LOGS else f"NULL AS {name}" for name in RECORD_SCHEMA.names)
    try:
        found = connection.sql(
            f"SELECT _trace AS {s.TRACE_ID}, _span AS {s.SPAN_ID}, {record} FROM (SELECT "
            f"{s.TRACE_ID} AS _trace, {s.SPAN_ID} AS _span, {columns} FROM {source}) "
            f"WHERE {condition.sql(table)}"
        ).to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    return found.cast(_FOUND)
