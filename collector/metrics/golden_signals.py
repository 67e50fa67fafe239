"""Golden signals: rate, errors and duration of all spans; tokens, cost and ends of LLM calls.

Taken of every accepted span before sampling, so they are exact whatever is stored.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import repeat
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np

from collector.metrics.families import (
    CALLS,
    COST,
    FINISH_REASONS,
    FIRST_CHUNK,
    OPERATION_DURATION,
    SPAN_DURATION,
    TOKEN_USAGE,
    UNPRICED,
)
from collector.metrics.labels import Codes, Groups, encode, group
from collector.metrics.series import CounterSeries, HistogramSeries, SeriesPolicy
from collector.model import schema
from collector.model.errors import ConfigError
from collector.model.telemetry import SERIES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.metrics.snapshot import CounterSnapshot, HistogramSnapshot
    from collector.model.batch import SpanBatch
    from collector.model.telemetry import Telemetry
    from config.settings import PrometheusSettings

_NANOS: Final = 1_000_000_000
_NO_CALL: Final = frozenset(schema.NO_CALL_OPERATIONS)
# An array attribute is JSON text: ["stop","length"] is shown as stop,length.
_JSON_MARKS: Final = str.maketrans("", "", '[]" \t\n')
_MODEL_COLUMNS: Final = (
    schema.GEN_AI_OPERATION_NAME,
    schema.GEN_AI_PROVIDER_NAME,
    schema.GEN_AI_REQUEST_MODEL,
    schema.GEN_AI_RESPONSE_MODEL,
)


class GoldenSignals:
    """The signals of one process, a ``SignalObserver``; render from any thread."""

    def __init__(
        self,
        settings: PrometheusSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without series; ``clock`` gives Unix seconds for creation times and exemplars.

        ``monotonic`` gives the seconds that ``series_expiration`` is counted in.

        Raises ConfigError when the buckets are not ascending.
        """
        buckets = settings.histogram_buckets
        if not buckets or not (np.diff(buckets) > 0).all():
            raise ConfigError("exporters.prometheus.histogram_buckets: numbers in ascending order")
        policy = SeriesPolicy(
            settings.aggregation_cardinality_limit,
            settings.series_expiration,
            clock,
            monotonic,
        )
        exemplars = settings.exemplars
        self._lock = Lock()
        self._spans = HistogramSeries(
            replace(SPAN_DURATION, buckets=buckets), policy, exemplars=exemplars
        )
        self._tokens = HistogramSeries(TOKEN_USAGE, policy, exemplars=exemplars)
        self._operations = HistogramSeries(OPERATION_DURATION, policy, exemplars=exemplars)
        self._first_chunk = HistogramSeries(FIRST_CHUNK, policy, exemplars=exemplars)
        self._cost = CounterSeries(COST, policy, divisor=_NANOS)
        self._unpriced = CounterSeries(UNPRICED, policy)
        self._finish_reasons = CounterSeries(FINISH_REASONS, policy)

    def observe(self, batch: SpanBatch) -> None:
        """Add the batch to the signals; keeps nothing of it but label values and trace ids."""
        if not len(batch):
            return
        service = encode(batch.column(schema.SERVICE_NAME))
        spans = group(
            service,
            encode(batch.column(schema.NAME)),
            encode(batch.column(schema.KIND), "SPAN_KIND_"),
            encode(batch.column(schema.STATUS_CODE), "STATUS_CODE_"),
        )
        # a span that ends before it starts (clock step) lasted no time rather than less than none
        nanos = batch.column(schema.DURATION_NS).fill_null(0).to_numpy()
        seconds = np.maximum(nanos, 0) / _NANOS
        trace_ids = _trace_ids(batch)
        with self._lock:
            self._spans.observe(spans, seconds, trace_ids)
            self._observe_gen_ai(batch, service, seconds, trace_ids)

    def report_series(self, telemetry: Telemetry) -> None:
        """Let ``telemetry`` show how many series each family holds."""
        for family in self._families:
            telemetry.sample(SERIES, family.index.__len__, family.metric.name)

    def render(self, *, openmetrics: bool) -> str:
        """Return all families as Prometheus text, or as OpenMetrics without its end mark.

        Series whose time is over are shown once more and forgotten.
        """
        with self._lock:
            histograms = [family.snapshot() for family in self._histograms]
            counters = [family.snapshot() for family in self._counters]
            # behind the snapshots: a series that no scrape has shown would take its counts with it
            for series in self._families:
                series.forget_idle()
        families: list[HistogramSnapshot | CounterSnapshot] = [*histograms, *counters]
        families.insert(0, histograms[0].calls(CALLS))
        return "".join([family.render(openmetrics=openmetrics) for family in families])

    @property
    def _families(self) -> tuple[HistogramSeries | CounterSeries, ...]:
        return (*self._histograms, *self._counters)

    @property
    def _histograms(self) -> tuple[HistogramSeries, ...]:
        return (self._spans, self._tokens, self._operations, self._first_chunk)

    @property
    def _counters(self) -> tuple[CounterSeries, ...]:
        return (self._cost, self._unpriced, self._finish_reasons)

    def _observe_gen_ai(
        self,
        batch: SpanBatch,
        service: Codes,
        seconds: NDArray[np.float64],
        trace_ids: NDArray[np.void],
    ) -> None:
        columns = [batch.column(name) for name in _MODEL_COLUMNS]
        rows = np.flatnonzero(np.logical_or.reduce([_is_valid(column) for column in columns]))
        if not len(rows):
            return
        calls = [encode(column).take(rows) for column in columns]
        groups = group(service.take(rows), *calls)
        ids = trace_ids[rows]
        errors = encode(batch.column(schema.ERROR_TYPE)).take(rows)
        self._operations.observe(groups.refine(errors), seconds[rows], ids)
        self._observe_usage(batch, rows, groups, calls[0], ids)
        self._observe_ends(batch, rows, groups, ids)

    def _observe_usage(
        self,
        batch: SpanBatch,
        rows: NDArray[np.int64],
        groups: Groups,
        operation: Codes,
        trace_ids: NDArray[np.void],
    ) -> None:
        """Add tokens and cost of the GenAI spans ``rows``."""
        own = np.array([name.lower() not in _NO_CALL for name in operation.values])
        own_usage = own[operation.codes]
        for column, direction in (
            (schema.INPUT_TOKENS, "input"),
            (schema.OUTPUT_TOKENS, "output"),
        ):
            tokens = _numbers(batch.column(column))[rows]
            chosen = np.flatnonzero(own_usage & np.isfinite(tokens))
            if len(chosen):
                self._tokens.observe(
                    groups.select(chosen).labelled(direction),
                    np.maximum(tokens[chosen], 0),
                    trace_ids[chosen],
                )
        cost = batch.column(schema.COST_USD)
        status = _is_valid(batch.column(schema.COST_STATUS))[rows]
        priced = _is_valid(cost)[rows]
        chosen = np.flatnonzero(priced)
        if len(chosen):
            self._cost.add(groups.select(chosen), np.maximum(_nano_usd(cost)[rows][chosen], 0))
        chosen = np.flatnonzero(status & ~priced)
        if len(chosen):
            self._unpriced.add(groups.select(chosen))

    def _observe_ends(
        self,
        batch: SpanBatch,
        rows: NDArray[np.int64],
        groups: Groups,
        trace_ids: NDArray[np.void],
    ) -> None:
        """Add why the GenAI spans ``rows`` ended and how soon their first chunk came."""
        reasons = batch.column("finish_reasons")
        chosen = np.flatnonzero(_is_valid(reasons)[rows])
        if len(chosen):
            ends = encode(reasons)
            plain = list(map(str.translate, ends.values, repeat(_JSON_MARKS)))
            self._finish_reasons.add(groups.refine(Codes(ends.codes[rows], plain)).select(chosen))
        first_chunk = _numbers(batch.column("time_to_first_token_s"))[rows]
        chosen = np.flatnonzero(np.isfinite(first_chunk))
        if len(chosen):
            values = np.maximum(first_chunk[chosen], 0)
            self._first_chunk.observe(groups.select(chosen), values, trace_ids[chosen])


def _trace_ids(batch: SpanBatch) -> NDArray[np.void]:
    column = batch.column(schema.TRACE_ID)
    return np.frombuffer(column.buffers()[1], dtype="V16")[column.offset :][: len(column)]


def _is_valid(column: pa.Array) -> NDArray[np.bool_]:
    if column.null_count == len(column):
        return np.zeros(len(column), dtype=bool)
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    """Return a numeric column with NaN for null."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _nano_usd(column: pa.Array) -> NDArray[np.int64]:
    """Return DECIMAL(18,9) as whole billionths, undefined where null.

    18 digits fit in int64, which two's complement makes the low half of the 16-byte value.
    """
    halves = np.frombuffer(column.buffers()[1], dtype="<i8")
    return halves[::2][column.offset :][: len(column)]
