"""The protobuf wire format, one message deep: cuts a message into runs of whole fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from collector.model.errors import InvalidPayload

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_START_GROUP: Final = 3
_END_GROUP: Final = 4
_FIXED32: Final = 5
_CONTINUES: Final = 0x80
_VARINT_BYTES: Final = 10


class Piece(NamedTuple):
    """``data[start:end]``: a run of whole fields, or the content of one large field.

    ``number`` is the large field's, 0 for a run. ``fields`` is how many fields were passed.
    """

    number: int
    start: int
    end: int
    fields: int


def pieces(data: bytes, start: int, end: int, most_bytes: int) -> Iterator[Piece]:
    """Cut the message ``data[start:end]`` at field borders into runs of at most ``most_bytes``.

    A length-delimited field that is larger than that comes alone, without tag and length; other
    large fields (only groups can be) are left out.

    Raises:
        InvalidPayload: A field runs past the end or has no known wire type.
    """
    run = position = start
    fields = 0
    while position < end:  # fields of a message that is itself larger than most_bytes
        field = position
        tag = data[position]
        length = data[position + 1] if position + 1 < end else _CONTINUES
        if tag < _CONTINUES and length < _CONTINUES and tag & 7 == _LENGTH_DELIMITED:
            number, content, position = tag >> 3, position + 2, position + 2 + length
        elif tag < _CONTINUES and length < _CONTINUES and tag & 7 == _VARINT:
            number, content, position = 0, position, position + 2
        else:
            number, content, position = _field(data, position, end)
        if position > end:
            raise _malformed()
        fields += 1
        if position - run > most_bytes:
            yield Piece(0, run, field, fields)
            run, fields = field, 0
            if position - field > most_bytes:
                if number:
                    yield Piece(number, content, position, 0)
                run = position
    yield Piece(0, run, end, fields)


def _field(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Return number (0 for what is not length-delimited), start of the content and end."""
    number, wire_type, content, position = _next(data, position, end)
    if wire_type == _END_GROUP:
        raise _malformed()
    groups = int(wire_type == _START_GROUP)
    while groups:
        _, inner_type, _, position = _next(data, position, end)
        groups += (inner_type == _START_GROUP) - (inner_type == _END_GROUP)
    return number if wire_type == _LENGTH_DELIMITED else 0, content, position


def _next(data: bytes, position: int, end: int) -> tuple[int, int, int, int]:
    if position >= end:
        raise _malformed()
    tag, content = _varint(data, position)
    wire_type = tag & 7
    position = content
    if wire_type == _LENGTH_DELIMITED:
        length, content = _varint(data, position)
        position = content + length
    elif wire_type == _VARINT:
        _, position = _varint(data, position)
    elif wire_type == _FIXED64:
        position += 8
    elif wire_type == _FIXED32:
        position += 4
    elif wire_type not in (_START_GROUP, _END_GROUP):
        raise _malformed()
    return tag >> 3, wire_type, content, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < _CONTINUES:
            return value, position + index + 1
    raise _malformed()


def _malformed() -> InvalidPayload:
    return InvalidPayload("the bytes are not a protobuf message")
