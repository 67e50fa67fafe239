"""Batches: immutable Arrow tables with an exact schema, one row a span or a log record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from collector.model.log_schema import LOG_PROMOTIONS, LOG_SCHEMA
from collector.model.schema import PROMOTIONS, SAMPLE_REASON, SAMPLE_WEIGHT, SPAN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from collector.model.schema import Promotion

# Setting one column takes 6 us, building a table of all 60 us.
_FEW: Final = 9


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one signal in ``schema``; nobody mutates it, so anybody may keep it.

    Raises TypeError when the table's schema is another one.
    """

    table: pa.Table

    schema: ClassVar[pa.Schema]
    places: ClassVar[Mapping[str, tuple[int, pa.Field]]]
    """Position and field of each column by its name: asking the schema takes a microsecond."""
    promotions: ClassVar[tuple[Promotion, ...]]
    """The columns that repeat an attribute."""

    def __post_init__(self) -> None:
        """Refuse a table of any other shape: a wrong column is found here, not in the lake."""
        if not self.table.schema.equals(self.schema):
            differing = [
                field.name
                for field in self.schema
                if field.name not in self.table.column_names
                or self.table.schema.field(field.name).type != field.type
            ]
            msg = f"not a {type(self).__name__}: columns {differing or 'in another order'}"
            raise TypeError(msg)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """Return one column as one contiguous array of ``len(self)`` values."""
        column = self.table.column(name)
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def replace(self, columns: Mapping[str, pa.Array]) -> Self:
        """Return a batch in which the named columns hold these arrays (same length, same type)."""
        if len(columns) <= _FEW:
            table = self.table
            for name, array in columns.items():
                table = table.set_column(*self.places[name], array)
            return type(self)(table)
        arrays = self.table.columns
        for name, array in columns.items():
            arrays[self.places[name][0]] = array
        return type(self)(pa.Table.from_arrays(arrays, schema=self.schema))

    def keep(self, mask: NDArray[np.bool_]) -> Self:
        """Return the rows where ``mask`` (one bool a row) is true."""
        return type(self)(self.table.filter(pa.array(mask)))

    @classmethod
    def from_columns(cls, columns: Mapping[str, pa.Array], rows: int) -> Self:
        """Build a batch of so many rows; columns that are not given hold nulls."""
        arrays = [
            columns[field.name] if field.name in columns else pa.nulls(rows, field.type)
            for field in cls.schema
        ]
        return cls(pa.Table.from_arrays(arrays, schema=cls.schema))

    @classmethod
    def concat(cls, batches: Iterable[Self]) -> Self:
        """Return all rows in order, without copying (the table has several chunks)."""
        return cls(pa.concat_tables([batch.table for batch in batches]))

    @classmethod
    def empty(cls) -> Self:
        """Return a batch of no rows."""
        return cls(cls.schema.empty_table())


def _places(schema: pa.Schema) -> dict[str, tuple[int, pa.Field]]:
    return {field.name: (position, field) for position, field in enumerate(schema)}


@dataclass(frozen=True, slots=True)
class SpanBatch(Batch):
    """Spans, one a row, in ``SPAN_SCHEMA``."""

    schema = SPAN_SCHEMA
    places = _places(SPAN_SCHEMA)
    promotions = PROMOTIONS


@dataclass(frozen=True, slots=True)
class LogBatch(Batch):
    """Log records, one a row, in ``LOG_SCHEMA``."""

    schema = LOG_SCHEMA
    places = _places(LOG_SCHEMA)
    promotions = LOG_PROMOTIONS


BatchT = TypeVar("BatchT", bound=Batch)
"""A batch of one signal, the same one everywhere in a signature."""


def keep_all(batch: BatchT, reason: str) -> BatchT:
    """Return every row with ``sample_weight`` 1 (or the one it came with) and this reason.

    Rows of a signal that is not sampled have neither and stay as they are.
    """
    if batch.schema.get_field_index(SAMPLE_WEIGHT) < 0:
        return batch
    rows = len(batch)
    weights = pc.fill_null(batch.column(SAMPLE_WEIGHT), 1.0)
    reasons = pa.repeat(pa.scalar(reason, pa.string()), rows)
    return batch.replace({SAMPLE_WEIGHT: weights, SAMPLE_REASON: reasons})
