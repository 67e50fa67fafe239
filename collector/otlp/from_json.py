"""OTLP/JSON requests as the protobuf messages that everything behind a receiver works on.

Not protobuf's own JSON: ids are hexadecimal, enums numbers, keys lowerCamelCase only, and unknown
ones are ignored (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). msgspec makes
dicts of the text, and a class whose fields are named as in JSON makes a message of them: both in C.
Ids stay text in it, until they are a column (``hex_ids``).
"""

from __future__ import annotations

import gc
import re
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from collector.model.errors import InvalidPayload, PayloadTooLarge
from collector.otlp.descriptor import LOGS, TRACES, class_with_json_names
from collector.otlp.mended_json import mended
from collector.otlp.split_json import JsonPieces

if TYPE_CHECKING:
    from collector.otlp.descriptor import Message

# Bounds what a small body can ask for: an empty object of two bytes takes up to 460 on the way.
_MOST_OBJECTS: Final = 2**19
# Up to an object's brace outside strings, or to the end: each text is gone through once.
_OBJECT: Final = re.compile(rb'(?:[^"{]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+(?:(\{)|\Z)', re.DOTALL)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class _Uncollected:
    """Collect no garbage meanwhile: thousands of new dicts, none of them any, were gone through.

    That was a sixth of the time for 512 spans, more for more. It holds for all threads, so they
    are counted: one that found it off because of another would else leave it off for good.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._inside = 0
        self._was_enabled = False

    def __enter__(self) -> None:
        with self._changing:
            if not self._inside:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._changing:
            self._inside -= 1
            if not self._inside and self._was_enabled:
                gc.enable()


_UNCOLLECTED: Final = _Uncollected()


class FromJson(bytes):
    """A serialized request in which ids are hexadecimal text."""

    __slots__ = ()


class SalvagedFromJson(FromJson):
    """One in which characters that cannot be were replaced."""

    __slots__ = ()


# The messages of opentelemetry-proto v1 as JSON has them; null is as good as absent.
class _AnyValue(TypedDict, total=False):
    stringValue: str | None
    boolValue: bool | None
    intValue: int | None
    doubleValue: float | None
    bytesValue: bytes | None
    arrayValue: _ArrayValue | None
    kvlistValue: _KeyValueList | None


class _ArrayValue(TypedDict, total=False):
    values: list[_AnyValue] | None


class _KeyValue(TypedDict, total=False):
    key: str | None
    value: _AnyValue | None


class _KeyValueList(TypedDict, total=False):
    values: list[_KeyValue] | None


class _Attributes(TypedDict, total=False):
    attributes: list[_KeyValue] | None
    droppedAttributesCount: int | None


class _Scope(_Attributes, total=False):
    name: str | None
    version: str | None


class _Event(_Attributes, total=False):
    timeUnixNano: int | None
    name: str | None


class _Link(_Attributes, total=False):
    traceId: str | None
    spanId: str | None
    traceState: str | None
    flags: int | None


class _Status(TypedDict, total=False):
    message: str | None
    code: int | str | None


class _Span(_Link, total=False):
    parentSpanId: str | None
    name: str | None
    kind: int | str | None
    startTimeUnixNano: int | None
    endTimeUnixNano: int | None
    events: list[_Event] | None
    droppedEventsCount: int | None
    links: list[_Link] | None
    droppedLinksCount: int | None
    status: _Status | None


class _LogRecord(_Attributes, total=False):
    timeUnixNano: int | None
    observedTimeUnixNano: int | None
    severityNumber: int | str | None
    severityText: str | None
    body: _AnyValue | None
    flags: int | None
    traceId: str | None
    spanId: str | None
    eventName: str | None


class _ScopeSpans(TypedDict, total=False):
    scope: _Scope | None
    spans: list[_Span] | None
    schemaUrl: str | None


class _ScopeLogs(TypedDict, total=False):
    scope: _Scope | None
    logRecords: list[_LogRecord] | None
    schemaUrl: str | None


class _ResourceSpans(TypedDict, total=False):
    resource: _Attributes | None
    scopeSpans: list[_ScopeSpans] | None
    schemaUrl: str | None


class _ResourceLogs(TypedDict, total=False):
    resource: _Attributes | None
    scopeLogs: list[_ScopeLogs] | None
    schemaUrl: str | None


class _TracesRequest(TypedDict, total=False):
    resourceSpans: list[_ResourceSpans] | None


class _LogsRequest(TypedDict, total=False):
    resourceLogs: list[_ResourceLogs] | None


# Not strict: numbers may be strings, as 64-bit ones are.
_DECODERS: Final[dict[Message, msgspec.json.Decoder[Any]]] = {
    TRACES: msgspec.json.Decoder(_TracesRequest, strict=False),
    LOGS: msgspec.json.Decoder(_LogsRequest, strict=False),
}
_PIECES: Final = {
    TRACES: JsonPieces(
        ("resourceSpans",),
        ("scopeSpans", "resource", "schemaUrl"),
        ("spans", "scope", "schemaUrl"),
    ),
    LOGS: JsonPieces(
        ("resourceLogs",),
        ("scopeLogs", "resource", "schemaUrl"),
        ("logRecords", "scope", "schemaUrl"),
    ),
}


def protobuf_of(text: bytes, message: Message) -> FromJson:
    """Return a request in JSON as serialized protobuf, ids still in hexadecimal.

    Text that is not UTF-8, and halves of surrogate pairs, become U+FFFD; see ``mended_json``.

    Raises:
        InvalidPayload: It is no such request; tells the place, and no value.
        PayloadTooLarge: It holds more than ``_MOST_OBJECTS`` objects.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if text.count(b"{") > _MOST_OBJECTS and _has_more_objects(text):
        raise PayloadTooLarge(f"more than {_MOST_OBJECTS} JSON objects in one request")
    try:
        try:
            # messages one behind the other are one with the items of all
            return FromJson(
                b"".join(_serialized(piece, message) for piece in _PIECES[message].of(text))
            )
        except (msgspec.DecodeError, ValueError, TypeError):
            better = mended(text)
            if better is None:
                return FromJson(_serialized(text, message))  # all of it: the error tells the place
            kind = SalvagedFromJson if better.has_replaced else FromJson
            return kind(_serialized(better.text, message))
    except RecursionError as error:
        raise _no_request(message, "nested too deeply") from error
    except msgspec.MsgspecError as error:
        raise _no_request(message, str(error)) from error
    except (ValueError, TypeError) as error:  # protobuf's words hold the value
        raise _no_request(message, "a number is out of range or an enum's name unknown") from error


def _has_more_objects(text: bytes) -> bool:
    """Count match by match: a join of what is outside strings took 890 MiB for 16 MiB."""
    beyond = next(islice(_OBJECT.finditer(text), _MOST_OBJECTS, None), None)
    return beyond is not None and beyond[1] is not None


def _serialized(text: bytes | msgspec.Raw | str, message: Message) -> bytes:
    with _UNCOLLECTED:
        request = class_with_json_names(message)(**_DECODERS[message].decode(text))
    serialized: bytes = request.SerializeToString()
    return serialized


def _no_request(message: Message, reason: str) -> InvalidPayload:
    return InvalidPayload(f"no valid {message.rpartition('.')[2]} in JSON: {reason}")
