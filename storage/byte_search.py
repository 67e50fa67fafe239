"""Looks for bytes in every file of a data directory, and in what its files hold compressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from storage.journal_frame import HEADER_BYTES, decompress
from storage.journal_segment import Segment, scan
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ROWS = 8192


class DamagedError(Exception):
    """A file cannot be read to its end; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How much was looked through, the files in which something was found, and damaged ones.

    Of ``damaged`` files a part could not be looked through.
    """

    files: int
    bytes: int
    hits: tuple[Path, ...]
    damaged: tuple[Path, ...]


def search(directory: Path, needles: Sequence[bytes]) -> Searched:
    """Look for any of the needles; raises OSError when a file cannot be read."""
    files = size = 0
    hits: list[Path] = []
    damaged: list[Path] = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        files += 1
        is_hit = False
        try:
            for content in _contents(path):
                size += len(content)
                is_hit = is_hit or any(needle in content for needle in needles)
        except FileNotFoundError:
            continue  # a running sidecar has replaced it
        except DamagedError:
            damaged.append(path)
        if is_hit:
            hits.append(path)
    return Searched(files, size, tuple(hits), tuple(damaged))


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield from _rows(path)
    segment = Segment.named(path)
    if segment is not None:
        scan(segment, data, None)
        for frame in segment.frames:
            start = frame.offset + HEADER_BYTES + frame.bitmap_bytes
            end = frame.offset + frame.size_bytes
            yield decompress(memoryview(data)[start:end], frame)


def _rows(path: Path) -> Iterator[bytes]:
    """Yield the values of a Parquet file, as far as it can be read; raises ``DamagedError``."""
    try:
        with pq.ParquetFile(path) as file:
            for piece in file.iter_batches(_ROWS, use_threads=False):
                content: bytes = piece.serialize().to_pybytes()
                yield content
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise DamagedError from error
