"""One journalled batch as bytes: a checksummed header, a bitmap of columns, compressed Arrow.

Columns that hold only nulls are left out and restored, so are ``source_id`` and ``batch_seq``
(constant in a frame). The Arrow schema is not repeated: it stands once in the segment's header.
Snappy over the whole body: 218 us CPU for 512 rows against 283 us for Arrow's own LZ4 buffers.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import Batch, BatchT, LogBatch, SpanBatch
from collector.model.log_schema import BODY

FRAME_VERSION: Final = 1
MAGIC_BYTES: Final = 8

# magic, version, bitmap bytes, rows, seq, schema fingerprint, raw bytes, payload bytes, payload CRC
_HEADER: Final = struct.Struct("<8sHHIQIQQI")
_HEADER_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _HEADER_CRC.size
_CODEC: Final = pa.Codec("snappy")
_STAMPED: Final = frozenset({s.SOURCE_ID, s.BATCH_SEQ})


class FrameError(Exception):
    """The bytes are no whole frame; never leaves the journal's modules."""


class TornFrameError(FrameError):
    """The frame's header is good and says that more bytes should follow than there are."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose checksums hold: where it is in its segment and what its header says."""

    seq: int
    rows: int
    offset: int
    size_bytes: int
    version: int
    schema_fingerprint: int
    raw_bytes: int
    bitmap_bytes: int


def kind_of(schema: pa.Schema) -> type[Batch]:
    """Return which batches were written in a schema, whichever version's: log records have bodies.

    Columns are added, never taken away.
    """
    return SpanBatch if schema.get_field_index(BODY) < 0 else LogBatch


def fingerprint(schema: pa.Schema) -> int:
    """Return 32 bits that differ when the schema does."""
    return zlib.crc32(schema.serialize())


def encode(
    batch: Batch, seq: int, magic: bytes, schema_fingerprint: int
) -> list[bytes | memoryview]:
    """Return the frame of a batch, in parts to be written one after another."""
    table, rows = batch.table, len(batch)
    present = np.fromiter(
        (
            column.null_count != rows and name not in _STAMPED
            for name, column in zip(table.column_names, table.columns, strict=True)
        ),
        dtype=bool,
        count=table.num_columns,
    )  # over columns, not rows
    columns = table.select(np.flatnonzero(present).tolist()).combine_chunks()
    # of no rows there are no batches
    body = (columns.to_batches() or [pa.RecordBatch.from_pylist([], columns.schema)])[0]
    raw = body.serialize()
    bitmap = np.packbits(present).tobytes()
    compressed = _CODEC.compress(raw)
    # pyarrow 26 exposes a resized buffer with its old length: the worst case, not the result
    packed = memoryview(compressed)[: compressed.size]
    header = _HEADER.pack(
        magic,
        FRAME_VERSION,
        len(bitmap),
        rows,
        seq,
        schema_fingerprint,
        raw.size,
        len(bitmap) + len(packed),
        zlib.crc32(packed, zlib.crc32(bitmap)),
    )
    return [header + _HEADER_CRC.pack(zlib.crc32(header)) + bitmap, packed]


def parse(data: memoryview, offset: int, magic: bytes) -> Frame:
    """Check the frame that starts at the offset; raises ``FrameError`` or ``TornFrameError``."""
    if len(data) - offset < HEADER_BYTES:
        raise FrameError("too short")
    header = data[offset : offset + _HEADER.size]
    found, version, bitmap_bytes, rows, seq, schema, raw, length, crc = _HEADER.unpack(header)
    (header_crc,) = _HEADER_CRC.unpack_from(data, offset + _HEADER.size)
    if found != magic or header_crc != zlib.crc32(header):
        raise FrameError("header")
    start = offset + HEADER_BYTES
    if len(data) - start < length:
        raise TornFrameError("payload is cut off")
    if zlib.crc32(data[start : start + length]) != crc:
        raise FrameError("payload")
    return Frame(seq, rows, offset, HEADER_BYTES + length, version, schema, raw, bitmap_bytes)


def decode(data: memoryview, frame: Frame, schema: pa.Schema, source_id: str) -> Batch:
    """Return the batch of a frame (``data`` is the frame alone) in today's schema of its signal.

    ``schema`` is the one the frame was written in: columns that exist no more are left out, new
    ones are null. Raises ``FrameError`` when this version cannot read the frame.
    """
    if frame.version != FRAME_VERSION or frame.schema_fingerprint != fingerprint(schema):
        raise FrameError("written by another version")
    start = HEADER_BYTES + frame.bitmap_bytes
    bits = np.frombuffer(data[HEADER_BYTES:start], np.uint8)
    present = np.flatnonzero(np.unpackbits(bits, count=len(schema)))
    written = pa.schema([schema.field(int(i)) for i in present])  # over columns, not rows
    try:
        body = pa.ipc.read_record_batch(pa.py_buffer(decompress(data[start:], frame)), written)
        body.validate()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FrameError("body") from error
    if body.num_rows != frame.rows:
        raise FrameError("row count")
    kind = kind_of(schema)
    batch = kind.from_columns(
        {
            field.name: body.column(position)
            for position, field in enumerate(written)
            if field.name in kind.schema.names and kind.schema.field(field.name).type == field.type
        },
        frame.rows,
    )
    return stamp(batch, frame.seq, source_id)


def decompress(payload: memoryview, frame: Frame) -> bytes:
    """Return the Arrow bytes that a frame holds behind its bitmap."""
    raw: bytes = _CODEC.decompress(
        pa.py_buffer(payload), decompressed_size=frame.raw_bytes, asbytes=True
    )
    return raw


def stamp(batch: BatchT, seq: int, source_id: str) -> BatchT:
    """Return the batch with the two columns that the journal sets on every row.

    Column by column: replacing 2 of 84 this way takes 20 us, building the table anew takes 97.
    """
    rows, table = len(batch), batch.table
    values = {
        s.SOURCE_ID: pa.repeat(pa.scalar(source_id, pa.string()), rows),
        s.BATCH_SEQ: pa.repeat(pa.scalar(seq, pa.int64()), rows),
    }
    for name, column in values.items():
        position = batch.schema.get_field_index(name)
        table = table.set_column(position, batch.schema.field(position), column)
    return type(batch)(table)
