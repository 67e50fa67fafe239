"""Span batches with the columns samplers read, a clock to turn, and a telemetry that remembers."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.sampling import TailSamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.model.contracts import Sampled, Sampler
    from collector.model.metric import Metric

SECOND = 10**9
START = 1_790_000_000 * SECOND
COLUMNS = {
    "seq": s.BATCH_SEQ,
    "status": s.STATUS_CODE,
    "start_ns": s.START_TIME_UNIX_NANO,
    "duration_ns": s.DURATION_NS,
    "usd": s.COST_USD,
    "state": s.TRACE_STATE,
    "weight": s.SAMPLE_WEIGHT,
    "name": s.NAME,
}


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        """Start at some moment."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, seconds."""
        return self.now


class Counters:
    """Keeps counters by metric name and labels, and observations in order."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.observed: list[float] = []

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter."""
        assert len(labels) == len(metric.labels)
        self.counts[(metric.name, *labels)] += int(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.counts[(metric.name, *labels)] = int(value)

    def observe(self, _metric: Metric, value: float, *_labels: str) -> None:
        """Keep an observation."""
        self.observed.append(value)

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Read a gauge once."""
        self.set(metric, read(), *labels)


def span(trace: int | bytes, **values: Any) -> dict[str, Any]:
    """Return a span of that trace, successful and 1 ms long, changed as given."""
    defaults = {
        "seq": 1,
        "status": "OK",
        "start_ns": START,
        "duration_ns": SECOND // 1000,
        "trace": trace_id(trace) if isinstance(trace, int) else trace,
    }
    return defaults | values


def trace_id(number: int) -> bytes:
    """Return a random-looking id, the same one for the same number."""
    return np.random.default_rng(number).bytes(16)


def batch_of(spans: Sequence[dict[str, Any]]) -> SpanBatch:
    """Return a batch of these spans, in this order."""
    columns = {
        column: pa.array([each.get(key) for each in spans], s.SPAN_SCHEMA.field(column).type)
        for key, column in COLUMNS.items()
    }
    columns[s.TRACE_ID] = pa.array([each["trace"] for each in spans], pa.binary(16))
    return SpanBatch.from_columns(columns, len(spans))


def random_traces(count: int, seed: int = 0, **values: Any) -> SpanBatch:
    """Return one span for each of so many random traces, every one with these values."""
    raw = np.random.default_rng(seed).bytes(16 * count)
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(raw)])
    columns = {
        COLUMNS[key]: pa.repeat(pa.scalar(value, s.SPAN_SCHEMA.field(COLUMNS[key]).type), count)
        for key, value in (span(0) | values).items()
        if key in COLUMNS
    }
    return SpanBatch.from_columns(columns | {s.TRACE_ID: ids}, count)


def tail_settings(*policies: dict[str, Any], **values: Any) -> TailSamplingSettings:
    """Return settings with these policies; a policy without a name is called like its type."""
    named = [{"name": policy["type"], **policy} for policy in policies]
    return TailSamplingSettings.model_validate({"policies": named, **values})


def share(percentage: float, name: str = "share", salt: str = "") -> dict[str, Any]:
    """Return a probabilistic policy."""
    options = {"sampling_percentage": percentage, "hash_salt": salt}
    return {"name": name, "type": "probabilistic", "probabilistic": options}


def errors(name: str = "errors") -> dict[str, Any]:
    """Return a policy for traces with an error."""
    return {"name": name, "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}


def dear(min_usd: float) -> dict[str, Any]:
    """Return a policy for expensive traces."""
    return {"name": "dear", "type": "cost", "cost": {"min_usd": min_usd}}


def slow(least_ms: float, most_ms: float = 0) -> dict[str, Any]:
    """Return a policy for traces of such a duration."""
    options = {"threshold_ms": least_ms, "upper_threshold_ms": most_ms}
    return {"name": "slow", "type": "latency", "latency": options}


def both(*policies: dict[str, Any], name: str = "both") -> dict[str, Any]:
    """Return a policy for traces that all of these keep."""
    return {"name": name, "type": "and", "and": {"and_sub_policy": list(policies)}}


def outcome(sampler: Sampler, batch: SpanBatch) -> Sampled:
    """Offer one batch and decide everything; return what the decision gave."""
    assert len(sampler.offer(batch).kept) == 0
    return sampler.drain()


def names(sampled: Sampled) -> list[str]:
    """Return the names of the kept spans, in order."""
    return list(sampled.kept.column(s.NAME).to_pylist())


def reasons(sampled: Sampled) -> list[str]:
    """Return why each kept span was kept."""
    return list(sampled.kept.column(s.SAMPLE_REASON).to_pylist())


def weights(sampled: Sampled) -> list[float]:
    """Return what each kept span stands for."""
    return list(sampled.kept.column(s.SAMPLE_WEIGHT).to_pylist())


def usd(text: str) -> Decimal:
    """Return an amount of money."""
    return Decimal(text)
