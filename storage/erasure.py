"""What is to be erased: which spans a condition names, and everything that is stored of them."""
# ruff: noqa: S608 - what is put together here is column names from the schema and quoted text

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.model.errors import QueryError
from storage.lake_tables import SPAN_EVENTS_SCHEMA, SPANS, SPANS_SCHEMA, TABLES
from storage.sql_files import quote
from storage.sql_views import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage.layout import Layout
    from storage.rewrite import StoredData

_KEYS: Final = (s.TRACE_ID, s.SPAN_ID)
_KEY_SCHEMA: Final = pa.schema([(s.TRACE_ID, pa.binary()), (s.SPAN_ID, pa.binary())])


@dataclass(frozen=True, slots=True)
class Condition:
    """Which spans: those of traces, those that hold a text anywhere, those that SQL selects.

    ``where`` is SQL over the columns of the view ``spans``. A span that fits one of them is meant;
    with ``whole_traces`` its whole trace is. An event that holds a text means its span.
    """

    trace_ids: tuple[bytes, ...] = ()
    texts: tuple[str, ...] = ()
    where: str = ""
    whole_traces: bool = False

    def sql(self, table: str) -> str:
        """Return it as a condition on the table's view."""
        schema = SPANS_SCHEMA if table == SPANS else SPAN_EVENTS_SCHEMA
        ids = ", ".join(quote(one.hex()) for one in self.trace_ids)
        parts = [f"{s.TRACE_ID} IN ({ids})"] if ids else []
        parts += _holding(schema, self.texts)
        if self.where and table == SPANS:
            parts.append(f"({self.where})")
        return " OR ".join(f"coalesce({part}, false)" for part in parts) or "false"


def _holding(schema: pa.Schema, texts: Sequence[str]) -> Iterator[str]:
    """Yield conditions of which one is true where a text is in any string of a row."""
    for field in schema:
        for text in map(quote, texts):
            if pa.types.is_string(field.type):
                yield f"contains({field.name}, {text})"
            elif pa.types.is_map(field.type):
                for part in ("map_keys", "map_values"):
                    any_of = f"list_filter({part}({field.name}), lambda v: contains(v, {text}))"
                    yield f"len({any_of}) > 0"
            elif pa.types.is_list(field.type):
                yield f"contains(CAST({field.name} AS VARCHAR), {text})"


class Erased:
    """A ``Change``: drops the rows of spans by their keys, and links to traces that are gone."""

    rules: str | None = None

    def __init__(self, keys: pa.Table, *, whole_traces: bool) -> None:
        """Take trace and span ids, one row a span; ``whole_traces`` goes by the trace alone."""
        self._is_whole = whole_traces
        self.traces: Final[pa.Array] = pc.unique(keys.column(s.TRACE_ID))
        self._keys = pc.unique(self._key(keys))

    def __len__(self) -> int:
        """Return how many spans were named."""
        return len(self._keys)

    def hits(self, rows: pa.Table) -> pa.ChunkedArray:
        """Tell for each row with trace and span id whether it goes."""
        return pc.is_in(self._key(rows), value_set=self._keys)

    def spans(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        kept = rows.filter(pc.invert(self.hits(rows)))
        return self._without_links(kept) if self._is_whole and kept.num_rows else kept

    def events(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        return rows.filter(pc.invert(self.hits(rows)))

    def batch(self, batch: SpanBatch) -> SpanBatch:
        """Return the spans that stay."""
        return SpanBatch(self.spans(batch.table))

    def _key(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return one binary value a row: the trace id, with the span id behind it unless whole."""
        traces = rows.column(s.TRACE_ID).cast(pa.binary())
        if self._is_whole:
            return traces
        spans = rows.column(s.SPAN_ID).cast(pa.binary())
        return pc.binary_join_element_wise(traces, spans, pa.scalar(b"", pa.binary()))

    def _without_links(self, rows: pa.Table) -> pa.Table:
        """Empty the ids of links into traces that are gone."""
        links = rows.column(s.LINKS).combine_chunks()
        each = links.flatten()
        gone = pc.is_in(each.field(s.TRACE_ID).cast(pa.binary()), value_set=self.traces)
        if not pc.any(gone).as_py():
            return rows
        kind = links.type.value_type
        fields = [kind.field(index) for index in range(kind.num_fields)]
        columns = [
            pc.if_else(gone, pa.scalar(b"", field.type), each.field(field.name))
            if field.name in _KEYS
            else each.field(field.name)
            for field in fields
        ]
        lengths = pc.list_value_length(links).fill_null(0).to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        emptied = pa.ListArray.from_arrays(
            pa.array(offsets),
            pa.StructArray.from_arrays(columns, fields=fields),
            type=links.type,
            mask=links.is_null() if links.null_count else None,
        )
        place = rows.schema.get_field_index(s.LINKS)
        return rows.set_column(place, rows.schema.field(place), emptied)


def find(stored: StoredData, condition: Condition) -> Erased:
    """Return the spans in files and journal that fit the condition, not yet erased.

    Raises:
        QueryError: Its SQL is wrong, or a file cannot be read; with DuckDB's words.
    """
    found = [_KEY_SCHEMA.empty_table()]
    columns = {table: _columns(table, stored.layout) for table in TABLES}
    with duckdb.connect() as connection:
        for table, files in stored.files_by_table().items():
            if files:
                listed = ", ".join(quote(glob.escape(str(file))) for file in files)
                source = f"read_parquet([{listed}], hive_partitioning=false, union_by_name=true)"
                found.append(_select(connection, columns[table], source, condition.sql(table)))
        for batch in stored.journalled():
            for table, rows in batch.items():
                connection.register("journalled", rows)
                condition_sql = condition.sql(table)
                found.append(_select(connection, columns[table], "journalled", condition_sql))
    return Erased(pa.concat_tables(found), whole_traces=condition.whole_traces)


def affected(stored: StoredData, erased: Erased) -> dict[str, int]:
    """Return the lake's files with rows, or links, to erase, and how many such rows."""
    rows: dict[str, int] = {}
    with duckdb.connect() as connection:
        connection.register("gone", pa.table({s.TRACE_ID: erased.traces}))
        for table, files in stored.files_by_table().items():
            for file in files:
                source = f"read_parquet({quote(glob.escape(str(file)))}, hive_partitioning=false)"
                ids = connection.sql(
                    f"SELECT {s.TRACE_ID}, {s.SPAN_ID} FROM {source} "
                    f"WHERE {s.TRACE_ID} IN (SELECT {s.TRACE_ID} FROM gone)"
                ).to_arrow_table()
                hits = pc.sum(erased.hits(ids)).as_py() or 0
                is_linked = table == SPANS and _has_links(connection, source)
                if hits or is_linked:
                    rows[stored.relative(file)] = hits
    return rows


def _has_links(connection: duckdb.DuckDBPyConnection, source: str) -> bool:
    links = connection.sql(
        f"SELECT 1 FROM (SELECT unnest({s.LINKS}) AS l FROM {source}) "
        f"WHERE l.{s.TRACE_ID} IN (SELECT {s.TRACE_ID} FROM gone) LIMIT 1"
    )
    return bool(links.to_arrow_table().num_rows)


def _columns(table: str, layout: Layout) -> str:
    """Return the view's columns; the promoted ones of the attributes, which every file has."""
    schema = SPANS_SCHEMA if table == SPANS else SPAN_EVENTS_SCHEMA
    promoted = layout.of_table(table).columns
    return ", ".join(
        [columns_of(schema), *(f"{one.value_sql} AS {one.name_sql}" for one in promoted)]
    )


def _select(
    connection: duckdb.DuckDBPyConnection, columns: str, source: str, condition: str
) -> pa.Table:
    try:
        found = connection.sql(
            f"SELECT _trace AS {s.TRACE_ID}, _span AS {s.SPAN_ID} FROM (SELECT "
            f"{s.TRACE_ID} AS _trace, {s.SPAN_ID} AS _span, {columns} FROM {source}) "
            f"WHERE {condition}"
        ).to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    return found.cast(_KEY_SCHEMA)
