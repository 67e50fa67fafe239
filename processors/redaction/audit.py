"""Counts what was found: by entity, and by entity, rule and surface."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from collector.model.telemetry import REDACTION_CACHE, REDACTION_FINDINGS, REDACTIONS

if TYPE_CHECKING:
    from collector.model.telemetry import Telemetry
    from processors.redaction.encoded import Encoded


class Audit:
    """What one batch adds to the counters; told to telemetry once, at the end."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.judged: Counter[str] = Counter()
        self._entities: Counter[str] = Counter()
        self._findings: Counter[tuple[str, str, str]] = Counter()

    def note(self, side: Encoded) -> None:
        """Count judged strings and every place where one stands, after its side was redacted.

        The loops are over what rules found, and on which surfaces, not over strings or places.
        """
        if not side.found:
            return
        strings = Counter(side.found)
        strings.subtract(side.found[place - side.unseen] for place in side.kept)
        for found, amount in strings.items():
            for entity in dict.fromkeys(entity for entity, _ in found):
                self._entities[entity] += amount
        numbers = {found: number for number, found in enumerate(strings)}
        finds = list(numbers)
        numbered = np.fromiter(map(numbers.__getitem__, side.found), np.int64, len(side.found))
        places = np.flatnonzero(side.codes >= side.unseen)
        leaves = np.searchsorted(side.starts, places, side="right") - 1
        combined = leaves * len(finds) + numbered[side.codes[places] - side.unseen]
        pairs, amounts = np.unique(combined, return_counts=True)
        for pair, amount in zip(pairs.tolist(), amounts.tolist(), strict=True):
            leaf = side.leaves[pair // len(finds)]
            if not leaf.is_tagging:  # its keys are counted beside their values
                surface = ".".join(leaf.path)
                for entity, rule in finds[pair % len(finds)]:
                    self._findings[entity, rule, surface] += amount

    def report(self, telemetry: Telemetry) -> None:
        """Add to the counters."""
        for how, amount in self.judged.items():
            telemetry.add(REDACTION_CACHE, amount, how)
        for entity, amount in self._entities.items():
            if amount:  # all strings with it may be kept
                telemetry.add(REDACTIONS, amount, entity)
        for labels, amount in self._findings.items():
            telemetry.add(REDACTION_FINDINGS, amount, *labels)
