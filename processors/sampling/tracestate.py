"""Reads and writes the ``ot`` member of W3C tracestate: ``ot=th:c;rv:d29d6a7215ced0``.

Every distinct text is parsed once and remembered; what is not well formed is as good as absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processors.sampling.randomness import HEX_DIGITS, RANGE, threshold_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

ABSENT: Final = -1
_MAX_KNOWN: Final = 8192
_MAX_MEMBERS: Final = 32  # W3C Trace Context, section 3.3.1.1
_THRESHOLD: Final = re.compile(rf"[0-9a-f]{{1,{HEX_DIGITS}}}")
_RANDOMNESS: Final = re.compile(rf"[0-9a-f]{{{HEX_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Consistency:
    """What tracestates say, one entry a row; ``ABSENT`` where they say nothing.

    ``codes`` and ``texts`` are the distinct tracestates behind the rows.
    """

    thresholds: NDArray[np.int64]
    randomness: NDArray[np.int64]
    codes: NDArray[np.int32]
    texts: list[str | None]


class TraceStates:
    """Remembers the tracestates it has seen, up to a bound."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str | None, tuple[int, int]] = {}

    def read(self, column: pa.Array) -> Consistency | None:
        """Return what the tracestates say, None when none says anything."""
        if column.null_count == len(column):
            return None
        encoded = column.dictionary_encode(null_encoding="encode")
        texts: list[str | None] = encoded.dictionary.to_pylist()
        if texts == [""]:
            return None
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        for text in texts:  # parses only texts that were not seen before
            if text not in self._known:
                self._known[text] = _parse(text or "")
        said = np.array([self._known[text] for text in texts], np.int64)
        codes = encoded.indices.to_numpy()
        return Consistency(said[codes, 0], said[codes, 1], codes, texts)


def with_threshold(text: str | None, threshold: int) -> str:
    """Return the tracestate with this threshold; everything else in it stays.

    The member that was changed goes first; beyond 32 members the last one goes (both W3C).
    """
    members = [member for member in _members(text or "") if not _is_ot(member)]
    fields = [f"th:{threshold_text(threshold)}"]
    fields += [field for field in _ot_fields(text or "") if not field.startswith("th:")]
    return ",".join([f"ot={';'.join(fields)}", *members[: _MAX_MEMBERS - 1]])


def _parse(text: str) -> tuple[int, int]:
    """Return threshold and randomness of one tracestate."""
    fields = dict(field.partition(":")[::2] for field in _ot_fields(text))
    threshold, randomness = fields.get("th", ""), fields.get("rv", "")
    return (
        int(threshold.ljust(HEX_DIGITS, "0"), 16) if _THRESHOLD.fullmatch(threshold) else ABSENT,
        int(randomness, 16) if _RANDOMNESS.fullmatch(randomness) else ABSENT,
    )


def _ot_fields(text: str) -> Iterable[str]:
    found = next(filter(_is_ot, _members(text)), "ot=")
    return [field for field in found[len("ot=") :].split(";") if field]


def _members(text: str) -> list[str]:
    return [member for part in text.split(",") if (member := part.strip())]


def _is_ot(member: str) -> bool:
    return member.startswith("ot=")


def upstream_weights(
    said: Consistency,
    randomness: NDArray[np.int64],
    at_least: int = 0,
) -> NDArray[np.float64]:
    """Return how many spans each row stands for, sampled at ``at_least`` after its sender.

    A threshold above the row's own randomness cannot have been applied by who wrote it: its
    probability is unknown and it does not count.
    """
    applied = np.where(said.thresholds <= randomness, said.thresholds, ABSENT)
    return RANGE / (RANGE - np.maximum(applied, at_least))
