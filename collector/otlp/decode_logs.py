"""``ExportLogsServiceRequest`` bytes to one flat table of log records, a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from collector.model import log_schema as ls
from collector.model import schema as s
from collector.model.batch import LogBatch
from collector.otlp.descriptor import LOGS
from collector.otlp.requests import (
    SPAN_ID_BYTES,
    TRACE_ID_BYTES,
    RequestDecoder,
    id_lengths,
    ids_or_null,
    known_bits,
    known_numbers,
)
from collector.otlp.values import attribute_maps, typed_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collector.otlp.requests import Flat

# logs.proto, LogRecordFlags: W3C trace flags
_FLAG_BITS: Final = 0xFF
_SEVERITIES: Final = 25  # SeverityNumber: 0, unspecified, to 24


class LogDecoder(RequestDecoder[LogBatch]):
    """Turns serialized ``ExportLogsServiceRequest`` messages into a ``LogBatch``."""

    message = LOGS
    kind = "logs_request"
    scopes_field = "scope_logs"
    items_field = "log_records"

    def _empty(self) -> LogBatch:
        return LogBatch.empty()

    def _valid_ids(self, items: pa.StructArray) -> NDArray[np.bool_]:
        """Tell which records have no id or one of the right length; zeros stand for none."""
        traces = id_lengths(items.field("trace_id"))
        spans = id_lengths(items.field("span_id"))
        right: NDArray[np.bool_] = np.isin(traces, (0, TRACE_ID_BYTES))
        return right & np.isin(spans, (0, SPAN_ID_BYTES))

    def _batch(self, flat: Flat, now_us: int) -> LogBatch:
        records, count = flat.items, len(flat.items)
        sent = records.field("time_unix_nano").to_numpy().view(np.int64)
        observed = records.field("observed_time_unix_nano").to_numpy().view(np.int64)
        times = np.where(sent != 0, sent, observed) // 1000
        times[(sent == 0) & (observed == 0)] = now_us
        attributes = attribute_maps(records.field("attributes"), flat.salvage)
        body = typed_texts(records.field("body"), flat.salvage)
        columns = {
            ls.TIME: pa.array(times).view(s.TIMESTAMP),
            ls.OBSERVED_TIME: pa.array(observed // 1000, mask=observed == 0).view(s.TIMESTAMP),
            ls.TIME_UNIX_NANO: pa.array(sent),
            ls.OBSERVED_TIME_UNIX_NANO: pa.array(observed),
            s.INGEST_TIME: pa.array(np.full(count, now_us)).view(s.TIMESTAMP),
            s.TRACE_ID: ids_or_null(records.field("trace_id"), TRACE_ID_BYTES),
            s.SPAN_ID: ids_or_null(records.field("span_id"), SPAN_ID_BYTES),
            s.FLAGS: known_bits(records.field("flags"), _FLAG_BITS),
            ls.SEVERITY_NUMBER: pa.array(
                known_numbers(records.field("severity_number"), _SEVERITIES)
            ),
            ls.SEVERITY_TEXT: records.field("severity_text"),
            ls.EVENT_NAME: records.field("event_name"),
            ls.BODY: body.texts,
            ls.BODY_TYPE: body.types,
            ls.RECORD_IDX: pa.array(np.arange(count, dtype=np.int32)),
            s.ATTRIBUTES: attributes.values,
            s.NON_STRING_TYPES: attributes.types,
            s.DROPPED_ATTRIBUTES_COUNT: records.field("dropped_attributes_count").cast(pa.int64()),
            **flat.owner_columns(),
        }
        return LogBatch.from_columns(columns, count)
