"""OTLP messages for tests: built by hand and by hypothesis, from the official protobuf classes."""

from __future__ import annotations

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

TEXT = st.text(max_size=12)
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
UINT32 = st.integers(0, 2**32 - 1)
FLAGS = st.integers(0, 0x3FF)  # the others mean nothing and are not kept


def _any_value(children: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.builds(KeyValue, key=TEXT, value=st.none() | children)
    return st.one_of(
        st.lists(children, max_size=3).map(
            lambda values: AnyValue(array_value=ArrayValue(values=values)),
        ),
        st.lists(pairs, max_size=3).map(
            lambda values: AnyValue(kvlist_value=KeyValueList(values=values)),
        ),
    )


SCALARS = st.one_of(
    TEXT.map(lambda v: AnyValue(string_value=v)),
    st.booleans().map(lambda v: AnyValue(bool_value=v)),
    INT64.map(lambda v: AnyValue(int_value=v)),
    st.floats(allow_nan=False).map(lambda v: AnyValue(double_value=v)),
    st.binary(max_size=9).map(lambda v: AnyValue(bytes_value=v)),
    st.just(AnyValue()),
)
VALUES = st.recursive(SCALARS, _any_value, max_leaves=6)
# keys are unique in a valid message
ATTRIBUTES = st.dictionaries(TEXT, st.none() | VALUES, max_size=4).map(
    lambda pairs: [KeyValue(key=key, value=value) for key, value in pairs.items()],
)
EVENTS = st.builds(
    Span.Event,
    time_unix_nano=UINT64,
    name=TEXT,
    attributes=ATTRIBUTES,
    dropped_attributes_count=UINT32,
)
LINKS = st.builds(
    Span.Link,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    trace_state=TEXT,
    attributes=ATTRIBUTES,
    dropped_attributes_count=UINT32,
    flags=FLAGS,
)
SPANS = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    span_id=st.binary(min_size=8, max_size=8).filter(any),
    trace_state=TEXT,
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8).filter(any),
    name=TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=UINT64,
    end_time_unix_nano=UINT64,
    attributes=ATTRIBUTES,
    dropped_attributes_count=UINT32,
    events=st.lists(EVENTS, max_size=2),
    dropped_events_count=UINT32,
    links=st.lists(LINKS, max_size=2),
    dropped_links_count=UINT32,
    status=st.builds(Status, message=TEXT, code=st.integers(0, 2)),
    flags=FLAGS,
)
SCOPE_SPANS = st.builds(
    ScopeSpans,
    scope=st.builds(
        InstrumentationScope,
        name=TEXT,
        version=TEXT,
        attributes=ATTRIBUTES,
        dropped_attributes_count=UINT32,
    ),
    spans=st.lists(SPANS, max_size=3),
    schema_url=TEXT,
)
RESOURCE_SPANS = st.builds(
    ResourceSpans,
    resource=st.builds(Resource, attributes=ATTRIBUTES, dropped_attributes_count=UINT32),
    scope_spans=st.lists(SCOPE_SPANS, max_size=3),
    schema_url=TEXT,
)
REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(RESOURCE_SPANS, max_size=3),
)


def spans_of(request: ExportTraceServiceRequest) -> list[tuple[ResourceSpans, ScopeSpans, Span]]:
    """Every span of a message with what it belongs to, in order."""
    return [
        (resource, scope, span)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def small_request(*spans: Span, service: str = "checkout") -> bytes:
    """Serialize spans under one resource and scope; one plain span when none are given."""
    resource = Resource(
        attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))],
    )
    scope = ScopeSpans(scope=InstrumentationScope(name="test"), spans=spans or [plain_span()])
    message = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])],
    )
    raw: bytes = message.SerializeToString()
    return raw


def plain_span(number: int = 1, **fields: object) -> Span:
    """Build a valid span whose ids come from ``number``."""
    given = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "name": "GET /",
        "start_time_unix_nano": 1_700_000_000_000_000_000,
        "end_time_unix_nano": 1_700_000_000_005_000_000,
        **fields,
    }
    return Span(**given)


def attribute(key: str, **value: object) -> KeyValue:
    """Build an attribute from AnyValue's own field names."""
    return KeyValue(key=key, value=AnyValue(**value))


def wire_field(number: int, payload: bytes) -> bytes:
    """Write a length-delimited field; the library itself refuses to build deep messages."""
    size, length = len(payload), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload
