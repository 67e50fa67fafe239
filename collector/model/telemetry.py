"""Every metric about clearspan itself: one documented table, and the contract to write to it.

Names follow the OpenTelemetry Collector where it has the same thing, so its dashboards work.
Conservation, at any moment and for the life of one process::

    received + replayed = stored + dropped(reason) + pending + refused(reason)

The way of log records counts its own items (``log_telemetry``). Where both ways share a metric with
a label ``processor``, ``stage`` or ``exporter``, its value ends in ``/logs`` there, as component
ids of the Collector do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from collector.model import log_telemetry
from collector.model.metric import ItemMetrics, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

STAGE_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip

RECEIVED_SPANS: Final = Metric(
    "clearspan_spans_received_total",
    "counter",
    "Spans in requests that could be parsed, before any check.",
)
REPLAYED_SPANS: Final = Metric(
    "clearspan_spans_replayed_total",
    "counter",
    "Spans read back from the journal at start because they were not in the lake yet.",
)
STORED_SPANS: Final = Metric(
    "clearspan_spans_stored_total",
    "counter",
    "Spans committed to the lake.",
)
DROPPED_SPANS: Final = Metric(
    "clearspan_spans_dropped_total",
    "counter",
    "Spans that sampling or a processor decided not to keep.",
    ("reason",),
)
REFUSED_SPANS: Final = Metric(
    "clearspan_spans_refused_total",
    "counter",
    "Spans not accepted; the sender was told (error, or rejected_spans in a partial success).",
    ("reason",),
)
PENDING_SPANS: Final = Metric(
    "clearspan_spans_pending",
    "gauge",
    "Spans accepted and durable in the journal, waiting for a sampling decision or a flush.",
)
REFUSED_REQUESTS: Final = Metric(
    "clearspan_requests_refused_total",
    "counter",
    "Requests answered with an error.",
    ("receiver", "reason"),
)
SALVAGED_REQUESTS: Final = Metric(
    "clearspan_requests_salvaged_total",
    "counter",
    "Requests with invalid UTF-8 that were kept with replacement characters.",
)
ACCEPTED: Final = Metric(
    "otelcol_receiver_accepted_spans_total",
    "counter",
    "Spans accepted: redacted, journalled and acknowledged.",
    ("receiver", "transport"),
)
REFUSED: Final = Metric(
    "otelcol_receiver_refused_spans_total",
    "counter",
    "Spans the receiver refused with a retryable error or rejected through partial success.",
    ("receiver", "transport"),
)
SENT: Final = Metric(
    "otelcol_exporter_sent_spans_total",
    "counter",
    "Spans written by an exporter.",
    ("exporter",),
)
SEND_FAILED: Final = Metric(
    "otelcol_exporter_send_failed_spans_total",
    "counter",
    "Spans an exporter failed to write (they stay in the journal and are tried again).",
    ("exporter",),
)
QUEUE_SIZE: Final = Metric(
    "otelcol_exporter_queue_size",
    "gauge",
    "Bytes of requests admitted and not yet answered.",
    ("exporter",),
)
QUEUE_CAPACITY: Final = Metric(
    "otelcol_exporter_queue_capacity",
    "gauge",
    "Most bytes of requests that may be admitted and unanswered.",
    ("exporter",),
)
INCOMING_ITEMS: Final = Metric(
    "otelcol_processor_incoming_items_total",
    "counter",
    "Spans that entered a processor; log records where its name ends in `/logs`.",
    ("processor",),
)
OUTGOING_ITEMS: Final = Metric(
    "otelcol_processor_outgoing_items_total",
    "counter",
    "Spans that left a processor; log records where its name ends in `/logs`.",
    ("processor",),
)
STAGE_SECONDS: Final = Metric(
    "clearspan_stage_duration_seconds",
    "histogram",
    "Time one micro-batch spent in one stage of the pipeline.",
    ("stage",),
    STAGE_BUCKETS,
)
BATCH_SPANS: Final = Metric(
    "clearspan_batch_spans",
    "histogram",
    "Spans in one micro-batch.",
    (),
    (1, 8, 32, 128, 512, 2048, 8192, 32768),
)
REDACTIONS: Final = Metric(
    "clearspan_redactions_total",
    "counter",
    "Distinct strings in which something was redacted, by entity (credential and identity keys "
    "count as CREDENTIAL and IDENTITY).",
    ("entity",),
)
REDACTION_FINDINGS: Final = Metric(
    "clearspan_redaction_findings_total",
    "counter",
    "Strings in which a rule found something, repeats and kept ones too, by entity, rule (whole "
    "value: its key decided) and surface.",
    ("entity", "rule", "surface"),
)
REDACTION_CACHE: Final = Metric(
    "clearspan_redaction_strings_total",
    "counter",
    "Distinct strings of micro-batches by how they were judged: cached, screened or analysed.",
    ("how",),
)
REDACTION_DRY_RUN: Final = Metric(
    "clearspan_redaction_dry_run",
    "gauge",
    "1 while redaction is on trial and cuts nothing, else 0.",
)
CANARIES_SEEN: Final = Metric(
    "clearspan_redaction_canaries_seen_total",
    "counter",
    "Spans and log records in which a canary was seen behind all processors, by its place in "
    "`processors.redaction.canaries` (from 0) and surface.",
    ("canary", "surface"),
)
PRICED_SPANS: Final = Metric(
    "clearspan_cost_spans_total",
    "counter",
    "LLM spans by cost status (priced, zero_rated, approximate, unpriced).",
    ("status",),
)
TAIL_TRACES: Final = Metric(
    "otelcol_processor_tail_sampling_count_traces_sampled_total",
    "counter",
    "Traces decided, by policy and decision (sampled, not_sampled).",
    ("policy", "decision"),
)
TAIL_EARLY: Final = Metric(
    "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total",
    "counter",
    "Traces decided before decision_wait because num_traces or the byte limit was reached.",
)
TAIL_LATE: Final = Metric(
    "otelcol_processor_tail_sampling_sampling_late_span_age_seconds",
    "histogram",
    "Age of spans that came after their trace was decided.",
    (),
    (1, 5, 15, 30, 60, 300, 900, 3600),
)
JOURNAL_BYTES: Final = Metric(
    "clearspan_journal_bytes",
    "gauge",
    "Bytes in journal segments on disk.",
)
JOURNAL_QUARANTINED: Final = Metric(
    "clearspan_journal_quarantined_segments_total",
    "counter",
    "Journal segments moved aside because a frame in them was damaged.",
)
LAKE_FILES: Final = Metric("clearspan_lake_files", "gauge", "Parquet files in the manifest.")
LAKE_BYTES: Final = Metric(
    "clearspan_lake_bytes",
    "gauge",
    "Bytes of Parquet files in the manifest.",
)
LAKE_FLUSH_SECONDS: Final = Metric(
    "clearspan_lake_flush_duration_seconds",
    "histogram",
    "Time to write, fsync and commit one flush.",
    (),
    STAGE_BUCKETS,
)
LAKE_COMPACTIONS: Final = Metric(
    "clearspan_lake_compactions_total",
    "counter",
    "Small-file compactions committed.",
)
LAKE_EXPIRED_SPANS: Final = Metric(
    "clearspan_lake_expired_spans_total",
    "counter",
    "Spans removed from the lake by retention; by age, bytes or, of some services, service.",
    ("reason",),
)
LAKE_QUARANTINED: Final = Metric(
    "clearspan_lake_quarantined_files_total",
    "counter",
    "Lake files moved aside because they are damaged, or missing.",
)
LAKE_FAILURES: Final = Metric(
    "clearspan_lake_failures_total",
    "counter",
    "Flushes and maintenance runs that failed and are tried again.",
    ("operation",),
)
SQL_REQUESTS: Final = Metric(
    "clearspan_sql_requests_total",
    "counter",
    "Requests to the SQL endpoint, by outcome (answered, invalid, refused, over_limit, timeout, "
    "aborted, unavailable, busy, unauthorized, bad_request, disconnected, internal).",
    ("outcome",),
)
SQL_SECONDS: Final = Metric(
    "clearspan_sql_query_duration_seconds",
    "histogram",
    "Time a query took at the SQL endpoint, the start of its process included, whatever came of "
    "it.",
    (),
    (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
SERIES: Final = Metric(
    "clearspan_metric_series",
    "gauge",
    "Series held by the golden signals, by metric family.",
    ("family",),
)
SCRAPE_ERRORS: Final = Metric(
    "clearspan_scrape_read_errors_total",
    "counter",
    "Values missing from a scrape because reading them failed, by metric.",
    ("metric",),
)
UPTIME: Final = Metric("otelcol_process_uptime_seconds_total", "counter", "Seconds since start.")
MEMORY_RSS: Final = Metric("otelcol_process_memory_rss_bytes", "gauge", "Resident memory.")
CPU_SECONDS: Final = Metric(
    "otelcol_process_cpu_seconds_total",
    "counter",
    "CPU seconds of the whole process, user and system.",
)

SPANS: Final = ItemMetrics(
    received=RECEIVED_SPANS,
    replayed=REPLAYED_SPANS,
    stored=STORED_SPANS,
    dropped=DROPPED_SPANS,
    refused=REFUSED_SPANS,
    pending=PENDING_SPANS,
    accepted=ACCEPTED,
    receiver_refused=REFUSED,
    sent=SENT,
    send_failed=SEND_FAILED,
    per_batch=BATCH_SPANS,
    expired=LAKE_EXPIRED_SPANS,
    journal_bytes=JOURNAL_BYTES,
    lake_files=LAKE_FILES,
    lake_bytes=LAKE_BYTES,
)

METRICS: Final = (
    *(value for value in list(globals().values()) if isinstance(value, Metric)),
    *log_telemetry.METRICS,
)


class Telemetry(Protocol):
    """Where every part reports; thread-safe, never raises for a declared metric."""

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter; ``labels`` are values in the order the metric declares them."""
        ...

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        ...

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Read a gauge or counter by calling ``read`` at every scrape."""
        ...
