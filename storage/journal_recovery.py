"""What a journal does at opening: read every segment, cut torn ends, put damaged files aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from collector.model import telemetry as t
from collector.model.schema import SPAN_SCHEMA
from storage.files import list_directory, means_damage, set_aside
from storage.journal_segment import Segment, cut, repair, scan

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from collector.model.telemetry import Telemetry

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovered:
    """The segments that have good frames, oldest first, and the highest ordinal ever seen."""

    segments: tuple[Segment, ...]
    last_ordinal: int


def recover(
    directory: Path, quarantine: Path, telemetry: Telemetry, schema: pa.Schema = SPAN_SCHEMA
) -> Recovered:
    """Find the segments left by the last process; raises OSError when they cannot be reached.

    ``schema`` is that of the batches, should a header not tell.

    Damage is no reason to fail: good frames stay where they are, and the damaged file is kept in
    ``quarantine``, counted and logged.
    """
    found = []
    for path in list_directory(directory):
        segment = Segment.named(path, schema)
        if segment is not None:
            found.append(segment)
        elif path.suffix == ".tmp":
            path.unlink()
    for position, segment in enumerate(found):
        following = found[position + 1] if position + 1 < len(found) else None
        _recover_segment(segment, following, quarantine, telemetry)
    return Recovered(
        segments=tuple(segment for segment in found if segment.path.exists()),
        last_ordinal=max((segment.ordinal for segment in found), default=0),
    )


def _recover_segment(
    segment: Segment,
    following: Segment | None,
    quarantine: Path,
    telemetry: Telemetry,
) -> None:
    before_seq = following.first_seq if following else None
    try:
        data = segment.path.read_bytes()
    except OSError as error:
        if not means_damage(error):
            raise
        _report_damage(segment, set_aside(segment.path, quarantine), telemetry)
        return
    found = scan(segment, data, before_seq)
    if found.is_damaged:
        _report_damage(segment, _put_aside(segment, data, quarantine), telemetry)
        return
    if found.is_torn and found.data_bytes > found.good_bytes:
        _log.info(
            "journal had an unfinished batch at its end",
            bytes=found.data_bytes - found.good_bytes,
        )
        cut(segment, found.good_bytes)
    if not segment.frames:
        segment.path.unlink()


def _put_aside(segment: Segment, data: bytes, quarantine: Path) -> Path | None:
    if not segment.frames:
        return set_aside(segment.path, quarantine)
    try:
        repair(segment, data, quarantine)
    except OSError:
        return None  # its good frames are replayed all the same, from where it is
    return quarantine


def _report_damage(segment: Segment, moved: Path | None, telemetry: Telemetry) -> None:
    telemetry.add(t.JOURNAL_QUARANTINED)
    _log.error(
        "journal segment is damaged",
        segment=segment.path.name,
        good_batches=len(segment.frames),
        quarantined=moved is not None,
    )
