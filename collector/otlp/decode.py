"""``ExportTraceServiceRequest`` bytes to one flat span table, a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.otlp.descriptor import TRACES
from collector.otlp.requests import (
    SPAN_ID_BYTES,
    TRACE_ID_BYTES,
    RequestDecoder,
    id_lengths,
    ids_or_null,
    known_bits,
    known_numbers,
    nonzero_of_length,
)
from collector.otlp.values import attribute_maps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.otlp.requests import Flat
    from collector.otlp.salvage import Salvage

_KINDS: Final = pa.array(s.KIND_NAMES, pa.string())
_STATUSES: Final = pa.array(s.STATUS_NAMES, pa.string())
# trace.proto, SpanFlags: W3C trace flags, and whether the parent is remote
_FLAG_BITS: Final = 0x3FF


class Decoder(RequestDecoder[SpanBatch]):
    """Turns serialized ``ExportTraceServiceRequest`` messages into a ``SpanBatch``."""

    message = TRACES
    kind = "request"
    scopes_field = "scope_spans"
    items_field = "spans"

    def _empty(self) -> SpanBatch:
        return SpanBatch.empty()

    def _valid_ids(self, items: pa.StructArray) -> NDArray[np.bool_]:
        """Tell which have a 16-byte trace id, 8-byte ids, and neither of their own all zero."""
        parent = id_lengths(items.field("parent_span_id"))
        valid = nonzero_of_length(items.field("trace_id"), TRACE_ID_BYTES)
        valid &= nonzero_of_length(items.field("span_id"), SPAN_ID_BYTES)
        valid &= (parent == 0) | (parent == SPAN_ID_BYTES)
        return valid

    def _batch(self, flat: Flat, now_us: int) -> SpanBatch:
        return _span_batch(flat, now_us)


def _span_batch(flat: Flat, now_us: int) -> SpanBatch:
    spans, count = flat.items, len(flat.items)
    start = spans.field("start_time_unix_nano").to_numpy().view(np.int64)
    end = spans.field("end_time_unix_nano").to_numpy().view(np.int64)
    parent = ids_or_null(spans.field("parent_span_id"), SPAN_ID_BYTES)
    status = spans.field("status")
    attributes = attribute_maps(spans.field("attributes"), flat.salvage)
    events = spans.field("events")
    columns = {
        s.TRACE_ID: spans.field("trace_id").cast(pa.binary(TRACE_ID_BYTES)),
        s.SPAN_ID: spans.field("span_id").cast(pa.binary(SPAN_ID_BYTES)),
        s.PARENT_SPAN_ID: parent,
        s.TRACE_STATE: spans.field("trace_state"),
        s.FLAGS: known_bits(spans.field("flags"), _FLAG_BITS),
        s.IS_ROOT: parent.is_null(),
        s.START_TIME: pa.array(start // 1000).view(s.TIMESTAMP),
        s.START_TIME_UNIX_NANO: pa.array(start),
        s.DURATION_NS: pa.array(end - start),
        s.INGEST_TIME: pa.array(np.full(count, now_us)).view(s.TIMESTAMP),
        s.NAME: spans.field("name"),
        s.KIND: _names(_KINDS, spans.field("kind")),
        s.STATUS_CODE: _names(_STATUSES, status.field("code")),
        s.STATUS_MESSAGE: _present(status, status.field("message")),
        s.ATTRIBUTES: attributes.values,
        s.NON_STRING_TYPES: attributes.types,
        s.EVENTS: _events(events, flat.salvage),
        s.EVENTS_COUNT: pc.list_value_length(events),
        s.LINKS: _links(spans.field("links"), flat.salvage),
        s.DROPPED_ATTRIBUTES_COUNT: spans.field("dropped_attributes_count").cast(pa.int64()),
        s.DROPPED_EVENTS_COUNT: spans.field("dropped_events_count").cast(pa.int64()),
        s.DROPPED_LINKS_COUNT: spans.field("dropped_links_count").cast(pa.int64()),
        **flat.owner_columns(),
    }
    return SpanBatch.from_columns(columns, count)


def _names(names: pa.StringArray, numbers: pa.Array) -> pa.Array:
    return names.take(pa.array(known_numbers(numbers, len(names))))


def _present(owner: pa.StructArray, child: pa.Array) -> pa.Array:
    """Return the child with null where the owner is not set: the way back needs to know."""
    if owner.null_count == 0:
        return child
    return pc.if_else(owner.is_valid(), child, pa.scalar(None, child.type))


def _events(events: pa.ListArray, salvage: Salvage) -> pa.ListArray:
    items = events.values
    maps = attribute_maps(items.field("attributes"), salvage)
    struct = pa.StructArray.from_arrays(
        [
            items.field("time_unix_nano").view(pa.int64()),
            items.field("name"),
            maps.values,
            maps.types,
            items.field("dropped_attributes_count").cast(pa.int64()),
        ],
        fields=list(s.EVENT),
    )
    return pa.ListArray.from_arrays(events.offsets, struct)


def _links(links: pa.ListArray, salvage: Salvage) -> pa.ListArray:
    items = links.values
    maps = attribute_maps(items.field("attributes"), salvage)
    struct = pa.StructArray.from_arrays(
        [
            items.field("trace_id"),
            items.field("span_id"),
            items.field("trace_state"),
            known_bits(items.field("flags"), _FLAG_BITS),
            maps.values,
            maps.types,
            items.field("dropped_attributes_count").cast(pa.int64()),
        ],
        fields=list(s.LINK),
    )
    return pa.ListArray.from_arrays(links.offsets, struct)
