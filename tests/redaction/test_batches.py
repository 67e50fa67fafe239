# ruff: noqa: E501 - a scenario a line
"""Whole batches: no secret survives in any column, buffer, reply or order of work."""

from __future__ import annotations

import base64
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.model.errors import RedactionUnavailable
from collector.model.log_schema import LOG_SCHEMA
from collector.model.telemetry import REDACTION_CACHE, REDACTIONS
from collector.otlp.decode import Decoder
from config.settings import OtlpLimits
from processors.redaction.surfaces import WRITTEN_BY_CLEARSPAN, surfaces
from tests.otlp.messages import attribute, plain_span, small_request
from tests.redaction.sample_batches import buffers_of, made, planted

if TYPE_CHECKING:
    from processors.redaction import RedactionProcessor


CARD = "4111111111111111"
MAIL = "canary.person@example.com"
SPELLINGS = {
    "mail": MAIL,
    "mail in text": f"sent to {MAIL} today",
    "card": CARD,
    "percent": MAIL.replace("@", "%40"),
    "escaped": MAIL.replace("@", "\\u0040"),
    "full width": MAIL.replace("@", "\uff20"),
    "zero width": "\u200b".join(MAIL),
    "base64": base64.b64encode(f"mail {MAIL}".encode()).decode(),
    "base64 in a url": f"https://x.test/?m={base64.urlsafe_b64encode(MAIL.encode()).decode()}&n=1",
    "base64 in a path": f"/x/{base64.urlsafe_b64encode(MAIL.encode()).decode().rstrip('=')}/x",
    "base64 twice": base64.b64encode(base64.b64encode(MAIL.encode())).decode(),
    "base64 of json": base64.b64encode(f'{{"to": "{MAIL}"}}'.encode()).decode(),
    "json": f'{{"to": ["{MAIL}"]}}',
    "json key": f'{{"{MAIL}": 1}}',
    "json in json": f'{{"a": "{{\\"b\\": \\"{MAIL}\\"}}"}}',
    "otlp json": f'{{"arrayValue": {{"values": [{{"stringValue": "{MAIL}"}}]}}}}',
    "otlp bytes": f'{{"bytesValue": "{base64.b64encode(MAIL.encode()).decode()}"}}',
    "key": "sk-proj-" + "cAnArY12" * 4,
}
# Whatever part of a spelling must not be seen afterwards.
TRACES = [b"canary", b"nary.pers", CARD.encode(), "\u200b".encode(), b"cAnArY", b"Y2FuYXJ5"]


def test_surfaces_are_all_strings_of_the_schema() -> None:
    """Scenario: the schema of today. Guarantees: each string is scanned or excused with a reason."""
    found = {".".join(path) for path in surfaces()}
    for name in ("trace_state", "name", "status_message", "scope_name", "scope_version",
                 "resource_schema_url", "scope_schema_url", "service_name", "user_id",
                 "attributes.key", "attributes.value", "non_string_types.key",
                 "resource_attributes.key", "resource_attributes.value", "events.name",
                 "events.attributes.key", "events.attributes.value", "events.non_string_types.key",
                 "links.trace_state", "links.attributes.value", "scope_attributes.key"):  # fmt: skip
        assert name in found
    excused = WRITTEN_BY_CLEARSPAN.keys()
    for schema in (s.SPAN_SCHEMA, LOG_SCHEMA):
        plain = {field.name for field in schema if pa.types.is_string(field.type)}
        scanned = {path[0] for path in surfaces(schema) if len(path) == 1}
        assert plain == scanned | excused & {*schema.names}
    assert excused <= {*s.SPAN_SCHEMA.names, *LOG_SCHEMA.names}
    later = pa.schema([pa.field("new", pa.list_(pa.struct([pa.field("deep", pa.string())])))])
    assert surfaces(later) == [("new", "deep")]
    with pytest.raises(TypeError, match="new"):
        surfaces(pa.schema([pa.field("new", pa.large_string())]))


def test_values_with_invalid_utf8_are_redacted_too() -> None:
    """Scenario: Latin-1 in a map, beside a mail, a password. Guarantees: both go, the rest stays."""
    pairs = {
        "note": "caf\u00e9",
        "to": f"caf\u00e9 {MAIL}",
        "password": "canary-horse",
        "model": "kept",
    }
    values = KeyValueList(
        values=[KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in pairs.items()]
    )
    raw = small_request(plain_span(attributes=[attribute("m", kvlist_value=values)]))
    batch = Decoder(OtlpLimits(), lambda: 1).decode([raw.replace(b"\xc3\xa9", b"\xe9?")]).batch
    assert b"canary-horse" in buffers_of(batch)
    redacted = made()[0].process(batch)
    assert not any(trace in buffers_of(redacted) for trace in TRACES)
    [[(_, text)]] = redacted.column(s.ATTRIBUTES).to_pylist()
    found = json.loads(text)
    assert found["note"] == "caf\ufffd?"
    assert found["to"].startswith("caf\ufffd? ")
    assert found["model"] == "kept"


@pytest.mark.parametrize("path", surfaces(), ids=".".join)
def test_no_canary_survives_anywhere(processor: RedactionProcessor, path: tuple[str, ...]) -> None:
    """Scenario: each spelling of a secret in each surface, as in a slice of a larger batch.

    Guarantees: none of it in any buffer; the row counts one string; its neighbours are untouched.
    """
    for name, text in SPELLINGS.items():
        batch = planted(path, text)
        before = buffers_of(batch)
        redacted = processor.process(batch)
        redacted.table.validate(full=True)
        left = buffers_of(redacted)
        assert not [trace for trace in TRACES if trace in left and trace in before], name
        counts = redacted.column(s.REDACTION_COUNT).to_pylist()
        assert counts == [0, 0 if "non_string_types" in path[-2:][0] else 1, 0], name
        kept = redacted.table.drop_columns([s.REDACTION_COUNT, s.REDACTION_VERSION])
        other = batch.table.drop_columns([s.REDACTION_COUNT, s.REDACTION_VERSION])
        for row in (0, 2):
            assert kept.slice(row, 1).equals(other.slice(row, 1))
        sliced = processor.process(SpanBatch(batch.table.slice(2, 1)))
        assert not [trace for trace in TRACES if trace in buffers_of(sliced) and trace in before], (
            name
        )


def batch_of(values: list[tuple[str, str | None, str | None]], rows: int) -> SpanBatch:
    """Spread ``(key, text, type tag)`` over the attributes of some rows."""
    attributes: list[list[tuple[str, str | None]]] = [[] for _ in range(rows)]
    tags: list[list[tuple[str, str]]] = [[] for _ in range(rows)]
    for index, (key, text, tag) in enumerate(values):
        attributes[index % rows].append((key, text))
        if tag:
            tags[index % rows].append((key, tag))
    columns = {
        s.TRACE_ID: pa.array([bytes([1, row]) + bytes(14) for row in range(rows)], pa.binary(16)),
        s.NAME: pa.array([f"row {row}" for row in range(rows)]),
        s.ATTRIBUTES: pa.array(attributes, s.STRING_MAP),
        s.NON_STRING_TYPES: pa.array(tags, s.STRING_MAP),
    }
    return SpanBatch.from_columns(columns, rows)


def attributes_of(batch: SpanBatch) -> list[tuple[str, str | None]]:
    """Return all attributes in order."""
    return [pair for row in batch.column(s.ATTRIBUTES).to_pylist() for pair in row or []]


def test_every_type_of_value(processor: RedactionProcessor) -> None:
    """Scenario: values that were no strings. Guarantees: scanned as what they say, keys decide."""
    values = [
        ("n", CARD, "int"), ("d", "4.111111111111111e+15", "double"), ("flag", "true", "bool"),
        ("b", base64.b64encode(MAIL.encode()).decode(), "bytes"),
        ("latin", base64.b64encode(b"\xff" + MAIL.encode()).decode(), "bytes"),
        ("ok", base64.b64encode(b"harmless").decode(), "bytes"),
        *((f"utf-16-{one}", base64.b64encode(MAIL.encode(f"utf-16-{one}")).decode(), "bytes")
          for one in ("le", "be")),
        ("l", f'["a", "{MAIL}", 1.50]', "array"), ("m", '{"password": 5, "n": 1}', "kvlist"),
        ("user.id", "42", "int"), ("api_key", "7", "int"), ("user.email", None, "empty"),
        ("password", "", None),
    ]  # fmt: skip
    redacted = dict(attributes_of(processor.process(batch_of(values, 1))))
    assert redacted.pop("user.id", "").startswith("<IDENTITY:")
    assert redacted == {
        "n": "<CREDIT_CARD>", "d": "<CREDIT_CARD>", "flag": "true", "b": "<EMAIL_ADDRESS>",
        "utf-16-le": "<EMAIL_ADDRESS>", "utf-16-be": "<EMAIL_ADDRESS>",
        "latin": "<EMAIL_ADDRESS>", "ok": base64.b64encode(b"harmless").decode(),
        "l": '["a", "<EMAIL_ADDRESS>", 1.50]', "m": '{"password": "<CREDENTIAL>", "n": 1}',
        "api_key": "<CREDENTIAL>", "user.email": None, "password": "",
    }  # fmt: skip


@pytest.mark.parametrize("before", [False, True])
def test_bytes_of_one_class_leave_those_of_another_alone(*, before: bool) -> None:
    """Scenario: bytes under a key with a sanitizer and under a plain one. Guarantees: both read."""
    processor, _ = made(
        db_sanitizer={"sql": {"enabled": True, "attributes": ["db.statement"]}},
        url_sanitizer={"enabled": True, "attributes": ["url.full"]},
    )
    raw = base64.b64encode(b"\x00\xff" + MAIL.encode() + b"\xfe").decode()
    values = [("db.statement", raw, "bytes"), ("url.full", raw, "bytes"), ("blob", raw, "bytes")]
    got = attributes_of(processor.process(batch_of(values[::-1] if before else values, 1)))
    assert {value for _, value in got} == {"<EMAIL_ADDRESS>"}


def test_bytes_in_events_follow_their_own_event(processor: RedactionProcessor) -> None:
    """Scenario: the same key is bytes in one event, text in another. Guarantees: each as it is."""
    # no UTF-8, so that only who knows that these are bytes finds anything
    encoded = base64.b64encode(b"\xff " + MAIL.encode()).decode()

    def event(tags: list[tuple[str, str]]) -> dict[str, Any]:
        return {"name": "e", "attributes": [("k", encoded)], "non_string_types": tags}

    events = [[], [event([]), event([("k", "bytes")])], [event([])]]
    batch = SpanBatch.from_columns({s.EVENTS: pa.array(events, pa.list_(s.EVENT))}, 3)
    redacted = processor.process(batch)
    values = [
        one["attributes"][0][1] for row in redacted.column(s.EVENTS).to_pylist() for one in row
    ]
    assert values == [encoded, "<EMAIL_ADDRESS>", encoded]
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [0, 1, 0]


def test_ids_of_links_that_are_no_ids_are_emptied(processor: RedactionProcessor) -> None:
    """Scenario: text where a link's ids should be. Guarantees: gone; true ids and counts stay."""
    good = {"trace_id": bytes(range(16)), "span_id": bytes(range(8))}
    bad = {"trace_id": MAIL.encode(), "span_id": b"canary"}
    links = pa.array([[good], [good, bad], []], pa.list_(s.LINK))
    redacted = processor.process(SpanBatch.from_columns({s.LINKS: links}, 3))
    ids = [
        (one["trace_id"], one["span_id"])
        for row in redacted.column(s.LINKS).to_pylist()
        for one in row
    ]
    assert ids == [(good["trace_id"], good["span_id"])] * 2 + [(b"", b"")]
    assert b"canary" not in buffers_of(redacted)
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [0, 2, 0]


TEXTS = st.sampled_from([MAIL, CARD, "fine", "", "219099998", '{"user_id": "x"}', "é", "a%40b.com"])
KEYS = st.sampled_from(["a", "b", "user.id", "token", "customer_ssn", MAIL])
VALUES = st.lists(
    st.tuples(KEYS, TEXTS | st.none(), st.sampled_from([None, "int", "bytes"])), max_size=12
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=VALUES, rows=st.integers(1, 4), cut=st.integers(0, 4))
def test_batching_and_order_do_not_matter(
    processor: RedactionProcessor, values: Any, rows: int, cut: int
) -> None:
    """Scenario: the same rows whole, cut in two, chunked and reversed. Guarantees: same result."""
    batch = batch_of(values, rows)
    whole = processor.process(batch).table
    cut = min(cut, rows)
    first, second = SpanBatch(batch.table.slice(0, cut)), SpanBatch(batch.table.slice(cut))
    parts = [processor.process(second).table, processor.process(first).table]
    assert pa.concat_tables([parts[1], parts[0]]).equals(whole)
    assert processor.process(SpanBatch.concat([first, second])).table.equals(whole)
    backwards = batch.table.take(np.arange(rows)[::-1])
    assert processor.process(SpanBatch(backwards)).table.take(np.arange(rows)[::-1]).equals(whole)
    again = processor.process(SpanBatch(whole))
    assert again.column(s.ATTRIBUTES).equals(SpanBatch(whole).column(s.ATTRIBUTES))
    assert again.column(s.REDACTION_COUNT).to_pylist() == [0] * rows


def test_threads_do_not_matter(processor: RedactionProcessor) -> None:
    """Scenario: eight threads, one processor, its cache too small. Guarantees: as one by one."""
    texts = [f"{text} {number}" for number in range(40) for text in SPELLINGS.values()]
    batches = [
        batch_of([(f"k{at % 7}", text, None) for at, text in enumerate(texts[start::24])], 5)
        for start in range(24)
    ]
    expected = [made()[0].process(one).table for one in batches]
    processor._cache._half = 20
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(processor.process, batches * 4))
    assert all(one.table.equals(table) for one, table in zip(found, expected * 4, strict=True))


def test_empty_batch_and_untouched_columns(processor: RedactionProcessor) -> None:
    """Scenario: no rows; rows with nothing in them. Guarantees: counts of 0, arrays kept."""
    assert len(processor.process(SpanBatch.empty())) == 0
    batch = batch_of([("a", "fine", None)], 2)
    redacted = processor.process(batch)
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [0, 0]
    assert redacted.column(s.REDACTION_VERSION).to_pylist() == [processor.version] * 2
    assert redacted.column(s.NAME).buffers()[2].address == batch.column(s.NAME).buffers()[2].address
    assert redacted.column(s.SERVICE_NAME).null_count == 2


def test_counts_by_entity_and_by_cache(processor: RedactionProcessor, counts: Any) -> None:
    """Scenario: one batch twice. Guarantees: the second is all cached, entities count again."""
    batch = batch_of([("a", MAIL, None), ("b", MAIL, None), ("token", "x", None)], 2)
    processor.process(batch)
    first = dict(counts.totals)
    processor.process(batch)
    assert first[(REDACTIONS.name, "EMAIL_ADDRESS")] == 1
    assert first[(REDACTIONS.name, "CREDENTIAL")] == 1
    for how in ("screened", "analysed"):
        assert counts.totals[(REDACTION_CACHE.name, how)] == first[(REDACTION_CACHE.name, how)]
    assert counts.totals[(REDACTION_CACHE.name, "cached")] > first[(REDACTION_CACHE.name, "cached")]


def test_the_cache_is_bounded(processor: RedactionProcessor) -> None:
    """Scenario: many distinct strings and long ones. Guarantees: bounds hold, verdicts stay right."""
    processor._cache._half = 50
    rng = random.Random(3)
    for _ in range(20):
        values = [
            (f"k{n}", f"{rng.random()} {MAIL if n % 5 == 0 else ''}", None) for n in range(40)
        ]
        redacted = processor.process(batch_of([*values, ("long", "x" * 5000, None)], 4))
        assert MAIL.encode() not in buffers_of(redacted)
        assert len(processor._cache) <= 200
    assert not any(key == "x" * 5000 for key in processor._cache._young)


def test_failure_refuses_the_batch_without_a_trace_of_it(
    processor: RedactionProcessor, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Scenario: a fault inside, with a payload in its message. Guarantees: refused, nothing told."""

    def fail(texts: list[str]) -> list[list[int]]:
        raise ValueError(texts)

    monkeypatch.setattr(processor._redactor, "screened", fail)
    with pytest.raises(RedactionUnavailable) as caught:
        processor.process(batch_of([("a", MAIL, None)], 1))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert MAIL not in str(caught.value) + "".join(capfd.readouterr())


def test_no_socket_and_no_file_during_process(processor: RedactionProcessor) -> None:
    """Scenario: an audit hook listens. Guarantees: no socket, no file opened to write, no process."""
    seen: list[str] = []
    active = threading.Event()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not active.is_set():
            return
        writing = event == "open" and any(c in str(arguments[1] or "") for c in "wax+")
        if writing or event.startswith(
            ("socket.", "subprocess.", "os.system", "os.mkdir", "urllib")
        ):
            seen.append(event)

    sys.addaudithook(hook)
    active.set()
    try:
        for text in SPELLINGS.values():
            processor.process(batch_of([("a", text, None), ("tel", "+14155552671", None)], 1))
            processor.redact_text(text)
    finally:
        active.clear()
    assert seen == []
    active.set()
    try:
        with pytest.raises(OSError, match="nonexistent"):
            open("/nonexistent/file", "w")  # noqa: PTH123, SIM115 - proves that the hook hears
    finally:
        active.clear()
    assert seen == ["open"]


def test_who_waits_for_the_other_signal_gives_signs_of_life(
    processor: RedactionProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a worker waits while redaction is busy with the other signal's batch.

    Guarantees: it uses some CPU now and then, so that nobody takes it for stuck.
    """
    monkeypatch.setattr("processors.redaction.processor._WAKE_S", 0.001)
    clocks: list[int] = []

    def wait() -> None:
        clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        processor.process(batch_of([("k", "text", None)], 1))

    with processor._lock:
        worker = threading.Thread(target=wait)
        worker.start()
        signs: set[float] = set()
        for _ in range(5000):
            signs.update(map(time.clock_gettime, clocks))
            if len(signs) > 50:
                break
            time.sleep(0.001)
    worker.join(10)
    assert len(signs) > 50
