"""The golden signals: every metric family taken of the spans themselves, as one table.

Names, labels and buckets are those of the Collector's spanmetrics connector and of the
OpenTelemetry GenAI metric conventions, spelled as Prometheus spells them.
"""

from __future__ import annotations

from typing import Final

from collector.model.metric import Metric

# OpenTelemetry GenAI metrics (Development status), section "bucket boundaries"
OPERATION_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
TOKENS: Final = (
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
)  # fmt: skip

SPAN_LABELS: Final = ("service_name", "span_name", "span_kind", "status_code")
GEN_AI_LABELS: Final = (
    "service_name",
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
)
# In place of the labels of a family's series beyond aggregation_cardinality_limit (OTel SDK spec).
OVERFLOW_LABEL: Final = "otel_metric_overflow"

CALLS: Final = Metric(
    "traces_span_metrics_calls_total",
    "counter",
    "Spans accepted, before sampling.",
    SPAN_LABELS,
)
SPAN_DURATION: Final = Metric(
    "traces_span_metrics_duration_seconds",
    "histogram",
    "Duration of the spans accepted, before sampling.",
    SPAN_LABELS,
)
TOKEN_USAGE: Final = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of one LLM call, as reported by its span; sums of agents and workflows left out.",
    (*GEN_AI_LABELS, "gen_ai_token_type"),
    TOKENS,
)
OPERATION_DURATION: Final = Metric(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    "Duration of GenAI operations.",
    (*GEN_AI_LABELS, "error_type"),
    OPERATION_SECONDS,
)
FIRST_CHUNK: Final = Metric(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "histogram",
    "Time from the request to the first chunk of a streamed response.",
    GEN_AI_LABELS,
    OPERATION_SECONDS,
)
COST: Final = Metric(
    "clearspan_gen_ai_cost_usd_total",
    "counter",
    "Price of the LLM calls whose price is known, in US dollars.",
    GEN_AI_LABELS,
)
UNPRICED: Final = Metric(
    "clearspan_gen_ai_unpriced_spans_total",
    "counter",
    "LLM calls whose price is not known; they are not in the cost.",
    GEN_AI_LABELS,
)
FINISH_REASONS: Final = Metric(
    "clearspan_gen_ai_finish_reasons_total",
    "counter",
    "LLM responses by why they ended; several choices are joined by commas.",
    (*GEN_AI_LABELS, "finish_reasons"),
)

SIGNALS: Final = (
    CALLS,
    SPAN_DURATION,
    TOKEN_USAGE,
    OPERATION_DURATION,
    FIRST_CHUNK,
    COST,
    UNPRICED,
    FINISH_REASONS,
)
