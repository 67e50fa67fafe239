"""A user's processor that writes into span names, found as `leaking_processor:Leaking`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from collector.model import schema as s

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch


class Leaking:
    """Writes a text into the name of the first span of each batch."""

    def __init__(self, text: str) -> None:
        """Take the text."""
        self._text = text

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Return the batch with that name."""
        names = batch.column(s.NAME).to_pylist()
        return batch.replace({s.NAME: pa.array([f"hello {self._text}", *names[1:]])})
