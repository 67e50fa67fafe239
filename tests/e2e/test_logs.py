"""Log records from a real opentelemetry-sdk over real sockets: all of them, exact, once."""

from __future__ import annotations

import gzip
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from storage.verify import verify
from tests.e2e.otlp_client import LOGS, NUMBERED_LOGS_SQL, GrpcClient, Load, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs.export import LogRecordExporter

    from tests.e2e.sidecar import Sidecar

RECORDS = 40
BUSY = (
    "exporters.lake.flush_interval=200ms",
    "exporters.lake.journal.segment_bytes=64KiB",
    "exporters.lake.compaction.interval=500ms",
    "exporters.lake.compaction.min_files=2",
    "exporters.lake.unlink_grace=1s",
)


def _grpc(sidecar: Sidecar) -> LogRecordExporter:
    return GrpcExporter(endpoint=f"http://{sidecar.grpc_endpoint}", insecure=True)


def _http(sidecar: Sidecar) -> LogRecordExporter:
    return HttpExporter(
        endpoint=f"http://{sidecar.http_endpoint}/v1/logs", compression=Compression.Gzip
    )


def _run_app(exporter: LogRecordExporter) -> tuple[int, int]:
    """Be the app: log within a span; return its trace and span id."""
    resource = Resource.create({"service.name": "shop", "replica": 7})
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=50))
    orders = provider.get_logger("shop.orders")
    tracer = TracerProvider(resource=resource).get_tracer("shop")
    with tracer.start_as_current_span("checkout") as span:
        for number in range(RECORDS):
            orders.emit(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body=f"order {number} is late",
                attributes={"order": number, "is_late": True},
            )
        context = span.get_span_context()
    provider.get_logger("shop.events", "0.9", attributes={"team": "orders"}).emit(
        timestamp=time.time_ns(),
        severity_number=SeverityNumber.INFO,
        body={"order": {"id": 7, "lines": ["a", "b"]}},
        event_name="order.placed",
        attributes={"app.bytes": b"\x00\xff"},
    )
    assert provider.force_flush()
    provider.shutdown()
    return context.trace_id, context.span_id


@pytest.mark.parametrize("exporter", [_grpc, _http], ids=["grpc", "http-gzip"])
def test_all_of_the_sdks_records_come_back_by_sql(
    sidecar: Callable[..., Sidecar],
    exporter: Callable[[Sidecar], LogRecordExporter],
) -> None:
    """Scenario: lines logged within a span, and an event with a nested body.

    Guarantees: every record is there once with body, severity, attributes, resource, scope and
    trace context, values with their types; the counters agree.
    """
    running = sidecar()
    trace_id, span_id = _run_app(exporter(running))
    rows = running.query_until("FROM logs ORDER BY time", rows=RECORDS + 1)
    late = [row for row in rows if row["scope_name"] == "shop.orders"]
    assert [row["body"] for row in late] == [f"order {n} is late" for n in range(RECORDS)]
    for number, row in enumerate(late):
        assert row["trace_id"] == f"{trace_id:032x}"
        assert row["span_id"] == f"{span_id:016x}"
        assert (row["severity_number"], row["severity_text"]) == (13, "WARN")
        assert (row["service_name"], row["event_name"]) == ("shop", "")
        assert row["attributes"]["order"] == str(number)
        assert row["non_string_types"]["order"] == "int"
        assert row["attributes"]["is_late"] == "true"
        assert row["resource_attributes"]["replica"] == "7"
        assert row["resource_non_string_types"]["replica"] == "int"
        assert row["observed_time"] is not None
        assert row["body_type"] is None
    (event,) = (row for row in rows if row["event_name"] == "order.placed")
    assert event["body"] == '{"order": {"id": 7, "lines": ["a", "b"]}}'
    assert event["body_type"] == "kvlist"
    assert (event["scope_name"], event["scope_version"]) == ("shop.events", "0.9")
    assert event["scope_attributes"] == {"team": "orders"}
    assert event["attributes"] == {"app.bytes": "AP8="}
    assert event["trace_id"] is None
    found = running.query(f"SELECT count(*) AS n FROM trace_logs('{trace_id:032x}')")
    assert found == [{"n": RECORDS}]
    _assert_counters(running)


def _assert_counters(running: Sidecar) -> None:
    sent = RECORDS + 1
    assert running.metric("clearspan_log_records_received_total") == sent
    assert running.metric("otelcol_receiver_accepted_log_records_total", receiver="otlp") == sent
    assert running.metric("clearspan_log_records_stored_total") == sent
    assert running.metric("otelcol_exporter_sent_log_records_total", exporter="lake/logs") == sent
    assert running.metric("clearspan_log_records_pending") == 0
    assert running.metric("clearspan_spans_received_total") == 0
    assert running.metric("otelcol_processor_incoming_items_total", processor="redaction") == 0


def test_bad_requests_hurt_only_themselves(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: malformed, cut and oversized bodies, ids of wrong lengths beside good records.

    Guarantees: the exact codes, partial success with the count, and the good records stored.
    """
    running = sidecar("receivers.otlp.limits.max_log_records=10")
    good = _request({}, {"trace_id": bytes(16), "span_id": bytes(8)})
    with GrpcClient(running.grpc_endpoint, LOGS) as client:
        assert client.export(b"").ok
        assert client.export(good[:-3]).code == grpc.StatusCode.INVALID_ARGUMENT
        too_many = client.export(_request(*[{}] * 11))
        assert too_many.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "max_log_records" in too_many.message
        part = client.export(_request({}, {"trace_id": b"short"}, {"span_id": b"x" * 9}, {}))
        assert (part.code, part.rejected) == (grpc.StatusCode.OK, 2)
        assert part.message == "log records with a trace or span id of a wrong length"
        assert client.export(good).rejected == 0
    packed = gzip.compress(good)
    for payload, headers, code in (
        (good[:-3], {}, 400),
        (packed[:-20], {"content_encoding": "gzip"}, 400),
        (good, {"content_encoding": "gzip"}, 400),
        (_request(*[{}] * 11), {}, 413),
        (packed, {"content_encoding": "gzip"}, 200),
    ):
        assert post(running.http_endpoint, payload, LOGS, **headers).code == code
    record = {"body": {"stringValue": "a line"}}
    records = {"scopeLogs": [{"logRecords": [record, {**record, "traceId": "none"}]}]}
    url = f"http://{running.http_endpoint}/v1/logs"
    as_json = httpx.post(url, json={"resourceLogs": [records]})
    assert as_json.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    assert httpx.post(url, json={"resourceLogs": [5]}).json()["code"] == 3
    assert httpx.post(url, data={"a": "b"}).status_code == 415
    reply = post(running.http_endpoint, _request({"trace_id": b"x"}, {}), LOGS)
    assert (reply.code, reply.rejected) == (200, 1)
    broken = good.replace(b"a line", b"\xff line")
    assert post(running.http_endpoint, broken, LOGS).code == 200
    rows = running.query_until("SELECT body, trace_id, span_id FROM logs", rows=10)
    bodies = [row["body"] for row in rows]
    assert len(bodies) == 10
    assert sorted(set(bodies)) == ["a line", "\N{REPLACEMENT CHARACTER} line"]
    assert {(row["trace_id"], row["span_id"]) for row in rows} == {(None, None)}
    assert running.metric("clearspan_log_records_refused_total", reason="invalid_id") == 4


def _request(*records: dict[str, Any]) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for fields in records:
        scope.log_records.add(**fields).body.string_value = "a line"
    return request.SerializeToString()


def test_no_logs_are_taken_where_they_are_turned_off(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a logs pipeline without receivers. Guarantees: refused, so senders stop sending."""
    running = sidecar("service.pipelines.logs.receivers=[]")
    with GrpcClient(running.grpc_endpoint, LOGS) as client:
        assert client.export(_request({})).code == grpc.StatusCode.UNIMPLEMENTED
    assert post(running.http_endpoint, _request({}), LOGS).code == 404
    assert running.query("FROM logs") == []


def test_sigkill_loses_no_record_and_stores_none_twice(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: a sidecar under load of log records is killed again and again.

    Guarantees: acked but absent 0, stored twice 0, stored but never sent 0; all is sound.
    """
    running = sidecar(*BUSY)
    chance = random.Random()
    with Load(running.grpc_endpoint, LOGS) as load:
        for _ in range(6):
            acked = len(load.ledger.acked)
            load.await_that(lambda ledger, before=acked: len(ledger.acked) > before)
            threading.Event().wait(chance.uniform(0, 1.2))  # the moment of the kill is the point
            running.sigkill()
            running.start()
    assert running.sigterm() == 0, running.log[-4000:]
    verdict = load.ledger.compare(running.query(NUMBERED_LOGS_SQL))
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
    assert verdict.acked > 100
    assert verify(running.data_dir).is_sound
