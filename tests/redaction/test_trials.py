"""Dry runs and canaries: redaction that is tried out, and redaction that is watched."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from pydantic import ValidationError

from collector.model import schema as s
from collector.model.errors import RedactionUnavailable
from collector.model.telemetry import CANARIES_SEEN, REDACTION_DRY_RUN, REDACTION_FINDINGS
from config.settings import ProcessorsSettings, RedactionSettings
from processors.redaction.surfaces import surfaces
from processors.registry import canary_watch
from tests.redaction.sample_batches import (
    CARD,
    KEY,
    MAIL,
    Recorded,
    batch_of,
    made,
    planted,
    rows_of,
)

CANARY = "Zoë canary-7731@example.com"
DRY = {"enabled": True, "i_understand": True}


def watching(*canaries: str, **options: Any) -> tuple[Any, Recorded]:
    """Return what looks for these canaries, and what it reports to."""
    redaction = RedactionSettings(hmac_key=KEY, canaries=canaries, **options)
    recorded = Recorded()
    return canary_watch(ProcessorsSettings(redaction=redaction), recorded), recorded


def test_a_dry_run_counts_the_same_and_cuts_nothing() -> None:
    """Scenario: one batch, redacted and on trial.

    Guarantees: equal counters and redaction_count; every other column as it came; the version
    tells such rows from redacted ones; a gauge says so.
    """
    batch = batch_of(
        [("a", MAIL), ("user.email", MAIL), ("password", "hunter2hunter2"), ("card", CARD)],
        [("b", json.dumps({"to": MAIL})), (MAIL, "x"), ("c", "clean")],
    )
    real, counted = made()
    trial, tried = made(dry_run=DRY)
    redacted, kept = real.process(batch), trial.process(batch)
    assert rows_of(kept) == rows_of(batch) != rows_of(redacted)
    untouched = [n for n in s.SPAN_SCHEMA.names if not n.startswith("redaction_")]
    assert kept.table.select(untouched).equals(batch.table.select(untouched))
    assert kept.column(s.REDACTION_COUNT) == redacted.column(s.REDACTION_COUNT)
    assert set(kept.column(s.REDACTION_VERSION).to_pylist()) == {f"dry-run.{real.version}"}
    assert tried.of(REDACTION_FINDINGS) == counted.of(REDACTION_FINDINGS) != {}
    assert (tried.of(REDACTION_DRY_RUN), counted.of(REDACTION_DRY_RUN)) == ({(): 1}, {(): 0})


def test_a_dry_run_keeps_attributes_whose_keys_are_not_allowed() -> None:
    """Scenario: an allow list on trial. Guarantees: removals are counted, nothing is removed."""
    batch = batch_of([("a", "x"), ("b", "y")])
    trial, tried = made(dry_run=DRY, allow_all_keys=False, allowed_keys=["a"])
    assert rows_of(trial.process(batch)) == [{"a": "x", "b": "y"}]
    assert tried.values["clearspan_redactions_total", "NOT_ALLOWED"] == 1


def test_a_dry_run_has_to_be_meant() -> None:
    """Scenario: enabled alone. Guarantees: refused, and the words say what it takes."""
    with pytest.raises(ValidationError, match="i_understand: true"):
        RedactionSettings(dry_run={"enabled": True})
    assert not RedactionSettings(dry_run={"i_understand": True}).dry_run.enabled


@pytest.mark.parametrize("path", surfaces(), ids=".".join)
def test_a_canary_is_seen_in_every_field(path: tuple[str, ...]) -> None:
    """Scenario: a canary in one field of one span. Guarantees: that span goes, and is counted."""
    watch, recorded = watching("another canary", CANARY)
    batch = planted(path, f"to {CANARY}!")
    kept = watch.process(batch)
    assert kept.table.equals(batch.keep(np.array([True, False, True])).table)
    assert recorded.of(CANARIES_SEEN) == {("1", ".".join(path)): 1}


@pytest.mark.parametrize(
    "spelling",
    [
        CANARY.upper().replace("Ë", "ë"),
        quote(CANARY),
        quote(CANARY, safe=""),
        json.dumps({"to": CANARY}),
        CANARY.encode().hex(),
        *(base64.b64encode(f"{'<' * lead}{CANARY}>".encode()).decode() for lead in range(3)),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
    ],
)
def test_a_canary_is_seen_in_every_spelling(spelling: str) -> None:
    """Scenario: encodings of a canary. Guarantees: all are seen."""
    watch, recorded = watching(CANARY)
    assert len(watch.process(batch_of([("a", f"x {spelling} y")], [("b", "clean")]))) == 1
    assert sum(recorded.of(CANARIES_SEEN).values()) == 1


def test_what_only_looks_like_a_canary_stays() -> None:
    """Scenario: its halves in two neighbouring values. Guarantees: no false alarm."""
    watch, recorded = watching("abcdefghij")
    batch = batch_of([("a", "abcde"), ("b", "fghij")])
    assert watch.process(batch) is batch
    assert not recorded.values


def test_redaction_that_works_leaves_no_canary_to_be_seen() -> None:
    """Scenario: a mail address as canary. Guarantees: cut before, so no alarm; on trial, one."""
    batch = batch_of([("a", f"from {MAIL}")])
    watch, recorded = watching(MAIL)
    real, _ = made()
    assert len(watch.process(real.process(batch))) == 1
    assert not recorded.values
    dry, alarmed = watching(MAIL, dry_run=DRY)
    trial, _ = made(dry_run=DRY)
    assert rows_of(dry.process(trial.process(batch))) == [{"a": f"from {MAIL}"}]
    assert alarmed.of(CANARIES_SEEN) == {("0", "attributes.value"): 1}


def test_a_search_that_fails_refuses_the_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenario: the search raises with a value in its text. Guarantees: refused, value not told."""
    watch, _ = watching(CANARY)

    def fail(*_: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setattr("processors.redaction.canaries._positions", fail)
    with pytest.raises(RedactionUnavailable) as caught:
        watch.process(batch_of([("a", CANARY)]))
    assert CANARY not in repr(caught.value) + capsys.readouterr().out
    assert caught.value.__context__ is None


def test_a_short_canary_is_refused_by_its_place() -> None:
    """Scenario: seven characters. Guarantees: the error names which, not what."""
    with pytest.raises(ValidationError) as caught:
        RedactionSettings(canaries=["long enough", "z3cr3t!"])
    assert "number 1 is shorter than 8 characters" in str(caught.value)
