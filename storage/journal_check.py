"""What a reader finds in the journal without touching it, beside a sidecar that writes or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.model.schema import SPAN_SCHEMA
from storage.files import cause, list_directory
from storage.journal_frame import FRAME_VERSION, fingerprint
from storage.journal_segment import Scan, Segment, scan

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

# A frame that was being written when it was read is whole the next time.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Gap:
    """Batch numbers that stand in no segment, and the segment they are missing before."""

    segment: str
    first_seq: int
    last_seq: int


@dataclass(slots=True)
class JournalCheck:
    """Counts of what is good, and for each segment what is not (file name, then what)."""

    segments: int = 0
    frames: int = 0
    rows: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    torn: list[tuple[str, str]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)


def check_journal(directory: Path, schema: pa.Schema = SPAN_SCHEMA) -> JournalCheck:
    """Read every segment; one that vanishes meanwhile was settled and is not counted.

    ``schema`` is that of the batches, should a header not tell.
    """
    check = JournalCheck()
    found = [one for path in list_directory(directory) if (one := Segment.named(path, schema))]
    for position, segment in enumerate(found):  # over segments
        following = found[position + 1].first_seq if position + 1 < len(found) else None
        _check_segment(segment, following, check)
    quarantine = list_directory(directory / "quarantine")
    check.quarantined = [path.name for path in quarantine]
    return check


def _check_segment(segment: Segment, before_seq: int | None, check: JournalCheck) -> None:
    name = segment.path.name
    try:
        found = _scan(segment, before_seq)
    except FileNotFoundError:
        return
    except OSError as error:
        check.damaged.append((name, f"cannot be read: {cause(error)}"))
        return
    good = f"{len(segment.frames):,} batches in it are good"
    if found.is_damaged:
        check.damaged.append((name, f"bytes are wrong that were whole once; {good}"))
    elif found.is_torn and found.data_bytes > found.good_bytes:
        left = found.data_bytes - found.good_bytes
        check.torn.append((name, f"ends in {left:,} bytes of a batch that was never acknowledged"))
    known = fingerprint(segment.schema)
    foreign = sum(
        frame.version != FRAME_VERSION or frame.schema_fingerprint != known
        for frame in segment.frames
    )
    if foreign:
        check.damaged.append((name, f"{foreign:,} batches are of a later version"))
    check.segments += 1
    check.bytes += found.data_bytes
    expected = check.last_seq + 1 if check.last_seq else segment.first_seq
    for frame in segment.frames:  # over batches
        if frame.seq > expected:
            check.gaps.append(Gap(name, expected, frame.seq - 1))
        check.first_seq = check.first_seq or frame.seq
        expected = max(expected, frame.seq + 1)
        check.last_seq = max(check.last_seq, frame.seq)
        check.frames += 1
        check.rows += frame.rows


def _scan(segment: Segment, before_seq: int | None) -> Scan:
    for _ in range(_TRIES):
        segment.frames.clear()
        segment.last_seq = segment.first_seq - 1
        found = scan(segment, segment.path.read_bytes(), before_seq)
        if not found.is_damaged:
            break
    return found
