"""Builds span batches from plain rows, for tests: a row names only the columns it cares about."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collector.model import schema
from collector.model.batch import SpanBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULTS: dict[str, Any] = {
    schema.TRACE_ID: bytes(range(16)),
    schema.SPAN_ID: bytes(8),
    schema.SERVICE_NAME: "shop",
    schema.NAME: "GET /cart",
    schema.KIND: "SERVER",
    schema.STATUS_CODE: "UNSET",
    schema.DURATION_NS: 3_000_000,
}
LLM: dict[str, Any] = {
    schema.NAME: "chat gpt-4o",
    schema.KIND: "CLIENT",
    schema.GEN_AI_OPERATION_NAME: "chat",
    schema.GEN_AI_PROVIDER_NAME: "openai",
    schema.GEN_AI_REQUEST_MODEL: "gpt-4o",
    schema.GEN_AI_RESPONSE_MODEL: "gpt-4o-2024-08-06",
    schema.INPUT_TOKENS: 1200,
    schema.OUTPUT_TOKENS: 80,
    schema.COST_USD: Decimal("0.003800000"),
    schema.COST_STATUS: "priced",
}


def batch_of(rows: Sequence[dict[str, Any]]) -> SpanBatch:
    """Return the rows, each over ``DEFAULTS``, as a batch."""
    full = [{**DEFAULTS, **row} for row in rows]
    names = {name for row in full for name in row}
    return SpanBatch.from_columns(
        {
            name: pa.array([row.get(name) for row in full], schema.SPAN_SCHEMA.field(name).type)
            for name in names
        },
        len(full),
    )
