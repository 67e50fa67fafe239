"""What storage takes from outside: the time, and a call at every step a crash could fall on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME_WRITTEN: Final = "journal.frame_written"
FRAME_SYNCED: Final = "journal.frame_synced"
SEGMENT_CREATED: Final = "journal.segment_created"
SEGMENTS_DROPPED: Final = "journal.segments_dropped"
PARQUET_WRITTEN: Final = "lake.parquet_written"
PARQUET_RENAMED: Final = "lake.parquet_renamed"
MANIFEST_WRITTEN: Final = "lake.manifest_written"
MANIFEST_RENAMED: Final = "lake.manifest_renamed"
MANIFEST_COPIED: Final = "lake.manifest_copied"
FLUSH_COMMITTED: Final = "lake.flush_committed"
MERGE_WRITTEN: Final = "lake.merge_written"
MERGE_COMMITTED: Final = "lake.merge_committed"
REPLACED_UNLINKED: Final = "lake.replaced_unlinked"
REWRITE_WRITTEN: Final = "rewrite.written"
REWRITE_COMMITTED: Final = "rewrite.committed"

SYNC_POINTS: Final = (
    FRAME_WRITTEN,
    FRAME_SYNCED,
    SEGMENT_CREATED,
    SEGMENTS_DROPPED,
    PARQUET_WRITTEN,
    PARQUET_RENAMED,
    MANIFEST_WRITTEN,
    MANIFEST_RENAMED,
    MANIFEST_COPIED,
    FLUSH_COMMITTED,
    MERGE_WRITTEN,
    MERGE_COMMITTED,
    REPLACED_UNLINKED,
)
"""Every named step of a sidecar between two of which a crash leaves a different state on disk."""

REWRITE_POINTS: Final = (
    MANIFEST_WRITTEN,
    MANIFEST_RENAMED,
    MANIFEST_COPIED,
    PARQUET_RENAMED,
    REWRITE_WRITTEN,
    REWRITE_COMMITTED,
    REPLACED_UNLINKED,
)
"""The same of a rewrite."""


def _go_on(_point: str) -> None:
    """Do nothing: what happens at a sync point outside of crash tests."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The clocks and the sync point hook; the defaults are the real ones.

    ``now`` gives seconds since 1970 and may jump; ``monotonic`` measures delays and never does;
    ``reached`` is called with a name of ``SYNC_POINTS`` when that step has been done.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    reached: Callable[[str], None] = _go_on
