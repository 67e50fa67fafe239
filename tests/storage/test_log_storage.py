"""Log records in a journal and lake of their own, beside the spans'."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from collector.model import schema as s
from collector.model.errors import DirectoryInUse
from collector.model.log_schema import RECORD_IDX
from config.exporters import RetentionSettings, ServiceRetention
from storage.backup import backup
from storage.environment import Environment
from storage.files import DirectoryLock
from storage.lake_tables import partition_of
from storage.repair import repair
from storage.rewrite import stored_signals
from storage.sql import run_query
from storage.verify import verify
from tests.storage.batches import BASE_US
from tests.storage.damage import flip, state_of
from tests.storage.log_batches import ROWS, log_batch, log_request, log_store, make_data, make_logs
from tests.storage.recording import RecordingTelemetry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.storage.store import Store

HOUR_US = 3_600_000_000
BODIES = "SELECT body FROM logs"


def stored(store: Store) -> Counter[tuple[int, int]]:
    """Return how often each record is stored, by batch and position."""
    rows = store.rows("logs")
    keys = (rows.column(name).to_pylist() for name in (s.BATCH_SEQ, RECORD_IDX))
    return Counter(zip(*keys, strict=True))


def all_of(batches: int) -> Counter[tuple[int, int]]:
    """Return what is expected of so many batches."""
    return Counter((seq + 1, place) for seq in range(batches) for place in range(ROWS))


def test_what_was_journalled_is_stored_once(tmp_path: Path) -> None:
    """Scenario: three flushes, two batches only in the journal, and then no process.

    Guarantees: the next start has all of them once; columns come back as they were written.
    """
    make_data(tmp_path, journalled=2)
    store = log_store(tmp_path)
    assert store.restored == 2 * ROWS
    assert store.lake.flush()
    assert stored(store) == all_of(5)
    written = make_logs(1001).table
    last = store.rows("logs").filter(
        [seq == 5 for seq in store.rows("logs").column(s.BATCH_SEQ).to_pylist()]
    )
    for name in set(written.column_names) - {s.SOURCE_ID, s.BATCH_SEQ}:
        assert last.column(name).to_pylist() == written.column(name).to_pylist(), name
    store.lake.close()


def test_a_lost_manifest_stores_nothing_twice(tmp_path: Path) -> None:
    """Scenario: manifest and copy are gone, and the journal has what the files have as well.

    Guarantees: the lake is rebuilt from its files; the replay brings only what is in none.
    """
    store = log_store(tmp_path)
    for seed in range(3):
        store.store(make_logs(seed))
    kept = {path: path.read_bytes() for path in (tmp_path / "logs/journal").glob("*.wal")}
    store.lake.flush()
    store.abandon()
    for path, content in kept.items():
        path.write_bytes(content)
    for name in ("_manifest.json", "_manifest.copy.json"):
        (tmp_path / "logs/lake" / name).unlink()
    again = log_store(tmp_path)
    assert again.restored == 0
    assert stored(again) == all_of(3)
    again.lake.close()


def test_a_damaged_header_loses_no_batch(tmp_path: Path) -> None:
    """Scenario: bytes of a journal segment's header are wrong. Guarantee: its batches come back."""
    make_data(tmp_path, flushes=0, journalled=1)
    (segment,) = (tmp_path / "logs/journal").glob("*.wal")
    flip(segment, 100)
    store = log_store(tmp_path)
    assert store.restored == ROWS
    store.abandon()


def test_hours_are_those_of_the_best_time_known(tmp_path: Path) -> None:
    """Scenario: a record with a time, one only observed, one with neither, one from the far future.

    Guarantees: each lies in the hour of its time, else of its observation, else of its arrival.
    """
    nanos = BASE_US * 1000
    store = log_store(tmp_path)
    store.store(
        log_batch(
            log_request(
                {"time_unix_nano": nanos - HOUR_US * 2000, "observed_time_unix_nano": nanos},
                {"observed_time_unix_nano": nanos - HOUR_US * 1000},
                {},
                {"time_unix_nano": 2**63 + 5},
            )
        )
    )
    store.lake.flush()
    hour = BASE_US // HOUR_US
    rows = {
        entry.partition: entry.rows for entry in state_of(tmp_path / "logs/lake").files.values()
    }
    assert rows == {partition_of(hour - 2): 1, partition_of(hour - 1): 1, partition_of(hour): 2}
    store.lake.close()
    assert verify(tmp_path / "logs").is_sound


def test_small_files_are_merged_and_services_expire(tmp_path: Path) -> None:
    """Scenario: five flushes in one hour, of two services, one of which has had its time.

    Guarantees: one file is left, without the expired service; the counters say so.
    """
    now = BASE_US / 1e6 + 8 * 86400
    store = log_store(
        tmp_path,
        retention=RetentionSettings(
            max_age=0, max_bytes=0, services=(ServiceRetention(service="gone", max_age=3600),)
        ),
    )
    for seed in range(5):
        store.store(make_logs(seed, service="gone" if seed == 2 else "checkout"))
        store.lake.flush()
    store.lake._maintenance._clock._environment = Environment(now=lambda: now)
    store.lake.maintain()
    assert len(state_of(tmp_path / "logs/lake").files) == 1
    assert set(store.rows("logs").column(s.SERVICE_NAME).to_pylist()) == {"checkout"}
    assert store.rows("logs").num_rows == 4 * ROWS
    reason = ("clearspan_lake_expired_log_records_total", "service")
    assert store.telemetry.sums[reason] == ROWS
    store.lake.close()


def test_verify_reads_both_and_finds_every_wrong_byte(tmp_path: Path) -> None:
    """Scenario: a sound data directory, then one bit wrong at every 23rd byte of a logs file.

    Guarantees: both signals are counted; every flip is found and named below ``logs/``.
    """
    lake = make_data(tmp_path, flushes=1, journalled=1)
    report = verify(tmp_path)
    assert report.findings == []
    assert report.logs is not None
    assert (report.rows, report.logs.rows) == ({"spans": ROWS, "span_events": 8}, {"logs": ROWS})
    assert (report.logs.journal.frames, report.logs.journal.rows) == (1, ROWS)
    (entry,) = state_of(lake).files.values()
    content = (lake / entry.path).read_bytes()
    for position in range(0, len(content), 23):
        flip(lake / entry.path, position, 1 << position % 8)
        named = {one.file for one in verify(tmp_path).findings if one.level == "error"}
        assert named == {f"logs/lake/{entry.path}"}, position
        (lake / entry.path).write_bytes(content)


def test_repair_puts_a_damaged_file_aside(tmp_path: Path) -> None:
    """Scenario: a logs file is cut. Guarantees: foretold, then set aside; the rest is sound."""
    lake = make_data(tmp_path, journalled=0)
    entry = next(iter(state_of(lake).files.values()))
    (lake / entry.path).write_bytes(b"PAR1")
    foretold = repair(tmp_path, dry_run=True)
    done = repair(tmp_path)
    assert [one.file for one in done.actions] == [one.file for one in foretold.actions]
    assert done.actions[0].file == f"logs/lake/{entry.path}"
    assert (done.rows["spans"], done.rows["logs"]) == (3 * ROWS, 2 * ROWS)
    assert verify(tmp_path).is_sound
    assert len(run_query(tmp_path, BODIES)) == 2 * ROWS


def test_a_repair_that_cannot_have_the_log_records_changes_nothing(tmp_path: Path) -> None:
    """Scenario: a spans file is cut, and another process has the log records.

    Guarantees: it is refused with nothing done, rather than done by half and not said.
    """
    make_data(tmp_path, journalled=0)
    cut = tmp_path / "lake" / next(iter(state_of(tmp_path / "lake").files))
    cut.write_bytes(b"PAR1")
    owner = DirectoryLock(tmp_path / "logs")
    with pytest.raises(DirectoryInUse, match="logs: in use by process"):
        repair(tmp_path)
    owner.close()
    assert cut.read_bytes() == b"PAR1"
    assert repair(tmp_path).actions[0].file == f"lake/{cut.relative_to(tmp_path / 'lake')}"


def test_a_backup_holds_the_log_records_too(tmp_path: Path) -> None:
    """Scenario: a backup, more log records, and the backup brought up to date.

    Guarantees: SQL on the copy answers as on the original each time; the copy is sound.
    """
    data, copy = tmp_path / "data", tmp_path / "copy"
    make_data(data, journalled=1)
    assert backup(data, copy).copied_files == 9
    assert len(run_query(copy, BODIES)) == 3 * ROWS
    store = log_store(data)
    store.lake.close()
    report = backup(data, copy, update=True)
    assert (report.copied_files, report.kept_files) == (1, 9)
    answers = [run_query(path, f"{BODIES} ORDER BY 1").table for path in (data, copy)]
    assert answers[0].equals(answers[1])
    assert len(answers[0]) == 4 * ROWS
    assert verify(copy).is_sound


def test_a_directory_of_before_there_were_log_records(tmp_path: Path) -> None:
    """Scenario: a data directory without ``logs``.

    Guarantees: queries, verify, repair and backup work as ever; the view is empty.
    """
    data, copy = tmp_path / "data", tmp_path / "copy"
    make_data(data)
    (data / "logs").rename(tmp_path / "elsewhere")
    for sql in ("FROM logs", "FROM trace_logs('00')", "FROM feedback"):
        assert len(run_query(data, sql)) == 0
    assert len(run_query(data, "FROM spans")) == 3 * ROWS
    report = verify(data)
    assert (report.is_sound, report.logs) == (True, None)
    assert repair(data).actions == []
    backup(data, copy)
    assert not (copy / "logs").exists()


def test_a_first_start_that_is_not_done_with_the_log_records(tmp_path: Path) -> None:
    """Scenario: the first start with log records is at their lake, or was killed there.

    Guarantees: verify, backup, repair and erasing take what there is, the spans; once the lake has
    a manifest, its loss is an error.
    """
    data, copy = tmp_path / "data", tmp_path / "copy"
    make_data(data)
    (data / "logs").rename(tmp_path / "elsewhere")
    (data / "logs" / "lake" / "staging").mkdir(parents=True)
    (data / "logs" / "lake" / "logs").mkdir()
    shutil.copy(tmp_path / "elsewhere" / "lake" / "logs" / "_empty.parquet", data / "logs" / "lake")
    assert verify(data).is_sound
    assert repair(data).actions == []
    assert backup(data, copy).copied_files == 6
    with stored_signals(data, 0.0, RecordingTelemetry()) as stores:
        assert len(stores) == 1
    (data / "logs" / "journal").mkdir()
    assert not verify(data).is_sound
