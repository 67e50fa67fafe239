"""Which files have had their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from storage.lake_tables import partition_end_s

if TYPE_CHECKING:
    from collections.abc import Collection

    from config.exporters import RetentionSettings
    from storage.manifest_text import FileEntry

Reason = Literal["age", "bytes"]


def expired_files(
    files: Collection[FileEntry],
    settings: RetentionSettings,
    now_s: float,
    settled_through: int,
) -> dict[str, Reason]:
    """Return the paths to delete and why: hours that are over the age, then the oldest files.

    The age is the longest that any service has; rows of shorter ages are ``ServiceRetention``'s.
    A file with batches that are not settled stays: a restart needs it to tell which spans of
    those batches are stored already.
    """
    settled = sorted(
        (entry for entry in files if entry.max_seq <= settled_through),
        key=lambda entry: (entry.partition, entry.max_seq),
    )
    expired: dict[str, Reason] = {}
    ages = [settings.max_age, *(one.max_age for one in settings.services)]
    if all(ages):
        oldest_s = now_s - max(ages)
        expired = {
            entry.path: "age" for entry in settled if partition_end_s(entry.partition) <= oldest_s
        }
    if settings.max_bytes:
        left = [entry for entry in settled if entry.path not in expired]
        excess = sum(entry.bytes for entry in files if entry.path not in expired)
        excess -= settings.max_bytes
        for entry in left:  # over files
            if excess <= 0:
                break
            expired[entry.path] = "bytes"
            excess -= entry.bytes
    return expired
