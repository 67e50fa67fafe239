"""Golden signals against a recount span by span, and at their limits."""

from __future__ import annotations

import gc
import math
import threading
import tracemalloc
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from collector.metrics.golden_signals import GoldenSignals
from collector.model import schema
from collector.model.batch import SpanBatch
from collector.model.errors import ConfigError
from config.settings import PrometheusSettings
from tests.metrics.recount import BOUNDS, Recount
from tests.metrics.scraped import samples, value
from tests.metrics.spans import LLM, batch_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SETTINGS = PrometheusSettings(histogram_buckets=BOUNDS)

# few distinct values, so that spans share series; awkward ones, so that escaping is exercised
labels = st.sampled_from(
    [None, "", "a", "GET /{id}", 'quo"te', "back\\slash\\n", "new\nline", "é%s"]
)
model = st.sampled_from([None, "gpt-4o", "claude-sonnet"])
rows = st.fixed_dictionaries(
    {
        schema.TRACE_ID: st.binary(min_size=16, max_size=16),
        schema.SERVICE_NAME: labels,
        schema.NAME: labels,
        schema.KIND: st.sampled_from(schema.KIND_NAMES),
        schema.STATUS_CODE: st.sampled_from(schema.STATUS_NAMES),
        schema.DURATION_NS: st.one_of(
            st.none(),
            st.integers(-(10**9), 10**11),
            st.sampled_from([int(bound * 10**9) for bound in BOUNDS]),
        ),
        schema.ERROR_TYPE: st.sampled_from([None, "timeout"]),
        schema.GEN_AI_OPERATION_NAME: st.sampled_from([None, "chat", "invoke_agent"]),
        schema.GEN_AI_PROVIDER_NAME: st.sampled_from([None, "openai"]),
        schema.GEN_AI_REQUEST_MODEL: model,
        schema.GEN_AI_RESPONSE_MODEL: model,
        schema.INPUT_TOKENS: st.one_of(st.none(), st.integers(-5, 10**8)),
        schema.OUTPUT_TOKENS: st.one_of(st.none(), st.integers(0, 10**4)),
        schema.COST_USD: st.one_of(
            st.none(), st.integers(0, 10**12).map(lambda nano: Decimal(nano).scaleb(-9))
        ),
        schema.COST_STATUS: st.sampled_from([None, "priced", "unpriced"]),
        "finish_reasons": st.sampled_from([None, '["stop"]', "stop", '["stop", "length"]']),
        "time_to_first_token_s": st.one_of(st.none(), st.floats()),
    }
)


@given(st.lists(st.lists(rows, max_size=12), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_family_equals_a_recount_span_by_span(batches: list[list[dict[str, Any]]]) -> None:
    """Any spans in any batches: both formats show what prometheus_client counts one by one."""
    signals, recount = GoldenSignals(SETTINGS), Recount()
    for batch in batches:
        signals.observe(batch_of(batch) if batch else SpanBatch.empty())
        for row in batch_of(batch).table.to_pylist() if batch else []:
            recount.count(row)
    expected = recount.samples()
    for openmetrics in (False, True):
        shown = samples(signals.render(openmetrics=openmetrics), openmetrics=openmetrics)
        assert shown.keys() == expected.keys()
        assert shown == pytest.approx(expected, rel=1e-9)


def test_series_beyond_the_limit_go_to_the_overflow_series() -> None:
    """Ten span names, room for three: three keep counting, the rest overflows, none is lost."""
    signals = GoldenSignals(PrometheusSettings(aggregation_cardinality_limit=3))
    for _ in range(2):
        signals.observe(batch_of([{schema.NAME: f"job {number}"} for number in range(10)]))
    calls = {
        dict(found).get("span_name", ""): amount
        for (name, found), amount in samples(signals.render(openmetrics=False)).items()
        if name == "traces_span_metrics_calls_total"
    }
    assert len(calls) == 4
    assert calls.pop("") == 14
    assert list(calls.values()) == [2, 2, 2]
    overflow = {"otel_metric_overflow": "true", "span_name": "", "service_name": ""}
    assert value(signals, "traces_span_metrics_duration_seconds_count", **overflow) == 14


def _endless_names(first: int, count: int) -> SpanBatch:
    numbers = pa.array(np.arange(first, first + count))
    same = pa.nulls(count, pa.string())
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), count, [None, pa.py_buffer(bytes(16 * count))]
    )
    return SpanBatch.from_columns(
        {
            schema.TRACE_ID: ids,
            schema.NAME: pc.binary_join_element_wise("user", numbers.cast(pa.string()), "/"),
            schema.SERVICE_NAME: same,
            schema.DURATION_NS: numbers,
        },
        count,
    )


def test_a_million_span_names_take_no_more_memory_than_the_limit() -> None:
    """10^6 distinct names: all counted, and nothing is kept of those beyond the limit."""
    signals = GoldenSignals(PrometheusSettings(aggregation_cardinality_limit=100))
    signals.observe(_endless_names(0, 1000))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for first in range(1000, 1_001_000, 50_000):
            signals.observe(_endless_names(first, 50_000))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert value(signals, "traces_span_metrics_calls_total") == 1_001_000


def test_a_span_that_ends_before_it_starts_lasted_no_time() -> None:
    """A stepped clock or a missing duration: counted, with 0 seconds; the sum never goes down."""
    signals = GoldenSignals(SETTINGS)
    signals.observe(batch_of([{schema.DURATION_NS: -5}, {schema.DURATION_NS: None}]))
    assert value(signals, "traces_span_metrics_duration_seconds_sum") == 0
    assert value(signals, "traces_span_metrics_duration_seconds_bucket", le="0.002") == 2


def test_long_label_values_are_cut() -> None:
    """Names that differ only after 256 characters are one series, so a label cannot be endless."""
    signals = GoldenSignals(SETTINGS)
    signals.observe(batch_of([{schema.NAME: "n" * 256 + tail} for tail in ("", "a", "b" * 9999)]))
    assert value(signals, "traces_span_metrics_calls_total", span_name="n" * 256) == 3


def test_unknown_prices_are_counted_and_not_zero() -> None:
    """An LLM call without a price: no cost series for its model, one unpriced span."""
    signals = GoldenSignals(SETTINGS)
    unknown = {**LLM, schema.COST_USD: None, schema.COST_STATUS: "unpriced"}
    unknown[schema.GEN_AI_REQUEST_MODEL] = "mystery"
    signals.observe(batch_of([LLM, LLM, unknown, {}]))
    shown = samples(signals.render(openmetrics=False))
    models = {
        dict(found)["gen_ai_request_model"]: amount
        for (name, found), amount in shown.items()
        if name == "clearspan_gen_ai_cost_usd_total"
    }
    assert models == {"gpt-4o": 0.0076}
    assert value(signals, "clearspan_gen_ai_unpriced_spans_total") == 1


@pytest.mark.parametrize("operation", ["invoke_agent", "search_memory", "Retrieval"])
def test_usage_of_agents_is_not_added_to_that_of_their_calls(operation: str) -> None:
    """An agent span repeats its calls' tokens: its duration counts, its tokens do not."""
    signals = GoldenSignals(SETTINGS)
    agent = {**LLM, schema.GEN_AI_OPERATION_NAME: operation}
    signals.observe(batch_of([agent, LLM]))
    direction = {"gen_ai_token_type": "input"}
    assert value(signals, "gen_ai_client_token_usage_sum", **direction) == 1200
    assert value(signals, "gen_ai_client_operation_duration_seconds_count") == 2


def _exemplars(signals: GoldenSignals) -> Iterable[tuple[str, str, float]]:
    for family in parse_openmetrics(signals.render(openmetrics=True) + "# EOF\n"):
        for sample in family.samples:
            if sample.exemplar:
                trace = sample.exemplar.labels["trace_id"]
                yield sample.labels["le"], trace, sample.exemplar.value


def test_each_bucket_shows_the_last_trace_that_fell_into_it() -> None:
    """Four spans in two buckets, two batches: each bucket names its last trace and that value."""
    signals = GoldenSignals(SETTINGS, clock=lambda: 1_700_000_000.0)
    durations = [1_000_000, 7_900_000, 1_500_000, 7_000_000]
    rows = [
        {schema.DURATION_NS: nanos, schema.TRACE_ID: bytes([number]) * 16}
        for number, nanos in enumerate(durations)
    ]
    signals.observe(batch_of(rows))
    assert set(_exemplars(signals)) == {
        ("0.002", "02" * 16, 0.0015),
        ("0.008", "03" * 16, 0.007),
    }
    signals.observe(batch_of(rows[:1]))
    assert ("0.002", "00" * 16, 0.001) in set(_exemplars(signals))
    assert "trace_id" not in signals.render(openmetrics=False)


def test_exemplars_can_be_turned_off() -> None:
    """``exemplars: false`` keeps trace ids out of the scrape."""
    signals = GoldenSignals(PrometheusSettings(exemplars=False))
    signals.observe(batch_of([LLM]))
    assert not list(_exemplars(signals))
    assert value(signals, "gen_ai_client_operation_duration_seconds_count") == 1


def test_a_series_says_when_it_began() -> None:
    """OpenMetrics shows the creation time of each series, for increase() to count from zero."""
    now = [1_700_000_000.0]
    signals = GoldenSignals(SETTINGS, clock=lambda: now[0])
    signals.observe(batch_of([{}]))
    now[0] += 60
    signals.observe(batch_of([{}, {schema.NAME: "later"}]))
    created = {
        sample.labels["span_name"]: sample.value
        for family in parse_openmetrics(signals.render(openmetrics=True) + "# EOF\n")
        for sample in family.samples
        if sample.name == "traces_span_metrics_calls_created"
    }
    assert created == {"GET /cart": 1_700_000_000.0, "later": 1_700_000_060.0}


def test_scrapes_while_counting_are_consistent() -> None:
    """A scrape in the middle of observing: calls, buckets and counts agree, and none is lost."""
    signals = GoldenSignals(SETTINGS)
    batch = batch_of([{schema.NAME: f"job {number % 7}"} for number in range(64)])
    worker = threading.Thread(target=lambda: [signals.observe(batch) for _ in range(20)])
    worker.start()
    for _ in range(10):
        shown = samples(signals.render(openmetrics=False))
        for (name, found), amount in shown.items():
            if name == "traces_span_metrics_calls_total":
                assert shown["traces_span_metrics_duration_seconds_count", found] == amount
    worker.join()
    assert value(signals, "traces_span_metrics_calls_total") == 20 * 64


@pytest.mark.parametrize("buckets", [(), (1.0, 1.0), (2.0, 1.0)])
def test_buckets_that_cannot_be_a_histogram_are_refused(buckets: tuple[float, ...]) -> None:
    """No bounds, repeated or unordered ones are a ConfigError that names the setting."""
    with pytest.raises(ConfigError, match="histogram_buckets"):
        GoldenSignals(PrometheusSettings(histogram_buckets=buckets))


def test_what_nobody_can_have_used_does_not_spoil_a_sum() -> None:
    """Scenario: times to the first chunk of 1e308 s, costs of more than a counter holds.

    Guarantees: sums stay finite, counters never go back.
    """
    signals = GoldenSignals(PrometheusSettings())
    span = {
        **LLM,
        "time_to_first_token_s": 1e308,
        schema.COST_USD: Decimal(9000000),
        schema.COST_STATUS: "priced",
    }
    costs = []
    for _ in range(4):
        signals.observe(batch_of([span] * 400))
        assert all(map(math.isfinite, samples(signals.render(openmetrics=False)).values()))
        costs.append(value(signals, "clearspan_gen_ai_cost_usd_total"))
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(400 * 9e6)
