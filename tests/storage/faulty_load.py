"""A sidecar's load on a store whose disk may fail at any call, and what must be true of it."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from collector.model.errors import StorageUnavailable
from config.exporters import CompactionSettings, JournalSettings, RetentionSettings
from storage.environment import Environment
from storage.verify import verify
from tests.storage.batches import BASE_US, make_batch
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch
    from config.exporters import LakeSettings

ROWS = 6
_HOUR_US = 3_600_000_000
_EXPIRED_US = BASE_US - 2400 * _HOUR_US
_HELD_BATCHES = 2


def settings(**journal: Any) -> LakeSettings:
    """Return settings with which few batches turn segments over, merge and expire."""
    return lake_settings(
        journal=JournalSettings(segment_bytes=11_000, **journal),
        compaction=CompactionSettings(min_files=2),
        retention=RetentionSettings(max_age=48 * 3600.0, max_bytes=0),
    )


class Load:
    """Writes, flushes and maintains; remembers what was acknowledged and what was refused."""

    def __init__(self, path: Path, **journal: Any) -> None:
        """Nothing is open yet."""
        self.path = path
        self.store: Store | None = None
        self.refusals = 0
        self._settings = settings(**journal)
        self._seed = 0
        self._acked: Counter[bytes] = Counter()
        self._expired: set[bytes] = set()
        self._held: deque[SpanBatch] = deque()

    def open(self) -> Store:
        """Start as a process does; raises as it does."""
        self._held.clear()
        environment = Environment(now=lambda: BASE_US / 1e6)
        self.store = Store(self.path, self._settings, environment)
        return self.store

    def die(self) -> None:
        """Let go without finishing anything."""
        if self.store is not None:
            self.store.abandon()
        self.store = None

    def go_on(self, rounds: int) -> None:
        """Each round: write two batches, one to be expired; flush, maintain, read; at last write.

        Every second round begins a new day.
        """
        store = self.store
        assert store is not None
        for _ in range(rounds):
            self._write(store, BASE_US)
            self._write(store, _EXPIRED_US)
            store.lake.flush()
            store.lake.maintain()
            self.read()
        self._write(store, BASE_US)

    def read(self) -> Counter[bytes]:
        """Read what the manifest lists: files that can be read, each span acknowledged and once.

        Returns the spans of batches that retention leaves alone.
        """
        stored: Counter[bytes] = Counter()
        lake = self.path / "lake"
        for entry in json.loads((lake / "_manifest.json").read_text())["files"]:
            ids = pq.ParquetFile(lake / entry["path"]).read(["span_id"])
            assert ids.num_rows == entry["rows"]
            if entry["table"] == "spans":
                stored.update(ids.column("span_id").to_pylist())
        assert max(stored.values(), default=1) == 1
        assert not stored.keys() - self._acked.keys(), "a refused span is stored"
        return Counter(
            {span_id: n for span_id, n in stored.items() if span_id not in self._expired}
        )

    def finish(self) -> None:
        """Store what is pending and check that every acknowledged span is there once."""
        store = self.store
        assert store is not None
        while self._held:
            store.lake.append(self._held.popleft(), store.journal.last_seq - len(self._held))
        assert store.lake.flush()
        store.lake.maintain()
        wanted = Counter({i: n for i, n in self._acked.items() if i not in self._expired})
        assert self.read() == wanted
        assert store.lake.pending_rows == 0

    def check_after_restart(self) -> None:
        """Start anew: all is there still, sound, and nothing lies about."""
        self.die()
        self.store = self.open()
        self.finish()
        manifest = self.store.manifest()
        self.die()
        assert verify(self.path).findings == []
        lake = self.path / "lake"
        assert not list((lake / "staging").iterdir())
        found = {path.relative_to(lake).as_posix() for path in lake.rglob("*.parquet")}
        assert found == {name for table in ("spans", "span_events") for name in manifest[table]}

    def _write(self, store: Store, base_us: int) -> None:
        self._seed += 1
        batch = make_batch(ROWS, self._seed, base_us + self._seed // 4 * 25 * _HOUR_US)
        try:
            written = store.journal.write(batch)
        except StorageUnavailable:
            self.refusals += 1
            return
        self._acked += ids_of(batch)
        if base_us == _EXPIRED_US:
            self._expired.update(ids_of(batch))
        # as with tail sampling, a part of each batch is decided later than the next batches
        is_held = np.arange(ROWS) % 2 == 0
        self._held.append(written.keep(is_held))
        store.lake.append(written.keep(~is_held), store.journal.last_seq - len(self._held))
        if len(self._held) > _HELD_BATCHES:
            held = self._held.popleft()
            store.lake.append(held, store.journal.last_seq - len(self._held))
