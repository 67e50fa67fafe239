"""Spans and log records that are to be gone, and taking them out of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.log_schema import RECORD_IDX
from storage.lake_tables import IDENTITY, LOGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.model.batch import BatchT

_KEYS: Final = (s.TRACE_ID, s.SPAN_ID)
KEY_SCHEMA: Final = pa.schema([(s.TRACE_ID, pa.binary()), (s.SPAN_ID, pa.binary())])
# A log record that belongs to no trace is named by itself.
RECORD_SCHEMA: Final = pa.schema([(s.BATCH_SEQ, pa.int64()), (RECORD_IDX, pa.int32())])


class Erased:
    """A ``Change``: drops the rows of spans by their keys, and links to traces that are gone.

    Log records of those spans go with them, and those that are named themselves.
    """

    rules: str | None = None

    def __init__(
        self,
        keys: pa.Table,
        *,
        whole_traces: bool,
        records: pa.Table | None = None,
        named: Sequence[bytes] = (),
    ) -> None:
        """Take trace and span ids, one row a span; ``whole_traces`` goes by the trace alone.

        ``records`` are further log records, one a row of ``RECORD_SCHEMA``. ``named`` are traces
        to which no link may stay though nothing of them may be stored any more.
        """
        self.keys: Final = keys
        self.records: Final = RECORD_SCHEMA.empty_table() if records is None else records
        self.is_whole: Final = whole_traces
        self.traces: Final[pa.Array] = pc.unique(keys.column(s.TRACE_ID))
        self.unlinked: Final[pa.Array] = pc.unique(
            pa.concat_arrays([self.traces, pa.array(named, pa.binary())])
        )
        self._keys = pc.unique(self._key(keys))
        self._records = pc.unique(_record(self.records))

    def __len__(self) -> int:
        """Return how many spans and log records were named."""
        return len(self._keys) + len(self._records)

    def hits(self, rows: pa.Table) -> pa.ChunkedArray:
        """Tell for each row with trace and span id, of log records also their own, if it goes."""
        hits = pc.is_in(self._key(rows), value_set=self._keys)
        if len(self._records) and IDENTITY[LOGS] in rows.column_names:
            hits = pc.or_(hits, pc.is_in(_record(rows), value_set=self._records))
        return hits

    def touches(self, rows: pa.Table) -> bool:
        """Tell whether a row goes, or links to what goes; ``links`` are looked at if there."""
        if pc.any(self.hits(rows)).as_py():
            return True
        if not self.is_whole or s.LINKS not in rows.column_names:
            return False
        links = pc.list_flatten(rows.column(s.LINKS))
        linked = pc.struct_field(links, s.TRACE_ID).cast(pa.binary())
        return bool(pc.any(pc.is_in(linked, value_set=self.unlinked)).as_py())

    def spans(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        kept = rows.filter(pc.invert(self.hits(rows)))
        return self._without_links(kept) if self.is_whole and kept.num_rows else kept

    def events(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        return rows.filter(pc.invert(self.hits(rows)))

    def logs(self, rows: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        return rows.filter(pc.invert(self.hits(rows)))

    def batch(self, batch: BatchT) -> BatchT:
        """Return the rows that stay."""
        has_links = s.LINKS in batch.schema.names
        return type(batch)((self.spans if has_links else self.logs)(batch.table))

    def _key(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return one binary value a row: the trace id, with the span id behind it unless whole.

        Null where a log record has no such id, which is in no set.
        """
        traces = rows.column(s.TRACE_ID).cast(pa.binary())
        if self.is_whole:
            return traces
        spans = rows.column(s.SPAN_ID).cast(pa.binary())
        return pc.binary_join_element_wise(traces, spans, pa.scalar(b"", pa.binary()))

    def _without_links(self, rows: pa.Table) -> pa.Table:
        """Empty the ids of links into traces that are gone."""
        links = rows.column(s.LINKS).combine_chunks()
        each = links.flatten()
        gone = pc.is_in(each.field(s.TRACE_ID).cast(pa.binary()), value_set=self.unlinked)
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


def _record(rows: pa.Table) -> pa.ChunkedArray:
    """Return one number a row that names a log record: its batch, and its place in it."""
    place = rows.column(RECORD_IDX).cast(pa.int64())
    return pc.add(pc.shift_left(rows.column(s.BATCH_SEQ), 32), place)
