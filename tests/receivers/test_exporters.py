"""The OpenTelemetry SDK's own exporters, over real sockets."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.exporter.otlp.common.http import Compression as JsonCompression
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter as JsonExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from collector.model.contracts import Outcome
from collector.model.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.receivers.conftest import Served

EXPORTERS: dict[str, Callable[[Served], SpanExporter]] = {
    "grpc": lambda served: GrpcExporter(served.grpc, insecure=True),
    "grpc gzip": lambda served: GrpcExporter(
        served.grpc, insecure=True, compression=grpc.Compression.Gzip
    ),
    "http": lambda served: HttpExporter(f"http://{served.http}/v1/traces"),
    "http gzip": lambda served: HttpExporter(
        f"http://{served.http}/v1/traces", compression=Compression.Gzip
    ),
    "http json": lambda served: JsonExporter(f"http://{served.http}/v1/traces"),
    "http json gzip": lambda served: JsonExporter(
        f"http://{served.http}/v1/traces", compression=JsonCompression.GZIP
    ),
}


def trace(served: Served, exporter: str) -> None:
    """Make one span with the SDK and export it."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTERS[exporter](served)))
    with provider.get_tracer("shop").start_as_current_span("checkout") as span:
        span.set_attribute("http.route", "/checkout")
    provider.shutdown()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_sdk_exports(served: Served, exporter: str) -> None:
    """Scenario: an app instrumented with the SDK, each protocol, with and without gzip.

    Guarantees: the span arrives as the SDK made it.
    """
    trace(served, exporter)
    [payload] = served.intake.received
    request = ExportTraceServiceRequest.FromString(payload)
    [span] = request.resource_spans[0].scope_spans[0].spans
    assert (span.name, span.attributes[0].value.string_value) == ("checkout", "/checkout")
    assert served.telemetry.refused == {}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_the_sdk_tries_again(served: Served, exporter: str) -> None:
    """Scenario: the journal cannot be written for a moment.

    Guarantees: the SDK understands the answer and sends the same span again, and it is taken.
    """
    served.intake.outcome = StorageUnavailable("the journal is full", retry_after_s=0.01)
    served.intake.gate.clear()

    def recover() -> None:
        served.intake.wait_for_submit()
        served.intake.gate.set()
        served.telemetry.wait_for(f"otlp_{exporter.split(maxsplit=1)[0]}", "storage")
        served.intake.outcome = Outcome()

    recovering = threading.Thread(target=recover)
    recovering.start()
    trace(served, exporter)
    recovering.join()
    assert len(served.intake.received) == 2
    assert len(set(served.intake.received)) == 1
