"""One journal file: its name, its header, and what can be read of it after a crash or damage.

The frame magic is random and new in every segment, so text in a span can never pass for a frame
when reading resumes behind a damaged one. It stands in the file's name as well as in the header.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import pyarrow as pa

from collector.model.schema import SPAN_SCHEMA
from storage.files import (
    free_name,
    make_directories,
    remove_quietly,
    sync_directory,
    sync_file,
)
from storage.journal_frame import (
    HEADER_BYTES,
    MAGIC_BYTES,
    Frame,
    FrameError,
    TornFrameError,
    fingerprint,
    parse,
)

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT_VERSION: Final = 1
_FILE_MAGIC: Final = b"CLRSPWAL"
# file magic, version, schema bytes, frame magic; then the schema, then a CRC over all before it
_HEADER: Final = struct.Struct("<8sHI8s")
_CRC: Final = struct.Struct("<I")
_NAME: Final = re.compile(r"(\d{10})-(\d{20})-([0-9a-f]{16})\.wal")


@dataclass(slots=True)
class Segment:
    """A journal file: ``last_seq`` is ``first_seq - 1`` as long as it has no frame."""

    path: Path
    ordinal: int
    first_seq: int
    magic: bytes
    last_seq: int = 0
    size_bytes: int = 0
    schema: pa.Schema = field(default_factory=lambda: SPAN_SCHEMA)
    frames: list[Frame] = field(default_factory=list)

    @staticmethod
    def new(directory: Path, ordinal: int, first_seq: int, schema: pa.Schema) -> Segment:
        """Name a segment that does not exist yet, for batches of this schema."""
        magic = os.urandom(MAGIC_BYTES)
        name = f"{ordinal:010d}-{first_seq:020d}-{magic.hex()}.wal"
        return Segment(
            directory / name, ordinal, first_seq, magic, last_seq=first_seq - 1, schema=schema
        )

    @staticmethod
    def named(path: Path, schema: pa.Schema = SPAN_SCHEMA) -> Segment | None:
        """Return the segment a file is by its name, None if it is no journal file.

        ``schema`` stands in for the one in its header where that is damaged.
        """
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        ordinal, first_seq, magic = int(match[1]), int(match[2]), bytes.fromhex(match[3])
        return Segment(path, ordinal, first_seq, magic, last_seq=first_seq - 1, schema=schema)

    @property
    def has_frames(self) -> bool:
        """Whether there is a good frame in it."""
        return self.last_seq >= self.first_seq

    def header(self) -> bytes:
        """Return the bytes a segment starts with."""
        schema: bytes = self.schema.serialize().to_pybytes()
        head = _HEADER.pack(_FILE_MAGIC, SEGMENT_VERSION, len(schema), self.magic) + schema
        return head + _CRC.pack(zlib.crc32(head))


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a segment besides its good frames.

    ``good_bytes`` is where the last good frame ends. ``is_torn``: the rest is a frame that was
    being written when the process died, so nobody was told it is safe. ``is_damaged``: bytes
    that were once written whole are wrong.
    """

    data_bytes: int
    good_bytes: int
    is_torn: bool
    is_damaged: bool


def scan(segment: Segment, data: bytes, before_seq: int | None) -> Scan:
    """Find the good frames of a segment and note them in it.

    Frames numbered ``before_seq`` (the next segment's first) or higher are void: they were
    refused when the disk failed, and the next segment was begun because of it.
    """
    view = memoryview(data)
    position, is_damaged, is_torn = _read_header(segment, view), False, False
    if position is None:
        position = _resync(segment, view, 0)
        # no byte of it was ever written out, as after a power loss, or not even the header
        is_unwritten = len(data) < len(segment.header()) or not data.strip(b"\0")
        is_torn = position >= len(data) and is_unwritten
        is_damaged = not is_torn
    good = position if position <= len(data) else 0
    while position < len(data):  # over frames
        try:
            frame = parse(view, position, segment.magic)
        except FrameError as error:
            following = _resync(segment, view, position + 1)
            if following >= len(data):
                is_torn = isinstance(error, TornFrameError) or _is_unwritten(
                    segment, view, position
                )
                is_damaged = is_damaged or not is_torn
                break
            is_damaged, position = True, following
            continue
        if before_seq is not None and frame.seq >= before_seq:
            is_torn = True
            break
        position = good = position + frame.size_bytes
        segment.frames.append(frame)
        segment.last_seq = frame.seq
    segment.size_bytes = len(data)
    return Scan(len(data), good, is_torn, is_damaged)


def cut(segment: Segment, good_bytes: int) -> None:
    """Remove what follows the last good frame; raises OSError."""
    os.truncate(segment.path, good_bytes)
    sync_file(segment.path)
    segment.size_bytes = good_bytes


def repair(segment: Segment, data: bytes, quarantine: Path) -> None:
    """Keep a damaged segment aside and put one with only its good frames in its place.

    At no moment are the good frames in neither place. Raises OSError; then nothing changed.
    """
    make_directories(quarantine)
    temporary = segment.path.with_suffix(".tmp")
    kept = free_name(quarantine, segment.path.name)
    known = fingerprint(segment.schema)
    frames = [frame for frame in segment.frames if frame.schema_fingerprint == known]
    content = [segment.header()]
    content += [data[frame.offset : frame.offset + frame.size_bytes] for frame in frames]
    try:
        temporary.write_bytes(b"".join(content))
        sync_file(temporary)
        os.link(segment.path, kept)
        sync_directory(quarantine)
        temporary.replace(segment.path)
        sync_directory(segment.path.parent)
    except OSError:
        remove_quietly([temporary])
        raise
    segment.frames.clear()
    scan(segment, b"".join(content), None)


def _read_header(segment: Segment, data: memoryview) -> int | None:
    """Take over the segment's schema and return where frames start; None if that is damaged."""
    if len(data) < _HEADER.size:
        return None
    magic, version, schema_bytes, frame_magic = _HEADER.unpack_from(data)
    end: int = _HEADER.size + schema_bytes
    if magic != _FILE_MAGIC or frame_magic != segment.magic or len(data) < end + _CRC.size:
        return None
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]) or version != SEGMENT_VERSION:
        return None
    try:
        segment.schema = pa.ipc.read_schema(pa.py_buffer(data[_HEADER.size : end]))
    except (pa.ArrowException, OSError):
        return None
    return end + _CRC.size


def _resync(segment: Segment, data: memoryview, start: int) -> int:
    """Return where the next good frame starts, the end of the data if there is none."""
    content = cast("bytes", data.obj)
    position = content.find(segment.magic, start)
    while position >= 0:
        try:
            frame = parse(data, position, segment.magic)
        except FrameError:
            position = content.find(segment.magic, position + 1)
            continue
        if frame.seq > segment.last_seq:
            return position
        position = content.find(segment.magic, position + 1)
    return len(data)


def _is_unwritten(segment: Segment, data: memoryview, position: int) -> bool:
    """Tell a header that was never written out: cut short, or zeros after a power loss."""
    rest = bytes(data[position:])
    if len(rest) < HEADER_BYTES and segment.magic.startswith(rest[:MAGIC_BYTES]):
        return True
    return not rest.strip(b"\0")
