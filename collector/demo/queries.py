"""The SQL that the demo runs and shows; each is worth copying."""

from __future__ import annotations

from typing import Final

COST_BY_MODEL: Final = """\
SELECT gen_ai_provider_name AS provider, gen_ai_response_model AS model,
       round(sum(sample_weight))::INT AS calls,
       sum(input_tokens * sample_weight)::BIGINT AS input_tokens,
       sum(cost_usd * sample_weight) AS usd,
       round(coalesce(sum(sample_weight) FILTER (cost_usd IS NULL), 0))::INT AS unpriced
FROM spans WHERE gen_ai_operation_name = 'chat' GROUP BY ALL ORDER BY usd DESC NULLS LAST"""

# The smallest duration at or below which 95 % of the *weight* lies: what all requests would show.
SLOWEST_ROUTES: Final = """\
SELECT http_route AS route, round(sum(weight))::INT AS requests, count(*) AS stored,
       min(ms) FILTER (share >= 0.5) AS p50_ms, min(ms) FILTER (share >= 0.95) AS p95_ms,
       quantile_disc(ms, 0.95) AS p95_of_stored_ms
FROM (SELECT http_route, duration_ns / 1e6 AS ms, sample_weight AS weight,
             sum(weight) OVER (PARTITION BY http_route ORDER BY duration_ns)
               / sum(weight) OVER (PARTITION BY http_route) AS share
      FROM spans WHERE kind = 'SERVER')
GROUP BY http_route ORDER BY p95_ms DESC"""

ERROR_TRACES: Final = """\
SELECT trace_id, root_name, errors, duration_ms, cost_usd, sample_reason, sample_weight
FROM traces WHERE errors > 0 ORDER BY duration_ms DESC"""

KEPT_BY_REASON: Final = """\
SELECT sample_reason AS policy, count(*) AS traces, max(sample_weight) AS weight
FROM traces GROUP BY ALL ORDER BY weight, traces DESC"""

# Horvitz-Thompson: a trace of n spans kept with weight w adds n²·w·(w-1) to the variance.
ESTIMATED_SPANS: Final = """\
SELECT sum(spans), sum(spans * sample_weight),
       sqrt(sum(spans * spans * sample_weight * (sample_weight - 1)))
FROM traces"""

TO_TRY: Final = (
    "SELECT name, sum(sample_weight)::INT AS calls FROM spans GROUP BY name ORDER BY calls DESC",
    "SELECT attributes['user.email'] AS who, count(*) FROM spans GROUP BY who",
    "SELECT exception_type, exception_message, count(*) FROM span_events GROUP BY ALL",
    "SELECT * FROM traces WHERE cost_usd > 0.03 ORDER BY cost_usd DESC LIMIT 5",
)
