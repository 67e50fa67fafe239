"""What a check of a data directory has to say: one finding a file and matter, in three weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One matter: ``file`` is relative to the data directory, ``what`` holds no stored value.

    ``error``: something is not as it was written. ``warning``: known damage from before, or data
    of somebody else. ``note``: as it should be, but worth knowing.
    """

    level: Level
    file: str
    what: str
