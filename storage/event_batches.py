"""Rows of ``span_events`` as spans with one event each, and back.

Whatever works on span batches works on stored events that way.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch
from storage.lake_tables import SPAN_EVENTS_SCHEMA, events_of

_OF_SPAN = (s.TRACE_ID, s.SPAN_ID, s.SAMPLE_WEIGHT, s.SOURCE_ID, s.BATCH_SEQ)
_SERVICE_NAME = "service.name"


def to_batch(events: pa.Table) -> SpanBatch:
    """Return one span an event; its service's name is a resource attribute."""
    events = events.combine_chunks()
    rows = events.num_rows
    columns = {name: _array(events, name) for name in _OF_SPAN}
    kind = s.SPAN_SCHEMA.field(s.EVENTS).type
    fields = [kind.value_type.field(i) for i in range(kind.value_type.num_fields)]
    each = pa.StructArray.from_arrays(
        [
            _array(events, field.name)
            if field.name in SPAN_EVENTS_SCHEMA.names
            else pa.nulls(rows, field.type)
            for field in fields
        ],
        fields=fields,
    )
    columns[s.EVENTS] = pa.ListArray.from_arrays(
        pa.array(np.arange(rows + 1, dtype=np.int32)), each
    ).cast(kind)
    names = _array(events, s.SERVICE_NAME)
    present = np.concatenate([[0], np.cumsum(names.is_valid().to_numpy(zero_copy_only=False))])
    columns[s.RESOURCE_ATTRIBUTES] = pa.MapArray.from_arrays(
        pa.array(present.astype(np.int32)),
        pa.repeat(pa.scalar(_SERVICE_NAME, pa.string()), int(present[-1])),
        names.drop_null(),
        type=s.STRING_MAP,
    )
    return SpanBatch.from_columns(columns, rows)


def from_batch(batch: SpanBatch, events: pa.Table) -> pa.Table:
    """Return the batch's events as rows, numbered as in ``events``, from which it was made.

    Its promoted columns have to be set: from them comes the service's name.
    """
    rows, _ = events_of(batch.table)
    position = SPAN_EVENTS_SCHEMA.get_field_index("event_idx")
    return rows.set_column(position, SPAN_EVENTS_SCHEMA.field(position), events.column("event_idx"))


def _array(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).combine_chunks()
