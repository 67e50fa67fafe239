"""`/metrics` over HTTP: formats, compression, and what Prometheus itself makes of it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from starlette.testclient import TestClient

from collector.metrics.exposition import OPENMETRICS, TEXT, metrics_app, prefers_openmetrics, render
from collector.metrics.families import CALLS, SPAN_DURATION
from collector.metrics.golden_signals import GoldenSignals
from collector.metrics.telemetry import PrometheusTelemetry
from collector.model import schema
from collector.model.telemetry import ACCEPTED, STAGE_SECONDS
from config.settings import PrometheusSettings
from tests.metrics.spans import LLM, batch_of
from tests.ports import hold_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# .ci/run installs it: there both tests run
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus (Debian package) absent"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
def telemetry() -> PrometheusTelemetry:
    """Own telemetry with a labelled counter and a histogram in use."""
    telemetry = PrometheusTelemetry()
    telemetry.add(ACCEPTED, 3, "otlp", "grpc")
    telemetry.observe(STAGE_SECONDS, 0.002, "decode")
    return telemetry


@pytest.fixture
def signals() -> GoldenSignals:
    """Signals with every family in use, and a family over its limit."""
    signals = GoldenSignals(PrometheusSettings(aggregation_cardinality_limit=8))
    extras = {"finish_reasons": '["stop"]', "time_to_first_token_s": 0.4}
    unpriced = {**LLM, schema.COST_USD: None, schema.COST_STATUS: "unpriced"}
    routes = [{schema.NAME: f'GET "{n}"\n\\', schema.DURATION_NS: n * 10**7} for n in range(20)]
    signals.observe(batch_of([{**LLM, **extras}, unpriced, *routes]))
    return signals


@pytest.fixture
def client(telemetry: PrometheusTelemetry, signals: GoldenSignals) -> TestClient:
    """Return an HTTP client of the app."""
    return TestClient(metrics_app(telemetry, signals))


def test_the_older_text_format_is_the_default(client: TestClient) -> None:
    """A plain curl gets text 0.0.4 with both own telemetry and golden signals."""
    reply = client.get("/metrics", headers={"accept-encoding": "identity"})
    assert reply.headers["content-type"] == TEXT
    assert "content-encoding" not in reply.headers
    names = {family.name for family in parse_text(reply.text)}
    assert {"otelcol_receiver_accepted_spans", "traces_span_metrics_calls"} <= names
    assert "_created" not in reply.text


def test_openmetrics_is_served_to_who_asks(client: TestClient) -> None:
    """Prometheus's Accept header gets one well-formed OpenMetrics document, with exemplars."""
    reply = client.get("/metrics", headers={"accept": PROMETHEUS_3})
    assert reply.headers["content-type"] == OPENMETRICS
    families = {family.name: family for family in parse_openmetrics(reply.text)}
    assert families["clearspan_gen_ai_cost_usd"].type == "counter"
    assert any(
        sample.exemplar for sample in families["traces_span_metrics_duration_seconds"].samples
    )
    assert "otelcol_receiver_accepted_spans" in families


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("Application/OpenMetrics-Text; version=1.0.0; q=0.9, text/plain;q=0.5", True),
        ("application/openmetrics-text;q=nonsense", False),
    ],
)
def test_the_accept_header_decides(accept: str, expected: bool) -> None:
    """Weights are honoured, so a scraper set to prefer the text format gets it."""
    assert prefers_openmetrics(accept) is expected


def test_replies_are_compressed_when_the_scraper_can_read_it(client: TestClient) -> None:
    """Accept-Encoding gzip: compressed, and the same families after decompression."""
    plain = client.get("/metrics", headers={"accept-encoding": "gzip;q=0, identity"})
    packed = client.get("/metrics", headers={"accept-encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    names = [[family.name for family in parse_text(reply.text)] for reply in (plain, packed)]
    assert names[0] == names[1]


def test_other_paths_say_where_metrics_are(client: TestClient) -> None:
    """A wrong path is a 404 with a hint; a wrong method is refused."""
    reply = client.get("/")
    assert reply.status_code == 404
    assert "/metrics" in reply.text
    assert client.post("/metrics").status_code == 405


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) absent")
def test_promtool_finds_nothing_wrong(
    telemetry: PrometheusTelemetry, signals: GoldenSignals
) -> None:
    """``promtool check metrics`` parses the text; its only lint is names others made."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=render(telemetry, signals, openmetrics=False),
        capture_output=True,
        check=False,
    )
    assert "error while linting" not in checked.stderr.decode()
    assert checked.stderr.decode().splitlines() == []
    assert checked.returncode == 0


@contextmanager
def served(telemetry: PrometheusTelemetry, signals: GoldenSignals) -> Iterator[int]:
    """Serve the app on a port of 127.0.0.1 that the system chooses."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(metrics_app(telemetry, signals), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class Prometheus:
    """A real Prometheus scraping one target ten times a second."""

    def __init__(self, directory: Path, target: int) -> None:
        """Start it with its data under ``directory``."""
        self._held = hold_port()
        self.port = self._held.getsockname()[1]
        config = directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\n"
            "scrape_configs:\n"
            "  - job_name: clearspan\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n",
            encoding="utf-8",
        )
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """End it and wait."""
        self._process.terminate()
        self._process.wait(timeout=20)
        self._held.close()

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of one API call; None while it is not answering yet."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=5
            ) as reply:
                return json.load(reply)["data"]
        except urllib.error.URLError:
            return None

    def value(self, query: str, *, until: float | None = None) -> float:
        """Return the one value of a query, asking again until it is ``until`` or 15 s passed."""
        deadline = time.monotonic() + 15
        while True:
            data = self.ask("query", query=query)
            found = float(data["result"][0]["value"][1]) if data and data["result"] else -1.0
            if found >= 0 and until in (None, found):
                return found
            if time.monotonic() > deadline:
                return found
            threading.Event().wait(0.05)


@needs_prometheus
def test_a_real_prometheus_scrapes_and_computes(
    tmp_path: Path, telemetry: PrometheusTelemetry
) -> None:
    """Prometheus over a real socket: increase(), histogram_quantile() and exemplars come out."""
    signals = GoldenSignals(PrometheusSettings())
    signals.observe(batch_of([{schema.DURATION_NS: 50_000_000}]))
    with served(telemetry, signals) as port:
        prometheus = Prometheus(tmp_path, port)
        try:
            calls = "sum(traces_span_metrics_calls_total)"
            assert prometheus.value(calls, until=1) == 1
            rows = [{schema.DURATION_NS: 50_000_000}] * 89 + [
                {schema.DURATION_NS: 1_300_000_000}
            ] * 10
            signals.observe(batch_of(rows))
            assert prometheus.value(calls, until=100) == 100
            grown = prometheus.value("sum(increase(traces_span_metrics_calls_total[1m])) >= 99")
            assert grown >= 99
            bucket = "traces_span_metrics_duration_seconds_bucket"
            slow = prometheus.value(f"histogram_quantile(0.95, sum by (le) ({bucket}))")
            assert 1.0 < slow <= 1.4
            own = prometheus.value('otelcol_receiver_accepted_spans_total{transport="grpc"}')
            assert own == 3
            exemplars = prometheus.ask(
                "query_exemplars", query=bucket, start=str(time.time() - 60), end=str(time.time())
            )
            traces = {
                item["labels"]["trace_id"] for found in exemplars for item in found["exemplars"]
            }
            assert traces == {bytes(range(16)).hex()}
        finally:
            prometheus.stop()


@needs_prometheus
def test_a_real_prometheus_takes_a_forgotten_series_for_stale(
    tmp_path: Path, telemetry: PrometheusTelemetry
) -> None:
    """A forgotten series is gone from queries at once, rather than after 5 minutes of looking back.

    When a span comes again it is back, and counts from zero; what stayed goes on.
    """
    now = [0.0]
    signals = GoldenSignals(PrometheusSettings(series_expiration=60), monotonic=lambda: now[0])
    signals.observe(batch_of([{schema.NAME: name} for name in ("gone", "gone", "stays")]))
    calls, duration = CALLS.name, SPAN_DURATION.name
    with served(telemetry, signals) as port:
        prometheus = Prometheus(tmp_path, port)
        try:
            assert prometheus.value(f"sum({calls})", until=3) == 3
            now[0] += 60
            signals.observe(batch_of([{schema.NAME: "stays"}]))
            assert prometheus.value(f"count({calls})", until=1) == 1
            assert (
                prometheus.value(f"count(count by (span_name) ({duration}_bucket))", until=1) == 1
            )
            signals.observe(batch_of([{schema.NAME: "gone"}]))
            assert prometheus.value(f'{calls}{{span_name="gone"}}', until=1) == 1
            assert prometheus.value(f'{calls}{{span_name="stays"}}') == 2
        finally:
            prometheus.stop()
