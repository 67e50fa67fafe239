"""Ids that stand as hexadecimal text in a request, as OTLP/JSON has them, made bytes by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

ID_FIELDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_LINKS: Final = "links"
_NO_DIGIT: Final = 0xFF
# What a text that is no id becomes: too short for one, so that its span or record is rejected.
_NO_ID: Final = b"\0"


def _digits() -> NDArray[np.uint8]:
    digits = np.full(256, _NO_DIGIT, np.uint8)
    for letters in ("0123456789abcdef", "0123456789ABCDEF"):
        digits[np.frombuffer(letters.encode(), np.uint8)] = np.arange(16)
    return digits


_DIGITS: Final = _digits()


def with_binary_ids(
    items: pa.StructArray, in_hex: NDArray[np.bool_], no_id: bytes = _NO_ID
) -> pa.StructArray:
    """Return spans or log records with bytes for ids where ``in_hex`` is true.

    What is none in a link is empty then.
    """
    columns = []
    for field in items.type:  # columns
        column = items.field(field.name)
        if field.name in ID_FIELDS:
            made = _bytes_of_hex(column, no_id)
            column = pc.if_else(pa.array(in_hex), made, column)
        elif field.name == _LINKS:
            of_links = np.repeat(in_hex, np.diff(column.offsets.to_numpy()))
            links = with_binary_ids(column.values, of_links, b"")
            column = pa.ListArray.from_arrays(column.offsets, links, type=column.type)
        columns.append(column)
    return pa.StructArray.from_arrays(columns, fields=list(items.type))


def _bytes_of_hex(texts: pa.BinaryArray, no_id: bytes) -> pa.BinaryArray:
    """Return what texts of hexadecimal digits say, ``no_id`` for others that are not empty."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    digits = _DIGITS[content[ends[0] : ends[-1]]]
    lengths = np.diff(ends)
    others = np.concatenate([[0], np.cumsum(digits == _NO_DIGIT)])[ends - ends[0]]
    is_hex = (np.diff(others) == 0) & (lengths % 2 == 0)
    kept = digits[np.repeat(is_hex, lengths)]
    packed = kept[::2] << 4 | kept[1::2]
    bounds = np.concatenate([[0], np.cumsum(np.where(is_hex, lengths // 2, 0))]).astype(np.int32)
    found = pa.Array.from_buffers(
        pa.binary(), len(texts), [None, pa.py_buffer(bounds), pa.py_buffer(packed)]
    )
    return pc.if_else(pa.array(is_hex), found, pa.scalar(no_id, pa.binary()))
