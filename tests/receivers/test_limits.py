"""Counting on the wire: exactly the limits, whatever the encoding, and no expansion."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model.errors import InvalidPayload, PayloadTooLarge
from collector.otlp.limits import check_limits
from config.settings import OtlpLimits

CHILDREN = {
    "request": {1: "resource_spans"},
    "resource_spans": {1: "resource", 2: "scope_spans"},
    "resource": {1: "attribute", 3: "entity_ref"},
    "entity_ref": {3: "entity_key", 4: "entity_key"},
    "scope_spans": {1: "scope", 2: "span"},
    "scope": {3: "attribute"},
    "span": {9: "attribute", 11: "event", 13: "link"},
    "event": {3: "attribute"},
    "link": {4: "attribute"},
    "attribute": {2: "value"},
    "value": {5: "array", 6: "map"},
    "array": {1: "element"},
    "element": {5: "array", 6: "map"},
    "map": {1: "attribute"},
}
ATTRIBUTES = {"attribute", "element", "entity_ref", "entity_key"}
COUNTS = ("resource_spans", "scope_spans", "span", "event_or_link", "attribute")
LOOSE = OtlpLimits(max_spans=10**9, max_attributes=10**9, max_events_and_links=10**9)


def varint(number: int, padding: int = 0) -> bytes:
    """Encode, with ``padding`` bytes more than needed."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def field(number: int, content: bytes = b"", padding: int = 0) -> bytes:
    """Encode a length-delimited field."""
    return varint(number << 3 | 2, padding) + varint(len(content), padding) + content


Message = tuple[bytes, dict[str, int]]


def plus(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Add counts."""
    return {kind: one[kind] + other[kind] for kind in COUNTS}


@st.composite
def messages(draw: st.DrawFn, kind: str = "request", depth: int = 0) -> Message:
    """Draw a message of a kind with the counts that are in it, known from how it was made."""
    data, counts = b"", dict.fromkeys(COUNTS, 0)
    for _ in range(draw(st.integers(0, 3 if depth < 8 else 0))):
        number = draw(st.sampled_from([*CHILDREN.get(kind, {}), 2, 15]))
        child = CHILDREN.get(kind, {}).get(number)
        padding = draw(st.sampled_from([0, 0, 0, 1, 2]))
        repeat = draw(st.sampled_from([1, 1, 2, 7]))
        if child is None:
            unknown = draw(
                st.sampled_from(
                    [
                        field(number + 20, b"JJ\x12\x0a\x0a"),  # tags in a text
                        varint(15 << 3) + b"\x4a",
                        b"\xfb\x01" + field(1) + field(9) + b"\xfc\x01",  # a group, number 31
                        varint(30 << 3 | 1) + b"\x12" * 8,
                        varint(30 << 3 | 5) + b"\x0a" * 4,
                    ]
                )
            )
            data += unknown * repeat
            continue
        content, inner = draw(messages(child, depth + 1))
        data += field(number, content, padding) * repeat
        own = dict.fromkeys(COUNTS, 0)
        if child in ATTRIBUTES:
            own["attribute"] = 1
        elif child in {"event", "link"}:
            own["event_or_link"] = 1
        elif child in COUNTS:
            own[child] = 1
        for _ in range(repeat):
            counts = plus(counts, plus(own, inner))
    return data, counts


@settings(max_examples=80, deadline=None)
@given(messages(), st.integers(1, 60), st.sampled_from(["spans", "attributes", "events"]))
@pytest.mark.parametrize("run_bytes", [16, 2**20])
def test_refuses_exactly_what_exceeds_a_limit(
    run_bytes: int, message: Message, most: int, what: str
) -> None:
    """Scenario: any message of the schema, overlong tags, groups and unknown fields among it.

    Guarantees: it is refused if and only if a true count exceeds the limit, however it is cut.
    """
    payload, counts = message
    limits = LOOSE.model_copy(
        update={
            {
                "spans": "max_spans",
                "attributes": "max_attributes",
                "events": "max_events_and_links",
            }[what]: most
        }
    )
    largest = {
        "spans": max(counts["resource_spans"], counts["scope_spans"], counts["span"]),
        "attributes": counts["attribute"],
        "events": counts["event_or_link"],
    }[what]
    if largest > most:
        with pytest.raises(PayloadTooLarge, match=r"more .* than max_"):
            check_limits(payload, limits, run_bytes=run_bytes)
    else:
        check_limits(payload, limits, run_bytes=run_bytes)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([4, 2**20]))
def test_garbage_is_refused_cleanly_or_left_to_the_decoder(data: bytes, run_bytes: int) -> None:
    """Scenario: arbitrary bytes and the tightest limits.

    Guarantees: nothing but the two errors of the contract comes out.
    """
    tight = OtlpLimits(max_spans=1, max_attributes=1, max_events_and_links=1)
    with contextlib.suppress(PayloadTooLarge, InvalidPayload):
        check_limits(data, tight, run_bytes=run_bytes)


def in_span(content: bytes) -> bytes:
    """Return a request with one span of this content."""
    return field(1, field(2, field(2, content)))


BOMB = 4_000_000
BOMBS = {
    "resources": (field(1) * BOMB, "resources .*max_spans"),
    "scopes": (field(1, field(2) * BOMB), "scopes .*max_spans"),
    "spans": (field(1, field(2, field(2) * BOMB)), "spans .*max_spans"),
    "attributes": (in_span(field(9) * BOMB), "max_attributes"),
    "resource attributes": (field(1, field(1, field(1) * BOMB)), "max_attributes"),
    "entity refs": (field(1, field(1, field(3) * BOMB)), "max_attributes"),
    "entity keys": (field(1, field(1, field(3, field(4) * BOMB))), "max_attributes"),
    "scope attributes": (field(1, field(2, field(1, field(3) * BOMB))), "max_attributes"),
    "events": (in_span(field(11) * BOMB), "max_events_and_links"),
    "links": (in_span(field(13) * BOMB), "max_events_and_links"),
    "array": (in_span(field(9, field(2, field(5, field(1) * BOMB)))), "max_attributes"),
    "map": (in_span(field(9, field(2, field(6, field(1) * BOMB)))), "max_attributes"),
    "fields": (in_span(b"\x08\x4a" * BOMB), "fields"),
}


def resident_bytes(what: str) -> int:
    """Return a figure of this process's memory, the parser's included."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise AssertionError(what)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_expands(name: str) -> None:
    """Scenario: 8 MB of two-byte elements with the default limits.

    Guarantees: refused by name, and the check itself takes less than 40 MB, where 4 million
    rows would take hundreds.
    """
    payload, text = BOMBS[name]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark
    before = resident_bytes("VmHWM")
    with pytest.raises(PayloadTooLarge, match=text):
        check_limits(payload, OtlpLimits())
    assert resident_bytes("VmHWM") - before < 5 * len(payload)


@pytest.mark.parametrize(
    ("setting", "element"),
    [
        ("max_spans", lambda number: field(1, field(2, field(2) * number))),
        ("max_attributes", lambda number: in_span(field(9) * number)),
        ("max_events_and_links", lambda number: in_span(field(13) * number)),
    ],
)
def test_limits_hold_to_the_element(setting: str, element: object) -> None:
    """Scenario: exactly as many elements as the limit allows, and one more.

    Guarantees: the first passes, the second does not.
    """
    limits = OtlpLimits(**{setting: 1000})
    assert callable(element)
    check_limits(element(1000), limits)
    with pytest.raises(PayloadTooLarge):
        check_limits(element(1001), limits)


def test_values_nested_deeper_than_any_decoder_goes_are_no_attributes() -> None:
    """Scenario: 8 MB of an array in an array, 1,000 deep.

    Guarantees: it passes: what is never decoded expands to nothing, and its span can be kept.
    """
    value = field(1)
    for _ in range(1000):
        value = field(1, field(5, value))
    check_limits(in_span(field(9, field(2, field(5, value * 1000)))), OtlpLimits())
