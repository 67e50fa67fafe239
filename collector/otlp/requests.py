"""Export requests of any signal: bytes to nested Arrow, and what all signals' items share.

An item (a span, a log record) stands in a scope, which stands in a resource of a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collector.model import schema as s
from collector.model.batch import BatchT
from collector.model.contracts import Decoded
from collector.model.errors import InvalidPayload, PayloadTooLarge, PermanentError
from collector.otlp.descriptor import handlers
from collector.otlp.from_json import FromJson, SalvagedFromJson, protobuf_of
from collector.otlp.hex_ids import with_binary_ids
from collector.otlp.limits import check_limits
from collector.otlp.salvage import Salvage, has_broken_value, replace_invalid_utf8
from collector.otlp.values import AttributeMaps, attribute_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from collector.otlp.descriptor import Handler, Message
    from collector.otlp.limits import RequestKind
    from config.settings import OtlpLimits

    Rows = NDArray[np.int64]

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
# Each item has its resource and scope beside it: a small body can ask for gigabytes.
_MOST_REPEATED_BYTES: Final = 128 * 2**20
_ENTRY_BYTES: Final = 8  # the offsets of a key and a value: empty ones made 2 GiB of 130 kB


@dataclass(frozen=True, slots=True)
class Flat:
    """The items of all requests in one array, and where each came from.

    ``salvage`` is noted in while their values are read.
    """

    resources: pa.StructArray
    scopes: pa.StructArray
    items: pa.StructArray
    resource_of: Rows
    scope_of: Rows
    request_of: Rows
    salvage: Salvage = field(default_factory=Salvage)

    @staticmethod
    def of(nested: pa.RecordBatch, scopes_field: str, items_field: str) -> Flat:
        """Flatten one row a request; the fields are named as in the protocol."""
        requests = nested.column(0)
        resources = requests.values
        scopes = resources.field(scopes_field).values
        items = scopes.field(items_field).values
        scope_of = _parents(scopes.field(items_field))
        resource_of = _parents(resources.field(scopes_field))[scope_of]
        request_of = _parents(requests)[resource_of]
        return Flat(resources, scopes, items, resource_of, scope_of, request_of)

    def keep(self, mask: NDArray[np.bool_]) -> Flat:
        """Return the items where ``mask`` is true."""
        return Flat(
            self.resources,
            self.scopes,
            self.items.filter(pa.array(mask)),
            self.resource_of[mask],
            self.scope_of[mask],
            self.request_of[mask],
            self.salvage,
        )

    def owner_columns(self) -> dict[str, pa.Array]:
        """Return the columns that repeat each item's resource and scope."""
        return {**_resource_columns(self), **_scope_columns(self)}


class RequestDecoder(ABC, Generic[BatchT]):
    """Turns serialized export requests of one signal into a batch."""

    message: Message
    kind: RequestKind
    scopes_field: str
    items_field: str

    def __init__(self, limits: OtlpLimits, now_ns: Callable[[], int]) -> None:
        """Keep the limits on one request, and the clock that gives ``ingest_time``."""
        self._limits = limits
        self._now_ns = now_ns
        self._handlers = handlers(self.message)

    @abstractmethod
    def _empty(self) -> BatchT:
        """Return no rows."""

    @abstractmethod
    def _valid_ids(self, items: pa.StructArray) -> NDArray[np.bool_]:
        """Tell which items have ids that they may have."""

    @abstractmethod
    def _batch(self, flat: Flat, now_us: int) -> BatchT:
        """Return one row an item."""

    def decode(self, payloads: Sequence[bytes]) -> Decoded[BatchT]:
        """Decode requests that are worked on together; a bad one leaves the others untouched.

        Raises:
            PayloadTooLarge: Together they would take too much memory; each by itself may not.
        """
        errors: dict[int, PermanentError] = {}
        good: list[int] = []
        salvaged = np.zeros(len(payloads), bool)
        for position, payload in enumerate(payloads):  # requests, not items
            try:
                check_limits(payload, self._limits, kind=self.kind)
            except PermanentError as error:
                errors[position] = error
            else:
                good.append(position)
                salvaged[position] = isinstance(payload, SalvagedFromJson)
        nested, good = self._parse(payloads, good, errors, salvaged)
        received = np.zeros(len(payloads), np.int64)
        rejected = np.zeros(len(payloads), np.int64)
        if nested is None:
            return Decoded(self._empty(), errors, received, rejected, salvaged)
        flat = Flat.of(nested, self.scopes_field, self.items_field)
        requests = np.asarray(good)[flat.request_of]
        in_hex = np.array([isinstance(payload, FromJson) for payload in payloads])
        if in_hex.any():
            flat = replace(flat, items=with_binary_ids(flat.items, in_hex[requests]))
        valid = self._valid_ids(flat.items)
        received += np.bincount(requests, minlength=len(payloads))
        if not valid.all():
            rejected += np.bincount(requests[~valid], minlength=len(payloads))
            flat = flat.keep(valid)
        batch = self._batch(flat, self._now_ns() // 1000)
        if flat.salvage.has_replaced_nested:
            for position in good:  # requests, not items, and only beside a broken one
                salvaged[position] |= has_broken_value(payloads[position], self.message)
        return Decoded(batch, errors, received, rejected, salvaged)

    def from_json(self, text: bytes) -> bytes:
        """Return a request in OTLP/JSON as ``decode`` takes it; raises as ``protobuf_of``."""
        return protobuf_of(text, self.message)

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
            return _parsed(self._handlers.strict, together), good
        except ValueError:
            pass
        parsed: list[pa.RecordBatch] = []
        kept: list[int] = []
        for position in good:  # requests, not items, and only beside a bad one
            try:
                batch = _parsed(self._handlers.strict, [payloads[position]])
            except ValueError:
                try:
                    raw = _parsed(self._handlers.lenient, [payloads[position]])
                except ValueError:
                    name = self.message.rpartition(".")[2]
                    errors[position] = InvalidPayload(f"the body is not a valid {name}")
                    continue
                batch = replace_invalid_utf8(raw, self._handlers)
                salvaged[position] = True
            parsed.append(batch)
            kept.append(position)
        return (pa.concat_batches(parsed) if parsed else None), kept


def _parsed(handler: Handler, payloads: list[bytes]) -> pa.RecordBatch:
    """Return the messages as rows; raises ValueError when one is none."""
    try:
        return handler.list_to_record_batch(payloads)
    except BaseException as error:
        # A length below zero makes ptars panic, and what pyo3 makes of that is no Exception: it
        # would end the worker.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("a length that cannot be") from None


def id_lengths(array: pa.BinaryArray) -> NDArray[np.int32]:
    """Return the bytes of each id."""
    lengths: NDArray[np.int32] = pc.binary_length(array).to_numpy(zero_copy_only=False)
    return lengths


def nonzero_of_length(array: pa.BinaryArray, length: int) -> NDArray[np.bool_]:
    """Tell which ids have so many bytes, not all of them zero."""
    right: NDArray[np.bool_] = np.equal(id_lengths(array), length)
    chosen = array if right.all() else array.filter(pa.array(right))
    right[right] = _id_bytes(chosen, length).any(axis=1)
    return right


def ids_or_null(array: pa.BinaryArray, length: int) -> pa.Array:
    """Return ids with null where there is none (no bytes, or all of them zero)."""
    present = nonzero_of_length(array, length)
    nulled = pc.if_else(pa.array(present), array, pa.scalar(None, pa.binary()))
    return nulled.cast(pa.binary(length))


def known_numbers(numbers: pa.Array, count: int) -> NDArray[np.int32]:
    """Return an enum's numbers below ``count``, any other as 0: unset.

    A sender can write any number there, and redaction does not look at numbers that have a name.
    """
    values: NDArray[np.int32] = numbers.fill_null(0).to_numpy()
    return np.where((values >= 0) & (values < count), values, np.int32(0))


def known_bits(flags: pa.Array, mask: int) -> pa.Array:
    """Return the flags as 64-bit integers, without the bits that mean nothing (see above)."""
    return pc.bit_wise_and(flags.cast(pa.int64()), mask)


def _parents(lists: pa.ListArray) -> Rows:
    """Return for each item of all lists the position of its list."""
    return np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))


def _id_bytes(array: pa.BinaryArray, length: int) -> NDArray[np.uint8]:
    """View ids that all have ``length`` bytes as a matrix, one row an id."""
    _, offsets, data = array.buffers()
    start = np.frombuffer(offsets, np.int32)[array.offset]
    flat = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return flat[start : start + len(array) * length].reshape(len(array), length)


def _resource_columns(flat: Flat) -> dict[str, pa.Array]:
    rows = pa.array(flat.resource_of)
    resource = flat.resources.field("resource")
    maps = _owner_maps(resource, flat.resource_of, flat.salvage)
    dropped = resource.field("dropped_attributes_count")
    return {
        s.RESOURCE_ATTRIBUTES: maps.values,
        s.RESOURCE_NON_STRING_TYPES: maps.types,
        s.RESOURCE_DROPPED_ATTRIBUTES_COUNT: dropped.cast(pa.int64()).take(rows),
        s.RESOURCE_SCHEMA_URL: flat.resources.field("schema_url").take(rows),
    }


def _scope_columns(flat: Flat) -> dict[str, pa.Array]:
    rows = pa.array(flat.scope_of)
    scope = flat.scopes.field("scope")
    maps = _owner_maps(scope, flat.scope_of, flat.salvage)
    dropped = scope.field("dropped_attributes_count")
    return {
        s.SCOPE_NAME: scope.field("name").take(rows),
        s.SCOPE_VERSION: scope.field("version").take(rows),
        s.SCOPE_ATTRIBUTES: maps.values,
        s.SCOPE_NON_STRING_TYPES: maps.types,
        s.SCOPE_DROPPED_ATTRIBUTES_COUNT: dropped.cast(pa.int64()).take(rows),
        s.SCOPE_SCHEMA_URL: flat.scopes.field("schema_url").take(rows),
    }


def _owner_maps(owner: pa.StructArray, owner_of: Rows, salvage: Salvage) -> AttributeMaps:
    """Return an owner's attributes for each of its items.

    Raises:
        PayloadTooLarge: That would be more than ``_MOST_REPEATED_BYTES``.
    """
    maps = attribute_maps(owner.field("attributes"), salvage)
    sizes = _map_bytes(maps.values) + _map_bytes(maps.types)
    repeated = int(sizes[owner_of].sum())
    if repeated > _MOST_REPEATED_BYTES:
        raise PayloadTooLarge(
            f"attributes of resources or scopes, repeated for each item, are {repeated} bytes, "
            f"more than {_MOST_REPEATED_BYTES}"
        )
    return maps.take(pa.array(owner_of))


def _map_bytes(maps: pa.MapArray) -> NDArray[np.int64]:
    """Return the bytes of each row's keys and values, with their offsets."""
    sizes = _ENTRY_BYTES + sum(
        pc.fill_null(pc.binary_length(part), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        for part in (maps.keys, maps.items)
    )
    ends = np.concatenate([[0], np.cumsum(sizes)])
    found: NDArray[np.int64] = np.diff(ends[maps.offsets.to_numpy()])
    return found
