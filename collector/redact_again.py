"""Redacts rows that were redacted under other rules: stored ones, and journalled ones at start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import LogBatch, SpanBatch
from collector.otlp.promotion import Promoter

if TYPE_CHECKING:
    from collector.model.batch import Batch, BatchT


class Redaction(Protocol):
    """The redaction processor."""

    @property
    def version(self) -> str:
        """What it writes as ``redaction_version``: rules, and behind the last dot the key."""

    def process(self, batch: BatchT) -> BatchT:
        """Redact."""


class RedactAgain:
    """Brings rows up to the redaction rules of today; ``strings`` and ``rows`` count what was cut.

    Rows that only have tokens of another key are left alone.
    """

    def __init__(self, redaction: Redaction) -> None:
        """Use this redaction."""
        self._redaction = redaction
        kinds: tuple[type[Batch], ...] = (SpanBatch, LogBatch)
        self._promoters = {kind: Promoter(kind) for kind in kinds}
        self.rules: Final = redaction.version.rpartition(".")[0]
        self.strings = self.rows = 0

    def meets(self, batch: Batch) -> bool:
        """Tell whether all rows were redacted under the rules of today."""
        versions = batch.column(s.REDACTION_VERSION).unique().to_pylist()
        return all(str(version).rpartition(".")[0] == self.rules for version in versions)

    def batch(self, batch: BatchT) -> BatchT:
        """Return the rows redacted; their ``redaction_count`` goes up by what was cut now.

        Promoted columns are made again of what is left in the attributes.
        """
        columns = [one.column for one in batch.promotions]
        empty = {name: pa.nulls(len(batch), batch.schema.field(name).type) for name in columns}
        clean = self._redaction.process(batch.replace(empty))
        now = clean.column(s.REDACTION_COUNT)
        self.strings += pc.sum(now).as_py() or 0
        self.rows += pc.sum(pc.greater(now, 0)).as_py() or 0
        earlier = batch.column(s.REDACTION_COUNT).fill_null(0)
        return self._promoters[type(batch)].process(
            clean.replace({s.REDACTION_COUNT: pc.add(now, earlier)})
        )
