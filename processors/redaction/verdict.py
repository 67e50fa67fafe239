"""What redaction decided about one string."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """The text to write instead, and the entities that were found; a clean string has None."""

    text: str
    entities: tuple[str, ...]
