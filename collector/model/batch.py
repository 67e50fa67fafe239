"""A batch of spans: one immutable Arrow table with the exact schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.model.schema import SAMPLE_REASON, SAMPLE_WEIGHT, SPAN_SCHEMA

_FIELDS: Final = tuple(SPAN_SCHEMA)
_POSITIONS: Final = {name: position for position, name in enumerate(SPAN_SCHEMA.names)}
# Setting one column takes 6 us, building a table of all 60 us.
_FEW: Final = 9

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """Spans, one a row, in ``SPAN_SCHEMA``; nobody mutates it, so anybody may keep it.

    Raises TypeError when the table's schema is another one.
    """

    table: pa.Table

    def __post_init__(self) -> None:
        """Refuse a table of any other shape: a wrong column is found here, not in the lake."""
        if not self.table.schema.equals(SPAN_SCHEMA):
            differing = [
                field.name
                for field in SPAN_SCHEMA
                if field.name not in self.table.column_names
                or self.table.schema.field(field.name).type != field.type
            ]
            msg = f"not a span table: columns {differing or 'in another order'}"
            raise TypeError(msg)

    def __len__(self) -> int:
        """Return the number of spans."""
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """Return one column as one contiguous array of ``len(self)`` values."""
        column = self.table.column(name)
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def replace(self, columns: Mapping[str, pa.Array]) -> SpanBatch:
        """Return a batch in which the named columns hold these arrays (same length, same type)."""
        if len(columns) <= _FEW:
            table = self.table
            for name, array in columns.items():
                position = _POSITIONS[name]
                table = table.set_column(position, _FIELDS[position], array)
            return SpanBatch(table)
        arrays = self.table.columns
        for name, array in columns.items():
            arrays[_POSITIONS[name]] = array
        return SpanBatch(pa.Table.from_arrays(arrays, schema=SPAN_SCHEMA))

    def keep(self, mask: NDArray[np.bool_]) -> SpanBatch:
        """Return the rows where ``mask`` (one bool a row) is true."""
        return SpanBatch(self.table.filter(pa.array(mask)))

    @staticmethod
    def from_columns(columns: Mapping[str, pa.Array], rows: int) -> SpanBatch:
        """Build a batch of ``rows`` spans; columns that are not given hold nulls."""
        arrays = [
            columns[field.name] if field.name in columns else pa.nulls(rows, field.type)
            for field in SPAN_SCHEMA
        ]
        return SpanBatch(pa.Table.from_arrays(arrays, schema=SPAN_SCHEMA))

    @staticmethod
    def concat(batches: Iterable[SpanBatch]) -> SpanBatch:
        """Return all rows in order, without copying (the table has several chunks)."""
        return SpanBatch(pa.concat_tables([batch.table for batch in batches]))

    @staticmethod
    def empty() -> SpanBatch:
        """Return a batch of no spans."""
        return SpanBatch(SPAN_SCHEMA.empty_table())


def keep_all(batch: SpanBatch, reason: str) -> SpanBatch:
    """Return every row with ``sample_weight`` 1 (or the one it came with) and this reason."""
    rows = len(batch)
    weights = pc.fill_null(batch.column(SAMPLE_WEIGHT), 1.0)
    reasons = pa.repeat(pa.scalar(reason, pa.string()), rows)
    return batch.replace({SAMPLE_WEIGHT: weights, SAMPLE_REASON: reasons})
