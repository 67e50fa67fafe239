"""Looks for a marker in everything a sidecar wrote: as it is, decompressed, decoded.

Independent of what the product believes its files to be, except for the journal's frames, whose
compression has no signature of its own.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING

import hyperscan
import pyarrow as pa
import pyarrow.parquet as pq

from storage.journal_frame import HEADER_BYTES
from storage.journal_segment import Segment, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURES = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}


def find(marker: str, root: Path, texts: dict[str, bytes]) -> list[str]:
    """Return where the marker is, in whatever case or in base64 or hex; nowhere: an empty list.

    Every file under ``root`` and every one of ``texts`` is searched.
    """
    folded, encoded = _needles(marker)
    return [
        where
        for where, data in [*_contents(root), *texts.items()]
        if folded in data.lower() or any(needle in data for needle in encoded)
    ]


def find_any(needles: dict[str, bytes], root: Path, texts: dict[str, bytes]) -> set[str]:
    """Return the names of the needles that are somewhere in a file under ``root`` or in a text."""
    names = list(needles)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[needles[name] for name in names],
        ids=list(range(len(names))),
        flags=[hyperscan.HS_FLAG_SINGLEMATCH] * len(names),
        literal=True,
    )
    found: set[str] = set()
    for _, data in [*_contents(root), *texts.items()]:
        database.scan(data, lambda number, *_: found.add(names[number]))
    return found


def _contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(Path(parent, one) for parent, _, names in os.walk(root) for one in names):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # a running sidecar removed it
        where = str(path.relative_to(root))
        yield where, data + where.encode()
        for codec, signature in _SIGNATURES.items():
            yield f"{where} ({codec})", b"".join(_decompressed(data, codec, signature))
        if path.suffix == ".parquet":
            yield f"{where} (values)", _values(data)
        if path.suffix == ".wal":
            yield f"{where} (frames)", b"".join(_frames(path, data))


def _decompressed(data: bytes, codec: str, signature: bytes) -> Iterator[bytes]:
    """Give what decompresses wherever the signature stands, up to where it does not any more."""
    start = data.find(signature)
    while start >= 0:
        stream = pa.CompressedInputStream(pa.BufferReader(memoryview(data)[start:]), codec)
        try:
            while part := stream.read(4096):
                yield part
        except OSError:
            pass  # chance bytes, or what follows the compressed part
        start = data.find(signature, start + 1)


def _values(data: bytes) -> bytes:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowInvalid:
        return b""  # not written to its end yet: its pages are searched as they are
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _frames(path: Path, data: bytes) -> Iterator[bytes]:
    segment = Segment.named(path)
    assert segment is not None, f"{path.name} is no journal segment"
    scan(segment, data, None)
    for frame in segment.frames:
        start = frame.offset + HEADER_BYTES + frame.bitmap_bytes
        body = pa.py_buffer(data[start : frame.offset + frame.size_bytes])
        yield pa.decompress(body, frame.raw_bytes, "snappy", asbytes=True)


def _needles(marker: str) -> tuple[bytes, set[bytes]]:
    spellings = {marker.lower().encode(), marker.upper().encode()}
    encoded = {spelling.hex().encode() for spelling in spellings}
    for spelling in spellings:
        for shift in range(3):  # where it may stand in a group of three bytes
            inner = base64.b64encode(b"\0" * shift + spelling)
            encoded.add(inner[4 if shift else 0 : len(inner) - 4])
    return marker.lower().encode(), encoded
