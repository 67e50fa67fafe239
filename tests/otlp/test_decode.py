"""What the decoder makes of good and bad requests."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector.model.batch import SpanBatch
from collector.model.errors import InvalidPayload, PayloadTooLarge
from collector.otlp.decode import Decoder
from collector.otlp.promotion import Promoter
from collector.otlp.values import UNREADABLE
from config.settings import OtlpLimits
from tests.otlp.messages import attribute, plain_span, small_request, wire_field

NOW_NS = 1_700_000_001_000_000_000
DECODER = Decoder(OtlpLimits(), lambda: NOW_NS)


def rows(*raws: bytes) -> list[dict[str, object]]:
    """Decode requests that are all good into rows."""
    decoded = DECODER.decode(raws)
    assert not decoded.errors
    return decoded.batch.table.to_pylist()


def test_values_of_every_type_are_text_with_a_tag() -> None:
    """Scenario: one attribute of each type. Guarantees: readable text, and the type beside it."""
    span = plain_span(
        attributes=[
            attribute("s", string_value="x"),
            attribute("i", int_value=-7),
            attribute("d", double_value=1.5),
            attribute("b", bool_value=True),
            attribute("y", bytes_value=b"\x00\xff"),
            attribute("a", array_value=ArrayValue(values=[AnyValue(string_value="stop")])),
            KeyValue(key="e", value=AnyValue()),
            KeyValue(key="n"),
        ],
    )
    [row] = rows(small_request(span))
    assert dict(row["attributes"]) == {
        "s": "x", "i": "-7", "d": "1.5", "b": "true", "y": "AP8=", "a": '["stop"]',
        "e": None, "n": None,
    }  # fmt: skip
    assert dict(row["non_string_types"]) == {
        "i": "int", "d": "double", "b": "bool", "y": "bytes", "a": "array",
        "e": "empty", "n": "absent",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": b"\x01" * 15},
        {"trace_id": b"\x01" * 17},
        {"span_id": b""},
        {"span_id": bytes(8)},
        {"span_id": b"\x01" * 9},
        {"parent_span_id": b"\x01" * 7},
    ],
)
def test_a_span_with_a_bad_id_is_rejected_and_its_neighbours_kept(fields: dict[str, bytes]) -> None:
    """Scenario: one bad id between good spans. Guarantees: only that span goes, and is counted."""
    bad = plain_span(2, **fields)
    decoded = DECODER.decode([small_request(plain_span(1), bad, plain_span(3)), small_request()])
    assert decoded.received.tolist() == [3, 1]
    assert decoded.rejected.tolist() == [1, 0]
    assert [row["span_id"][-1] for row in decoded.batch.table.to_pylist()] == [1, 3, 1]


def test_an_all_zero_parent_means_root() -> None:
    """Scenario: a parent of zeros. Guarantees: the span is a root, as if it had none."""
    [row] = rows(small_request(plain_span(parent_span_id=bytes(8))))
    assert row["parent_span_id"] is None
    assert row["is_root"]


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xff\xff",
        b"\x0a\x05abc",
        b"\x0a\x03\xff\xff\xff",
        b"\x0a" + b"\xff" * 9 + b"\x01",  # a length of -1
        b"\x0a\x0b\x12" + b"\xff" * 9 + b"\x01",
    ],
)
def test_a_malformed_request_leaves_its_neighbours_alone(junk: bytes) -> None:
    """Scenario: junk between two good requests. Guarantees: it alone is refused, no bytes told."""
    decoded = DECODER.decode([small_request(plain_span(1)), junk, small_request(plain_span(2))])
    assert list(decoded.errors) == [1]
    assert isinstance(decoded.errors[1], InvalidPayload)
    assert decoded.received.tolist() == [1, 0, 1]
    assert len(decoded.batch) == 2


def test_a_small_request_cannot_ask_for_much_memory() -> None:
    """Scenario: 1,000 spans of a resource with a quarter of a MiB, which each row has beside it.

    Guarantees: refused before it is made; ten spans of it are taken.
    """
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(attribute("big", string_value="x" * 2**18))
    spans = resource_spans.scope_spans.add().spans
    spans.extend(plain_span(number) for number in range(1, 11))
    assert len(DECODER.decode([request.SerializeToString()]).batch) == 10
    spans.extend(plain_span(number) for number in range(11, 1001))
    with pytest.raises(PayloadTooLarge, match="repeated for each item"):
        DECODER.decode([request.SerializeToString()])


def test_empty_attributes_are_no_way_around_that() -> None:
    """Scenario: 1,000 spans of a resource with 20,000 attributes that have no key and no value.

    Guarantee: refused before it is made; 20 million entries take several hundred MiB.
    """
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for _ in range(20_000):
        resource_spans.resource.attributes.add()
    spans = resource_spans.scope_spans.add().spans
    spans.extend(plain_span(number) for number in range(1, 1001))
    with pytest.raises(PayloadTooLarge, match="repeated for each item"):
        DECODER.decode([request.SerializeToString()])


def test_invalid_utf8_is_kept_with_replacement_characters() -> None:
    """Scenario: a Latin-1 byte in a name and a value. Guarantees: the spans stay, U+FFFD inside."""
    raw = small_request(plain_span(1, name="caf\u00e9"), plain_span(2)).replace(
        b"\xc3\xa9", b"\xe9?"
    )
    decoded = DECODER.decode([small_request(), raw])
    assert not decoded.errors
    assert decoded.salvaged.tolist() == [False, True]
    assert [row["name"] for row in decoded.batch.table.to_pylist()] == [
        "GET /",
        "caf\ufffd?",
        "GET /",
    ]


def test_a_very_deep_value_costs_only_itself() -> None:
    """Scenario: arrays nested 1,000 deep. Guarantees: the span is kept, that value is not."""
    value = AnyValue(string_value="x")
    raw = value.SerializeToString()
    for _ in range(1000):  # built on the wire: the library itself refuses such depth
        raw = wire_field(5, wire_field(1, raw))
    wire = wire_field(1, b"deep") + wire_field(2, raw)
    span = plain_span(attributes=[attribute("kept", string_value="y")]).SerializeToString()
    scope = wire_field(2, span + wire_field(9, wire))
    request = wire_field(1, wire_field(2, scope))
    [row] = rows(request)
    assert dict(row["attributes"]) == {"kept": "y", "deep": UNREADABLE}


def test_a_kind_without_a_form_costs_only_itself() -> None:
    """Scenario: an index of another signal's table in a list. Guarantees: the list is kept."""
    values = ArrayValue(values=[AnyValue(string_value_strindex=3), AnyValue(int_value=7)])
    [row] = rows(small_request(plain_span(attributes=[attribute("a", array_value=values)])))
    assert dict(row["attributes"]) == {"a": '{"arrayValue": {"values": [{}, {"intValue": "7"}]}}'}


def test_times_beyond_63_bits_and_end_before_start_do_not_hurt() -> None:
    """Scenario: absurd clocks. Guarantees: rows exist and durations are the plain difference."""
    span = plain_span(start_time_unix_nano=2**63, end_time_unix_nano=2**63 - 5)
    [row] = rows(small_request(span))
    assert row["duration_ns"] == -5
    assert row["start_time_unix_nano"] == -(2**63)


@pytest.mark.parametrize("number", [-1, 6, 42, 2**31 - 1, -(2**31)])
def test_numbers_without_a_meaning_are_not_kept(number: int) -> None:
    """Scenario: enums and flags with any number, of the future or somebody's; an empty body.

    Guarantees: none is stored where redaction does not look; success.
    """
    bits = number & 0xFFFFFFFF
    span = plain_span(
        kind=number,
        status=Status(code=number),
        flags=bits,
        links=[Span.Link(trace_id=b"\x01" * 16, span_id=b"\x01" * 8, flags=bits)],
    )
    decoded = DECODER.decode([small_request(span), b""])
    assert not decoded.errors
    assert decoded.received.tolist() == [1, 0]
    [row] = decoded.batch.table.to_pylist()
    assert (row["kind"], row["status_code"]) == ("UNSPECIFIED", "UNSET")
    assert row["flags"] == row["links"][0]["flags"] == bits & 0x3FF


def test_promoted_columns_repeat_attributes_in_order_of_trust() -> None:
    """Scenario: old and new names, a number that is none. Guarantees: best name wins, else null."""
    spans = [
        plain_span(
            1,
            attributes=[
                attribute("http.status_code", int_value=500),
                attribute("http.response.status_code", int_value=200),
                attribute("gen_ai.system", string_value="openai"),
                attribute("gen_ai.usage.input_tokens", int_value=12),
            ],
        ),
        plain_span(2, attributes=[attribute("gen_ai.usage.input_tokens", string_value="<X>")]),
        Span(trace_id=b"\x09" * 16, span_id=b"\x09" * 8),
    ]
    batch = Promoter(SpanBatch).process(DECODER.decode([small_request(*spans)]).batch)
    table = batch.table
    assert table["http_response_status_code"].to_pylist() == [200, None, None]
    assert table["gen_ai_provider_name"].to_pylist() == ["openai", None, None]
    assert table["input_tokens"].to_pylist() == [12, None, None]
    assert table["service_name"].to_pylist() == ["checkout"] * 3
