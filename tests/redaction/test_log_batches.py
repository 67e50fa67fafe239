"""Log records: every string of one is redacted, its body by its type and its event's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.model.batch import LogBatch
from collector.model.errors import RedactionUnavailable
from collector.model.telemetry import REDACTIONS
from collector.otlp.decode_logs import LogDecoder
from config.settings import OtlpLimits
from processors.redaction.surfaces import WRITTEN_BY_CLEARSPAN, surfaces
from tests.otlp.test_decode_logs import request
from tests.redaction.sample_batches import CARD, MAIL, made

TEXT = AnyValue(string_value=f"mail {MAIL}")
CUT = "mail <EMAIL_ADDRESS>"


def pairs(**values: AnyValue) -> AnyValue:
    """Return a map."""
    items = [KeyValue(key=key, value=value) for key, value in values.items()]
    return AnyValue(kvlist_value=KeyValueList(values=items))


def batch(*records: LogRecord) -> LogBatch:
    """Return the records as they come from the decoder."""
    return LogDecoder(OtlpLimits(), lambda: 0).decode([request(*records)]).batch


def test_every_string_column_is_a_surface() -> None:
    """Guarantees: no string of the schema is left out but those that clearspan writes."""
    strings = {field.name for field in LogBatch.schema if field.type == pa.string()}
    maps = {field.name for field in LogBatch.schema if pa.types.is_map(field.type)}
    scanned = {path[0] for path in surfaces(LogBatch.schema)}
    assert scanned == strings - WRITTEN_BY_CLEARSPAN.keys() | maps


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (TEXT, CUT),
        (AnyValue(int_value=int(CARD)), "<CREDIT_CARD>"),
        (AnyValue(bytes_value=f"mail {MAIL}".encode()), "<EMAIL_ADDRESS>"),
        (AnyValue(array_value=ArrayValue(values=[TEXT, TEXT])), f'["{CUT}", "{CUT}"]'),
        (pairs(note=TEXT, password=AnyValue(string_value="x")),
         f'{{"note": "{CUT}", "password": "<CREDENTIAL>"}}'),
        (AnyValue(), None),
        (None, None),
    ],
)  # fmt: skip
def test_a_body_of_every_type_is_redacted(body: AnyValue | None, expected: str | None) -> None:
    """Scenario: an address or a card in each kind of body. Guarantees: cut, counted once."""
    processor, _ = made()
    clean = processor.process(batch(LogRecord(body=body), LogRecord(body=TEXT)))
    assert clean.column("body").to_pylist() == [expected, CUT]
    assert clean.column("redaction_count").to_pylist() == [int(expected is not None), 1]
    assert clean.column("redaction_version").null_count == 0


def test_the_other_strings_of_a_record() -> None:
    """Guarantees: severity text, event name, keys and values are redacted."""
    processor, _ = made()
    record = LogRecord(severity_text=MAIL, event_name=MAIL)
    record.attributes.add(key=f"key {MAIL}", value=TEXT)
    (row,) = processor.process(batch(record)).table.to_pylist()
    assert (row["severity_text"], row["event_name"]) == ("<EMAIL_ADDRESS>", "<EMAIL_ADDRESS>")
    assert row["attributes"] == [("key <EMAIL_ADDRESS>", CUT)]


def test_bodies_of_gen_ai_events_are_content() -> None:
    """Scenario: content is dropped. Guarantees: of GenAI events' bodies, not of others."""
    processor, _ = made(content="drop")
    prompt = pairs(content=AnyValue(string_value="a harmless prompt"))
    records = [LogRecord(body=prompt, event_name=name) for name in ("gen_ai.user.message", "other")]
    # by the attribute that the field replaced, and by the two with different names
    names = AnyValue(string_value="gen_ai.choice"), AnyValue(string_value="other")
    records += [
        LogRecord(body=prompt, attributes=[KeyValue(key=key, value=name)], event_name="other")
        for key in ("event.name", "other")
        for name in names
    ]
    bodies = processor.process(batch(LogRecord(), *records).keep(np.arange(7) > 0)).column("body")
    kept = '{"content": "a harmless prompt"}'
    dropped = kept.replace("a harmless prompt", "<CONTENT:17>")
    assert bodies.to_pylist() == [dropped, kept, dropped, kept, kept, kept]


@pytest.mark.parametrize("content", ["drop", "hash"])
def test_an_event_is_named_by_an_attribute_that_is_not_kept(content: str) -> None:
    """Scenario: ``allow_all_keys: false`` without ``event.name``; records with and without keys.

    Guarantees: what that attribute names a GenAI event has a body of content; the attribute goes.
    """
    processor, _ = made(content=content, allow_all_keys=False, allowed_keys=("keep", "content"))
    prompt = pairs(content=AnyValue(string_value="a harmless prompt"))
    kept = KeyValue(key="keep", value=AnyValue(string_value="x"))
    named = [
        KeyValue(key="event.name", value=AnyValue(string_value=name))
        for name in ("gen_ai.user.message", "other")
    ]
    records = [
        LogRecord(body=prompt, attributes=attributes)
        for attributes in ([], [kept], [kept, named[0]], [named[1], kept], [named[0]], [kept])
    ]
    received = batch(LogRecord(body=TEXT), *records).keep(np.arange(7) > 0)
    clean = processor.process(received)
    has_text = ["harmless" in body for body in clean.column("body").to_pylist()]
    assert has_text == [True, True, False, True, False, True]
    assert "event.name" not in str(clean.column("attributes"))


def test_an_ignored_key_never_is_the_body() -> None:
    """Scenario: an attribute ``body`` is ignored. Guarantees: bodies are redacted all the same."""
    processor, _ = made(ignored_keys=("body",))
    record = LogRecord(body=TEXT, attributes=[KeyValue(key="body", value=TEXT)])
    (row,) = processor.process(batch(record)).table.to_pylist()
    assert (row["body"], row["attributes"]) == (CUT, [("body", f"mail {MAIL}")])


def test_numbers_are_left_where_only_strings_are_redacted() -> None:
    """Scenario: ``redact_all_types: false``. Guarantees: a number stays, text does not."""
    processor, _ = made(redact_all_types=False)
    records = [LogRecord(body=AnyValue(int_value=int(CARD))), LogRecord(body=TEXT)]
    assert processor.process(batch(*records)).column("body").to_pylist() == [CARD, CUT]


def test_only_allowed_keys_of_a_map_stay() -> None:
    """Scenario: ``allow_all_keys: false`` and maps, one of which plain JSON would change.

    Guarantees: entries under other keys go from maps, other bodies stay; it is counted.
    """
    processor, recorded = made(allow_all_keys=False, allowed_keys=("keep",))
    raw = AnyValue(bytes_value=b"x")
    disguised = pairs(kvlistValue=pairs(values=AnyValue(array_value=ArrayValue(values=[TEXT]))))
    a_list = AnyValue(array_value=ArrayValue(values=[raw]))
    bodies = [pairs(keep=TEXT, other=TEXT), pairs(keep=raw, other=raw), pairs(keep=TEXT), TEXT]
    bodies += [disguised, a_list]
    clean = processor.process(batch(*(LogRecord(body=body) for body in bodies)))
    plain = f'{{"keep": "{CUT}"}}'
    typed = '{"kvlistValue": {"values": [{"key": "keep", "value": {"bytesValue": "eA=="}}]}}'
    assert clean.column("body").to_pylist() == [
        plain,
        typed,
        plain,
        CUT,
        "{}",
        '{"arrayValue": {"values": [{"bytesValue": "eA=="}]}}',
    ]
    assert recorded.of(REDACTIONS)["NOT_ALLOWED",] == 3


@pytest.mark.parametrize(
    "options",
    [
        {"credential_keys": ("body",)},
        {"credential_keys": ("body",), "operators": {"CREDENTIAL": "remove"}},
        {"identity_keys": ("body",), "operators": {"IDENTITY": {"type": "mask", "keep_first": 2}}},
    ],
)
def test_a_map_replaced_whole_can_be_redacted_again(options: dict[str, Any]) -> None:
    """Scenario: ``allow_all_keys: false``, bodies cut whole. Guarantees: they stay so."""
    processor, _ = made(allow_all_keys=False, allowed_keys=("keep",), **options)
    raw = AnyValue(bytes_value=b"x")
    once = processor.process(batch(*(LogRecord(body=pairs(keep=one)) for one in (TEXT, raw))))
    assert processor.process(once).column("body").equals(once.column("body"))
    assert "mail" not in str(once.column("body"))


def test_what_cannot_be_redacted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: redaction fails on a body. Guarantees: the batch is refused, with no value told."""
    processor, _ = made()

    def fail(*_: object) -> None:
        raise ValueError(MAIL)

    monkeypatch.setattr(processor._redactor, "judge", fail)
    with pytest.raises(RedactionUnavailable) as caught:
        processor.process(batch(LogRecord(body=TEXT)))
    assert MAIL not in str(caught.value)
    assert caught.value.__context__ is None
