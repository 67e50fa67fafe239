"""Journal and lake put together as the service does it, and what is in them, for tests."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from collector.model.signals import TRACES
from config.exporters import (
    CompactionSettings,
    JournalSettings,
    LakeSettings,
    RetentionSettings,
)
from storage.environment import Environment
from storage.journal import Journal
from storage.lake import Lake
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import BatchT, SpanBatch
    from collector.model.signals import Signal


def lake_settings(**changes: Any) -> LakeSettings:
    """Return settings that keep everything and unlink at once, with changes."""
    defaults = {
        "unlink_grace": 0.0,
        "retention": RetentionSettings(max_age=0, max_bytes=0),
        "compaction": CompactionSettings(min_files=4),
        "journal": JournalSettings(),
    }
    return LakeSettings(**{**defaults, **changes})


class Store:
    """An opened data directory; ``restored`` are the rows that a start replays."""

    def __init__(
        self,
        path: Path,
        settings: LakeSettings | None = None,
        environment: Environment | None = None,
        telemetry: RecordingTelemetry | None = None,
        signal: Signal = TRACES,
    ) -> None:
        """Open lake, then journal, then replay into the lake."""
        self.path = path
        self.telemetry = telemetry or RecordingTelemetry()
        settings = settings or lake_settings()
        environment = environment or Environment()
        self.lake = Lake(
            path,
            settings,
            self.telemetry,
            self._settled,
            signal=signal,
            environment=environment,
        )
        try:
            self.journal = Journal(
                path / "journal",
                settings.journal,
                self.telemetry,
                self.lake.source_id,
                self.lake.next_seq,
                owner=self.lake.owner,
                signal=signal,
                environment=environment,
            )
        except BaseException:  # a process would end
            self.lake._owner.close()
            raise
        self.restored = 0
        for batch in self.journal.replay(self.lake.settled_through):
            rest = self.lake.drop_committed(batch)
            self.restored += len(rest)
            self.lake.append(rest, 0)
        self.lake.append(signal.batch.empty(), self.journal.last_seq)

    def store(self, batch: BatchT) -> BatchT:
        """Take a batch the whole way to the buffer of the lake."""
        written = self.journal.write(batch)
        self.lake.append(written, self.journal.last_seq)
        return written

    def _settled(self, seq: int) -> None:
        self.journal.truncate(seq)

    def abandon(self) -> None:
        """Let go of the directory without finishing anything, as a killed process does."""
        self.journal.close()
        self.lake._owner.close()

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as a reader finds it."""
        content: dict[str, Any] = json.loads((self.path / "lake/_manifest.json").read_text())
        return content

    def rows(self, table: str = "spans") -> pa.Table:
        """Return all rows of a table as the manifest lists them."""
        return read_table(self.path, table)

    def span_ids(self) -> Counter[bytes]:
        """Return how often every span is stored."""
        return Counter(self.rows().column("span_id").to_pylist())


def read_table(path: Path, table: str = "spans") -> pa.Table:
    """Return all rows of a table of the lake in a data directory."""
    manifest = json.loads((path / "lake/_manifest.json").read_text())
    return pa.concat_tables(
        [pq.ParquetFile(path / "lake" / name).read() for name in manifest[table]],
    )


def ids_of(*batches: SpanBatch) -> Counter[bytes]:
    """Return the span ids of batches."""
    return Counter(i for batch in batches for i in batch.table.column("span_id").to_pylist())
