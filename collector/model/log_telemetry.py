"""The metrics of log records, named as those of spans are; conservation holds for them alike."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from collector.model.metric import ItemMetrics, Metric

LOG_RECORDS: Final = ItemMetrics(
    received=Metric(
        "clearspan_log_records_received_total",
        "counter",
        "Log records in requests that could be parsed, before any check.",
    ),
    replayed=Metric(
        "clearspan_log_records_replayed_total",
        "counter",
        "Log records read back from the journal at start because they were not in the lake yet.",
    ),
    stored=Metric(
        "clearspan_log_records_stored_total",
        "counter",
        "Log records committed to the lake.",
    ),
    dropped=Metric(
        "clearspan_log_records_dropped_total",
        "counter",
        "Log records that a processor decided not to keep, or that were erased before the flush.",
        ("reason",),
    ),
    refused=Metric(
        "clearspan_log_records_refused_total",
        "counter",
        "Log records not accepted; the sender was told (error, or rejected_log_records in a "
        "partial success).",
        ("reason",),
    ),
    pending=Metric(
        "clearspan_log_records_pending",
        "gauge",
        "Log records accepted and durable in the journal, waiting for a flush.",
    ),
    accepted=Metric(
        "otelcol_receiver_accepted_log_records_total",
        "counter",
        "Log records accepted: redacted, journalled and acknowledged.",
        ("receiver", "transport"),
    ),
    receiver_refused=Metric(
        "otelcol_receiver_refused_log_records_total",
        "counter",
        "Log records the receiver refused with a retryable error or rejected through partial "
        "success.",
        ("receiver", "transport"),
    ),
    sent=Metric(
        "otelcol_exporter_sent_log_records_total",
        "counter",
        "Log records written by an exporter.",
        ("exporter",),
    ),
    send_failed=Metric(
        "otelcol_exporter_send_failed_log_records_total",
        "counter",
        "Log records an exporter failed to write (they stay in the journal and are tried again).",
        ("exporter",),
    ),
    per_batch=Metric(
        "clearspan_batch_log_records",
        "histogram",
        "Log records in one micro-batch.",
        (),
        (1, 8, 32, 128, 512, 2048, 8192, 32768),
    ),
    expired=Metric(
        "clearspan_lake_expired_log_records_total",
        "counter",
        "Log records removed from the lake by retention; by age, bytes or, of some services, "
        "service.",
        ("reason",),
    ),
    journal_bytes=Metric(
        "clearspan_logs_journal_bytes",
        "gauge",
        "Bytes in segments of the log records' journal on disk.",
    ),
    lake_files=Metric(
        "clearspan_logs_lake_files",
        "gauge",
        "Parquet files of log records in their manifest.",
    ),
    lake_bytes=Metric(
        "clearspan_logs_lake_bytes",
        "gauge",
        "Bytes of those files.",
    ),
)

METRICS: Final[tuple[Metric, ...]] = tuple(
    getattr(LOG_RECORDS, field.name) for field in fields(ItemMetrics)
)
