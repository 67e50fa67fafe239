"""Where the signals of one data directory lie.

Spans have ``journal/`` and ``lake/`` in it; log records have both below ``logs/``, which is a data
directory itself. One that was written before there were log records has no ``logs/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from storage.files import list_directory

if TYPE_CHECKING:
    from pathlib import Path

LAKE: Final = "lake"
JOURNAL: Final = "journal"
QUARANTINE: Final = "quarantine"
_LOGS: Final = "logs"


def log_data(data: Path) -> Path:
    """Return the data directory of the log records beside those spans."""
    return data / _LOGS


def quarantined_files(data: Path) -> list[Path]:
    """Return the damaged files of one signal that were moved aside: nobody can rewrite them."""
    folders = (data / LAKE / QUARANTINE, data / JOURNAL / QUARANTINE)
    return [path for folder in folders for path in list_directory(folder)]


def has_logs(data: Path) -> bool:
    """Tell whether log records were ever taken here.

    The first start makes a lake with a manifest before it makes a journal: what it has made until
    then, or left when it was killed, is nothing to read.
    """
    lake, journal = log_data(data) / LAKE, log_data(data) / JOURNAL
    return journal.is_dir() or any(any(lake.glob(one)) for one in ("*.json", "*/date=*"))
