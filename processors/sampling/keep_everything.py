"""The sampler of signals that are not sampled."""

from __future__ import annotations

from typing import Generic

from collector.model.batch import BatchT
from collector.model.contracts import Sampled


class KeepEverything(Generic[BatchT]):
    """A ``Sampler`` that lets every row go at once, as it is."""

    pending_spans = 0
    oldest_pending_seq = None

    def __init__(self, kind: type[BatchT]) -> None:
        """Keep batches of this kind."""
        self._nothing = Sampled(kind.empty())

    def offer(self, batch: BatchT) -> Sampled[BatchT]:
        """Return the batch."""
        return Sampled(batch)

    def due(self) -> Sampled[BatchT]:
        """Return no row: nothing is ever held back."""
        return self._nothing

    def drain(self) -> Sampled[BatchT]:
        """Return no row."""
        return self._nothing
