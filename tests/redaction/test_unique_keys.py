"""No map of a redacted batch has a key twice, and no value, tag or order is lost over that."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.settings import RedactionSettings
from processors.redaction import RedactionProcessor
from tests.redaction.conftest import Counts

KEYS = ["same", "same#2", "other", "a@example.com", "b@example.com", "<EMAIL_ADDRESS>"]
# (key, number, whether a tag says that it is one)
entries = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 99), st.booleans()), max_size=9)
EVENT = {"time_unix_nano": 0, "name": "e", "dropped_attributes_count": 0}
Entry = tuple[str, int, bool]


def values(row: list[Entry]) -> list[tuple[str, str]]:
    """Return a row of an attribute map."""
    return [(key, str(number)) for key, number, _ in row]


def tags(row: list[Entry]) -> list[tuple[str, str]]:
    """Return the row of the map of tags beside it; a tag is the value, to tell them apart."""
    return [(key, str(number)) for key, number, tagged in row if tagged]


def batch_of(rows: list[list[Entry]]) -> SpanBatch:
    """Return a batch with the rows as attributes of spans, of their resources and of events."""
    columns: dict[str, pa.Array] = {}
    for name in (s.ATTRIBUTES, s.RESOURCE_ATTRIBUTES):
        columns[name] = pa.array([values(row) for row in rows], s.STRING_MAP)
        types = name.replace("attributes", "non_string_types")
        columns[types] = pa.array([tags(row) for row in rows], s.STRING_MAP)
    columns[s.EVENTS] = pa.array(
        [[EVENT | {"attributes": values(row), "non_string_types": tags(row)}] * 2 for row in rows],
        pa.list_(s.EVENT),
    )
    return SpanBatch.from_columns(columns, len(rows))


def maps_of(batch: SpanBatch) -> list[tuple[Any, Any]]:
    """Return every map of values with its map of tags, as lists of pairs."""
    found = []
    for name in (s.ATTRIBUTES, s.RESOURCE_ATTRIBUTES):
        types = batch.column(name.replace("attributes", "non_string_types")).to_pylist()
        found.extend(zip(batch.column(name).to_pylist(), types, strict=True))
    events = [event for row in batch.column(s.EVENTS).to_pylist() for event in row]
    found.extend((event["attributes"], event["non_string_types"]) for event in events)
    return found


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(entries, min_size=1, max_size=5))
@example(rows=[[("same", 1, False), ("same", 2, False), ("same#2", 3, True), ("same", 4, False)]])
@example(rows=[[("a@example.com", 1, False), ("b@example.com", 2, True)]])
def test_keys_are_unique_and_nothing_is_lost(
    processor: RedactionProcessor,
    rows: list[list[Entry]],
) -> None:
    """Scenario: keys given twice, keys redaction makes equal, keys that look like a renamed one.

    Guarantees: unique keys in every map, the same values in the same order, and where the app's
    own keys were unique each tag still under the key of its value. Again changes nothing.
    """
    once = processor.process(batch_of(rows))
    for (kept, tagged), (sent, sent_tags) in zip(
        maps_of(once), maps_of(batch_of(rows)), strict=True
    ):
        keys = [key for key, _ in kept]
        assert len(set(keys)) == len(keys)
        assert len({key for key, _ in tagged}) == len(tagged)
        assert [value for _, value in kept] == [value for _, value in sent]
        assert [value for _, value in tagged] == [value for _, value in sent_tags]
        assert {key for key, _ in tagged} <= set(keys)
        if len({key for key, _ in sent}) == len(sent):
            assert set(tagged) <= set(kept)
        assert not any("example.com" in key for key in keys)
    again = processor.process(once)
    assert maps_of(again) == maps_of(once)


def test_what_repeats_gets_a_number(processor: RedactionProcessor) -> None:
    """Scenario: duplicates and collisions. Guarantees: the first keeps its key, then #2, #3."""
    sent: list[Entry] = [
        ("same", 1, False),
        ("a@example.com", 2, True),
        ("same", 3, True),
        ("b@example.com", 4, False),
        ("same", 5, False),
    ]
    kept, tagged = maps_of(processor.process(batch_of([sent, [("same", 6, False)]])))[0]
    expected = ["same", "<EMAIL_ADDRESS>", "same#2", "<EMAIL_ADDRESS>#2", "same#3"]
    assert [key for key, _ in kept] == expected
    # an app's own duplicates leave open which of them a tag means: the first
    assert [key for key, _ in tagged] == ["<EMAIL_ADDRESS>", "same"]


def test_many_distinct_keys(processor: RedactionProcessor) -> None:
    """Scenario: each span has keys of its own, so that a table of all would be large."""
    rows: list[list[Entry]] = [
        [(f"key.{row}.{n}", n, False) for n in range(3)] for row in range(99)
    ]
    rows[50].append(rows[50][0])
    attributes = maps_of(processor.process(batch_of(rows)))
    assert [key for key, _ in attributes[50][0]][-1] == "key.50.0#2"
    assert [key for key, _ in attributes[49][0]] == ["key.49.0", "key.49.1", "key.49.2"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_tag_for_one_of_two_values_leaves_both_to_the_scan(*, is_first: bool) -> None:
    """Scenario: numbers are left alone, and a key given twice has one number and one text.

    Guarantees: the text is redacted, wherever it stands; two numbers are left, as one is.
    """
    text, number = ("same", "j@example.com"), ("same", "4111111111111111")
    numbers = [("two", number[1]), ("two", number[1]), ("one", number[1])]
    batch = SpanBatch.from_columns(
        {
            s.ATTRIBUTES: pa.array(
                [[*((text, number) if is_first else (number, text)), *numbers], [number]],
                s.STRING_MAP,
            ),
            s.NON_STRING_TYPES: pa.array(
                [
                    [("same", "int"), ("two", "int"), ("two", "int"), ("one", "int")],
                    [("same", "int")],
                ],
                s.STRING_MAP,
            ),
        },
        2,
    )
    settings = RedactionSettings(redact_all_types=False)
    rows = RedactionProcessor(settings, Counts()).process(batch).column(s.ATTRIBUTES).to_pylist()
    same = ["<EMAIL_ADDRESS>", "<CREDIT_CARD>"]
    assert [value for _, value in rows[0]] == [
        *(same if is_first else same[::-1]),
        *[number[1]] * 3,
    ]
    assert rows[1] == [number]
