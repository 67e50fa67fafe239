"""clearspan's own telemetry: the declared table of metrics over a prometheus_client registry."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from collector.model.telemetry import (
    CPU_SECONDS,
    MEMORY_RSS,
    METRICS,
    SCRAPE_ERRORS,
    UPTIME,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from collector.model.metric import Metric

_STATM: Final = Path("/proc/self/statm")
_RESIDENT_FIELD: Final = 1


class PrometheusTelemetry:
    """The ``Telemetry`` of one process; ``registry`` holds every metric of ``METRICS``.

    A metric is either written (``add``, ``set``, ``observe``) or sampled, not both.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Declare all metrics; ``clock`` gives the seconds that uptime is counted in."""
        self.registry = CollectorRegistry()
        self._sampled: dict[str, _Sampled] = {}
        self._written: dict[str, Counter | Gauge | Histogram] = {}
        # bound methods of the label children: finding them through labels() takes 1 us a call
        self._writers: dict[tuple[str, tuple[str, ...]], Callable[[float], None]] = {}
        for metric in METRICS:
            self._declare(metric)
        started = clock()
        self.sample(UPTIME, lambda: clock() - started)
        self.sample(CPU_SECONDS, time.process_time)
        self.sample(MEMORY_RSS, _resident_bytes)

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter; ``labels`` are values in the order the metric declares them."""
        (self._writers.get((metric.name, labels)) or self._resolve(metric, labels))(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        (self._writers.get((metric.name, labels)) or self._resolve(metric, labels))(value)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        (self._writers.get((metric.name, labels)) or self._resolve(metric, labels))(value)

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Read a gauge or counter by calling ``read`` at every scrape.

        When ``read`` raises, the sample is missing from that scrape and the miss is counted.
        """
        sampled = self._sampled.get(metric.name)
        if sampled is None:
            self.registry.unregister(self._written[metric.name])
            sampled = self._sampled[metric.name] = _Sampled(metric, self._count_read_error)
            self.registry.register(sampled)
        sampled.reads = {**sampled.reads, labels: read}

    def _declare(self, metric: Metric) -> None:
        if metric.kind == "histogram":
            self._written[metric.name] = Histogram(
                metric.name,
                metric.help,
                metric.labels,
                registry=self.registry,
                buckets=metric.buckets,
            )
        else:
            kind = Counter if metric.kind == "counter" else Gauge
            self._written[metric.name] = kind(
                metric.name, metric.help, metric.labels, registry=self.registry
            )

    def _resolve(self, metric: Metric, labels: tuple[str, ...]) -> Callable[[float], None]:
        """Find, or make, the child of these label values and remember how to write to it."""
        parent = self._written[metric.name]
        child = parent.labels(*labels) if metric.labels else parent
        if isinstance(child, Counter):
            write: Callable[[float], None] = child.inc
        elif isinstance(child, Gauge):
            write = child.set
        else:
            write = child.observe
        self._writers[metric.name, labels] = write
        return write

    def _count_read_error(self, metric: str) -> None:
        self.add(SCRAPE_ERRORS, 1, metric)


class _Sampled(Collector):
    """One metric whose values are read at the scrape."""

    def __init__(self, metric: Metric, on_error: Callable[[str], None]) -> None:
        self.reads: dict[tuple[str, ...], Callable[[], float]] = {}
        self._metric = metric
        self._on_error = on_error

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Return the name alone, so that registering reads nothing."""
        return [self._family()]

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Read every value now."""
        family = self._family()
        for labels, read in self.reads.items():
            try:
                family.add_metric(labels, read())
            except Exception:  # noqa: BLE001 - the edge of a scrape: one bad reader, not no scrape
                self._on_error(self._metric.name)
        return [family]

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        kind = CounterMetricFamily if self._metric.kind == "counter" else GaugeMetricFamily
        return kind(self._metric.name, self._metric.help, labels=self._metric.labels)


def _resident_bytes() -> float:
    """Return resident memory; /proc has it in pages (Linux only, as the wheel says)."""
    pages = int(_STATM.read_text(encoding="ascii").split()[_RESIDENT_FIELD])
    return pages * os.sysconf("SC_PAGE_SIZE")
