"""What the decoder makes of invalid UTF-8 within arrays and maps."""

from __future__ import annotations

import re

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector.otlp.decode import Decoder
from collector.otlp.decode_logs import LogDecoder
from collector.otlp.values import UNREADABLE
from config.settings import OtlpLimits
from tests.otlp.messages import attribute, plain_span, small_request, wire_field

DECODER = Decoder(OtlpLimits(), lambda: 1_700_000_000_000_000_000)
LOG_DECODER = LogDecoder(OtlpLimits(), lambda: 1_700_000_000_000_000_000)
COFFEE = AnyValue(string_value="caf\u00e9")


def array(*values: AnyValue) -> AnyValue:
    """Return an array value."""
    return AnyValue(array_value=ArrayValue(values=values))


def mapping(values: dict[str, AnyValue]) -> AnyValue:
    """Return a map value."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return AnyValue(kvlist_value=KeyValueList(values=pairs))


def latin(raw: bytes) -> bytes:
    """Return a message with each e acute as one byte of Latin-1, lengths as they were."""
    return raw.replace(b"\xc3\xa9", b"\xe9?")


def request(value: AnyValue) -> bytes:
    """Return a request of one span with the value between two others."""
    around = attribute("before", string_value="x"), attribute("after", int_value=7)
    nested = KeyValue(key="nested", value=value)
    return small_request(plain_span(attributes=[around[0], nested, around[1]]))


def nested_text(raw: bytes) -> tuple[str | None, str | None]:
    """Return what became of the value of such a request, and its tag."""
    [row] = DECODER.decode([raw]).batch.table.to_pylist()
    texts = dict(row["attributes"])
    assert (texts.pop("before"), texts.pop("after")) == ("x", "7")
    return texts["nested"], dict(row["non_string_types"]).get("nested")


@pytest.mark.parametrize(
    ("value", "text", "tag"),
    [
        (array(COFFEE, AnyValue(int_value=5)), '["caf\ufffd?", 5]', "array"),
        (
            mapping({"a": AnyValue(bool_value=True), "caf\u00e9": array(mapping({"b": COFFEE}))}),
            '{"a": true, "caf\ufffd?": [{"b": "caf\ufffd?"}]}',
            "kvlist",
        ),
        (
            array(COFFEE, AnyValue(bytes_value=b"\xff")),
            '{"arrayValue": {"values": [{"stringValue": "caf\ufffd?"}, {"bytesValue": "/w=="}]}}',
            "otlp",
        ),
        (
            AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="\u00e9")])),
            '{"kvlistValue": {"values": [{"key": "\ufffd?"}]}}',
            "otlp",
        ),
        (mapping({"text": AnyValue(string_value="\u00e9" + "x" * 9_999)}),
         '{"text": "\ufffd?' + "x" * 9_999 + '"}', "kvlist"),
    ],
)  # fmt: skip
def test_only_the_invalid_bytes_are_replaced(value: AnyValue, text: str, tag: str) -> None:
    """Scenario: Latin-1 in keys and texts at any depth. Guarantees: all else stays, type too."""
    assert nested_text(latin(request(value))) == (text, tag)


def test_keys_that_become_equal_are_both_kept() -> None:
    """Scenario: two keys of one invalid byte each. Guarantees: a form that can say both."""
    raw = request(mapping({"a1": AnyValue(int_value=1), "a2": AnyValue(int_value=2)}))
    text, tag = nested_text(raw.replace(b"a1", b"a\xfe").replace(b"a2", b"a\xff"))
    assert text is not None
    assert text.count('"key": "a\ufffd"') == 2
    assert tag == "otlp"


def test_requests_are_counted_wherever_the_value_stands() -> None:
    """Scenario: one request with the value in each place, between good ones with arrays.

    Guarantees: exactly those count as salvaged, and every value is read.
    """
    pair = KeyValue(key="k", value=array(COFFEE))
    good = KeyValue(key="k", value=array(AnyValue(string_value="tea")))
    places = [
        _traces(Span(attributes=[pair])),
        _traces(Span(attributes=[good], events=[Span.Event(attributes=[pair])])),
        _traces(Span(links=[Span.Link(attributes=[pair])])),
        _traces(Span(), resource=Resource(attributes=[pair])),
        _traces(Span(), scope=InstrumentationScope(attributes=[pair])),
    ]
    between = _traces(Span(attributes=[good]))
    raws = [raw for place in places for raw in (between, latin(place))]
    decoded = DECODER.decode(raws)
    assert not decoded.errors
    assert decoded.salvaged.tolist() == [False, True] * len(places)
    shown = [str(row) for row in decoded.batch.table.to_pylist()]
    assert ['["caf\ufffd?"]' in row for row in shown] == [False, True] * len(places)
    assert not any(UNREADABLE in row for row in shown)


def test_any_string_may_be_invalid() -> None:
    """Scenario: invalid UTF-8 in one string after the other, wherever a request has one.

    Guarantee: the span is taken, with U+FFFD there and only there, and the request is counted.
    """
    event = Span.Event(name="e0", attributes=[attribute("e1", string_value="e2")])
    link = Span.Link(
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
        trace_state="k0",
        attributes=[attribute("k1", string_value="k2")],
    )
    span = plain_span(
        name="s0",
        trace_state="s1",
        attributes=[attribute("s2", string_value="s3")],
        events=[event],
        links=[link],
        status=Status(message="s4"),
    )
    scope = InstrumentationScope(
        name="c0", version="c1", attributes=[attribute("c2", string_value="c3")]
    )
    resource = Resource(attributes=[attribute("r0", string_value="r1")])
    spans = ScopeSpans(scope=scope, spans=[span], schema_url="c4")
    raw = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[spans], schema_url="r2")]
    ).SerializeToString()
    whole = str(DECODER.decode([raw]).batch.table.to_pylist())
    for text in re.findall(rb"[ceksr]\d", raw):
        decoded = DECODER.decode([raw.replace(text, text[:1] + b"\xff")])
        assert (decoded.errors, list(decoded.salvaged)) == ({}, [True])
        expected = whole.replace(text.decode(), text[:1].decode() + "\ufffd")
        assert str(decoded.batch.table.to_pylist()) == expected


def test_a_log_body_is_read_and_counted() -> None:
    """Scenario: Latin-1 in a body that is a map. Guarantees: kept, and its request counts."""
    bodies = [mapping({"k": AnyValue(string_value=text)}) for text in "ab\u00e9"]
    decoded = LOG_DECODER.decode([latin(_logs(LogRecord(body=body))) for body in bodies])
    texts = ['{"k": "a"}', '{"k": "b"}', '{"k": "\ufffd?"}']
    assert decoded.batch.column("body").to_pylist() == texts
    assert decoded.batch.column("body_type").to_pylist() == ["kvlist"] * 3
    assert decoded.salvaged.tolist() == [False, False, True]


@pytest.mark.parametrize(("depth", "is_readable"), [(50, True), (51, False)])
def test_depth_is_bounded_as_for_valid_text(depth: int, is_readable: bool) -> None:
    """Scenario: text in arrays at the limit of depth. Guarantees: read exactly where valid is."""
    texts = []
    for text in (b"caf\xc3\xa9", b"caf\xe9?"):
        raw = wire_field(1, text)
        for _ in range(depth):
            raw = wire_field(5, wire_field(1, raw))
        pair = wire_field(1, b"deep") + wire_field(2, raw)
        span = plain_span().SerializeToString() + wire_field(9, pair)
        raw_request = wire_field(1, wire_field(2, wire_field(2, span)))
        [row] = DECODER.decode([raw_request]).batch.table.to_pylist()
        texts.append(dict(row["attributes"])["deep"])
    assert texts[1] == texts[0].replace("\u00e9", "\ufffd?")
    assert (texts[0] != UNREADABLE) == is_readable


def test_what_is_no_message_costs_only_itself() -> None:
    """Scenario: an array that is cut off, with invalid UTF-8 before. Guarantees: as before."""
    raw = request(array(COFFEE, AnyValue(string_value="cut")))
    cut = latin(raw).replace(b"\x03cut", b"\x7fcut")
    assert cut != latin(raw)
    assert nested_text(cut) == (UNREADABLE, None)
    assert not DECODER.decode([cut]).salvaged.any()


def _traces(
    span: Span, resource: Resource | None = None, scope: InstrumentationScope | None = None
) -> bytes:
    span.MergeFrom(plain_span())
    scope_spans = ScopeSpans(scope=scope, spans=[span])
    resource_spans = ResourceSpans(resource=resource, scope_spans=[scope_spans])
    raw: bytes = ExportTraceServiceRequest(resource_spans=[resource_spans]).SerializeToString()
    return raw


def _logs(record: LogRecord) -> bytes:
    scope_logs = ScopeLogs(log_records=[record])
    message = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[scope_logs])])
    raw: bytes = message.SerializeToString()
    return raw
