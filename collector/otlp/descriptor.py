"""Handlers that turn OTLP request bytes into nested Arrow and back, without Python objects.

``AnyValue`` is recursive, which Arrow cannot express. On the wire a message field and a bytes
field look the same, so the descriptor is rewritten at start: ``array_value`` and ``kvlist_value``
become ``bytes``. The round trip stays byte-exact; nested values are parsed later, once each, by
the library's classes, or the lenient one here where UTF-8 is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import ptars
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2

from collector.otlp.hex_ids import ID_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

Message = Literal[
    "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
]
TRACES: Final = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"
LOGS: Final = "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"
_FILES: Final[dict[Message, Any]] = {
    TRACES: trace_service_pb2.DESCRIPTOR,
    LOGS: logs_service_pb2.DESCRIPTOR,
}
_RECURSIVE: Final = {"array_value", "kvlist_value"}
_BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_STRING: Final = descriptor_pb2.FieldDescriptorProto.TYPE_STRING


class Handler(Protocol):
    """What is used of a ptars message handler."""

    def list_to_record_batch(self, payloads: Sequence[bytes]) -> pa.RecordBatch:
        """Return one row a message; raises ValueError on malformed bytes or invalid UTF-8."""
        ...

    def record_batch_to_array(self, batch: pa.RecordBatch) -> pa.BinaryArray:
        """Return one serialized message a row."""
        ...


@dataclass(frozen=True, slots=True)
class Handlers:
    """``strict`` checks UTF-8; ``lenient`` has ``binary`` wherever the other has ``string``."""

    strict: Handler
    lenient: Handler


@cache
def handlers(message: Message = TRACES) -> Handlers:
    """Build both handlers of a request (about 5 ms), once a process."""
    return Handlers(
        _handler(message, strings_as_bytes=False), _handler(message, strings_as_bytes=True)
    )


def request_class(message: Message) -> Any:
    """Return the library's class of a request, which reads all depths and checks UTF-8."""
    descriptor = _FILES[message].message_types_by_name[message.rpartition(".")[2]]
    return message_factory.GetMessageClass(descriptor)


@cache
def class_with_json_names(message: Message) -> Any:
    """Return a class of a request whose fields are called as in JSON, and whose ids are text."""
    pool = _pool(_FILES[message], _json_names)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message))


@cache
def lenient_any_value() -> Any:
    """Return a class of ``AnyValue`` that has ``bytes`` wherever the library's has ``string``."""
    pool = _pool(common_pb2.DESCRIPTOR, _strings_to_bytes)
    name = common_pb2.AnyValue.DESCRIPTOR.full_name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _handler(name: Message, *, strings_as_bytes: bool) -> Handler:
    rewrites = (_nested_to_bytes, _strings_to_bytes) if strings_as_bytes else (_nested_to_bytes,)
    request = _pool(_FILES[name], *rewrites).FindMessageTypeByName(name)
    handler: Handler = ptars.HandlerPool([request.file]).get_for_message(request)
    return handler


def _pool(
    file: Any, *rewrites: Callable[[descriptor_pb2.DescriptorProto], None]
) -> descriptor_pool.DescriptorPool:
    """Return a file with all it depends on, each message rewritten."""
    pool = descriptor_pool.DescriptorPool()
    for needed in _files(file, []):
        proto = descriptor_pb2.FileDescriptorProto()
        needed.CopyToProto(proto)
        for message in _with_inner(proto.message_type):
            for rewrite in rewrites:
                rewrite(message)
        pool.Add(proto)
    return pool


def _with_inner(
    messages: Iterable[descriptor_pb2.DescriptorProto],
) -> Iterator[descriptor_pb2.DescriptorProto]:
    """Yield messages and those declared in them, as Event is in Span."""
    for message in messages:
        yield message
        yield from _with_inner(message.nested_type)


def _files(file: Any, found: list[Any]) -> list[Any]:
    """List a file's dependencies before the file itself, each once."""
    for dependency in file.dependencies:
        if dependency not in found:
            _files(dependency, found)
    found.append(file)
    return found


def _nested_to_bytes(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if message.name == "AnyValue" and field.name in _RECURSIVE:
            field.type = _BYTES
            field.ClearField("type_name")


def _json_names(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.name in ID_FIELDS:
            field.type = _STRING
        first, *others = field.name.split("_")
        field.name = first + "".join(map(str.capitalize, others))


def _strings_to_bytes(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.type == _STRING:
            field.type = _BYTES
