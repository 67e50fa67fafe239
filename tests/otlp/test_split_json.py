"""Large requests in JSON are read in pieces: the same rows, in little memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.model.errors import InvalidPayload
from collector.otlp import split_json
from collector.otlp.decode import Decoder
from collector.otlp.decode_logs import LogDecoder
from collector.otlp.descriptor import TRACES
from collector.otlp.from_json import protobuf_of
from collector.otlp.limits import check_limits
from collector.otlp.split_json import JsonPieces
from config.settings import OtlpLimits
from tests.otlp.test_from_json import TRACE_ID, filled, with_hex

if TYPE_CHECKING:
    from google.protobuf.message import Message

PIECES = JsonPieces(
    ("resourceSpans",), ("scopeSpans", "resource", "schemaUrl"), ("spans", "scope", "schemaUrl")
)


def spans(count: int, **more: Any) -> list[dict[str, Any]]:
    """Return so many spans with ids that differ."""
    span = {"traceId": TRACE_ID, "name": "GET /x", "attributes": [{"key": "k"}] * 3, **more}
    return [{**span, "spanId": f"{number + 1:016x}"} for number in range(count)]


def request_of(*scopes: list[dict[str, Any]], resource: str = "r") -> dict[str, Any]:
    """Return a request with a resource and a scope for each of these spans."""
    attributes = [{"key": "service.name", "value": {"stringValue": resource}}]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes},
                "schemaUrl": "https://a",
                "scopeSpans": [{"scope": {"name": f"s{number}"}, "spans": items, "schemaUrl": "b"}],
            }
            for number, items in enumerate(scopes)
        ]
    }


@pytest.mark.parametrize("size_bytes", [1, 200, 1_000])
@pytest.mark.parametrize(
    ("kind", "decoder"),
    [
        (ExportTraceServiceRequest, Decoder(OtlpLimits(), lambda: 0)),
        (ExportLogsServiceRequest, LogDecoder(OtlpLimits(), lambda: 0)),
    ],
)
def test_pieces_hold_the_same_rows(
    monkeypatch: pytest.MonkeyPatch, size_bytes: int, kind: type[Message], decoder: Any
) -> None:
    """Scenario: a request with every field of the protocol, cut at each item, some, and few.

    Guarantee: the rows of the whole, in its order.
    """
    plain = json_format.MessageToDict(filled(kind()), use_integers_for_enums=True)
    text = json.dumps(with_hex(plain), indent=1).encode()
    whole = decoder.decode([uncut := decoder.from_json(text)])
    monkeypatch.setattr(split_json, "_PIECE_BYTES", size_bytes)
    monkeypatch.setattr(split_json, "_TIMES_AROUND", 0)
    found = decoder.decode([cut := decoder.from_json(text)])
    assert cut != uncut
    assert whole.batch.table.equals(found.batch.table)
    assert (found.errors, *found.received, *found.rejected) == ({}, 8, 0)


def test_every_item_is_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: scopes of many spans, few and none, null and unknown keys, a key with a quote.

    Guarantees: each span is there once, in its order, with its own resource and scope.
    """
    request = request_of(spans(50), [], spans(1), spans(7, name="a" * 900), resource='"{[')
    request["resourceSpans"][1]["scopeSpans"] = None
    request["resourceSpans"][0] |= {'a"b': [1, {}], "resource": None}
    text = json.dumps({"x": {"spans": 1}, **request}).encode()
    monkeypatch.setattr(split_json, "_PIECE_BYTES", 500)
    rows = [
        (resource.get("resource"), scope["scope"], span)
        for piece in map(bytes, PIECES.of(text))
        for resource in json.loads(piece)["resourceSpans"]
        for scope in resource["scopeSpans"] or ()
        for span in scope["spans"]
    ]
    assert rows == [
        (resource["resource"], scope["scope"], span)
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"] or ()
        for span in scope["spans"]
    ]
    assert len(list(PIECES.of(text))) > 15


def test_what_is_repeated_is_bounded() -> None:
    """Scenario: a resource and a scope of a megabyte above a million empty spans, 10,000 scopes.

    Guarantee: the pieces have hardly more bytes than the whole.
    """
    scope = b'{"scope":{"name":"%b"},"spans":[%b{}]}' % (b"a" * 2**20, b"{}," * 4_000_000)
    resource = b'{"resource":{"x":"%b"},"scopeSpans":[%b,%b{}]}' % (
        b"b" * 2**20,
        scope,
        b'{"spans":[{}]},' * 10_000,
    )
    text = b'{"resourceSpans":[%b]}' % resource
    found = [len(piece) for piece in PIECES.of(text)]
    assert len(found) > 1
    assert sum(found) < 1.3 * len(text)


def test_attributes_are_not_too_many_because_they_are_repeated() -> None:
    """Scenario: a resource of 50,000 empty attributes in 200 kB, above 3 MB of spans.

    Guarantee: a limit of three times as many is kept.
    """
    request = request_of(spans(1_500, name="x" * 2_000, attributes=[]))
    request["resourceSpans"][0]["resource"]["attributes"] = [{}] * 50_000
    serialized = protobuf_of(json.dumps(request).encode(), TRACES)
    assert len(ExportTraceServiceRequest.FromString(serialized).resource_spans) > 1
    check_limits(serialized, OtlpLimits(max_attributes=150_000))


def test_a_large_request_takes_little_memory() -> None:
    """Scenario: 8 MB in one scope. Guarantee: no objects for all of it at once."""
    text = json.dumps(request_of(spans(50_000))).encode()
    tracemalloc.start()
    try:
        serialized = protobuf_of(text, TRACES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * len(text)
    assert len(ExportTraceServiceRequest.FromString(serialized).resource_spans) > 3


def test_an_error_tells_the_place_in_the_whole() -> None:
    """Scenario: a wrong name in the last span of a large request; text cut off within it.

    Guarantees: refused, the place is that in the request.
    """
    items = spans(9_000)
    items[-1]["name"] = 5
    text = json.dumps(request_of([], items)).encode()
    place = r"at `\$.resourceSpans\[1\].scopeSpans\[0\].spans\[8999\].name`"
    with pytest.raises(InvalidPayload, match=place):
        protobuf_of(text, TRACES)
    half = text.replace(b'"name": 5', rb'"name": "\ud83d"')
    with pytest.raises(InvalidPayload, match="truncated"):
        protobuf_of(half[:-3], TRACES)
    found = ExportTraceServiceRequest.FromString(protobuf_of(half, TRACES))
    assert found.resource_spans[-1].scope_spans[0].spans[-1].name == "\ufffd"
