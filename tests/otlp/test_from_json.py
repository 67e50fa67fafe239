"""OTLP/JSON as senders write it, and what is none."""

from __future__ import annotations

import base64
import gc
import json
import threading
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.model.errors import ClearspanError, InvalidPayload, PayloadTooLarge
from collector.otlp import from_json
from collector.otlp.decode import Decoder
from collector.otlp.decode_logs import LogDecoder
from collector.otlp.descriptor import LOGS, TRACES
from collector.otlp.from_json import protobuf_of
from collector.otlp.values import UNREADABLE
from config.settings import OtlpLimits

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from collector.otlp.requests import RequestDecoder

TRACE_ID = "5b8efff798038103d269b633813fc60c"
GOOD_ID = bytes.fromhex(TRACE_ID)
CANARY = "sk-proj-4f9d1c7be2a84d53"
_IDS = {"traceId", "spanId", "parentSpanId"}
_NOT_READ = {"entity_refs", "key_strindex", "string_value_strindex"}


def parsed(request: Any) -> ExportTraceServiceRequest:
    """Return what becomes of a request of traces in JSON (a text, or what to make one of)."""
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    return ExportTraceServiceRequest.FromString(protobuf_of(text, TRACES))


def of_span(span: Any) -> dict[str, Any]:
    """Return a request of one span."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def span_of(span: Any) -> Span:
    """Return what becomes of one span."""
    return parsed(of_span(span)).resource_spans[0].scope_spans[0].spans[0]


def value_of(value: Any) -> Message:
    """Return what becomes of an attribute's value."""
    return span_of({"attributes": [{"key": "k", "value": value}]}).attributes[0].value


def refused(text: bytes) -> str:
    """Return why a request is refused."""
    with pytest.raises(ClearspanError) as caught:
        protobuf_of(text, TRACES)
    return str(caught.value)


def filled(message: Message, depth: int = 0) -> Message:
    """Set every field, two elements in lists; of a oneof the last field."""
    for number, field in enumerate(message.DESCRIPTOR.fields):
        if field.name in _NOT_READ or depth > 12:
            continue
        for _ in range(2 if field.is_repeated else 1):
            if field.message_type:
                at = getattr(message, field.name)
                filled(at.add() if field.is_repeated else at, depth + 1)
                continue
            value: Any = number + 1
            if field.type == field.TYPE_BYTES:
                value = bytes(range(16 if field.name == "trace_id" else 8))
            elif field.type == field.TYPE_STRING:
                value = f"caf\u00e9 {field.name}"
            setattr(message, field.name, value)
    return message


def with_hex(value: Any) -> Any:
    """Return protobuf's own JSON as OTLP's: ids in hexadecimal."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in _IDS else with_hex(item)
            for key, item in value.items()
        }
    return [with_hex(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("kind", "decoder"),
    [
        (ExportTraceServiceRequest, Decoder(OtlpLimits(), lambda: 0)),
        (ExportLogsServiceRequest, LogDecoder(OtlpLimits(), lambda: 0)),
    ],
)
def test_every_field_is_read(kind: type[Message], decoder: RequestDecoder[Any]) -> None:
    """Scenario: a request with every field of the protocol set. Guarantee: the same rows."""
    request = filled(kind())
    plain = json_format.MessageToDict(request, use_integers_for_enums=True)
    text = json.dumps(with_hex(plain)).encode()
    assert len(text) > 2000
    both = [decoder.decode([one]) for one in (request.SerializeToString(), decoder.from_json(text))]
    assert [(one.errors, *one.received, *one.rejected) for one in both] == [({}, 8, 0)] * 2
    assert both[0].batch.table.equals(both[1].batch.table)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stringValue": "\u00e4 \U0001f600"}, {"string_value": "\u00e4 \U0001f600"}),
        ({"intValue": "-9223372036854775808"}, {"int_value": -(2**63)}),
        ({"intValue": 7}, {"int_value": 7}),
        ({"intValue": 1e3}, {"int_value": 1000}),
        ({"doubleValue": 1}, {"double_value": 1.0}),
        ({"doubleValue": "-Infinity"}, {"double_value": float("-inf")}),
        ({"boolValue": False}, {"bool_value": False}),
        ({"bytesValue": "/+8="}, {"bytes_value": b"\xff\xef"}),
        ({"stringValue": None, "intValue": 0}, {"int_value": 0}),
        ({"stringValue": ""}, {"string_value": ""}),
        ({}, {}),
        (None, {}),
    ],
)
def test_values(value: Any, expected: dict[str, Any]) -> None:
    """Scenario: values as senders write them. Guarantee: value and type; null is nothing."""
    found = {field.name: item for field, item in value_of(value).ListFields()}
    assert found == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"intValue":1e+21', {"double_value": 1e21}),
        ('"intValue":1.7976931348623157e+308', {"double_value": 1.7976931348623157e308}),
        ('"intValue": 9223372036854776000', {"double_value": 2.0**63}),
        ('"intValue":-100000000000000000000', {"double_value": -1e20}),
        ('"intValue":"9223372036854775808"', {"string_value": "9223372036854775808"}),
        ('"intValue":9223372036854775807', {"int_value": 2**63 - 1}),
        ('"intValue":"-9223372036854775808"', {"int_value": -(2**63)}),
        ('"bytesValue":{"type":"Buffer","data":[105,255]}', {"bytes_value": b"i\xff"}),
        ('"bytesValue":{"0":105,"1":5,"10":255}', {"bytes_value": b"i\x05\xff"}),
        ('"bytesValue":{}', {"bytes_value": b""}),
        ('"bytesValue":[105,255]', {"bytes_value": b"i\xff"}),
        ('"bytesValue":"_-8"', {"bytes_value": b"\xff\xef"}),
        ('"bytesValue" : "_w=="', {"bytes_value": b"\xff"}),
        (r'"bytesValue":"\/w"', {"bytes_value": b"\xff"}),
        ('"bytesValue":"aQX-"', {"bytes_value": b"i\x05\xfe"}),
        (r'"stringValue":"\"intValue\":1e+21"', {"string_value": '"intValue":1e+21'}),
    ],
)
def test_values_that_senders_write_wrong_are_kept(written: str, expected: dict[str, Any]) -> None:
    """Scenario: numbers beyond 64 bits and bytes, as the SDKs of JavaScript, Python and Rust do.

    Base64 as protobuf's JSON allows it: with the alphabet for URLs, without padding.

    Guarantee: a kind that holds the value, also beside such a one.
    """
    wrong = '"intValue":1e+21'
    for first, others in ((written, ""), (wrong, f',{{"value":{{{written}}}}}')):
        text = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":{%s}}%s]}]}]}]}'
        spans = parsed((text % (first, others)).encode()).resource_spans[0].scope_spans[0].spans
        found = spans[0].attributes[-1].value
        assert {field.name: item for field, item in found.ListFields()} == expected


def test_bytes_that_are_none_are_refused() -> None:
    """Scenario: a list of larger numbers where bytes belong. Guarantee: an error without them."""
    span = {"attributes": [{"value": {"bytesValue": [4711]}}]}
    assert "4711" not in refused(json.dumps(of_span(span), separators=(",", ":")).encode())


def nested(levels: int) -> dict[str, Any]:
    """Return a value in so many maps and arrays."""
    value: dict[str, Any] = {"stringValue": "deepest"}
    for _ in range(levels):
        pair = {"key": "k", "value": {"arrayValue": {"values": [value]}}}
        value = {"kvlistValue": {"values": [pair]}}
    return value


def test_nested_values_are_kept() -> None:
    """Scenario: maps and arrays in each other. Guarantee: all of it."""
    found: Any = value_of(nested(15))
    for _ in range(15):
        found = found.kvlist_value.values[0].value.array_value.values[0]
    assert found.string_value == "deepest"


def test_a_value_too_deep_for_protobuf_costs_only_itself() -> None:
    """Scenario: a value 200 deep. Guarantee: its span is taken."""
    span = {"traceId": TRACE_ID, "spanId": TRACE_ID[:16], "name": "n"}
    attributes = [{"key": "deep", "value": nested(100)}, {"key": "k", "value": {"intValue": 1}}]
    decoder = Decoder(OtlpLimits(), lambda: 0)
    text = json.dumps(of_span({**span, "attributes": attributes})).encode()
    decoded = decoder.decode([decoder.from_json(text)])
    [row] = decoded.batch.table.to_pylist()
    assert dict(row["attributes"]) == {"deep": UNREADABLE, "k": "1"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACE_ID, GOOD_ID),
        (TRACE_ID.upper(), GOOD_ID),
        ("", b""),
        (None, b""),
        ("xyz", b""),
        ("5b8", b""),
        ("5b 8e", b""),
        ("W47/95gDgQPSabYzgT/GDA==", b""),
    ],
)
def test_ids(text: str | None, expected: bytes) -> None:
    """Scenario: ids in either case, and none, of a span and of a link.

    Guarantee: bytes; what is no id is empty and has its span rejected.
    """
    link = {"traceId": text, "spanId": text}
    good = {"traceId": TRACE_ID, "spanId": TRACE_ID[:16], "links": [{}, link]}
    decoder = Decoder(OtlpLimits(), lambda: 0)
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [good]}]}]}).encode()
    [row] = decoder.decode([decoder.from_json(body)]).batch.table.to_pylist()
    assert (row["trace_id"], row["span_id"]) == (GOOD_ID, GOOD_ID[:8])
    assert [one["trace_id"] for one in row["links"]] == [b"", expected]
    for wrong in ({"traceId": text}, {"spanId": text}):
        decoded = decoder.decode(
            [decoder.from_json(json.dumps(of_span({**good, **wrong})).encode())]
        )
        is_taken = "traceId" in wrong and expected == GOOD_ID
        assert decoded.rejected.tolist() == [0 if is_taken else 1]


def test_ids_in_protobuf_are_no_text() -> None:
    """Scenario: JSON and protobuf decoded together, in which ids are hexadecimal text by mistake.

    Guarantee: the spans of the latter are rejected, as ever.
    """
    decoder = Decoder(OtlpLimits(), lambda: 0)
    text = json.dumps(of_span({"traceId": TRACE_ID, "spanId": TRACE_ID[:16]})).encode()
    wrong = bytes(decoder.from_json(text))
    decoded = decoder.decode([wrong, decoder.from_json(text), wrong])
    assert decoded.rejected.tolist() == [1, 0, 1]
    assert decoded.batch.table.column("trace_id").to_pylist() == [GOOD_ID]


def test_what_is_no_id_is_not_made() -> None:
    """Scenario: a list of lists where an id belongs. Guarantee: refused before it takes memory."""
    text = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":[%s[]]}]}]}]}' % (b"[]," * 2**16)
    tracemalloc.start()
    try:
        assert "spans[0].traceId" in refused(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(text)


@pytest.mark.parametrize("parent", ["xyz", "5b8", "00f067aa0ba902b7 ", TRACE_ID, "8Gequ6C6kCs="])
def test_a_parent_that_is_no_id_makes_no_root(parent: str) -> None:
    """Scenario: spans with good ids of their own, one's parent is no id, as in protobuf.

    Guarantee: that one is rejected, not kept as the root of its trace; the others are taken.
    """
    span = {"traceId": TRACE_ID, "spanId": TRACE_ID[:16]}
    spans = [{**span, "parentSpanId": text} for text in (parent, "", None, TRACE_ID[16:])]
    decoder = Decoder(OtlpLimits(), lambda: 0)
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    decoded = decoder.decode([decoder.from_json(text)])
    assert (decoded.received.tolist(), decoded.rejected.tolist()) == ([4], [1])
    assert [row["is_root"] for row in decoded.batch.table.to_pylist()] == [True, True, False]


def test_numbers_as_text_and_names_of_enums_are_taken() -> None:
    """Scenario: 64-bit numbers both ways, an enum as number, name and unknown number."""
    span = span_of(
        {
            "startTimeUnixNano": "18446744073709551615",
            "endTimeUnixNano": 1544712661000000000,
            "kind": "SPAN_KIND_CLIENT",
            "status": {"code": 77},
        }
    )
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (2**64 - 1, 1544712661 * 10**9)
    assert (span.kind, span.status.code) == (Span.SPAN_KIND_CLIENT, 77)


def test_unknown_keys_and_the_protocols_own_names_are_ignored() -> None:
    """Scenario: keys of later versions, of any shape, and snake_case ones, which are not valid."""
    span = {"name": "n", "new": [{"a": [1, {}]}], "trace_state": "x=1", "start_time_unix_nano": 1}
    request = {**of_span(span), "more": None}
    found = parsed(request)
    assert found == parsed(of_span({"name": "n"}))
    assert parsed({}) == ExportTraceServiceRequest()
    assert parsed(b" \xef\xbb\xbf{}".strip()) == ExportTraceServiceRequest()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"x\ud83d", "x\ufffd"),
        (rb"\ud83d\ud83d!", "\ufffd\ufffd!"),
        (rb"\ude00 \uDE00", "\ufffd \ufffd"),
        (rb"\ud83d\ude00\ude00", "\U0001f600\ufffd"),
        (rb"\\ud83d \\\ud83d", "\\ud83d \\\ufffd"),
        (rb"\\ud83d\ude00", "\\ud83d\ufffd"),
        (rb"\\\ud83d\ude00\ud83d\\ude00", "\\\U0001f600\ufffd\\ude00"),
        (b"caf\xe9!", "caf\ufffd!"),
        (b"caf\xe9 \\ud83d\\ude00 \\ud83d", "caf\ufffd \U0001f600 \ufffd"),
    ],
)
def test_what_is_no_character_is_replaced(written: bytes, text: str) -> None:
    """Scenario: text cut within a character, as in JavaScript. Guarantee: U+FFFD, the rest kept."""
    text_of = json.dumps(of_span({"name": "HERE", "traceState": "\U0001f600"})).encode()
    span = parsed(text_of.replace(b"HERE", written)).resource_spans[0].scope_spans[0].spans[0]
    assert (span.name, span.trace_state) == (text, "\U0001f600")


def test_requests_with_replaced_characters_count_as_salvaged() -> None:
    """Scenario: wrong bytes, a half of a pair; what is mended without loss; U+FFFD as it was sent.

    Guarantee: the first two count, and not what is decoded beside them.
    """
    decoder = Decoder(OtlpLimits(), lambda: 0)
    good = {"traceId": TRACE_ID, "spanId": TRACE_ID[:16], "name": "HERE\ufffd"}
    text = json.dumps(of_span(good), ensure_ascii=False).encode()
    wide = of_span({**good, "attributes": [{"key": "k", "value": {"intValue": 2**70}}]})
    written = [
        text,
        text.replace(b"HERE", b"caf\xe9"),
        text.replace(b"HERE", rb"\ud83d"),
        json.dumps(wide, ensure_ascii=False).encode(),
    ]
    decoded = decoder.decode([decoder.from_json(one) for one in written])
    assert (decoded.errors, len(decoded.batch)) == ({}, 4)
    assert decoded.salvaged.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"resourceSpans": {}}', "Expected `array | null`, got `object` - at `$.resourceSpans`"),
        (b'{"resourceSpans": [null]}', "got `null` - at `$.resourceSpans[0]`"),
        (b'{"resourceSpans": [{"scopeSpans": [{}', "truncated"),
        (json.dumps(of_span({"name": 5})).encode(), "at `$.resourceSpans[0].scopeSpans[0].spans["),
        (json.dumps(of_span({"traceId": 5})).encode(), "Expected `str | null`, got `int`"),
        (json.dumps(of_span({"endTimeUnixNano": -1})).encode(), "out of range"),
        (json.dumps(of_span({"kind": CANARY})).encode(), "enum's name"),
        (json.dumps(of_span({"flags": CANARY})).encode(), "Expected `int | null`, got `str`"),
        (b'{"%s": ' % CANARY.encode(), "truncated"),
        (b"[" * 100_000, "Expected `object`, got `array`"),
        (b'{"x":' + b"[" * 100_000, "nested too deeply"),
        (b'{"resourceSpans":' + b'[{"scopeSpans":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_request_is_refused(text: bytes, reason: str) -> None:
    """Scenario: other JSON, cut or hostile. Guarantee: an error that tells where, and no value."""
    told = refused(text)
    assert told.startswith("no valid ExportTraceServiceRequest in JSON: ")
    assert reason in told
    assert CANARY not in told


def test_no_garbage_is_collected_meanwhile() -> None:
    """Scenario: requests that make many objects, good and bad, with collection on and off.

    Guarantees: nothing is collected in between, and afterwards it is as before.
    """
    span = {"attributes": [{"key": "k", "value": {"intValue": 1}}] * 50}
    whole = {"resourceSpans": [{"scopeSpans": [{"spans": [span] * 500}]}]}
    text = json.dumps(whole).encode()
    phases: list[str] = []
    gc.collect()
    gc.callbacks.append(note := lambda phase, _info: phases.append(phase))
    try:
        protobuf_of(text, TRACES)
        assert phases == []
        assert gc.isenabled()
        refused(text[:-1])
        assert gc.isenabled()
        gc.disable()
        protobuf_of(text, TRACES)
        assert not gc.isenabled()
    finally:
        gc.callbacks.remove(note)
        gc.enable()


def test_garbage_is_collected_after_requests_in_two_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scenario: one request is done just after another asked whether collection is on.

    Guarantee: it is on when both are done.
    """
    text = json.dumps(of_span({})).encode()
    asked, done = threading.Event(), threading.Event()
    first = threading.current_thread()

    def is_enabled() -> bool:
        answer = gc.isenabled()
        if threading.current_thread() is not first:
            asked.set()
            done.wait(10)
        return answer

    def decoded(_text: bytes) -> dict[str, Any]:
        second.start()
        asked.wait(10)
        return {}

    def read_another() -> None:
        protobuf_of(of_records(), LOGS)
        asked.set()  # it need not have asked

    watched = SimpleNamespace(isenabled=is_enabled, enable=gc.enable, disable=gc.disable)
    monkeypatch.setattr(from_json, "gc", watched)
    monkeypatch.setitem(from_json._DECODERS, TRACES, SimpleNamespace(decode=decoded))
    second = threading.Thread(target=read_another)
    try:
        protobuf_of(text, TRACES)
        done.set()
        second.join()
        assert gc.isenabled()
    finally:
        gc.enable()


def test_values_too_deep_for_the_parser_are_refused() -> None:
    """Scenario: one value nested 100,000 deep. Guarantee: an answer."""
    nested = b'{"arrayValue":{"values":[' * 100_000
    text = json.dumps(of_span({"attributes": [{"value": 0}]})).encode().replace(b"0", nested)
    assert "nested too deeply" in refused(text)


def test_objects_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: as many objects as may be and one more; braces in texts, also in unclosed ones.

    Guarantee: only objects count.
    """
    monkeypatch.setattr(from_json, "_MOST_OBJECTS", 10)
    span = {"name": '{"{\\{' * 50, "attributes": [{"key": "{"}] * 6}
    assert len(parsed(of_span(span)).resource_spans) == 1
    with pytest.raises(PayloadTooLarge, match="more than 10 JSON objects"):
        parsed(of_span({**span, "attributes": [{"key": "{"}] * 7}))
    for unclosed in (b'{"{{{{{{{{{{{', b'{"' + b'\\"{' * 100_000, b'{"{{{{{{{{{{{\\'):
        with pytest.raises(InvalidPayload, match=r"truncated|malformed"):
            protobuf_of(unclosed, TRACES)


def test_counting_objects_takes_no_memory() -> None:
    """Scenario: braces in one text, so that the objects are counted, beside many short texts.

    Guarantee: counting holds no list of what lies between them.
    """
    body = b'{"a":"%s","b":[%s""]}' % (b"{" * (2**19 + 1), b'"",' * 2**17)
    tracemalloc.start()
    try:
        assert protobuf_of(body, TRACES) == b""
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(body)


def of_records(*records: Any) -> bytes:
    """Return a request of log records."""
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()


def test_records_with_what_is_no_id_are_rejected() -> None:
    """Scenario: log records with an id, none, and what is none. Guarantee: as in protobuf."""
    ids = (TRACE_ID, "", None, "xyz", TRACE_ID[:16])
    decoder = LogDecoder(OtlpLimits(), lambda: 0)
    decoded = decoder.decode([decoder.from_json(of_records(*({"traceId": one} for one in ids)))])
    assert (decoded.received.tolist(), decoded.rejected.tolist()) == ([5], [2])
    assert decoded.batch.table.column("trace_id").to_pylist() == [GOOD_ID, None, None]


def test_logs() -> None:
    """Scenario: a log record with a map as body. Guarantee: the record."""
    record = {
        "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}},
        "severityNumber": 9,
        "eventName": "e",
    }
    text = of_records(record)
    request = ExportLogsServiceRequest.FromString(protobuf_of(text, LOGS))
    [found] = request.resource_logs[0].scope_logs[0].log_records
    assert found.body.kvlist_value.values[0].value.int_value == 1
    assert (found.severity_number, found.event_name) == (9, "e")
