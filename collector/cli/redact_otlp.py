"""OTLP/JSON through the real decoder, redaction and encoder, and what that changed where."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.model.errors import InvalidPayload
from collector.otlp.decode import Decoder
from collector.otlp.encode import encode
from config.settings import OtlpLimits
from processors.redaction.surfaces import Surfaces

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch
    from collector.model.contracts import Processor
    from processors.redaction.surfaces import Leaf

_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})


@dataclass(frozen=True, slots=True)
class Change:
    """A string that redaction changed; ``key`` if it is the value of an attribute."""

    path: str
    key: str | None
    before: str


def is_otlp(data: bytes) -> bool:
    """Tell whether the data is meant as an ExportTraceServiceRequest in JSON."""
    return data.lstrip()[:1] == b"{" and b'"resourceSpans"' in data[:4096]


def redact_otlp(data: bytes, redaction: Processor[SpanBatch]) -> tuple[str, list[Change]]:
    """Return the redacted request as OTLP/JSON, and what changed.

    Raises:
        InvalidPayload: It is no request, or a span in it has no valid ids.
        PayloadTooLarge: It holds more than a request may.
    """
    decoder = Decoder(OtlpLimits(), time.time_ns)
    decoded = decoder.decode([decoder.from_json(data)])
    for refused in decoded.errors.values():
        raise refused
    if decoded.rejected.any():
        raise InvalidPayload("spans with a missing, wrong-length or all-zero trace or span id")
    clean = redaction.process(decoded.batch)
    message = ExportTraceServiceRequest.FromString(encode(clean))
    text = json.dumps(
        _with_hex_ids(json_format.MessageToDict(message, use_integers_for_enums=True)),
        ensure_ascii=False,
    )
    return text, _changes(decoded.batch, clean)


def _changes(before: SpanBatch, after: SpanBatch) -> list[Change]:
    """Compare string by string; attributes that were removed show up as such."""
    new = {leaf.path: leaf for leaf in Surfaces.of(after).leaves}
    old = {leaf.path: leaf for leaf in Surfaces.of(before).leaves}
    changes = []
    for path, leaf in old.items():
        if leaf.is_tagging:
            continue
        keys = old[*path[:-1], "key"].array.to_pylist() if leaf.is_value else None
        name = ".".join(path)
        texts = new[path].array.to_pylist() if path in new else []
        if len(texts) != len(leaf.array):
            changes.append(Change(f"{name}: not all keys are allowed", None, ""))
            continue
        for at, (text, clean) in enumerate(zip(leaf.array.to_pylist(), texts, strict=True)):
            if text != clean:
                key = keys[at] if keys else None
                changes.append(Change(f"span {_row(leaf, at) + 1}, {name}", key, text))
    return changes


def _row(leaf: Leaf, at: int) -> int:
    return int(leaf.rows(np.array([at]))[0]) if leaf.parents else at


def _with_hex_ids(value: Any) -> Any:
    """Return the JSON with ids in hexadecimal, as OTLP has them; protobuf writes base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in _IDS else _with_hex_ids(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_hex_ids(item) for item in value]
    return value
