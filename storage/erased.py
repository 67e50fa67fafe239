"""Spans that are to be gone, and taking them out of rows."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import SpanBatch

_KEYS: Final = (s.TRACE_ID, s.SPAN_ID)
KEY_SCHEMA: Final = pa.schema([(s.TRACE_ID, pa.binary()), (s.SPAN_ID, pa.binary())])


class Erased:
    """A ``Change``: drops the rows of spans by their keys, and links to traces that are gone."""

    rules: str | None = None

    def __init__(self, keys: pa.Table, *, whole_traces: bool) -> None:
        """Take trace and span ids, one row a span; ``whole_traces`` goes by the trace alone."""
        self.keys: Final = keys
        self.is_whole: Final = whole_traces
        self.traces: Final[pa.Array] = pc.unique(keys.column(s.TRACE_ID))
        self._keys = pc.unique(self._key(keys))

    def __len__(self) -> int:
        """Return how many spans were named."""
        return len(self._keys)

    def hits(self, rows: pa.Table) -> pa.ChunkedArray:
        """Tell for each row with trace and span id whether it goes."""
        return pc.is_in(self._key(rows), value_set=self._keys)

    def touches(self, rows: pa.Table) -> bool:
        """Tell whether a row goes, or links to what goes; ``links`` are looked at if there."""
        if pc.any(self.hits(rows)).as_py():
            return True
        if not self.is_whole or s.LINKS not in rows.column_names:
            return False
        links = pc.list_flatten(rows.column(s.LINKS))
        linked = pc.struct_field(links, s.TRACE_ID).cast(pa.binary())
        return bool(pc.any(pc.is_in(linked, value_set=self.traces)).as_py())

    def spans(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        kept = rows.filter(pc.invert(self.hits(rows)))
        return self._without_links(kept) if self.is_whole and kept.num_rows else kept

    def events(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        return rows.filter(pc.invert(self.hits(rows)))

    def batch(self, batch: SpanBatch) -> SpanBatch:
        """Return the spans that stay."""
        return SpanBatch(self.spans(batch.table))

    def _key(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return one binary value a row: the trace id, with the span id behind it unless whole."""
        traces = rows.column(s.TRACE_ID).cast(pa.binary())
        if self.is_whole:
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
