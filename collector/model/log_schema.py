"""The exact schema of a log batch: one row a log record, column names as constants.

Names, types and meanings are those of ``schema`` wherever spans have the same thing. There is no
sample weight: log records are never sampled.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from collector.model import schema as s

# time_unix_nano and observed_time_unix_nano are as sent, 0 when unset. time is the first of them
# that is set, else the arrival; observed_time is null when unset.
TIME: Final = "time"
OBSERVED_TIME: Final = "observed_time"
TIME_UNIX_NANO: Final = "time_unix_nano"
OBSERVED_TIME_UNIX_NANO: Final = "observed_time_unix_nano"
SEVERITY_NUMBER: Final = "severity_number"
SEVERITY_TEXT: Final = "severity_text"
EVENT_NAME: Final = "event_name"
# The body as text, written as attribute values are; null when there is none. body_type is the tag
# of a body that is no string (one of TYPE_TAGS), null when it is one or there is none.
BODY: Final = "body"
BODY_TYPE: Final = "body_type"
# The record's position in its batch, never null: with source_id and batch_seq it names the record,
# which need not have a trace.
RECORD_IDX: Final = "record_idx"

LOG_SCHEMA: Final = pa.schema(
    [
        pa.field(TIME, s.TIMESTAMP),
        pa.field(OBSERVED_TIME, s.TIMESTAMP),
        pa.field(TIME_UNIX_NANO, pa.int64()),
        pa.field(OBSERVED_TIME_UNIX_NANO, pa.int64()),
        pa.field(s.INGEST_TIME, s.TIMESTAMP),
        pa.field(s.TRACE_ID, pa.binary(16)),
        pa.field(s.SPAN_ID, pa.binary(8)),
        pa.field(s.FLAGS, pa.int64()),
        pa.field(SEVERITY_NUMBER, pa.int32()),
        pa.field(SEVERITY_TEXT, pa.string()),
        pa.field(EVENT_NAME, pa.string()),
        pa.field(BODY, pa.string()),
        pa.field(BODY_TYPE, pa.string()),
        pa.field(s.SERVICE_NAME, pa.string()),
        pa.field(s.SCOPE_NAME, pa.string()),
        pa.field(s.SCOPE_VERSION, pa.string()),
        pa.field(s.REDACTION_COUNT, pa.int32()),
        pa.field(s.REDACTION_VERSION, pa.string()),
        pa.field(s.SOURCE_ID, pa.string()),
        pa.field(s.BATCH_SEQ, pa.int64()),
        pa.field(RECORD_IDX, pa.int32()),
        pa.field(s.ATTRIBUTES, s.STRING_MAP),
        pa.field(s.NON_STRING_TYPES, s.STRING_MAP),
        pa.field(s.RESOURCE_ATTRIBUTES, s.STRING_MAP),
        pa.field(s.RESOURCE_NON_STRING_TYPES, s.STRING_MAP),
        pa.field(s.RESOURCE_DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(s.RESOURCE_SCHEMA_URL, pa.string()),
        pa.field(s.SCOPE_ATTRIBUTES, s.STRING_MAP),
        pa.field(s.SCOPE_NON_STRING_TYPES, s.STRING_MAP),
        pa.field(s.SCOPE_DROPPED_ATTRIBUTES_COUNT, pa.int64()),
        pa.field(s.SCOPE_SCHEMA_URL, pa.string()),
        pa.field(s.DROPPED_ATTRIBUTES_COUNT, pa.int64()),
    ],
)
LOG_PROMOTIONS: Final = tuple(one for one in s.PROMOTIONS if one.column == s.SERVICE_NAME)
