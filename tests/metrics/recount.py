"""The oracle: the same signals counted span by span with prometheus_client's own classes."""

from __future__ import annotations

import math
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from collector.metrics.families import GEN_AI_LABELS, OPERATION_SECONDS, SPAN_LABELS, TOKENS
from collector.model import schema

BOUNDS = (0.002, 0.008, 0.1, 1.0, 5.0)


class Recount:
    """Counts one row at a time, the way the families are described in docs/metrics.md."""

    def __init__(self) -> None:
        """Declare the families."""
        self.registry = registry = CollectorRegistry()

        def counter(name: str, *labels: str) -> Counter:
            return Counter(name, "x", labels, registry=registry)

        def histogram(name: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, "x", labels, registry=registry, buckets=buckets)

        self.calls = counter("traces_span_metrics_calls_total", *SPAN_LABELS)
        self.duration = histogram("traces_span_metrics_duration_seconds", BOUNDS, *SPAN_LABELS)
        self.tokens = histogram(
            "gen_ai_client_token_usage", TOKENS, *GEN_AI_LABELS, "gen_ai_token_type"
        )
        self.operations = histogram(
            "gen_ai_client_operation_duration_seconds",
            OPERATION_SECONDS,
            *GEN_AI_LABELS,
            "error_type",
        )
        self.first_chunk = histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds", OPERATION_SECONDS, *GEN_AI_LABELS
        )
        self.cost = counter("clearspan_gen_ai_cost_usd_total", *GEN_AI_LABELS)
        self.unpriced = counter("clearspan_gen_ai_unpriced_spans_total", *GEN_AI_LABELS)
        self.ends = counter(
            "clearspan_gen_ai_finish_reasons_total", *GEN_AI_LABELS, "finish_reasons"
        )

    def count(self, row: dict[str, Any]) -> None:
        """Count one span."""
        labels = (
            row[schema.SERVICE_NAME] or "",
            row[schema.NAME] or "",
            "SPAN_KIND_" + row[schema.KIND],
            "STATUS_CODE_" + row[schema.STATUS_CODE],
        )
        seconds = min(max(row[schema.DURATION_NS] or 0, 0) / 1e9, 1e9)
        self.calls.labels(*labels).inc()
        self.duration.labels(*labels).observe(seconds)
        names = [row[f"gen_ai_{part}"] for part in _PARTS]
        if any(name is not None for name in names):
            self._count_gen_ai(row, seconds, (labels[0], *(name or "" for name in names)))

    def _count_gen_ai(self, row: dict[str, Any], seconds: float, labels: tuple[str, ...]) -> None:
        self.operations.labels(*labels, row[schema.ERROR_TYPE] or "").observe(seconds)
        if row[schema.GEN_AI_OPERATION_NAME] != "invoke_agent":
            for direction in ("input", "output"):
                tokens = row[f"{direction}_tokens"]
                if tokens is not None:
                    self.tokens.labels(*labels, direction).observe(min(max(tokens, 0), 1e9))
        if row[schema.COST_USD] is not None:
            self.cost.labels(*labels).inc(float(row[schema.COST_USD]))
        elif row[schema.COST_STATUS] is not None:
            self.unpriced.labels(*labels).inc()
        if row["finish_reasons"] is not None:
            plain = ",".join(part.strip('[]" ') for part in row["finish_reasons"].split(","))
            self.ends.labels(*labels, plain).inc()
        first_chunk = row["time_to_first_token_s"]
        if first_chunk is not None and math.isfinite(first_chunk):
            self.first_chunk.labels(*labels).observe(min(max(first_chunk, 0), 1e9))

    def samples(self) -> dict[tuple[str, tuple[Any, ...]], float]:
        """Return every sample but creation times: (name, sorted labels) to value."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }


_PARTS = ("operation_name", "provider_name", "request_model", "response_model")
