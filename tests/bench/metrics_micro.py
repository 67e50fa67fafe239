"""Measures the golden signals alone: CPU per span, scrape time, one telemetry call.

Run it with ``python -m tests.bench.metrics_micro``.
"""

from __future__ import annotations

import gzip
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from collector.metrics.exposition import render
from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import schema
from collector.model.batch import SpanBatch
from collector.model.telemetry import ACCEPTED, STAGE_SECONDS
from config.settings import PrometheusSettings

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 512
BATCHES = 400


def make_batch(rng: np.random.Generator, rows: int, *, routes: int, first: int = 0) -> SpanBatch:
    """Return spans of one service, 30 % of them LLM calls, over ``routes`` span names."""
    kinds = np.array(["SERVER", "CLIENT", "INTERNAL"])
    statuses = np.array(["UNSET", "ERROR"])
    llm = rng.random(rows) < 0.3

    def text(values: np.ndarray, *, only_llm: bool = False) -> pa.Array:
        return pa.array(values.astype(object), pa.string(), mask=~llm if only_llm else None)

    def same(value: str) -> pa.Array:
        return text(np.full(rows, value), only_llm=True)

    micros = rng.integers(1, 50_000, rows)
    names = np.char.add("GET /route/", (first + np.arange(rows) % routes).astype(str))
    return SpanBatch.from_columns(
        {
            schema.TRACE_ID: pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), rows, [None, pa.py_buffer(rng.bytes(16 * rows))]
            ),
            schema.SERVICE_NAME: text(np.full(rows, "checkout")),
            schema.NAME: text(names),
            schema.KIND: text(kinds[np.arange(rows) % 3]),
            schema.STATUS_CODE: text(statuses[(rng.random(rows) < 0.05).astype(int)]),
            schema.DURATION_NS: pa.array(rng.integers(10**5, 10**10, rows)),
            schema.GEN_AI_OPERATION_NAME: same("chat"),
            schema.GEN_AI_PROVIDER_NAME: same("openai"),
            schema.GEN_AI_REQUEST_MODEL: same("gpt-4o"),
            schema.GEN_AI_RESPONSE_MODEL: same("gpt-4o-2024-08-06"),
            "finish_reasons": same('["stop"]'),
            schema.INPUT_TOKENS: pa.array(rng.integers(1, 5000, rows), pa.int64(), mask=~llm),
            schema.OUTPUT_TOKENS: pa.array(rng.integers(1, 900, rows), pa.int64(), mask=~llm),
            schema.COST_USD: pa.array(micros / 1e6, mask=~llm).cast(schema.MONEY, safe=False),
            schema.COST_STATUS: same("priced"),
        },
        rows,
    )


def cpu_us(work: Callable[[], None], times: int) -> float:
    """Return CPU microseconds of one call, over ``times`` calls."""
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times * 1e6


def measure_observe(rows: int) -> None:
    """Print what one span costs in batches of ``rows``."""
    rng = np.random.default_rng(1)
    batches = [make_batch(rng, rows, routes=7) for _ in range(8)]
    signals = GoldenSignals(PrometheusSettings())
    for batch in batches:
        signals.observe(batch)
    turn = iter(batches * (BATCHES // len(batches)))
    per_batch = cpu_us(lambda: signals.observe(next(turn)), BATCHES)
    print(f"observe, {rows:>5} spans a batch: {per_batch / rows:6.2f} us CPU a span")


def measure_scrape() -> None:
    """Print what a scrape of 2,000 histogram series costs, in both formats."""
    rng = np.random.default_rng(1)
    signals, telemetry = GoldenSignals(PrometheusSettings()), PrometheusTelemetry()
    for first in range(0, 4000, 400):
        signals.observe(make_batch(rng, 4096, routes=400, first=first))
    for openmetrics in (False, True):
        cpu = cpu_us(lambda: render(telemetry, signals, openmetrics=openmetrics), 5)  # noqa: B023
        body = render(telemetry, signals, openmetrics=openmetrics)
        name = "OpenMetrics with exemplars" if openmetrics else "text"
        packed = cpu_us(lambda: gzip.compress(body, 1), 5)  # noqa: B023
        print(
            f"scrape, {name}: {cpu / 1e3:.1f} ms, gzip {packed / 1e3:.1f} ms, {len(body):,} bytes"
        )


def measure_telemetry() -> None:
    """Print what one write to own telemetry costs."""
    telemetry = PrometheusTelemetry()
    add = cpu_us(lambda: telemetry.add(ACCEPTED, 1, "otlp", "grpc"), 200_000)
    observe = cpu_us(lambda: telemetry.observe(STAGE_SECONDS, 0.001, "decode"), 200_000)
    print(f"telemetry: add {add:.2f} us, observe {observe:.2f} us")


if __name__ == "__main__":
    for size in (64, 512, 4096):
        measure_observe(size)
    measure_scrape()
    measure_telemetry()
