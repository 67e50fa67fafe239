"""Promoted columns: hot attributes repeated as typed columns, copied from the *clean* maps.

Runs right behind redaction, so a promoted column can hold nothing that redaction has not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.model.promotion import AttributeColumns

if TYPE_CHECKING:
    from collector.model.batch import Batch, BatchT


class Promoter:
    """A ``Processor`` that fills the promoted columns from the attribute maps."""

    def __init__(self, kind: type[Batch]) -> None:
        """Index the promotions of batches of this kind."""
        self._columns = AttributeColumns(kind.promotions)

    def process(self, batch: BatchT) -> BatchT:
        """Return the batch with its promoted columns set; null where a row has no such key."""
        columns = self._columns.of(batch.column)
        return batch.replace(columns) if columns else batch
