"""What redaction says about itself: counters, the summary in spans, dry runs and canaries."""

from __future__ import annotations

import pyarrow as pa

from collector.model import schema as s
from collector.model.telemetry import REDACTION_FINDINGS, REDACTIONS
from processors.redaction.summary import MASKED_COUNT, MASKED_KEYS
from tests.redaction.sample_batches import CARD, MAIL, batch_of, made, rows_of


def test_findings_are_counted_by_entity_rule_and_surface() -> None:
    """Scenario: finds in values, a key and a name. Guarantees: each place counts, also from cache.

    A key that also stands beside a type tag counts once.
    """
    processor, recorded = made(operators={"CREDIT_CARD": "keep"})
    batch = batch_of(
        [("a", MAIL), ("b", MAIL), ("password", "x")],
        [("a", MAIL), (MAIL, "17"), ("card", CARD)],
        **{s.NAME: pa.array([f"to {MAIL}", "work"])},
    )
    redacted = processor.process(batch)
    found = recorded.of(REDACTION_FINDINGS)
    mails = {labels: n for labels, n in found.items() if labels[0] == "EMAIL_ADDRESS"}
    assert {labels[2]: n for labels, n in mails.items()} == {
        "attributes.value": 3, "attributes.key": 1, "name": 1,
    }  # fmt: skip
    assert len({rule for _, rule, _ in mails}) == 1
    assert found["CREDENTIAL", "whole value", "attributes.value"] == 1
    cards = [labels for labels in found if labels[0] == "CREDIT_CARD"]
    assert [labels[2] for labels in cards] == ["attributes.value"]
    # what is kept is found, but neither changed nor counted as a redaction
    assert rows_of(redacted)[1]["card"] == CARD
    assert ("CREDIT_CARD",) not in recorded.of(REDACTIONS)
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [4, 2]
    before = dict(found)
    processor.process(batch)
    assert recorded.of(REDACTION_FINDINGS) == {labels: 2 * n for labels, n in before.items()}


def test_a_batch_of_kept_values_shares_its_buffers() -> None:
    """Scenario: all that is found is to be kept. Guarantees: not a byte is copied or changed."""
    processor, _ = made(operators={"EMAIL_ADDRESS": "keep"})
    batch = batch_of([("a", MAIL), (MAIL, "x")])
    redacted = processor.process(batch)
    before, after = (one.column(s.ATTRIBUTES).items.buffers()[2] for one in (batch, redacted))
    assert after.address == before.address
    assert rows_of(redacted) == rows_of(batch)
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [0]


def test_summary_debug_names_the_keys() -> None:
    """Scenario: spans with and without finds. Guarantees: keys sorted and redacted, count, tag."""
    processor, _ = made(summary="debug")
    batch = batch_of(
        [("z", MAIL), ("n", "17"), ("user.id", "ann"), ("a", CARD)],
        [("clean", "yes")],
        [],
        [(MAIL, f"{MAIL}!"), (MASKED_KEYS, "of a collector"), ("clean", "yes")],
    )
    redacted = processor.process(batch)
    first, second, third, last = rows_of(redacted)
    assert (first[MASKED_KEYS], first[MASKED_COUNT]) == ("a,user.id,z", "3")
    assert [*first] == ["z", "n", "user.id", "a", MASKED_COUNT, MASKED_KEYS]
    assert (second, third) == ({"clean": "yes"}, {})
    assert (last[MASKED_KEYS], last[MASKED_COUNT]) == ("<EMAIL_ADDRESS>", "1")
    tags = redacted.column(s.NON_STRING_TYPES).to_pylist()
    count = (MASKED_COUNT, "int")
    assert tags == [[("n", "int"), ("a", "int"), count], None, None, [count]]
    assert redacted.column(s.REDACTION_COUNT).to_pylist() == [3, 0, 0, 2]
    redacted.table.validate(full=True)
    again = processor.process(redacted)
    assert rows_of(again) == rows_of(redacted)


def test_summary_info_counts_and_silent_adds_nothing() -> None:
    """Scenario: the other two. Guarantees: the count only, and by default no attribute."""
    batch = batch_of([("a", MAIL), ("password", "x")], [("clean", "yes")])
    first, second = rows_of(made(summary="info")[0].process(batch))
    assert (first.get(MASKED_COUNT), MASKED_KEYS in first) == ("2", False)
    assert second == {"clean": "yes"}
    assert [*rows_of(made()[0].process(batch))[0]] == ["a", "password"]


def test_a_summary_of_many_rows_is_that_of_each_row() -> None:
    """Scenario: 200 spans at once and one by one. Guarantees: the same summaries."""
    rows = [
        [(f"k{(row * place) % 7}.{place}", MAIL if (row + place) % 3 else "fine")
         for place in range(row % 5)]
        for row in range(200)
    ]  # fmt: skip
    processor, _ = made(summary="debug")
    together = rows_of(processor.process(batch_of(*rows)))
    assert together == [rows_of(processor.process(batch_of(row)))[0] for row in rows]
    assert sum(MASKED_KEYS in row for row in together) > 100
