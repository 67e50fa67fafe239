"""Looks for planted values behind all processors: what is seen there got past redaction.

A user's own processor stands behind redaction, and rules have gaps; a canary shows either.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from collector.model.errors import RedactionUnavailable
from collector.model.telemetry import CANARIES_SEEN
from processors.redaction.multi_pattern import Expression, compile_all
from processors.redaction.surfaces import Leaf, Surfaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pydantic import SecretStr

    from collector.model.batch import Batch, BatchT
    from collector.model.telemetry import Telemetry

_log = structlog.get_logger()
_LITERAL: Final = re.compile(r"\W", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Spelling:
    canary: int
    text: str
    is_caseless: bool


class CanaryWatch:
    """Drops rows in which a canary is seen, in any field, plain or encoded; a ``Processor``."""

    def __init__(
        self, canaries: Sequence[SecretStr], telemetry: Telemetry, *, is_dry: bool = False
    ) -> None:
        """Watch for these; ``is_dry`` counts and drops nothing."""
        self._telemetry = telemetry
        self._is_dry = is_dry
        self._spellings = [
            spelling
            for number, canary in enumerate(canaries)
            for spelling in _spellings(number, canary.get_secret_value())
        ]
        self._scan = compile_all(
            [
                Expression(_escaped(one.text), number, one.is_caseless)
                for number, one in enumerate(self._spellings)
            ]
        ).scan
        self._said: set[tuple[int, str]] = set()

    def process(self, batch: BatchT) -> BatchT:
        """Return the batch without the rows that hold a canary.

        Raises:
            RedactionUnavailable: The search failed; nothing of the batch may be stored.
        """
        failure = ""
        try:
            seen = self._rows(batch)
        except Exception as error:  # noqa: BLE001 - the edge where redaction fails closed
            failure = type(error).__name__
        if failure:  # outside the handler: neither cause nor context can carry a value to a log
            _log.error("search for canaries failed", error=failure)
            raise RedactionUnavailable("canaries could not be looked for, so the batch was refused")
        return batch if self._is_dry or not seen.any() else batch.keep(~seen)

    def _rows(self, batch: Batch) -> NDArray[np.bool_]:
        """Tell which rows hold a canary; the loops are over surfaces and what was seen there."""
        seen = np.zeros(len(batch), bool)
        for leaf in Surfaces.of(batch).leaves:
            hits: list[int] = []
            self._scan((leaf.array.buffers()[2] or pa.py_buffer(b"")).to_pybytes(), hits)
            of_canary: dict[int, NDArray[np.bool_]] = {}
            for spelling in map(self._spellings.__getitem__, sorted(set(hits))):
                rows = np.zeros(len(batch), bool)
                rows[leaf.rows(_positions(leaf, spelling))] = True
                known = of_canary.setdefault(spelling.canary, rows)
                known |= rows
            for canary, rows in of_canary.items():
                self._report(canary, leaf, int(rows.sum()))
                seen |= rows
        return seen

    def _report(self, canary: int, leaf: Leaf, rows: int) -> None:
        if not rows:
            return
        surface = ".".join(leaf.path)
        self._telemetry.add(CANARIES_SEEN, rows, str(canary), surface)
        if (canary, surface) not in self._said:
            self._said.add((canary, surface))
            _log.error("canary seen behind redaction", canary=canary, surface=surface)


def _spellings(number: int, canary: str) -> Iterator[_Spelling]:
    plain = dict.fromkeys((canary, quote(canary, safe=""), json.dumps(canary)[1:-1]))
    for text in (*plain, canary.encode().hex()):
        yield _Spelling(number, text, is_caseless=True)
    for alphabet in (b"+/", b"-_"):
        for lead in range(3):  # base64 spells a text in three ways, by where it begins
            encoded = base64.b64encode(bytes(lead) + canary.encode(), altchars=alphabet).decode()
            first = -(-lead * 8 // 6)
            last = len(encoded.rstrip("=")) - bool((lead + len(canary.encode())) % 3)
            yield _Spelling(number, encoded[first:last], is_caseless=False)


def _escaped(text: str) -> str:
    return _LITERAL.sub(lambda c: "".join(f"\\x{b:02x}" for b in c[0].encode()), text)


def _positions(leaf: Leaf, spelling: _Spelling) -> NDArray[np.int64]:
    found = pc.match_substring(leaf.array, spelling.text, ignore_case=spelling.is_caseless)
    hit = found.fill_null(False)
    return np.flatnonzero(hit.to_numpy(zero_copy_only=False))
