"""Looks for bytes in every file of a data directory, and in what its files hold compressed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import is_locked, walk_files
from storage.journal_frame import HEADER_BYTES, decompress
from storage.journal_segment import Segment, scan
from storage.manifest_recovery import STAGING
from storage.parquet import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ROWS: Final = 8192
_LONGEST_WAIT_S: Final = 60.0
_POLL_S: Final = 0.05


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


def search(directory: Path, needles: Sequence[bytes], *, ignore_case: bool = False) -> Searched:
    """Look for any of the needles below a data directory or one that holds it.

    What a running sidecar is writing is searched once it is written, within a minute; where it
    moves or replaces files meanwhile, what came instead is searched too. Ignoring case is for
    ASCII. Raises OSError when a file cannot be read.
    """
    if ignore_case:
        needles = [needle.lower() for needle in needles]
    files = size = 0
    hits: list[Path] = []
    damaged: list[Path] = []
    deadline = time.monotonic() + _LONGEST_WAIT_S
    done: set[Path] = set()
    todo = set(walk_files(directory))
    while todo:
        unfinished: set[Path] = set()
        has_moved = False
        for path in sorted(todo):
            is_early = time.monotonic() < deadline
            is_hit = False
            read = 0
            try:
                for content in _contents(path):
                    read += len(content)
                    text = content.lower() if ignore_case else content
                    is_hit = is_hit or any(needle in text for needle in needles)
            except FileNotFoundError:
                has_moved = has_moved or is_early
                continue
            except DamagedError:
                if is_early and _is_being_written(path):
                    unfinished.add(path)
                    continue
                damaged.append(path)
            files += 1
            size += read
            if is_hit:
                hits.append(path)
        done |= todo - unfinished
        todo = unfinished | (set(walk_files(directory)) - done if has_moved else set())
        if unfinished:
            time.sleep(_POLL_S)
    return Searched(files, size, tuple(hits), tuple(damaged))


def _is_being_written(path: Path) -> bool:
    staging = path.parent
    return staging.name == STAGING and is_locked(staging.parent.parent)


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield from _rows(data)
    segment = Segment.named(path)
    if segment is not None:
        scan(segment, data, None)
        for frame in segment.frames:
            start = frame.offset + HEADER_BYTES + frame.bitmap_bytes
            end = frame.offset + frame.size_bytes
            yield decompress(memoryview(data)[start:end], frame)


def _rows(data: bytes) -> Iterator[bytes]:
    """Yield the values of a Parquet file, as far as it can be read; raises ``DamagedError``."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            for piece in file.iter_batches(_ROWS, use_threads=False):
                content: bytes = piece.serialize().to_pybytes()
                yield content
    except UNREADABLE as error:
        raise DamagedError from error
