"""``series_expiration``: which series are forgotten, when, and what is left of them."""

from __future__ import annotations

import gc
import re
import threading
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from starlette.testclient import TestClient

from collector.metrics.exposition import OPENMETRICS, metrics_app
from collector.metrics.families import SIGNALS
from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import schema
from config.settings import PrometheusSettings
from tests.metrics.recount import BOUNDS
from tests.metrics.scraped import samples, value
from tests.metrics.spans import LLM, batch_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTE_S = 60.0
CALLS = "traces_span_metrics_calls_total"
CALLS_CREATED = "traces_span_metrics_calls_created"
DURATION_COUNT = "traces_span_metrics_duration_seconds_count"
DURATION_SUM = "traces_span_metrics_duration_seconds_sum"
COST = "clearspan_gen_ai_cost_usd_total"
UNPRICED = {**LLM, schema.COST_USD: None, schema.COST_STATUS: "unpriced"}


class Clocks:
    """The time of day and the time that passes, apart from each other."""

    def __init__(self) -> None:
        """Start at some moment."""
        self.unix_s = 1_700_000_000.0
        self.monotonic_s = 5_000.0

    def wait(self, seconds: float) -> None:
        """Let both go on."""
        self.unix_s += seconds
        self.monotonic_s += seconds

    def signals(self, expiration_s: float = MINUTE_S, **options: Any) -> GoldenSignals:
        """Return signals that live by these clocks."""
        settings = PrometheusSettings(
            series_expiration=expiration_s, histogram_buckets=BOUNDS, **options
        )
        return GoldenSignals(settings, lambda: self.unix_s, lambda: self.monotonic_s)


def observe(signals: GoldenSignals, *names: str) -> None:
    """Add one span of each name, in one batch."""
    signals.observe(batch_of([{schema.NAME: name} for name in names]))


def calls(signals: GoldenSignals) -> dict[str, float]:
    """Scrape, and return the calls by span name; the overflow series has none."""
    return {
        dict(labels).get("span_name", ""): amount
        for (name, labels), amount in samples(signals.render(openmetrics=False)).items()
        if name == CALLS
    }


def test_a_series_without_spans_is_shown_once_more_and_forgotten() -> None:
    """One of two series gets no span for the time set: the next scrape has it, that after not."""
    clocks = Clocks()
    signals = clocks.signals()
    observe(signals, "gone", "stays")
    clocks.wait(MINUTE_S - 1)
    observe(signals, "stays")
    assert calls(signals) == calls(signals) == {"gone": 1, "stays": 2}
    clocks.wait(1)
    assert calls(signals) == {"gone": 1, "stays": 2}
    assert calls(signals) == {"stays": 2}


def test_a_place_that_is_given_back_takes_a_new_series() -> None:
    """Room for two, both taken by what a deploy removed: the new routes get places of their own.

    What overflowed before stays in the overflow series, which no time ends.
    """
    clocks = Clocks()
    signals = clocks.signals(aggregation_cardinality_limit=2)
    observe(signals, "old 1", "old 2")
    observe(signals, "new 1", "new 2")
    assert calls(signals) == {"old 1": 1, "old 2": 1, "": 2}
    clocks.wait(MINUTE_S)
    calls(signals)
    assert calls(signals) == {"": 2}
    observe(signals, "new 1", "new 2")
    observe(signals, "new 2", "new 3")
    assert calls(signals) == {"new 1": 1, "new 2": 2, "": 3}


def test_nothing_is_forgotten_without_the_option() -> None:
    """By default a series lives as long as the process."""
    clocks = Clocks()
    signals = clocks.signals(PrometheusSettings().series_expiration)
    observe(signals, "seldom")
    for _ in range(3):
        clocks.wait(1e9)
        assert calls(signals) == {"seldom": 1}


def test_the_time_of_day_may_jump() -> None:
    """The wall clock leaps by days either way: nothing goes early; without it moving: in time."""
    clocks = Clocks()
    signals = clocks.signals()
    observe(signals, "job")
    for leap_s in (-864_000, 1_728_000):
        clocks.unix_s += leap_s
        for _ in range(2):
            assert calls(signals) == {"job": 1}
    clocks.monotonic_s += MINUTE_S
    calls(signals)
    assert calls(signals) == {}


def test_what_no_scrape_has_shown_is_not_forgotten() -> None:
    """The time is far shorter than between two scrapes: each still finds all that was counted."""
    clocks = Clocks()
    signals = clocks.signals(expiration_s=0.001)
    for number in range(3):
        for _ in range(2):
            observe(signals, f"job {number}")
            clocks.wait(MINUTE_S)
        assert calls(signals) == {f"job {number}": 2}


def test_every_family_forgets() -> None:
    """LLM spans of both kinds stop: nothing of any family is left, in neither format."""
    clocks = Clocks()
    signals = clocks.signals()
    ends = {"finish_reasons": '["stop"]', "time_to_first_token_s": 0.4}
    signals.observe(batch_of([{**LLM, **ends}, UNPRICED]))
    clocks.wait(MINUTE_S)
    shown = signals.render(openmetrics=False)
    assert re.findall("# TYPE ([^ ]+)", shown) == [metric.name for metric in SIGNALS]
    assert signals.render(openmetrics=False) == ""
    assert signals.render(openmetrics=True) == ""


def test_each_family_goes_by_the_spans_of_its_own_series() -> None:
    """A model's price is no longer known: its cost goes, its unpriced calls stay."""
    clocks = Clocks()
    signals = clocks.signals()
    signals.observe(batch_of([LLM, UNPRICED]))
    clocks.wait(MINUTE_S)
    signals.observe(batch_of([UNPRICED]))
    signals.render(openmetrics=False)
    assert value(signals, COST) == 0
    assert value(signals, "clearspan_gen_ai_unpriced_spans_total") == 2
    assert value(signals, "gen_ai_client_operation_duration_seconds_count") == 3


@pytest.mark.parametrize("exemplars", [True, False])
def test_those_that_stay_keep_what_they_counted(exemplars: bool) -> None:
    """Every third of 90 models stays in use: counters and histograms go on where they were."""
    clocks = Clocks()
    signals = clocks.signals(exemplars=exemplars)
    models = [{**LLM, schema.GEN_AI_REQUEST_MODEL: f"model {number}"} for number in range(90)]
    for number in range(90):
        signals.observe(batch_of(models[number:]))
    clocks.wait(MINUTE_S)
    signals.observe(batch_of(models[::3]))
    signals.render(openmetrics=True)
    shown = samples(signals.render(openmetrics=True), openmetrics=True)
    for name, each in ((COST, 0.0038), ("gen_ai_client_operation_duration_seconds_sum", 0.003)):
        found = {
            dict(labels)["gen_ai_request_model"]: amount
            for (sample, labels), amount in shown.items()
            if sample == name
        }
        expected = {f"model {number}": each * (number + 2) for number in range(0, 90, 3)}
        assert found == pytest.approx(expected)


def test_memory_is_given_back() -> None:
    """Two thousand series with exemplars come and go: what they took is free again."""
    clocks = Clocks()
    signals = clocks.signals()
    batch = batch_of([{schema.NAME: f"job {number}"} for number in range(2000)])
    observe(signals, "stays")
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        signals.observe(batch)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        clocks.wait(MINUTE_S)
        signals.render(openmetrics=False)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before > 1_000_000
    assert after - before < 50_000


def test_scrapes_that_forget_while_spans_come_in_are_consistent() -> None:
    """A scrape in the middle of observing, series going all the time: no page is torn.

    Guarantees: calls and histogram agree, each name's last page has all its spans, and what goes on
    is never forgotten.
    """
    clocks = Clocks()

    def monotonic() -> float:
        # read in the middle of an observation: there a scrape gets every chance to come between
        threading.Event().wait(0.001)
        return clocks.monotonic_s

    signals = GoldenSignals(PrometheusSettings(series_expiration=3), monotonic=monotonic)
    batches = [
        batch_of([{schema.NAME: name} for name in ("stays", "stays", f"job {number}") * 4])
        for number in range(30)
    ]

    def work() -> None:
        for batch in batches:
            clocks.monotonic_s += 1
            signals.observe(batch)

    worker = threading.Thread(target=work)
    last: dict[str, float] = {}

    def scrape() -> None:
        shown = samples(signals.render(openmetrics=False))
        for (name, labels), amount in shown.items():
            if name == CALLS:
                assert shown[DURATION_COUNT, labels] == amount
                last[dict(labels)["span_name"]] = amount

    worker.start()
    for _ in range(10):
        scrape()
    worker.join()
    scrape()
    assert last.pop("stays") == 30 * 8
    assert last == {f"job {number}": 4 for number in range(30)}


def test_a_scraper_sees_a_series_go_and_come_back_as_a_new_one() -> None:
    """Over `/metrics`: gone with its exemplars, its place free; back at once, it begins at zero."""
    clocks = Clocks()
    telemetry, signals = PrometheusTelemetry(), clocks.signals()
    signals.report_series(telemetry)
    client = TestClient(metrics_app(telemetry, signals))

    def scrape() -> dict[str, float | str]:
        reply = client.get("/metrics", headers={"accept": OPENMETRICS})
        found: dict[str, float | str] = {}
        for family in parse_openmetrics(reply.text):
            for sample in family.samples:
                if sample.name in (CALLS, CALLS_CREATED, DURATION_SUM):
                    found[sample.name] = sample.value
                if sample.exemplar:
                    found["exemplar", sample.labels["le"]] = sample.exemplar.labels["trace_id"]
                if sample.labels.get("family") == "traces_span_metrics_duration_seconds":
                    found["held"] = sample.value
        return found

    span = {schema.DURATION_NS: 5_000_000, schema.TRACE_ID: b"\1" * 16}
    signals.observe(batch_of([span, span]))
    born = clocks.unix_s
    clocks.wait(MINUTE_S)
    was = {CALLS: 2, CALLS_CREATED: born, DURATION_SUM: 0.01, ("exemplar", "0.008"): "01" * 16}
    assert scrape() == {**was, "held": 1}
    span = {schema.DURATION_NS: 1_000_000, schema.TRACE_ID: b"\2" * 16}
    signals.observe(batch_of([span]))
    now = {CALLS: 1, CALLS_CREATED: born + MINUTE_S, DURATION_SUM: 0.001}
    assert scrape() == {**now, ("exemplar", "0.002"): "02" * 16, "held": 1}
    clocks.wait(MINUTE_S)
    scrape()
    assert scrape() == {"held": 0}


@dataclass
class Held:
    """What the oracle knows of one series."""

    seen_s: float
    created: float
    calls: int = 0
    exemplars: dict[str, str] = field(default_factory=dict)


span_steps = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["0.002", "0.008"]))
steps = st.lists(st.one_of(span_steps, span_steps, st.integers(1, 40), st.none()), max_size=60)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_every_scrape_equals_a_recount_that_forgets(
    steps: Iterable[tuple[str, str] | int | None],
) -> None:
    """Spans, waits (whole seconds) and scrapes (None) in any order, room for three series.

    Guarantees: each page has the calls, creation times and exemplars of a recount span by span.
    """
    clocks = Clocks()
    signals = clocks.signals(aggregation_cardinality_limit=3)
    held: dict[str, Held] = {"": Held(clocks.monotonic_s, clocks.unix_s)}
    for number, step in enumerate([*steps, None, None]):
        if isinstance(step, int):
            clocks.wait(step)
        elif step is None:
            page = _page(signals.render(openmetrics=True) + "# EOF\n")
            assert page == {
                name: (series.calls, series.created, series.exemplars)
                for name, series in held.items()
                if series.calls
            }
            held = {
                name: series
                for name, series in held.items()
                if not name or clocks.monotonic_s - series.seen_s < MINUTE_S
            }
        else:
            name, le = step
            span = {
                schema.NAME: name,
                schema.DURATION_NS: int(float(le) * 1e9),
                schema.TRACE_ID: number.to_bytes(16),
            }
            signals.observe(batch_of([span]))
            if name not in held and len(held) <= 3:
                held[name] = Held(clocks.monotonic_s, clocks.unix_s)
            series = held.get(name, held[""])
            series.seen_s = clocks.monotonic_s
            series.calls += 1
            series.exemplars[le] = number.to_bytes(16).hex()


def _page(text: str) -> dict[str, tuple[float, float, dict[str, str]]]:
    """Return calls, creation time and exemplars by bucket of each span name."""
    found: dict[str, dict[str, float]] = {CALLS: {}, CALLS_CREATED: {}}
    exemplars: dict[str, dict[str, str]] = {}
    for family in parse_openmetrics(text):
        for sample in family.samples:
            name = sample.labels["span_name"]
            if sample.name in found:
                found[sample.name][name] = sample.value
            if sample.exemplar:
                buckets = exemplars.setdefault(name, {})
                buckets[sample.labels["le"]] = sample.exemplar.labels["trace_id"]
    return {
        name: (amount, found[CALLS_CREATED][name], exemplars[name])
        for name, amount in found[CALLS].items()
    }
