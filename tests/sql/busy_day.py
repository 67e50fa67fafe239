"""A shop's last ten minutes, so that every documented question has something to find in them.

A burst of errors in one minute, a new exception, a call retried twice, slow statements, a
conversation with marks, a failing tool and one answer of many tokens, two versions, redacted
values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from collector.model import schema as s
from tests.sql.rows import START, batch_of, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.model.batch import SpanBatch

MINUTES = 10
REQUESTS_A_MINUTE = 10
BURST_MINUTE = 5
BURST_ERRORS = 8
CONVERSATION = "conversation-1"


def busy_day() -> SpanBatch:
    """Return the spans."""
    ago_ms = int((datetime.now(UTC) - START).total_seconds() * 1000) - (MINUTES + 1) * 60_000
    first_ms = ago_ms // 60_000 * 60_000
    rows = [*_requests(first_ms), *_payment(first_ms), *_conversation(first_ms)]
    arrival = {s.INGEST_TIME: datetime.now(UTC)}
    return batch_of([row | arrival for row in rows])


def mark_of(at_ms: int, score: float) -> dict[str, Any]:
    """Return the event that says how good an answer was."""
    return {
        "time_unix_nano": int(START.timestamp()) * 10**9 + at_ms * 10**6,
        "name": "gen_ai.evaluation.result",
        "attributes": [
            ("gen_ai.evaluation.name", "helpfulness"),
            ("gen_ai.evaluation.score.value", str(score)),
        ],
    }


def _trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _requests(first_ms: int) -> Iterator[dict[str, Any]]:
    """Yield requests to two versions, every tenth slow, failing in one minute."""
    for number in range(MINUTES * REQUESTS_A_MINUTE):
        minute, place = divmod(number, REQUESTS_A_MINUTE)
        failed = minute == BURST_MINUTE and place < BURST_ERRORS
        columns = {
            s.TRACE_ID: _trace(1_000 + number),
            s.SERVICE_NAME: "checkout",
            "service_version": "1.0" if minute < BURST_MINUTE else "1.1",
            s.NAME: "POST /pay",
            "http_route": "/pay",
            "http_response_status_code": 500 if failed else 200,
            s.IS_ROOT: True,
            s.STATUS_CODE: "ERROR" if failed else "UNSET",
            s.SAMPLE_WEIGHT: 1.0 if failed else 20.0,
            s.REDACTION_COUNT: 2,
            s.REDACTION_VERSION: "v1",
        }
        yield span(1, first_ms + minute * 60_000 + place, 500 if place == 0 else 20, **columns)


def _payment(first_ms: int) -> Iterator[dict[str, Any]]:
    """Yield a request whose call to the bank times out twice, and its statements."""
    root = {s.TRACE_ID: _trace(1), s.SERVICE_NAME: "payments"}
    below = {**root, s.PARENT_SPAN_ID: (1).to_bytes(8, "big"), s.KIND: "CLIENT"}
    yield span(1, first_ms, 3_000, **root, name="POST /charge", is_root=True, http_route="/charge")
    for attempt in range(3):
        at_ms = first_ms + 10 + attempt * 800
        call = span(2 + attempt, at_ms, 700, **below, name="POST", server_address="bank")
        if attempt < 2:
            timeout = {
                "time_unix_nano": call[s.START_TIME_UNIX_NANO] + 700_000_000,
                "name": "exception",
                "attributes": [
                    ("exception.type", "BankTimeout"),
                    ("exception.message", "no answer"),
                ],
            }
            call |= {s.STATUS_CODE: "ERROR", s.EVENTS: [timeout], s.EVENTS_COUNT: 1}
        yield call
    for number, lasts_ms in enumerate((400, 5, 7)):
        yield span(
            10 + number,
            first_ms + 2_500 + number,
            lasts_ms,
            **below,
            name="SELECT shop.orders" if number else "UPDATE shop.orders",
            db_system_name="postgresql",
            db_operation_name="SELECT" if number else "UPDATE",
            db_collection_name="orders",
            attributes=[("db.query.text", "SELECT ?" if number else "UPDATE ?")],
        )


def _conversation(first_ms: int) -> Iterator[dict[str, Any]]:
    """Yield a conversation of two turns: six calls of two models, marked, and a tool's failure."""
    for number in range(6):
        model = ("gpt-4o", "claude-sonnet-4-5")[number % 2]
        columns = {
            s.TRACE_ID: _trace(2 + number // 3),
            s.SERVICE_NAME: "assistant",
            s.NAME: f"chat {model}",
            s.KIND: "CLIENT",
            s.GEN_AI_OPERATION_NAME: "chat",
            s.GEN_AI_PROVIDER_NAME: ("openai", "anthropic")[number % 2],
            s.GEN_AI_REQUEST_MODEL: model,
            "gen_ai_conversation_id": CONVERSATION,
            "user_id": "u-1",
            "prompt_name": "support",
            s.INPUT_TOKENS: 50_000 if number == 5 else 1_000 + number,
            s.OUTPUT_TOKENS: 100,
            s.COST_USD: Decimal("0.002000000"),
            s.COST_STATUS: "priced",
            "time_to_first_token_s": 0.2 + number / 10,
            s.EVENTS: [mark_of(first_ms + number * 1_000, 0.5 + number % 2 / 4)],
            s.EVENTS_COUNT: 1,
        }
        yield span(20 + number, first_ms + number * 1_000, 900, **columns)
    for number, status in enumerate(("ERROR", "UNSET")):
        yield span(
            30 + number,
            first_ms + 500 + number,
            50,
            trace_id=_trace(2),
            service_name="assistant",
            name="execute_tool search",
            kind="INTERNAL",
            gen_ai_operation_name="execute_tool",
            gen_ai_tool_name="search",
            status_code=status,
            error_type="timeout" if status == "ERROR" else None,
        )
