"""Own telemetry: the declared table, exact names, threads, sampled values."""

from __future__ import annotations

import threading

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model.telemetry import (
    ACCEPTED,
    CPU_SECONDS,
    JOURNAL_BYTES,
    MEMORY_RSS,
    METRICS,
    PENDING_SPANS,
    QUEUE_SIZE,
    REPLAYED_SPANS,
    SCRAPE_ERRORS,
    SERIES,
    STAGE_SECONDS,
    UPTIME,
)
from config.settings import PrometheusSettings
from tests.metrics.spans import LLM, batch_of


def read(telemetry: PrometheusTelemetry, name: str, **labels: str) -> float | None:
    """Return one sample's value, None when it is not exposed."""
    return telemetry.registry.get_sample_value(name, labels)


def test_every_declared_metric_is_exposed_under_its_exact_name() -> None:
    """From the first scrape on each declared name is there as a family of the declared kind."""
    families = {
        (family.name + "_total" if family.type == "counter" else family.name): family.type
        for family in parse_text(generate_latest(PrometheusTelemetry().registry).decode())
        if not family.name.endswith("_created")
    }
    assert families == {metric.name: metric.kind for metric in METRICS}


def test_each_kind_is_written_with_its_labels() -> None:
    """Counters add, gauges keep the last value, histograms count, by label values in order."""
    telemetry = PrometheusTelemetry()
    for _ in range(2):
        telemetry.add(ACCEPTED, 2.0, "otlp", "grpc")
        telemetry.set(PENDING_SPANS, 7)
        telemetry.observe(STAGE_SECONDS, 0.003, "decode")
    accepted = {"receiver": "otlp", "transport": "grpc"}
    assert read(telemetry, ACCEPTED.name, **accepted) == 4
    assert read(telemetry, PENDING_SPANS.name) == 7
    assert read(telemetry, f"{STAGE_SECONDS.name}_bucket", stage="decode", le="0.005") == 2
    assert read(telemetry, f"{STAGE_SECONDS.name}_bucket", stage="decode", le="0.0025") == 0


def test_threads_lose_no_increment() -> None:
    """Eight threads meeting a new label value at once: every increment is counted."""
    telemetry = PrometheusTelemetry()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(2000):
            telemetry.add(ACCEPTED, 1, "otlp", "http")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(telemetry, ACCEPTED.name, receiver="otlp", transport="http") == 16_000


def test_sampled_values_are_read_at_each_scrape() -> None:
    """A sampled gauge, a sampled counter, one with labels: the value of the moment is shown."""
    telemetry = PrometheusTelemetry()
    level = [1.0]
    telemetry.sample(JOURNAL_BYTES, lambda: level[0])
    telemetry.sample(REPLAYED_SPANS, lambda: level[0])
    telemetry.sample(QUEUE_SIZE, lambda: level[0], "lake")
    telemetry.sample(QUEUE_SIZE, lambda: -level[0], "other")
    for level[0] in (2.0, 3.0):
        assert read(telemetry, JOURNAL_BYTES.name) == level[0]
        assert read(telemetry, REPLAYED_SPANS.name) == level[0]
        assert read(telemetry, QUEUE_SIZE.name, exporter="lake") == level[0]
        assert read(telemetry, QUEUE_SIZE.name, exporter="other") == -level[0]


def test_a_reader_that_fails_costs_its_own_value_only() -> None:
    """One of two readers raises: its sample is missing and counted, the scrape goes on."""
    telemetry = PrometheusTelemetry()

    def broken() -> float:
        raise OSError("gone")

    telemetry.sample(QUEUE_SIZE, broken, "lake")
    telemetry.sample(QUEUE_SIZE, lambda: 5, "other")
    text = generate_latest(telemetry.registry).decode()
    assert 'exporter="lake"' not in text
    assert read(telemetry, QUEUE_SIZE.name, exporter="other") == 5
    assert (read(telemetry, SCRAPE_ERRORS.name, metric=QUEUE_SIZE.name) or 0) >= 1


def test_process_metrics_are_real() -> None:
    """Uptime follows the clock; memory and CPU are this process's."""
    now = [100.0]
    telemetry = PrometheusTelemetry(clock=lambda: now[0])
    now[0] = 142.0
    assert read(telemetry, UPTIME.name) == 42
    assert (read(telemetry, MEMORY_RSS.name) or 0) > 20 * 2**20
    assert (read(telemetry, CPU_SECONDS.name) or 0) > 0


def test_golden_signals_report_how_many_series_they_hold() -> None:
    """Operators see cardinality by family, without the overflow series."""
    telemetry = PrometheusTelemetry()
    signals = GoldenSignals(PrometheusSettings(aggregation_cardinality_limit=2))
    signals.report_series(telemetry)
    signals.observe(batch_of([LLM, {}, {"name": "third"}]))
    family = "traces_span_metrics_duration_seconds"
    assert read(telemetry, SERIES.name, family=family) == 2
    assert read(telemetry, SERIES.name, family="gen_ai_client_token_usage") == 2
    assert read(telemetry, SERIES.name, family="clearspan_gen_ai_unpriced_spans_total") == 0
