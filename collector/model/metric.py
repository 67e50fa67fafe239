"""What one metric is declared by, and the family of metrics that each signal has of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One exposed metric: its full Prometheus name, kind, help text and label names."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemMetrics:
    """The metrics that count a signal's own items: spans, or log records.

    ``received`` to ``pending`` are the conservation counters (see ``telemetry``); ``accepted`` to
    ``send_failed`` say the same in the Collector's words.
    """

    received: Metric
    replayed: Metric
    stored: Metric
    dropped: Metric
    refused: Metric
    pending: Metric
    accepted: Metric
    receiver_refused: Metric
    sent: Metric
    send_failed: Metric
    per_batch: Metric
    expired: Metric
    journal_bytes: Metric
    lake_files: Metric
    lake_bytes: Metric
