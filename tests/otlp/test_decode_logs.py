"""What the decoder makes of good and bad requests of log records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from collector.model.errors import InvalidPayload, PayloadTooLarge
from collector.otlp.decode_logs import LogDecoder
from config.settings import OtlpLimits

NOW_NS = 1_700_000_001_000_000_000
DECODER = LogDecoder(OtlpLimits(), lambda: NOW_NS)
TEXT = AnyValue(string_value="text")


def request(*records: LogRecord) -> bytes:
    """Return a request of these records in one scope."""
    scope = ScopeLogs(log_records=records)
    logs = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[scope])])
    return logs.SerializeToString()


def rows(*raws: bytes) -> list[dict[str, object]]:
    """Decode requests that are all good into rows."""
    decoded = DECODER.decode(raws)
    assert not decoded.errors
    return decoded.batch.table.to_pylist()


@pytest.mark.parametrize(("number", "kept"), [(24, 24), (25, 0), (-1, 0), (2**31 - 1, 0)])
def test_numbers_without_a_meaning_are_not_kept(number: int, kept: int) -> None:
    """Scenario: severities and flags, some of no meaning. Guarantees: only those with one stay."""
    record = LogRecord(severity_number=number, flags=number & 0xFFFFFFFF)
    [row] = rows(request(record))
    assert (row["severity_number"], row["flags"]) == (kept, number & 0xFF)


@pytest.mark.parametrize(
    ("body", "text", "tag"),
    [
        (TEXT, "text", None),
        (AnyValue(string_value=""), "", None),
        (AnyValue(int_value=-7), "-7", "int"),
        (AnyValue(double_value=1.5), "1.5", "double"),
        (AnyValue(bool_value=True), "true", "bool"),
        (AnyValue(bytes_value=b"\x00\xff"), "AP8=", "bytes"),
        (AnyValue(array_value=ArrayValue(values=[TEXT])), '["text"]', "array"),
        (
            AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=TEXT)])),
            '{"k": "text"}',
            "kvlist",
        ),
        (
            AnyValue(array_value=ArrayValue(values=[AnyValue(bytes_value=b"x")])),
            '{"arrayValue": {"values": [{"bytesValue": "eA=="}]}}',
            "otlp",
        ),
        (AnyValue(), None, "empty"),
        (None, None, None),
    ],
)
def test_a_body_of_every_type(body: AnyValue | None, text: str | None, tag: str | None) -> None:
    """Scenario: one body of each kind beside others. Guarantees: text, and the type beside it."""
    found = rows(request(LogRecord(body=TEXT), LogRecord(body=body), LogRecord(body=TEXT)))
    assert [(row["body"], row["body_type"]) for row in found] == [
        ("text", None),
        (text, tag),
        ("text", None),
    ]


def test_the_time_is_the_best_that_is_known() -> None:
    """Scenario: with both times, one, or none. Guarantees: time as told; as sent, 0 for unset."""
    found = rows(
        request(
            LogRecord(time_unix_nano=5_000_001_007, observed_time_unix_nano=6_000_000_000),
            LogRecord(observed_time_unix_nano=6_000_000_000),
            LogRecord(),
        )
    )
    micros = [row["time"].timestamp() * 1e6 for row in found]  # type: ignore[attr-defined]
    assert micros == [5_000_001, 6_000_000, NOW_NS // 1000]
    assert [row["time_unix_nano"] for row in found] == [5_000_001_007, 0, 0]
    assert [row["observed_time_unix_nano"] for row in found] == [6_000_000_000, 6_000_000_000, 0]
    assert [row["observed_time"] is None for row in found] == [False, False, True]


@pytest.mark.parametrize(
    ("fields", "is_taken"),
    [
        ({}, True),
        ({"trace_id": b"\x01" * 16}, True),
        ({"trace_id": b"\x01" * 16, "span_id": b"\x01" * 8}, True),
        ({"trace_id": bytes(16), "span_id": bytes(8)}, True),
        ({"trace_id": b"\x01" * 15}, False),
        ({"trace_id": b"\x01" * 8}, False),
        ({"span_id": b"\x01" * 16}, False),
        ({"span_id": b"\x01"}, False),
    ],
)
def test_ids(fields: dict[str, bytes], is_taken: bool) -> None:
    """Scenario: ids of all lengths. Guarantees: wrong ones are rejected, zeros are no id."""
    good = LogRecord(body=TEXT)
    decoded = DECODER.decode([request(good, LogRecord(**fields), good), request(good)])
    assert decoded.received.tolist() == [3, 1]
    assert decoded.rejected.tolist() == [int(not is_taken), 0]
    found = decoded.batch.table.to_pylist()
    assert [row["record_idx"] for row in found] == list(range(len(found)))
    if is_taken:
        for name in ("trace_id", "span_id"):
            sent = fields.get(name, b"")
            assert found[1][name] == (sent if any(sent) else None)


def test_a_bad_request_leaves_its_neighbours_alone() -> None:
    """Scenario: malformed, over a limit and not UTF-8, between good ones.

    Guarantees: the exact error each; what is no UTF-8 is kept with replacement characters.
    """
    good = request(LogRecord(body=TEXT, severity_text="WARN"))
    tight = LogDecoder(OtlpLimits(max_log_records=3), lambda: NOW_NS)
    many = request(*[LogRecord()] * 4)
    decoded = tight.decode([good, good[:-2], many, good.replace(b"WARN", b"WA\xffN"), b""])
    assert {place: type(error) for place, error in decoded.errors.items()} == {
        1: InvalidPayload,
        2: PayloadTooLarge,
    }
    assert str(decoded.errors[1]) == "the body is not a valid ExportLogsServiceRequest"
    assert "max_log_records" in str(decoded.errors[2])
    assert decoded.received.tolist() == [1, 0, 0, 1, 0]
    assert decoded.salvaged.tolist() == [False, False, False, True, False]
    found = decoded.batch.column("severity_text").to_pylist()
    assert found == ["WARN", "WA\N{REPLACEMENT CHARACTER}N"]


@given(records=st.integers(0, 12), attributes=st.integers(0, 6), nested=st.integers(0, 6))
def test_limits_are_exact(records: int, attributes: int, nested: int) -> None:
    """Guarantees: exactly the limits pass, one less does not; bodies' elements are attributes."""
    record = LogRecord(
        attributes=[KeyValue(key="k")] * attributes,
        body=AnyValue(array_value=ArrayValue(values=[TEXT] * nested)),
    )
    raw = request(*[record] * records)
    values = records * (attributes + nested)
    for limits, fits in (
        (OtlpLimits(max_log_records=max(records, 1), max_attributes=max(values, 1)), True),
        (OtlpLimits(max_log_records=max(records - 1, 1)), records < 2),
        (OtlpLimits(max_attributes=max(values - 1, 1)), values < 2),
    ):
        decoded = LogDecoder(limits, lambda: NOW_NS).decode([raw])
        assert (not decoded.errors) == fits
