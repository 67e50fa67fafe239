"""A request with a secret in every string and bytes field that its descriptors know.

The fields are enumerated from the protobuf descriptors, so a field that a later version of OTLP
brings is planted too.
"""

from __future__ import annotations

import random
import secrets
import string
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

VARIANTS = ("string_value", "bytes_value", "array_value", "kvlist_value")
# Fixed-length ids have no room for text; a wrong length gets the span rejected.
ID_BYTES = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
_DEEPEST = 3
_SEALED_KEYS = ("password", "authorization", "api_key", "cookie", "enduser.id", "user.email")

SHAPES: dict[str, Callable[[str], str]] = {
    "email": lambda body: f"{body}@example.com",
    "cloud_key": lambda body: f"AKIA{body.upper()}QX",
    "payment_key": lambda body: f"sk_live_{body}",
}


@dataclass
class Canary:
    """A marker made anew for a run, and what it was planted in.

    Every secret holds the marker and two letters that tell which one it is.
    """

    marker: str = field(
        default_factory=lambda: "".join(
            random.SystemRandom().sample(string.ascii_lowercase, 12),
        ),
    )
    fields: set[str] = field(default_factory=set)
    count: int = 0

    def request(self, shape: str | Callable[[str], str], control: str) -> bytes:
        """Return a request of one span with secrets of a shape, and harmless text ``control``."""
        request = ExportTraceServiceRequest()
        self._fill(request, SHAPES[shape] if isinstance(shape, str) else shape, 0)
        span = request.resource_spans[0].scope_spans[0].spans[0]
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1
        span.attributes.add(key="control").value.string_value = control
        for attributes in (
            request.resource_spans[0].resource.attributes,
            request.resource_spans[0].scope_spans[0].scope.attributes,
            span.attributes,
            span.events[0].attributes,
            span.links[0].attributes,
        ):
            for key in _SEALED_KEYS:  # their values are secret by the key alone
                attributes.add(key=key).value.string_value = self._body()
        return request.SerializeToString()

    def logs_request(self, shape: str | Callable[[str], str], control: str) -> bytes:
        """Return a request of a log record for each kind of body, likewise."""
        planting = SHAPES[shape] if isinstance(shape, str) else shape
        request = ExportLogsServiceRequest()
        self._fill(request, planting, 0)
        records = request.resource_logs[0].scope_logs[0].log_records
        for variant in VARIANTS[1:]:
            records.add().CopyFrom(records[0])
            self._fill_value(records[-1].body, variant, planting, 0)
        self._fill_value(records[0].body, VARIANTS[0], planting, 0)
        for record in records:
            record.time_unix_nano = time.time_ns()
            record.attributes.add(key="control").value.string_value = control
            for key in _SEALED_KEYS:  # their values are secret by the key alone
                record.attributes.add(key=key).value.string_value = self._body()
        return request.SerializeToString()

    def secret(self, shape: str = "email") -> str:
        """Return one more secret."""
        return SHAPES[shape](self._body())

    def _body(self) -> str:
        first, second = divmod(self.count % 26**2, 26)
        self.count += 1
        letters = string.ascii_lowercase
        return self.marker + letters[first] + letters[second]

    def _fill(self, message: Message, shape: Callable[[str], str], depth: int) -> None:
        for known in message.DESCRIPTOR.fields:
            if known.message_type is not None:
                self._fill_messages(message, known, shape, depth)
            elif known.name in ID_BYTES:
                setattr(message, known.name, secrets.token_bytes(ID_BYTES[known.name]))
            elif known.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
                self._plant(message, known, shape)

    def _fill_messages(
        self,
        message: Message,
        known: FieldDescriptor,
        shape: Callable[[str], str],
        depth: int,
    ) -> None:
        kind = known.message_type.full_name
        if known.is_repeated and kind in {
            KeyValue.DESCRIPTOR.full_name,
            AnyValue.DESCRIPTOR.full_name,
        }:
            for variant in VARIANTS if depth < _DEEPEST else VARIANTS[:2]:
                added = getattr(message, known.name).add()
                if kind == KeyValue.DESCRIPTOR.full_name:
                    self._plant(added, added.DESCRIPTOR.fields_by_name["key"], shape)
                    added = added.value
                self._fill_value(added, variant, shape, depth)
        elif known.is_repeated:
            self._fill(getattr(message, known.name).add(), shape, depth)
        else:
            self._fill(getattr(message, known.name), shape, depth)

    def _fill_value(
        self,
        value: AnyValue,
        variant: str,
        shape: Callable[[str], str],
        depth: int,
    ) -> None:
        known = value.DESCRIPTOR.fields_by_name[variant]
        if known.message_type is not None:
            self._fill(getattr(value, variant), shape, depth + 1)
        else:
            self._plant(value, known, shape)

    def _plant(
        self,
        message: Message,
        known: FieldDescriptor,
        shape: Callable[[str], str],
    ) -> None:
        self.fields.add(known.full_name)
        text = f"see {shape(self._body())} there"
        value = text.encode() if known.type == FieldDescriptor.TYPE_BYTES else text
        if known.is_repeated:
            getattr(message, known.name).append(value)
        else:
            setattr(message, known.name, value)


def fields_with_text(descriptor: Descriptor) -> set[str]:
    """Return the full names of all string and bytes fields that can be reached, without ids."""
    return {known.full_name for known in _reachable(descriptor, set())}


def _reachable(descriptor: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    seen.add(descriptor.full_name)
    for known in descriptor.fields:
        if known.message_type is not None:
            if known.message_type.full_name not in seen:
                yield from _reachable(known.message_type, seen)
        elif (
            known.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
            and known.name not in ID_BYTES
        ):
            yield known
