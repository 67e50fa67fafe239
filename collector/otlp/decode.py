"""OTLP request bytes to one flat span table, a column at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import SpanBatch
from collector.model.errors import InvalidPayload, PermanentError
from collector.otlp.descriptor import handlers
from collector.otlp.limits import check_limits
from collector.otlp.salvage import replace_invalid_utf8
from collector.otlp.values import AttributeMaps, attribute_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from config.settings import OtlpLimits

    Rows = NDArray[np.int64]

_KINDS: Final = pa.array(s.KIND_NAMES, pa.string())
_STATUSES: Final = pa.array(s.STATUS_NAMES, pa.string())
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a micro-batch of requests holds.

    ``errors`` maps a request's position to why all of it is refused. ``received``, ``rejected``
    and ``salvaged`` have one entry a request: spans in it, spans rejected for their ids, and
    whether invalid UTF-8 was replaced. ``batch`` has the remaining spans of all good requests.
    """

    batch: SpanBatch
    errors: dict[int, PermanentError]
    received: NDArray[np.int64]
    rejected: NDArray[np.int64]
    salvaged: NDArray[np.bool_]


class Decoder:
    """Turns serialized ``ExportTraceServiceRequest`` messages into a ``SpanBatch``."""

    def __init__(self, limits: OtlpLimits, now_ns: Callable[[], int]) -> None:
        """Keep the limits on one request, and the clock that gives ``ingest_time``."""
        self._limits = limits
        self._now_ns = now_ns
        self._handlers = handlers()

    def decode(self, payloads: Sequence[bytes]) -> Decoded:
        """Decode requests that are worked on together; a bad one leaves the others untouched."""
        errors: dict[int, PermanentError] = {}
        good: list[int] = []
        for position, payload in enumerate(payloads):  # requests, not spans
            try:
                check_limits(payload, self._limits)
            except PermanentError as error:
                errors[position] = error
            else:
                good.append(position)
        salvaged = np.zeros(len(payloads), bool)
        nested, good = self._parse(payloads, good, errors, salvaged)
        received = np.zeros(len(payloads), np.int64)
        rejected = np.zeros(len(payloads), np.int64)
        if nested is None:
            return Decoded(SpanBatch.empty(), errors, received, rejected, salvaged)
        flat = _Flat.of(nested)
        requests = np.asarray(good)[flat.request_of]
        valid = _valid_ids(flat.spans)
        received += np.bincount(requests, minlength=len(payloads))
        if not valid.all():
            rejected += np.bincount(requests[~valid], minlength=len(payloads))
            flat = flat.keep(valid)
        batch = _span_batch(flat, self._now_ns() // 1000)
        return Decoded(batch, errors, received, rejected, salvaged)

    def _parse(
        self,
        payloads: Sequence[bytes],
        good: list[int],
        errors: dict[int, PermanentError],
        salvaged: NDArray[np.bool_],
    ) -> tuple[pa.RecordBatch | None, list[int]]:
        """Parse all at once; only when that fails, each by itself."""
        if not good:
            return None, good
        try:
            together = [payloads[position] for position in good]
            return self._handlers.strict.list_to_record_batch(together), good
        except ValueError:
            pass
        parsed: list[pa.RecordBatch] = []
        kept: list[int] = []
        for position in good:  # requests, not spans, and only beside a bad one
            try:
                batch = self._handlers.strict.list_to_record_batch([payloads[position]])
            except ValueError:
                try:
                    raw = self._handlers.lenient.list_to_record_batch([payloads[position]])
                except ValueError:
                    errors[position] = InvalidPayload(
                        "the body is not a valid ExportTraceServiceRequest",
                    )
                    continue
                batch = replace_invalid_utf8(raw)
                salvaged[position] = True
            parsed.append(batch)
            kept.append(position)
        return (pa.concat_batches(parsed) if parsed else None), kept


@dataclass(frozen=True, slots=True)
class _Flat:
    """The spans of all requests in one array, and where each came from."""

    resources: pa.StructArray
    scopes: pa.StructArray
    spans: pa.StructArray
    resource_of: Rows
    scope_of: Rows
    request_of: Rows

    @staticmethod
    def of(nested: pa.RecordBatch) -> _Flat:
        requests = nested.column(0)
        resources = requests.values
        scopes = resources.field("scope_spans").values
        spans = scopes.field("spans").values
        scope_of = _parents(scopes.field("spans"))
        resource_of = _parents(resources.field("scope_spans"))[scope_of]
        request_of = _parents(requests)[resource_of]
        return _Flat(resources, scopes, spans, resource_of, scope_of, request_of)

    def keep(self, mask: NDArray[np.bool_]) -> _Flat:
        return _Flat(
            self.resources,
            self.scopes,
            self.spans.filter(pa.array(mask)),
            self.resource_of[mask],
            self.scope_of[mask],
            self.request_of[mask],
        )


def _parents(lists: pa.ListArray) -> Rows:
    """Return for each item of all lists the position of its list."""
    return np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))


def _valid_ids(spans: pa.StructArray) -> NDArray[np.bool_]:
    """Tell which spans have a 16-byte trace id, 8-byte ids, and neither of their own all zero."""
    parent = _lengths(spans.field("parent_span_id"))
    valid = _nonzero_of_length(spans.field("trace_id"), _TRACE_ID_BYTES)
    valid &= _nonzero_of_length(spans.field("span_id"), _SPAN_ID_BYTES)
    valid &= (parent == 0) | (parent == _SPAN_ID_BYTES)
    return valid


def _lengths(array: pa.BinaryArray) -> NDArray[np.int32]:
    lengths: NDArray[np.int32] = pc.binary_length(array).to_numpy(zero_copy_only=False)
    return lengths


def _nonzero_of_length(array: pa.BinaryArray, length: int) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = np.equal(_lengths(array), length)
    chosen = array if right.all() else array.filter(pa.array(right))
    right[right] = _id_bytes(chosen, length).any(axis=1)
    return right


def _id_bytes(array: pa.BinaryArray, length: int) -> NDArray[np.uint8]:
    """View ids that all have ``length`` bytes as a matrix, one row an id."""
    _, offsets, data = array.buffers()
    start = np.frombuffer(offsets, np.int32)[array.offset]
    flat = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return flat[start : start + len(array) * length].reshape(len(array), length)


def _span_batch(flat: _Flat, now_us: int) -> SpanBatch:
    spans, count = flat.spans, len(flat.spans)
    start = spans.field("start_time_unix_nano").to_numpy().view(np.int64)
    end = spans.field("end_time_unix_nano").to_numpy().view(np.int64)
    parent = _parent_ids(spans.field("parent_span_id"))
    status = spans.field("status")
    attributes = attribute_maps(spans.field("attributes"))
    events = spans.field("events")
    columns = {
        s.TRACE_ID: spans.field("trace_id").cast(pa.binary(_TRACE_ID_BYTES)),
        s.SPAN_ID: spans.field("span_id").cast(pa.binary(_SPAN_ID_BYTES)),
        s.PARENT_SPAN_ID: parent,
        s.TRACE_STATE: spans.field("trace_state"),
        s.FLAGS: spans.field("flags").cast(pa.int64()),
        s.IS_ROOT: parent.is_null(),
        s.START_TIME: pa.array(start // 1000).view(s.TIMESTAMP),
        s.START_TIME_UNIX_NANO: pa.array(start),
        s.DURATION_NS: pa.array(end - start),
        s.INGEST_TIME: pa.array(np.full(count, now_us)).view(s.TIMESTAMP),
        s.NAME: spans.field("name"),
        s.KIND: _names(_KINDS, spans.field("kind")),
        s.STATUS_CODE: _names(_STATUSES, status.field("code")),
        s.STATUS_MESSAGE: _present(status, status.field("message")),
        s.ATTRIBUTES: attributes.values,
        s.NON_STRING_TYPES: attributes.types,
        s.EVENTS: _events(events),
        s.EVENTS_COUNT: pc.list_value_length(events),
        s.LINKS: _links(spans.field("links")),
        s.DROPPED_ATTRIBUTES_COUNT: spans.field("dropped_attributes_count").cast(pa.int64()),
        s.DROPPED_EVENTS_COUNT: spans.field("dropped_events_count").cast(pa.int64()),
        s.DROPPED_LINKS_COUNT: spans.field("dropped_links_count").cast(pa.int64()),
        **_resource_columns(flat),
        **_scope_columns(flat),
    }
    return SpanBatch.from_columns(columns, count)


def _resource_columns(flat: _Flat) -> dict[str, pa.Array]:
    rows = pa.array(flat.resource_of)
    resource = flat.resources.field("resource")
    maps = _owner_maps(resource).take(rows)
    dropped = resource.field("dropped_attributes_count")
    return {
        s.RESOURCE_ATTRIBUTES: maps.values,
        s.RESOURCE_NON_STRING_TYPES: maps.types,
        s.RESOURCE_DROPPED_ATTRIBUTES_COUNT: dropped.cast(pa.int64()).take(rows),
        s.RESOURCE_SCHEMA_URL: flat.resources.field("schema_url").take(rows),
    }


def _scope_columns(flat: _Flat) -> dict[str, pa.Array]:
    rows = pa.array(flat.scope_of)
    scope = flat.scopes.field("scope")
    maps = _owner_maps(scope).take(rows)
    dropped = scope.field("dropped_attributes_count")
    return {
        s.SCOPE_NAME: scope.field("name").take(rows),
        s.SCOPE_VERSION: scope.field("version").take(rows),
        s.SCOPE_ATTRIBUTES: maps.values,
        s.SCOPE_NON_STRING_TYPES: maps.types,
        s.SCOPE_DROPPED_ATTRIBUTES_COUNT: dropped.cast(pa.int64()).take(rows),
        s.SCOPE_SCHEMA_URL: flat.scopes.field("schema_url").take(rows),
    }


def _owner_maps(owner: pa.StructArray) -> AttributeMaps:
    return attribute_maps(owner.field("attributes"))


def _parent_ids(array: pa.BinaryArray) -> pa.Array:
    """Return parent ids with null where there is none (no bytes, or all of them zero)."""
    present = _nonzero_of_length(array, _SPAN_ID_BYTES)
    nulled = pc.if_else(pa.array(present), array, pa.scalar(None, pa.binary()))
    return nulled.cast(pa.binary(_SPAN_ID_BYTES))


def _names(names: pa.StringArray, numbers: pa.Array) -> pa.Array:
    """Return an enum's names; a number that has none yet is written in digits."""
    values = numbers.fill_null(0).to_numpy()
    known = (values >= 0) & (values < len(names))
    if known.all():
        return names.take(pa.array(values))
    named = names.take(pa.array(np.where(known, values, 0)))
    return pc.if_else(pa.array(known), named, pa.array(values).cast(pa.string()))


def _present(owner: pa.StructArray, child: pa.Array) -> pa.Array:
    """Return the child with null where the owner is not set: the way back needs to know."""
    if owner.null_count == 0:
        return child
    return pc.if_else(owner.is_valid(), child, pa.scalar(None, child.type))


def _events(events: pa.ListArray) -> pa.ListArray:
    items = events.values
    maps = attribute_maps(items.field("attributes"))
    struct = pa.StructArray.from_arrays(
        [
            items.field("time_unix_nano").view(pa.int64()),
            items.field("name"),
            maps.values,
            maps.types,
            items.field("dropped_attributes_count").cast(pa.int64()),
        ],
        fields=list(s.EVENT),
    )
    return pa.ListArray.from_arrays(events.offsets, struct)


def _links(links: pa.ListArray) -> pa.ListArray:
    items = links.values
    maps = attribute_maps(items.field("attributes"))
    struct = pa.StructArray.from_arrays(
        [
            items.field("trace_id"),
            items.field("span_id"),
            items.field("trace_state"),
            items.field("flags").cast(pa.int64()),
            maps.values,
            maps.types,
            items.field("dropped_attributes_count").cast(pa.int64()),
        ],
        fields=list(s.LINK),
    )
    return pa.ListArray.from_arrays(links.offsets, struct)
