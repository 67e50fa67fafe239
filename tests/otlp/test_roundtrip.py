"""OTLP bytes to the flat table and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.otlp.decode import Decoder
from collector.otlp.descriptor import handlers
from collector.otlp.encode import encode
from config.settings import OtlpLimits
from tests.otlp.messages import REQUESTS, plain_span, small_request, spans_of

DECODER = Decoder(OtlpLimits(), lambda: 1_700_000_000_000_000_000)


@given(REQUESTS)
@settings(deadline=None, max_examples=150)
def test_nested_round_trip_is_byte_exact(request: ExportTraceServiceRequest) -> None:
    """Scenario: any valid message. Guarantees: OTLP -> nested Arrow -> OTLP changes no byte."""
    raw = request.SerializeToString()
    nested = handlers().strict.list_to_record_batch([raw])
    assert handlers().strict.record_batch_to_array(nested)[0].as_py() == raw


@given(REQUESTS)
@settings(deadline=None, max_examples=150)
def test_flat_round_trip_keeps_every_span(request: ExportTraceServiceRequest) -> None:
    """Scenario: any valid message. Guarantees: every span comes back with resource and scope."""
    decoded = DECODER.decode([request.SerializeToString()])
    assert not decoded.errors
    again = ExportTraceServiceRequest.FromString(encode(decoded.batch))
    before, after = spans_of(request), spans_of(again)
    assert decoded.received.tolist() == [len(before)]
    assert len(after) == len(before)
    for (resource, scope, span), (resource2, scope2, span2) in zip(before, after, strict=True):
        assert span2 == span
        assert resource2.resource == resource.resource
        assert resource2.schema_url == resource.schema_url
        assert scope2.scope == scope.scope
        assert scope2.schema_url == scope.schema_url


def test_flat_round_trip_is_byte_exact_for_an_sdk_shaped_message() -> None:
    """Scenario: what an SDK sends. Guarantees: the flat table's way back is byte-exact too."""
    raw = small_request(*(plain_span(n, name=f"GET /{n}") for n in range(1, 9)))
    assert encode(DECODER.decode([raw]).batch) == raw


def test_requests_decoded_together_equal_requests_decoded_alone() -> None:
    """Scenario: a micro-batch. Guarantees: rows, order and counts are those of its requests."""
    raws = [
        small_request(plain_span(1), plain_span(2), service="a"),
        small_request(plain_span(3), service="b"),
    ]
    together = DECODER.decode(raws)
    alone = [DECODER.decode([raw]).batch.table for raw in raws]
    assert np.array_equal(together.received, [2, 1])
    rows = [row for table in alone for row in table.to_pylist()]
    assert together.batch.table.to_pylist() == rows
