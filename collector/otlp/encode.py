"""The flat span table back to OTLP request bytes: what was decoded comes out byte for byte.

Consecutive spans of one resource and scope are put together again. A value that redaction changed
so that it no longer fits its type goes out as a string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.otlp.descriptor import handlers
from collector.otlp.typed import key_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

_RESOURCE: Final = (
    s.RESOURCE_ATTRIBUTES,
    s.RESOURCE_NON_STRING_TYPES,
    s.RESOURCE_DROPPED_ATTRIBUTES_COUNT,
    s.RESOURCE_SCHEMA_URL,
)
_SCOPE: Final = (
    s.SCOPE_NAME,
    s.SCOPE_VERSION,
    s.SCOPE_ATTRIBUTES,
    s.SCOPE_NON_STRING_TYPES,
    s.SCOPE_DROPPED_ATTRIBUTES_COUNT,
    s.SCOPE_SCHEMA_URL,
)


def encode(batch: SpanBatch) -> bytes:
    """Return one serialized ``ExportTraceServiceRequest`` with all spans of the batch, in order."""
    schema = handlers().strict.list_to_record_batch([]).schema
    resource_spans = schema.field(0).type.value_type
    scope_spans = resource_spans.field("scope_spans").type.value_type
    span_type = scope_spans.field("spans").type.value_type

    resource_starts = _starts(batch, _RESOURCE)
    scope_starts = np.union1d(resource_starts, _starts(batch, _SCOPE))
    scopes = _rows(batch, scope_starts)
    scope = _struct(
        scope_spans.field("scope").type,
        name=scopes.column(s.SCOPE_NAME),
        version=scopes.column(s.SCOPE_VERSION),
        attributes=key_values(
            scopes.column(s.SCOPE_ATTRIBUTES),
            scopes.column(s.SCOPE_NON_STRING_TYPES),
            scope_spans.field("scope").type.field("attributes").type,
        ),
        dropped_attributes_count=scopes.column(s.SCOPE_DROPPED_ATTRIBUTES_COUNT),
    )
    spans = pa.ListArray.from_arrays(
        _offsets(scope_starts, len(batch)),
        _spans(batch, span_type),
        type=scope_spans.field("spans").type,
    )
    scope_array = _struct(
        scope_spans,
        scope=scope,
        spans=spans,
        schema_url=scopes.column(s.SCOPE_SCHEMA_URL),
    )
    resources = _rows(batch, resource_starts)
    resource = _struct(
        resource_spans.field("resource").type,
        attributes=key_values(
            resources.column(s.RESOURCE_ATTRIBUTES),
            resources.column(s.RESOURCE_NON_STRING_TYPES),
            resource_spans.field("resource").type.field("attributes").type,
        ),
        dropped_attributes_count=resources.column(s.RESOURCE_DROPPED_ATTRIBUTES_COUNT),
    )
    resource_array = _struct(
        resource_spans,
        resource=resource,
        scope_spans=pa.ListArray.from_arrays(
            _offsets(np.searchsorted(scope_starts, resource_starts), len(scope_starts)),
            scope_array,
            type=resource_spans.field("scope_spans").type,
        ),
        schema_url=resources.column(s.RESOURCE_SCHEMA_URL),
    )
    request = pa.ListArray.from_arrays(
        pa.array([0, len(resource_starts)], pa.int32()),
        resource_array,
        type=schema.field(0).type,
    )
    nested = pa.RecordBatch.from_arrays([request], schema=schema)
    message: bytes = handlers().strict.record_batch_to_array(nested)[0].as_py()
    return message


def _starts(batch: SpanBatch, columns: Sequence[str]) -> NDArray[np.int64]:
    """Return the rows that differ from the row before in any of the columns; row 0 always."""
    if not len(batch):
        return np.empty(0, np.int64)
    changes = np.zeros(len(batch), bool)
    changes[0] = True
    for name in columns:
        column = batch.column(name)
        if pa.types.is_map(column.type):
            changes |= _map_changes(column)
        else:
            codes = column.dictionary_encode(null_encoding="encode").indices.to_numpy()
            changes[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(changes)


def _map_changes(column: pa.MapArray) -> NDArray[np.bool_]:
    """Tell for each row whether its map differs from the one before, entry by entry."""
    offsets = column.offsets.to_numpy()
    first, last = offsets[0], offsets[-1]
    codes = [
        part.slice(first, last - first).dictionary_encode(null_encoding="encode").indices.to_numpy()
        for part in (column.keys, column.items)
    ]
    sizes = np.diff(offsets)
    changed = np.zeros(len(column), bool)
    changed[1:] = sizes[1:] != sizes[:-1]
    row_of = np.repeat(np.arange(len(column)), sizes)
    comparable = np.flatnonzero((row_of > 0) & ~changed[row_of])
    before = comparable - sizes[row_of[comparable]]
    differs = np.zeros(len(comparable), bool)
    for code in codes:
        differs |= code[comparable] != code[before]
    changed[row_of[comparable[differs]]] = True
    return changed


def _rows(batch: SpanBatch, rows: NDArray[np.int64]) -> SpanBatch:
    return type(batch)(batch.table.take(pa.array(rows)))


def _offsets(starts: NDArray[np.int64], end: int) -> pa.Array:
    return pa.array(np.append(starts, end).astype(np.int32))


def _struct(wanted: pa.StructType, **given: pa.Array) -> pa.StructArray:
    """Build a struct; fields that are not given (profiles, entity refs) are zero or empty."""
    rows = len(next(iter(given.values())))
    children = [
        _as(given[field.name], field.type) if field.name in given else _default(field.type, rows)
        for field in wanted
    ]
    return pa.StructArray.from_arrays(children, fields=list(wanted))


def _as(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    return array if array.type.equals(wanted) else array.cast(wanted)


def _default(wanted: pa.DataType, rows: int) -> pa.Array:
    if pa.types.is_list(wanted):
        empty = pa.array([], wanted.value_type)
        return pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), empty, type=wanted)
    return pa.array(np.zeros(rows, np.int64)).cast(wanted)


def _spans(batch: SpanBatch, wanted: pa.StructType) -> pa.StructArray:
    column = batch.column
    start = column(s.START_TIME_UNIX_NANO).to_numpy()
    end = start + column(s.DURATION_NS).to_numpy()
    message = column(s.STATUS_MESSAGE)
    status = pa.StructArray.from_arrays(
        [message.fill_null(""), _numbers(s.STATUS_NAMES, column(s.STATUS_CODE))],
        fields=list(wanted.field("status").type),
        mask=message.is_null(),
    )
    return _struct(
        wanted,
        trace_id=column(s.TRACE_ID).cast(pa.binary()),
        span_id=column(s.SPAN_ID).cast(pa.binary()),
        trace_state=column(s.TRACE_STATE),
        parent_span_id=column(s.PARENT_SPAN_ID).cast(pa.binary()).fill_null(b""),
        name=column(s.NAME),
        kind=_numbers(s.KIND_NAMES, column(s.KIND)),
        start_time_unix_nano=pa.array(start.view(np.uint64)),
        end_time_unix_nano=pa.array(end.view(np.uint64)),
        attributes=key_values(
            column(s.ATTRIBUTES),
            column(s.NON_STRING_TYPES),
            wanted.field("attributes").type,
        ),
        dropped_attributes_count=column(s.DROPPED_ATTRIBUTES_COUNT),
        events=_items(column(s.EVENTS), wanted.field("events").type),
        dropped_events_count=column(s.DROPPED_EVENTS_COUNT),
        links=_items(column(s.LINKS), wanted.field("links").type),
        dropped_links_count=column(s.DROPPED_LINKS_COUNT),
        status=status,
        flags=column(s.FLAGS),
    )


def _items(lists: pa.ListArray, wanted: pa.ListType) -> pa.ListArray:
    """Return events or links in the wire's shape; both have attribute maps and plain fields."""
    flat = lists.flatten()
    lengths = np.append(0, np.cumsum(lists.value_lengths().to_numpy())).astype(np.int32)
    given = {
        field.name: _unsigned(flat.field(field.name))
        for field in wanted.value_type
        if field.name not in ("attributes", "non_string_types")
    }
    given["attributes"] = key_values(
        flat.field("attributes"),
        flat.field("non_string_types"),
        wanted.value_type.field("attributes").type,
    )
    return pa.ListArray.from_arrays(
        pa.array(lengths), _struct(wanted.value_type, **given), type=wanted
    )


def _unsigned(array: pa.Array) -> pa.Array:
    """View wrapped 64-bit times as what they were."""
    return array.view(pa.uint64()) if array.type == pa.int64() else array


def _numbers(names: tuple[str, ...], column: pa.Array) -> pa.Array:
    """Return an enum's numbers; earlier versions wrote digits for one without a name."""
    encoded = column.dictionary_encode()
    numbers = [
        names.index(name) if name in names else int(name) for name in encoded.dictionary.to_pylist()
    ]
    return pa.array(numbers, pa.int32()).take(encoded.indices)
