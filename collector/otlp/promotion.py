"""Promoted columns: hot attributes repeated as typed columns, copied from the *clean* maps.

Runs right behind redaction, so a promoted column can hold nothing that redaction has not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.model.promotion import AttributeColumns
from collector.model.schema import PROMOTIONS

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch


class Promoter:
    """A ``Processor`` that fills the columns of ``PROMOTIONS`` from the attribute maps."""

    def __init__(self) -> None:
        """Index the promotions."""
        self._columns = AttributeColumns(PROMOTIONS)

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Return the batch with its promoted columns set; null where a row has no such key."""
        columns = self._columns.of(batch.column)
        return batch.replace(columns) if columns else batch
