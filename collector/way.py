"""One signal's way through the sidecar: its pipeline, and the journal and lake behind it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, cast

import structlog

from collector.model.batch import BatchT
from collector.model.errors import StorageUnavailable
from collector.pipeline import Pipeline
from storage.data_directory import JOURNAL
from storage.journal import Journal
from storage.lake import Lake
from storage.live_erasure import LiveStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.intake import IntakeQueue
    from collector.model.signals import Signal
    from collector.model.telemetry import Telemetry
    from collector.pipeline import Parts
    from collector.redact_again import RedactAgain
    from config.exporters import LakeSettings

_log = structlog.get_logger("clearspan")


class Storage:
    """Journal and lake of a signal in one directory, which they own."""

    def __init__(
        self, signal: Signal, path: Path, settings: LakeSettings, telemetry: Telemetry
    ) -> None:
        """Open both; raises ``StartupError`` when the directory cannot be had."""
        self.signal = signal
        self.max_pending_bytes = settings.max_pending_bytes
        self.path = path
        self.lake = Lake(path, settings, telemetry, self._on_settled, signal=signal)
        self.journal = Journal(
            path / JOURNAL,
            settings.journal,
            telemetry,
            source_id=self.lake.source_id,
            first_seq=self.lake.next_seq,
            owner=self.lake.owner,
            signal=signal,
        )

    @property
    def live(self) -> LiveStore:
        """The same for erasure."""
        return LiveStore(self.path, self.lake, self.journal)

    @property
    def takes_data(self) -> bool:
        """Whether a request would be stored now."""
        try:
            self.lake.check_capacity()
        except StorageUnavailable:
            return False
        return not self.journal.is_failing

    def _on_settled(self, through: int) -> None:
        self.journal.truncate(through)


class Way(Generic[BatchT]):
    """A pipeline and its storage, started and stopped together."""

    def __init__(
        self,
        storage: Storage,
        parts: Parts[BatchT],
        intake: IntakeQueue,
        telemetry: Telemetry,
        again: RedactAgain,
    ) -> None:
        """Put the parts together; ``again`` redacts what was journalled under other rules."""
        self.storage = storage
        self.pipeline = Pipeline(parts, intake, telemetry)
        self._again = again
        telemetry.sample(storage.signal.metrics.pending, self._pending)

    def start(self) -> None:
        """Replay the journal, then work."""
        last_seq = self.storage.journal.last_seq
        replayed = self.pipeline.replay(self._uncommitted(), last_seq)
        if replayed:
            _log.info("replayed journal", **{self.storage.signal.items.replace(" ", "_"): replayed})
        self.storage.lake.start()
        self.pipeline.start()

    def drain(self, deadline: float) -> bool:
        """Finish what was admitted, until a time of ``time.monotonic``; return whether that was."""
        return self.pipeline.stop(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Flush and let go of the directory.

        The lake has the lock, so it is the last: a worker that is stuck since before the grace was
        over must not journal beside the next process.
        """
        self.storage.journal.close()
        self.storage.lake.close()

    def _uncommitted(self) -> Iterator[BatchT]:
        """Yield what is in the journal and not in the lake, flushing before memory fills up."""
        lake = self.storage.lake
        for batch in self.storage.journal.replay(lake.settled_through):
            if lake.pending_bytes >= self.storage.max_pending_bytes:
                lake.flush()
            up_to_date = batch if self._again.meets(batch) else self._again.batch(batch)
            # a journal only holds batches of its own signal
            yield cast("BatchT", lake.drop_committed(up_to_date))

    def _pending(self) -> int:
        return self.pipeline.pending_rows + self.storage.lake.pending_rows
