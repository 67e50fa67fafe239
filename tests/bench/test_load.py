"""The generator counts what was really received."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.bench.load import METHOD, Generator, Job
from tests.bench.payloads import build_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPANS = 20


class Sink(grpc.GenericRpcHandler):
    """Keeps every request; every tenth is refused, or has one span rejected."""

    def __init__(self) -> None:
        """Start empty."""
        self.kept: list[bytes] = []
        self.calls = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Serve the one method."""
        assert details.method == METHOD
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self.calls % 10 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        self.kept.append(payload)
        answer = ExportTraceServiceResponse()
        if self.calls % 10 == 1:
            answer.partial_success.rejected_spans = 1
        return answer.SerializeToString()


@pytest.fixture
def sink() -> Iterator[tuple[Sink, str]]:
    """Serve a sink on a free port; one thread, so its counts need no lock."""
    handler = Sink()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def job(tmp_path: Path, sink: tuple[Sink, str]) -> Callable[[float], Job]:
    """Make jobs against the sink, of this rate."""
    path = tmp_path / "templates"
    path.write_bytes(pickle.dumps(build_templates("web", spans=SPANS, count=2, seed=1)))

    def make(rate: float) -> Job:
        return Job(sink[1], str(path), 0.4, 0.1, 2, rate, os.getpid(), 1)

    return make


@pytest.mark.parametrize("rate", [0.0, 2_000.0], ids=["closed", "open"])
def test_acknowledged_is_what_the_receiver_kept(
    rate: float,
    job: Callable[[float], Job],
    sink: tuple[Sink, str],
) -> None:
    """Scenario: a receiver that refuses some requests and rejects some spans.

    Guarantee: acknowledged = kept - rejected, refused spans are counted by code, and the open
    loop sends all that its schedule holds.
    """
    todo = job(rate)
    with open(todo.templates, "rb") as file:  # noqa: PTH123 - the name is a string in a job
        generator = Generator(todo, pickle.load(file))  # noqa: S301 - ours
    load = generator.run()
    kept = [ExportTraceServiceRequest.FromString(payload) for payload in sink[0].kept]
    spans = [
        span.span_id
        for request in kept
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(set(spans)) == len(spans)
    assert load.acked + load.rejected == len(spans)
    assert load.failed == {"UNAVAILABLE": (sink[0].calls - len(kept)) * SPANS}
    assert 0 < load.window_acked <= load.acked
    assert 0 < load.latency_p50_ms <= load.latency_p99_ms <= load.latency_max_ms
    if rate:
        # a schedule that began late ends one request short
        assert sink[0].calls * SPANS == pytest.approx(rate * 0.5, abs=2 * SPANS)
