"""The signals that clearspan takes: what each one's rows are and what counts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collector.model import telemetry as t
from collector.model.batch import LogBatch, SpanBatch
from collector.model.log_telemetry import LOG_RECORDS

if TYPE_CHECKING:
    from collector.model.batch import Batch
    from collector.model.metric import ItemMetrics


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; ``items`` is what its rows are called, ``suffix`` ends its components' names."""

    items: str
    batch: type[Batch]
    metrics: ItemMetrics
    suffix: str
    invalid_ids: str
    """Why items are rejected, as their sender is told."""


TRACES: Final = Signal(
    "spans",
    SpanBatch,
    t.SPANS,
    "",
    "spans with a missing, wrong-length or all-zero trace or span id",
)
LOGS: Final = Signal(
    "log records",
    LogBatch,
    LOG_RECORDS,
    "/logs",
    "log records with a trace or span id of a wrong length",
)
