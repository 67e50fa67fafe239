"""The view ``feedback``: marks that applications report in span events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.model import schema as s
from storage.sql import run_query
from tests.sql.rows import START, TRACE_HEX, batch_of, span
from tests.sql.writer import write_once

if TYPE_CHECKING:
    from pathlib import Path


def event(name: str, **attributes: str) -> dict[str, Any]:
    """Return an event; the keys of its attributes begin with ``gen_ai.``, ``__`` is a dot."""
    pairs = [(f"gen_ai.{key.replace('__', '.')}", value) for key, value in attributes.items()]
    return {"time_unix_nano": int(START.timestamp()) * 10**9, "name": name, "attributes": pairs}


def test_marks_are_read_from_evaluation_events(tmp_path: Path) -> None:
    """Scenario: a call with a full mark, one without a number, another event and a plain span.

    Guarantee: a row for each mark, with what it says; a score that is no number is null.
    """
    full = event(
        "gen_ai.evaluation.result",
        evaluation__name="relevance",
        evaluation__score__value="0.75",
        evaluation__score__label="relevant",
        evaluation__explanation="answers it",
        response__id="chatcmpl-1",
    )
    wordy = event("gen_ai.evaluation.result", evaluation__score__value="good")
    full["attributes"].append(("enduser.id", "u-1"))
    events = [event("exception"), full, wordy]
    marked = span(3, 0, 10, events=events, events_count=3, sample_weight=4.0)
    write_once(tmp_path, batch_of([marked, span(4, 20, 10)]))
    rows = run_query(tmp_path, "FROM feedback ORDER BY feedback_id").table.to_pylist()
    nothing = dict.fromkeys(rows[0])
    same = {
        s.TRACE_ID: TRACE_HEX,
        s.SPAN_ID: "0000000000000003",
        "time": START,
        "source": "shop",
        s.SAMPLE_WEIGHT: 4.0,
    }
    assert rows == [
        nothing
        | same
        | {
            "feedback_id": "0000000000000003/1",
            "gen_ai_response_id": "chatcmpl-1",
            "name": "relevance",
            "score": 0.75,
            "label": "relevant",
            "explanation": "answers it",
            "user_id": "u-1",
            "attributes": full["attributes"],
        },
        nothing | same | {"feedback_id": "0000000000000003/2", "attributes": wordy["attributes"]},
    ]
