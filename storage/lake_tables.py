"""The lake's tables: their columns, and how a batch is split into its signal's by hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import LogBatch, SpanBatch
from collector.model.log_schema import LOG_SCHEMA, RECORD_IDX, TIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from collector.model.batch import Batch

SPANS: Final = "spans"
SPAN_EVENTS: Final = "span_events"
LOGS: Final = "logs"

SPANS_SCHEMA: Final = pa.schema([field for field in s.SPAN_SCHEMA if field.name != s.EVENTS])
SPAN_EVENTS_SCHEMA: Final = pa.schema(
    [
        pa.field(s.TRACE_ID, pa.binary(16)),
        pa.field(s.SPAN_ID, pa.binary(8)),
        pa.field(s.SERVICE_NAME, pa.string()),
        pa.field(TIME, s.TIMESTAMP),
        pa.field("time_unix_nano", pa.int64()),
        pa.field("event_idx", pa.int32()),
        pa.field(s.NAME, pa.string()),
        pa.field("exception_type", pa.string()),
        pa.field("exception_message", pa.string()),
        pa.field("exception_stacktrace", pa.string()),
        pa.field(s.ATTRIBUTES, s.STRING_MAP),
        pa.field(s.NON_STRING_TYPES, s.STRING_MAP),
        pa.field(s.DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(s.SAMPLE_WEIGHT, pa.float64()),
        pa.field(s.SOURCE_ID, pa.string()),
        pa.field(s.BATCH_SEQ, pa.int64()),
    ],
)
TABLES: Final = {SPANS: SPANS_SCHEMA, SPAN_EVENTS: SPAN_EVENTS_SCHEMA, LOGS: LOG_SCHEMA}
TABLES_OF: Final[dict[type[Batch], tuple[str, ...]]] = {
    SpanBatch: (SPANS, SPAN_EVENTS),
    LogBatch: (LOGS,),
}
"""The tables that a lake of such batches has, first the one with a row for each of theirs."""
ITEM_TABLES: Final = frozenset(tables[0] for tables in TABLES_OF.values())
TIME_COLUMN: Final = {SPANS: s.START_TIME, SPAN_EVENTS: TIME, LOGS: TIME}
# with batch_seq, what tells rows apart that are stored from those that are not yet
IDENTITY: Final = {SPANS: s.TRACE_ID, SPAN_EVENTS: s.TRACE_ID, LOGS: RECORD_IDX}

HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * HOUR_US
_YEAR_2000_US: Final = 946_684_800_000_000
# A flush covers a second or two, so honest spans fall into one or two hours, and a sender that
# makes times up must not make thousands of files: further hours go to the hour of arrival.
MOST_HOURS: Final = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table and one hour, at least one, in the order they arrived."""

    table: str
    partition: str
    rows: pa.Table


def split(batch: pa.Table, now_us: int) -> Iterator[Part]:
    """Split rows of a batch into the parts of its tables by hour of their time.

    An event goes to its span's hour. A time before 2000 or more than a day after arrival is no
    time to sort by: the hour of arrival is taken. ``now_us`` stands in for a missing arrival.
    """
    if LOGS in _tables_of(batch):
        tables = {LOGS: (batch, _hours(batch, TIME, now_us))}
    else:
        hours = _hours(batch, s.START_TIME, now_us)
        events, parents = events_of(batch)
        spans = batch.drop_columns([s.EVENTS])
        tables = {SPANS: (spans, hours), SPAN_EVENTS: (events, hours[parents])}
    for table, (rows, row_hours) in tables.items():
        for hour in np.unique(row_hours).tolist():  # over hours, at most nine
            mine = row_hours == hour
            part = rows if mine.all() else rows.filter(pa.array(mine))
            yield Part(table, partition_of(hour), part)


def rows_of(batch: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of a batch as they stand in each of its tables."""
    if LOGS in _tables_of(batch):
        return {LOGS: batch}
    events, _ = events_of(batch)
    return {SPANS: batch.drop_columns([s.EVENTS]), SPAN_EVENTS: events}


def partition_of(hour: int) -> str:
    """Return the directory of an hour, counted from 1970."""
    return datetime.fromtimestamp(hour * 3600, UTC).strftime("date=%Y-%m-%d/hour=%H")


def partition_end_s(partition: str) -> float:
    """Return when a partition's hour ends, seconds since 1970."""
    start = datetime.strptime(partition, "date=%Y-%m-%d/hour=%H").replace(tzinfo=UTC)
    return start.timestamp() + 3600


def own_hours(start_us: NDArray[np.int64], ingest_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the hour that each row belongs to, counted from 1970, by its time and arrival."""
    is_nonsense = (start_us < _YEAR_2000_US) | (start_us > ingest_us + _DAY_US)
    hours: NDArray[np.int64] = np.where(is_nonsense, ingest_us, start_us) // HOUR_US
    return hours


def align(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows in this schema: columns the file did not have yet are null."""
    if table.schema.equals(schema):
        return table
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _tables_of(batch: pa.Table) -> tuple[str, ...]:
    is_logs = batch.schema.get_field_index(RECORD_IDX) >= 0
    return TABLES_OF[LogBatch if is_logs else SpanBatch]


def _hours(batch: pa.Table, time: str, now_us: int) -> NDArray[np.int64]:
    start = _micros(batch.column(time), now_us)
    ingest = _micros(batch.column(s.INGEST_TIME), now_us)
    hours = own_hours(start, ingest)
    distinct, counts = np.unique(hours, return_counts=True)
    if len(distinct) > MOST_HOURS:
        usual = distinct[np.argsort(counts)[-MOST_HOURS:]]
        hours = np.where(np.isin(hours, usual), hours, now_us // HOUR_US)
    return hours


def _micros(column: pa.ChunkedArray, missing: int) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.cast(pa.int64()).fill_null(missing).to_numpy()
    return values


def events_of(spans: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return one row an event, and the row number of each one's span."""
    lists = spans.column(s.EVENTS).combine_chunks()
    parents = pc.list_parent_indices(lists)
    event = pc.list_flatten(lists)
    span_rows = parents.to_numpy().astype(np.int64)
    nanos = event.field("time_unix_nano")
    attributes = event.field("attributes")
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy()
    first = np.cumsum(lengths) - lengths
    position = np.arange(len(span_rows)) - first[span_rows]
    columns = {
        TIME: pa.array(nanos.fill_null(0).to_numpy() // 1000, pa.int64()).cast(s.TIMESTAMP),
        "time_unix_nano": nanos,
        "event_idx": pa.array(position, pa.int32()),
        s.NAME: event.field("name"),
        "exception_type": pc.map_lookup(attributes, "exception.type", "first"),
        "exception_message": pc.map_lookup(attributes, "exception.message", "first"),
        "exception_stacktrace": pc.map_lookup(attributes, "exception.stacktrace", "first"),
        s.ATTRIBUTES: attributes,
        s.NON_STRING_TYPES: event.field("non_string_types"),
        s.DROPPED_ATTRIBUTES_COUNT: event.field("dropped_attributes_count"),
    }
    of_span = [s.TRACE_ID, s.SPAN_ID, s.SERVICE_NAME, s.SAMPLE_WEIGHT, s.SOURCE_ID, s.BATCH_SEQ]
    columns.update({name: spans.column(name).combine_chunks().take(parents) for name in of_span})
    arrays = [columns[field.name] for field in SPAN_EVENTS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SPAN_EVENTS_SCHEMA), span_rows
