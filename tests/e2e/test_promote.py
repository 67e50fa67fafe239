"""An attribute of the user's own as a column: redacted, typed, there for spans of before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.otlp_client import GrpcClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

PROMOTE = (
    "exporters.lake.promote=[{key: note, column: note}, {key: retries, column: retries, type: int}]"
)


def request(number: int) -> bytes:
    """Return a span with a number, and an e-mail address in its note."""
    message = ExportTraceServiceRequest()
    span = (
        message.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=bytes([number] * 16), span_id=bytes([number] * 8), start_time_unix_nano=10**18
        )
    )
    span.attributes.add(key="note").value.string_value = f"ask ann{number}@example.com"
    span.attributes.add(key="retries").value.int_value = number
    return message.SerializeToString()


def test_a_column_is_redacted_and_answers_for_older_spans(
    sidecar: Callable[..., Sidecar],
) -> None:
    """Scenario: a span before, one after a restart with promoted attributes, killed right away.

    Guarantees: both spans' columns hold what redaction left and the number as a number; the
    acknowledged span of before the kill has its columns as well.
    """
    first = sidecar()
    with GrpcClient(first.grpc_endpoint) as client:
        assert client.export(request(1)).ok
    first.query_until("SELECT 1 FROM spans", rows=1)
    assert first.sigterm() == 0
    second = sidecar(PROMOTE)
    with GrpcClient(second.grpc_endpoint) as client:
        assert client.export(request(2)).ok
    second.sigkill()
    third = sidecar(PROMOTE)
    sql = "SELECT note, retries + 1 AS n, note = attributes['note'] AS same FROM spans ORDER BY n"
    assert third.query_until(sql, rows=2) == [
        {"note": "ask <EMAIL_ADDRESS>", "n": 2, "same": True},
        {"note": "ask <EMAIL_ADDRESS>", "n": 3, "same": True},
    ]
