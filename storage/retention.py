"""Which files have had their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from storage.lake_tables import partition_end_s

if TYPE_CHECKING:
    from collections.abc import Collection

    from config.exporters import RetentionSettings
    from storage.environment import Environment
    from storage.manifest_text import FileEntry

Reason = Literal["age", "bytes"]

_STEP_S: Final = 60.0  # more than any slewing between two looks
_BELIEVED_AFTER_S: Final = 3600.0
_DAY_S: Final = 86400.0


class CautiousClock:
    """The time by which spans expire: deletion cannot be taken back, a wrong clock can.

    A step back counts at once. A step ahead counts when it has lasted for an hour, whatever smaller
    one came before it.
    """

    def __init__(self, environment: Environment, seen_s: float | None = None) -> None:
        """Believe what the clock says now, or said last, seconds since 1970, if that is known.

        A start does not tell a long time without the process from a clock that is ahead.
        """
        self._environment = environment
        now_s = environment.now()
        self._offset_s = min(now_s, seen_s or now_s) - environment.monotonic()
        self._ahead_s = 0.0
        self._ahead_since_s: float | None = None

    def now_s(self) -> float:
        """Return seconds since 1970."""
        monotonic_s = self._environment.monotonic()
        offset_s = self._environment.now() - monotonic_s
        if offset_s <= self._offset_s + _STEP_S:
            self._offset_s, self._ahead_since_s = offset_s, None
        elif self._ahead_since_s is None or offset_s > self._ahead_s + _STEP_S:
            self._ahead_since_s, self._ahead_s = monotonic_s, offset_s
        elif monotonic_s - self._ahead_since_s >= _BELIEVED_AFTER_S:
            self._offset_s, self._ahead_since_s = offset_s, None
        return monotonic_s + self._offset_s


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
        expired = {entry.path: "age" for entry in settled if newest_s(entry, now_s) <= oldest_s}
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


def newest_s(entry: FileEntry, now_s: float) -> float:
    """Return the time, seconds since 1970, before which everything in a file started.

    That is the end of its hour. But spans that arrived when the clock was days behind were put
    into the hour it showed, because they seemed to be from the future.
    """
    end_s, start_s = partition_end_s(entry.partition), entry.max_start_us / 1e6
    return start_s if end_s + _DAY_S < start_s <= now_s else end_s
