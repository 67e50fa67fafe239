"""CPU and bytes of the storage path alone: journal write, flush, compaction, replay.

Run: ``python tests/bench/storage_micro.py [DIRECTORY]``. CPU is that of this process, all threads.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))


from config.exporters import CompactionSettings, JournalSettings, LakeSettings, RetentionSettings
from storage.journal import Journal
from storage.lake import Lake
from storage.lake_tables import SPANS
from tests.storage.batches import BASE_US, make_batch
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 512
FLUSHES = 20
BATCHES_A_FLUSH = 40


def main() -> None:
    """Print a line a step."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    for _ in range(2):  # the first round pays for memory that the machine never touched before
        with tempfile.TemporaryDirectory(dir=parent) as directory:
            _run(Path(directory))


def _run(path: Path) -> None:
    telemetry = RecordingTelemetry()
    settings = LakeSettings(
        max_pending_bytes=2**40,
        unlink_grace=0,
        journal=JournalSettings(max_bytes=2**40),
        retention=RetentionSettings(max_age=0),
        compaction=CompactionSettings(min_files=8),
    )
    lake = Lake(path / "data", settings, telemetry, lambda _seq: None)
    journal = Journal(
        path / "data" / "journal", settings.journal, telemetry, lake.source_id, lake.next_seq
    )
    spacing_us = 1_500_000 // BATCHES_A_FLUSH
    made = [make_batch(ROWS, seed) for seed in range(BATCHES_A_FLUSH)]
    for batch in made:
        journal.write(batch)
    cpu = {"write": 0.0, "append": 0.0, "flush": 0.0}
    for flush in range(FLUSHES):
        at = [BASE_US + (flush * BATCHES_A_FLUSH + i) * spacing_us for i in range(BATCHES_A_FLUSH)]
        batches = [make_batch(ROWS, 1000 + flush * 100 + i, at[i]) for i in range(BATCHES_A_FLUSH)]
        written = []
        cpu["write"] += _cpu(lambda b=batches, w=written: w.extend(map(journal.write, b)))
        cpu["append"] += _cpu(lambda w=written: [lake.append(b, journal.last_seq) for b in w])
        cpu["flush"] += _cpu(lake.flush)
    spans = FLUSHES * BATCHES_A_FLUSH * ROWS
    for name, seconds in cpu.items():
        print(f"{name:12} {seconds / spans * 1e6:6.2f} us CPU a span")
    entries = list(lake._files())
    events = sum(e.rows for e in entries if e.table != SPANS)
    print(f"journal      {journal.size_bytes / (spans + len(made) * ROWS):6.0f} bytes a span")
    print(
        f"lake         {sum(e.bytes for e in entries) / spans:6.0f} bytes a span ({events} events)"
    )
    seconds = _cpu(lake.maintain)
    entries = list(lake._files())
    print(f"compaction   {seconds / spans * 1e6:6.2f} us CPU a span, to {len(entries)} files")
    print(f"lake         {sum(e.bytes for e in entries) / spans:6.0f} bytes a span")
    journal.close()
    again = Journal(path / "data" / "journal", settings.journal, telemetry, lake.source_id, 1)
    replayed: list[int] = []
    seconds = _cpu(lambda: replayed.extend(len(batch) for batch in again.replay(0)))
    print(f"replay       {seconds / sum(replayed) * 1e6:6.2f} us CPU a span")
    lake.close()


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
