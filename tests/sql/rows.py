"""A small shop's spans with known sums: requests over two services, LLM calls, one exception."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch

START = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
TRACE = bytes(range(1, 17))
TRACE_HEX = TRACE.hex()
OTHER = bytes(range(0xA1, 0xB1))

_MILLISECOND = 1_000_000
_LLM = {
    s.SERVICE_NAME: "assistant",
    s.NAME: "chat gpt-4o",
    s.KIND: "CLIENT",
    s.GEN_AI_OPERATION_NAME: "chat",
    s.GEN_AI_PROVIDER_NAME: "openai",
    s.GEN_AI_REQUEST_MODEL: "gpt-4o",
    "prompt_name": "answer",
    "prompt_version": "3",
    "session_id": "s-1",
    s.INPUT_TOKENS: 1000,
    s.OUTPUT_TOKENS: 50,
    s.CACHE_READ_TOKENS: 250,
    "time_to_first_token_s": 0.3,
}


def span(number: int, at_ms: int, lasts_ms: int, **columns: Any) -> dict[str, Any]:
    """Return one row: span ``number`` of ``TRACE`` unless the columns say otherwise."""
    nanos = int(START.timestamp()) * 10**9 + at_ms * _MILLISECOND + 7
    return {
        s.TRACE_ID: TRACE,
        s.SPAN_ID: number.to_bytes(8, "big"),
        s.IS_ROOT: False,
        s.START_TIME: START + timedelta(milliseconds=at_ms),
        s.START_TIME_UNIX_NANO: nanos,
        s.DURATION_NS: lasts_ms * _MILLISECOND,
        s.INGEST_TIME: START + timedelta(seconds=2),
        s.SERVICE_NAME: "shop",
        s.NAME: "work",
        s.KIND: "SERVER",
        s.STATUS_CODE: "UNSET",
        s.SAMPLE_WEIGHT: 1.0,
        s.SAMPLE_REASON: "always",
        s.ATTRIBUTES: [("feature.flag", "new-cart"), ("n", "1")],
        s.NON_STRING_TYPES: [("n", "int")],
        s.RESOURCE_ATTRIBUTES: [("service.name", "shop")],
        s.EVENTS: [],
        s.EVENTS_COUNT: 0,
        s.LINKS: [],
        **columns,
    }


def batch_of(rows: list[dict[str, Any]]) -> SpanBatch:
    """Return rows as a batch; columns a row does not name are null."""
    return SpanBatch(pa.Table.from_pylist(rows, s.SPAN_SCHEMA))


def shop() -> SpanBatch:
    """Return one whole trace of four spans and one kept for ten that has no root here."""
    root = span(1, 0, 900, name="GET /ask", is_root=True, http_route="/ask")
    call = span(2, 100, 700, service_name="assistant", parent_span_id=(1).to_bytes(8, "big"))
    exception = {
        "time_unix_nano": root[s.START_TIME_UNIX_NANO] + 5,
        "name": "exception",
        "attributes": [("exception.type", "ValueError"), ("exception.message", "bad amount")],
    }
    call |= {s.STATUS_CODE: "ERROR", s.EVENTS: [exception], s.EVENTS_COUNT: 1}
    call[s.LINKS] = [{"trace_id": OTHER, "span_id": b"\xff" * 8, "attributes": [("why", "retry")]}]
    priced = {s.COST_USD: Decimal("0.003000000"), s.COST_STATUS: "priced"}
    llm = span(3, 200, 500, **_LLM, **priced, finish_reasons='["length"]')
    unpriced = span(4, 250, 100, **_LLM, cost_status="unpriced", finish_reasons='["stop"]')
    sampled = span(5, 3_600_000, 40, trace_id=OTHER, http_route="/cart", sample_reason="share")
    sampled[s.SAMPLE_WEIGHT] = 10.0
    return batch_of([root, call, llm, unpriced, sampled])
