"""Span batches with the columns the cost processor reads, and a telemetry that remembers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from collector.model.metric import Metric

COLUMNS = {
    "operation": s.GEN_AI_OPERATION_NAME,
    "provider": s.GEN_AI_PROVIDER_NAME,
    "request": s.GEN_AI_REQUEST_MODEL,
    "response": s.GEN_AI_RESPONSE_MODEL,
    "input": s.INPUT_TOKENS,
    "output": s.OUTPUT_TOKENS,
    "cache_read": s.CACHE_READ_TOKENS,
    "cache_write": s.CACHE_WRITE_TOKENS,
    "reasoning": s.REASONING_TOKENS,
    "reported_usd": s.COST_REPORTED_USD,
    "start_ns": s.START_TIME_UNIX_NANO,
}
NOON = 1_790_000_000_000_000_000
"""2026-09-21, in nanoseconds since 1970."""


class Counters:
    """A telemetry that keeps counters by metric name and labels, and observations in order."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.observed: list[float] = []

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter."""
        self.counts[(metric.name, *labels)] += int(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.counts[(metric.name, *labels)] = int(value)

    def observe(self, _metric: Metric, value: float, *_labels: str) -> None:
        """Keep an observation."""
        self.observed.append(value)

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Read a gauge once."""
        self.set(metric, read(), *labels)


def nanos(moment: datetime) -> int:
    """Return the moment in nanoseconds since 1970."""
    return int(moment.timestamp()) * 10**9


def llm_call(**values: Any) -> dict[str, Any]:
    """Return one chat call to a model whose price has no tiers or dates, changed as given."""
    defaults = {
        "operation": "chat",
        "provider": "openai",
        "request": "gpt-4o-mini",
        "response": "gpt-4o-mini-2024-07-18",
        "input": 1000,
        "output": 100,
        "start_ns": NOON,
    }
    return defaults | values


def batch_of(rows: Sequence[dict[str, Any]]) -> SpanBatch:
    """Return a batch with these rows; keys are those of ``COLUMNS``, missing ones are null."""
    columns = {
        column: pa.array([row.get(key) for row in rows], s.SPAN_SCHEMA.field(column).type)
        for key, column in COLUMNS.items()
    }
    return SpanBatch.from_columns(columns, len(rows))


def many_rows(rows: int, llm_share: float, seed: int = 7) -> SpanBatch:
    """Return random rows of which that share are LLM calls, to a dozen models."""
    rng = np.random.default_rng(seed)
    models = [
        ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-5"),
        ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-3-5-haiku-latest"),
        ("gcp.gemini", "gemini-2.5-pro"), ("aws.bedrock", "amazon.nova-pro-v1:0"),
        ("deepseek", "deepseek-chat"), ("x_ai", "grok-4"), ("mistral_ai", "mistral-large-latest"),
    ]  # fmt: skip
    chosen = rng.integers(0, len(models), rows)
    is_llm = rng.random(rows) < llm_share
    return batch_of(
        [
            llm_call(
                provider=models[c][0],
                request=models[c][1],
                response=models[c][1],
                input=int(i),
                output=int(o),
                cache_read=int(i) // 3,
            )
            if llm
            else {"start_ns": NOON}
            for c, llm, i, o in zip(
                chosen,
                is_llm,
                rng.integers(0, 300_000, rows),
                rng.integers(0, 4000, rows),
                strict=True,
            )
        ],
    )
