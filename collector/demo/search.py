"""Looks for texts in everything under a directory: as it is on disk, and decompressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from storage.journal_frame import HEADER_BYTES
from storage.journal_segment import Segment, scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Findings:
    """How much was searched (``size_bytes`` counts decompressed bytes too) and what was found.

    ``hits`` are pairs of text and file name in one string each.
    """

    files: int
    size_bytes: int
    hits: tuple[str, ...]


def search(root: Path, needles: Iterable[str]) -> Findings:
    """Search every file under ``root`` for every text, ignoring case."""
    wanted = [needle.lower().encode() for needle in needles]
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    hits: list[str] = []
    size = 0
    for path in paths:
        for content in _contents(path):
            size += len(content)
            folded = content.lower()
            hits += [f"{text.decode()} in {path.name}" for text in wanted if text in folded]
    return Findings(len(paths), size, tuple(hits))


def _contents(path: Path) -> Iterator[bytes]:
    """Give a file's bytes, and again what is compressed in them."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # the sidecar replaced it meanwhile
        return
    yield data
    if path.suffix == ".parquet":
        yield _values(data)
    segment = Segment.named(path)
    if segment is not None:
        yield from _frames(segment, data)


def _values(data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _frames(segment: Segment, data: bytes) -> Iterator[bytes]:
    scan(segment, data, None)
    for frame in segment.frames:
        start = frame.offset + HEADER_BYTES + frame.bitmap_bytes
        body = pa.py_buffer(data[start : frame.offset + frame.size_bytes])
        yield pa.decompress(body, frame.raw_bytes, "snappy", asbytes=True)
