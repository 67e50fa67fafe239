"""A real opentelemetry-sdk app sends over a real socket; SQL in another process finds it all."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from tests.e2e.sidecar import Sidecar

VISIBLE_WITHIN_S = 3
LINKED = SpanContext(
    trace_id=0x0AF7651916CD43DD8448EB211C80319C,
    span_id=0x00F067AA0BA902B7,
    is_remote=True,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
)
ATTRIBUTES: dict[str, Any] = {
    "http.request.method": "GET",
    "http.route": "/orders/{id}",
    "http.response.status_code": 503,
    "app.text": "naïve ☕ 文字",
    "app.empty": "",
    "app.int": -42,
    "app.big": 2**62 + 1,
    "app.double": 0.1,
    "app.whole_double": 3.0,
    "app.true": True,
    "app.false": False,
    "app.bytes": b"\x00\xffab",
    "app.texts": ["a", "b"],
    "app.ints": [1, 2, 3],
    "app.bools": [True, False],
    "app.none": [],
}


def _grpc(sidecar: Sidecar) -> SpanExporter:
    return GrpcExporter(endpoint=f"http://{sidecar.grpc_endpoint}", insecure=True)


def _http(sidecar: Sidecar) -> SpanExporter:
    return HttpExporter(
        endpoint=f"http://{sidecar.http_endpoint}/v1/traces",
        compression=Compression.Gzip,
    )


def _run_app(exporter: SpanExporter) -> tuple[ReadableSpan, ReadableSpan]:
    """Be the app: a failing request with a child; return both spans as the SDK has them."""
    resource = Resource.create({"service.name": "shop", "service.version": "1.2.3", "replica": 7})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    tracer = provider.get_tracer("shop.orders", "0.9", attributes={"team": "orders"})
    link = Link(LINKED, {"why": "retry", "attempt": 2})
    with tracer.start_as_current_span(
        "GET /orders/{id}",
        kind=SpanKind.SERVER,
        attributes=ATTRIBUTES,
        links=[link],
    ) as parent:
        with tracer.start_as_current_span("load order", kind=SpanKind.CLIENT) as child:
            child.add_event("cache miss", {"shard": 3, "warm": False})
            child.set_status(Status(StatusCode.OK))
        parent.record_exception(LookupError("no such order"))
        parent.set_status(Status(StatusCode.ERROR, "backend gave up"))
    assert provider.force_flush()
    provider.shutdown()
    return parent, child


@pytest.mark.parametrize("exporter", [_grpc, _http], ids=["grpc", "http-gzip"])
def test_all_of_an_sdk_span_comes_back_by_sql(
    sidecar: Callable[..., Sidecar],
    exporter: Callable[[Sidecar], SpanExporter],
) -> None:
    """Scenario: attributes of every type, an exception, events, a link, a status, a child.

    Guarantees: each is in the lake with its value and its type, visible within 3 s of the ack.
    """
    running = sidecar()
    parent, child = _run_app(exporter(running))
    acked = time.time()
    rows = {row["name"]: row for row in running.query_until("FROM spans", rows=2)}
    manifest = json.loads((running.data_dir / "lake" / "_manifest.json").read_text())
    files = [running.data_dir / "lake" / path for path in manifest["spans"]]
    assert max(path.stat().st_mtime for path in files) - acked < VISIBLE_WITHIN_S
    assert rows.keys() == {parent.name, child.name}
    _assert_same_span(rows[parent.name], parent)
    _assert_same_span(rows[child.name], child)
    _assert_promoted(rows[parent.name])
    _assert_types(running)
    _assert_events(running, parent, child)
    _assert_link(running)
    assert running.metric("clearspan_spans_received_total") == 2
    assert running.metric("clearspan_spans_stored_total") == 2


def _assert_same_span(row: dict[str, Any], span: ReadableSpan) -> None:
    assert row["trace_id"] == f"{span.context.trace_id:032x}"
    assert row["span_id"] == f"{span.context.span_id:016x}"
    assert row["parent_span_id"] == (f"{span.parent.span_id:016x}" if span.parent else None)
    assert row["is_root"] is (span.parent is None)
    assert row["kind"] == span.kind.name
    assert row["status_code"] == span.status.status_code.name
    assert (row["status_message"] or None) == span.status.description
    assert row["start_time_unix_nano"] == span.start_time
    assert row["duration_ns"] == (span.end_time or 0) - (span.start_time or 0)
    assert row["scope_name"] == "shop.orders"
    assert row["scope_version"] == "0.9"
    assert row["events_count"] == len(span.events)
    assert row["sample_weight"] == 1


def _assert_promoted(row: dict[str, Any]) -> None:
    assert row["service_name"] == "shop"
    assert row["service_version"] == "1.2.3"
    assert row["http_request_method"] == "GET"
    assert row["http_route"] == "/orders/{id}"
    assert row["http_response_status_code"] == 503


def _assert_types(running: Sidecar) -> None:
    (row,) = running.query(
        """
        SELECT to_json(attributes) AS attributes, to_json(non_string_types) AS types,
               to_json(resource_attributes) AS resource, to_json(scope_attributes) AS scope,
               resource_non_string_types['replica'] AS replica_type
        FROM spans WHERE kind = 'SERVER'
        """,
    )
    attributes, types = _map(row["attributes"]), _map(row["types"])
    assert attributes.keys() == ATTRIBUTES.keys()
    assert types == {
        "http.response.status_code": "int",
        "app.int": "int",
        "app.big": "int",
        "app.double": "double",
        "app.whole_double": "double",
        "app.true": "bool",
        "app.false": "bool",
        "app.bytes": "bytes",
        "app.texts": "array",
        "app.ints": "array",
        "app.bools": "array",
        "app.none": "array",
    }
    readers: dict[str | None, Callable[[str], Any]] = {
        None: str,
        "int": int,
        "double": float,
        "bool": {"true": True, "false": False}.__getitem__,
        "bytes": _from_base64,
        "array": json.loads,
    }
    back = {key: readers[types.get(key)](value) for key, value in attributes.items()}
    assert back == ATTRIBUTES
    resource = _map(row["resource"])
    assert resource["service.name"] == "shop"
    assert resource["replica"] == "7"
    assert row["replica_type"] == "int"
    assert resource["telemetry.sdk.language"] == "python"
    assert _map(row["scope"]) == {"team": "orders"}


def _assert_events(running: Sidecar, parent: ReadableSpan, child: ReadableSpan) -> None:
    rows = running.query(
        """
        SELECT *, to_json(attributes) AS text, attributes['shard'] AS shard,
               non_string_types['shard'] AS shard_type
        FROM span_events ORDER BY name
        """,
    )
    miss, exception = rows
    assert (miss["name"], miss["shard"], miss["shard_type"]) == ("cache miss", "3", "int")
    assert miss["span_id"] == f"{child.context.span_id:016x}"
    assert miss["time_unix_nano"] == child.events[0].timestamp
    assert exception["name"] == "exception"
    assert exception["span_id"] == f"{parent.context.span_id:016x}"
    assert exception["service_name"] == "shop"
    assert exception["exception_type"] == "LookupError"
    assert exception["exception_message"] == "no such order"
    assert "LookupError: no such order" in exception["exception_stacktrace"]


def _assert_link(running: Sidecar) -> None:
    (row,) = running.query(
        """
        SELECT len(links) AS count, links[1].trace_id AS trace_id,
               links[1].span_id AS span_id, links[1].attributes['why'] AS why,
               links[1].attributes['attempt'] AS attempt,
               links[1].non_string_types['attempt'] AS attempt_type
        FROM spans WHERE kind = 'SERVER'
        """,
    )
    assert row == {
        "count": 1,
        "trace_id": f"{LINKED.trace_id:032x}",
        "span_id": f"{LINKED.span_id:016x}",
        "why": "retry",
        "attempt": "2",
        "attempt_type": "int",
    }


def _map(value: Any) -> dict[str, str]:
    """Return a MAP that SQL turned into JSON, whether the answer nests it or quotes it."""
    found: dict[str, str] = json.loads(value) if isinstance(value, str) else value
    return found


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
