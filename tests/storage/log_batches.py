"""Batches of log records as the pipeline makes them, and stores that hold some."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.model import schema as s
from collector.model.batch import LogBatch
from collector.model.signals import LOGS
from collector.otlp.decode_logs import LogDecoder
from collector.otlp.promotion import Promoter
from config.settings import OtlpLimits
from tests.storage.batches import BASE_US, make_batch
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

ROWS = 40


def log_request(*records: dict[str, Any], **resource: str) -> ExportLogsServiceRequest:
    """Return a request of records with these fields; ``body`` is text."""
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    for key, value in resource.items():
        logs.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    scope = logs.scope_logs.add()
    for fields in records:
        body = fields.pop("body", None)
        attributes = fields.pop("attributes", {})
        record: LogRecord = scope.log_records.add(**fields)
        if body is not None:
            record.body.string_value = body
        for key, value in attributes.items():
            record.attributes.add(key=key).value.string_value = value
    return request


def log_batch(*requests: ExportLogsServiceRequest, now_us: int = BASE_US) -> LogBatch:
    """Return the records of requests as they come to the journal, redacted by version 1."""
    decoder = LogDecoder(OtlpLimits(), lambda: now_us * 1000)
    batch = decoder.decode([request.SerializeToString() for request in requests]).batch
    version = pa.repeat("1.rules.key", len(batch))
    return Promoter(LogBatch).process(batch).replace({s.REDACTION_VERSION: version})


def make_logs(seed: int, service: str = "checkout", rows: int = ROWS) -> LogBatch:
    """Return ``rows`` records within one second of BASE_US, every other one with a trace."""
    chance = random.Random(seed)
    return log_batch(
        log_request(
            *(
                {
                    "time_unix_nano": (BASE_US + chance.randrange(10**6)) * 1000 + 7,
                    "body": f"line {seed}-{number}",
                    "trace_id": chance.randbytes(16) if number % 2 else b"",
                    "span_id": chance.randbytes(8) if number % 2 else b"",
                    "severity_number": 9,
                }
                for number in range(rows)
            ),
            service_name=service,
        )
    )


def log_store(data: Path, **settings: Any) -> Store:
    """Open the log records of a data directory."""
    data.mkdir(exist_ok=True)
    return Store(data / "logs", lake_settings(**settings), signal=LOGS)


def make_data(data: Path, *, flushes: int = 3, journalled: int = 1) -> Path:
    """Leave spans and log records in files and journals; return the logs' lake directory."""
    for store, make in ((Store(data, lake_settings()), make_batch), (log_store(data), None)):
        for seed in range(flushes):
            store.store(make(ROWS, seed) if make else make_logs(seed))
            store.lake.flush()
        for seed in range(journalled):
            store.store(make(ROWS, 1000 + seed) if make else make_logs(1000 + seed))
        store.abandon()
    return data / "logs" / "lake"
