"""A user's processor that never returns, found on PYTHONPATH as `stuck_processor:Stuck`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch


class Stuck:
    """Creates a file when the first batch comes, and then waits for ever."""

    def __init__(self, entered: str) -> None:
        """Keep the path of the file to create."""
        self._entered = Path(entered)

    def process(self, batch: SpanBatch) -> SpanBatch:
        """Say that it is stuck, and be so."""
        self._entered.touch()
        threading.Event().wait()
        return batch
