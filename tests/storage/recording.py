"""A telemetry that remembers, for tests and benchmarks of storage."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.model.metric import Metric


class RecordingTelemetry:
    """Keeps the sum of every counter, and the reader of every sampled gauge."""

    def __init__(self) -> None:
        """Start with nothing recorded."""
        self.sums: Counter[tuple[str, ...]] = Counter()
        self.readers: dict[str, Callable[[], float]] = {}
        self._lock = threading.Lock()

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter."""
        assert len(labels) == len(metric.labels)
        with self._lock:
            self.sums[metric.name, *labels] += amount

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.sums[metric.name, *labels] = value

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Count an observation."""
        assert value >= 0
        self.add(metric, 1, *labels)

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Remember how to read a gauge."""
        assert len(labels) == len(metric.labels)
        self.readers[metric.name] = read
