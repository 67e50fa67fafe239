"""`clearspan repair` makes a damaged lake sound, loses no row that is readable, and says it all."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from collector.model.errors import StartupError
from storage import manifest_text
from storage.erasure import Condition, find
from storage.lake_tables import SPANS
from storage.manifest import Manifest
from storage.repair import RepairReport, repair
from storage.rewrite import stored_signals
from storage.verify import verify
from tests.storage.batches import make_batch
from tests.storage.damage import (
    DAMAGE,
    NAMES,
    ROWS,
    change_entry,
    first_file,
    flip,
    forget_checksums,
    make_lake,
    snapshot,
    state_of,
    write_manifest,
)
from tests.storage.recording import RecordingTelemetry
from tests.storage.store import Store, ids_of, lake_settings

if TYPE_CHECKING:
    from pathlib import Path


def contents(data: Path) -> dict[str, bytes]:
    """Return what every file holds, but for the lock's pid."""
    found = {name: content for name, (_, content) in snapshot(data).items()}
    found.pop("LOCK", None)
    return found


def repaired(data: Path) -> RepairReport:
    """Repair, after a dry run that must foretell it and change nothing; then all must be sound."""
    before = contents(data)
    foretold = repair(data, dry_run=True)
    assert contents(data) == before
    done = repair(data)
    assert done == foretold
    report = verify(data)
    assert report.is_sound, report.findings
    assert (report.files, report.rows) == (done.files, done.rows)
    assert repair(data).actions == []
    return done


def spans_after_start(data: Path) -> dict[bytes, int]:
    """Start on a directory, let it replay and flush, and return how often each span is there."""
    store = Store(data)
    assert store.lake.flush()
    found = store.span_ids()
    store.abandon()
    return found


def test_a_sound_lake_is_left_alone(tmp_path: Path) -> None:
    """Scenario: nothing is wrong. Guarantee: nothing is said, no byte is changed."""
    make_lake(tmp_path)
    before = contents(tmp_path)
    done = repair(tmp_path)
    assert (done.actions, done.left, done.files) == ([], [], 6)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("how", [*DAMAGE, "gone"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, how: str) -> None:
    """Scenario: one file of six is damaged or missing.

    Guarantee: said with its rows; the damaged one is in quarantine as it was found; all other
    rows are there after a start, once, and so is what was only in the journal.
    """
    lake = make_lake(tmp_path)
    victim = first_file(lake)
    path = lake / victim.path
    path.unlink() if how == "gone" else DAMAGE[how](path)
    content = None if how == "gone" else path.read_bytes()
    (action,) = repaired(tmp_path).actions
    assert action.file == f"lake/{victim.path}"
    assert f"{ROWS} rows" in action.what
    aside = [one.read_bytes() for one in (lake / "quarantine").glob("*")]
    assert aside == ([] if content is None else [content])
    batches = [make_batch(ROWS, seed) for seed in (1, 2, 1000)]
    assert spans_after_start(tmp_path) == ids_of(*batches)


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], NAMES])
@pytest.mark.parametrize("how", ["gone", "empty", "flipped"])
def test_manifests_are_made_anew(tmp_path: Path, how: str, names: tuple[str, ...]) -> None:
    """Scenario: the manifest, its copy or both are gone or damaged; files replaced by a merge are
    still there.

    Guarantee: no row is lost, none is there twice.
    """  # noqa: D205 - the scenario needs two lines
    lake = make_lake(tmp_path, flushes=5)
    store = Store(tmp_path, lake_settings(unlink_grace=3600.0))
    store.lake.maintain()
    store.abandon()
    for name in names:
        path = lake / name
        if how == "gone":
            path.unlink()
        elif how == "empty":
            path.write_bytes(b"")
        else:
            flip(path, 100)
    actions = repaired(tmp_path).actions
    assert {f"lake/{name}" for name in names} <= {action.file for action in actions}
    batches = [make_batch(ROWS, seed) for seed in (*range(5), 1000)]
    assert spans_after_start(tmp_path) == ids_of(*batches)


def test_both_manifests_and_a_file(tmp_path: Path) -> None:
    """Scenario: both manifests are gone, and the merged file is damaged while what it replaced is
    still there.

    Guarantee: the rows come from the files it replaced.
    """  # noqa: D205 - the scenario needs two lines
    lake = make_lake(tmp_path, flushes=5, journalled=0)
    store = Store(tmp_path, lake_settings(unlink_grace=3600.0))
    store.lake.maintain()
    store.abandon()
    DAMAGE["page"](lake / first_file(lake).path)
    for name in NAMES:
        (lake / name).unlink()
    repaired(tmp_path)
    assert spans_after_start(tmp_path) == ids_of(*(make_batch(ROWS, seed) for seed in range(5)))


def test_a_commit_of_which_a_part_is_missing(tmp_path: Path) -> None:
    """Scenario: both manifests are gone, and of the last commit's two files one.

    Guarantee: as at a start, the other is set aside, since the commit may not have happened.
    """
    lake = make_lake(tmp_path, flushes=3, journalled=0)
    *_, last = (one for one in state_of(lake).files.values() if one.table == "span_events")
    (lake / last.path).unlink()
    for name in NAMES:
        (lake / name).unlink()
    *_, action = repaired(tmp_path).actions
    assert action.what.startswith("not all files that were committed with it are there")
    assert sum(spans_after_start(tmp_path).values()) == 2 * ROWS


def test_what_a_damaged_merge_replaced_is_taken_back(tmp_path: Path) -> None:
    """Scenario: the manifest is good, a merged file has a wrong page, its inputs are still there.

    Guarantee: they are listed again, and no row is lost.
    """
    lake = make_lake(tmp_path, flushes=5, journalled=0)
    store = Store(tmp_path, lake_settings(unlink_grace=3600.0))
    store.lake.maintain()
    store.abandon()
    DAMAGE["page"](lake / first_file(lake).path)
    done = repaired(tmp_path)
    assert sum("taken back" in action.what for action in done.actions) == 5
    assert spans_after_start(tmp_path) == ids_of(*(make_batch(ROWS, seed) for seed in range(5)))


def test_a_manifest_that_is_wrong(tmp_path: Path) -> None:
    """Scenario: a manifest whose checksum is right says wrong rows of one file, lists one that
    never was and one outside of the lake, and a merged file beside what it replaced.

    Guarantee: corrected; the file outside is not touched, and no row is lost or there twice.
    """  # noqa: D205 - the scenario needs two lines
    lake = make_lake(tmp_path / "data", flushes=4, journalled=0)
    old = state_of(lake)
    outside = tmp_path / "mine.parquet"
    outside.write_text("mine")
    store = Store(tmp_path / "data", lake_settings(unlink_grace=3600.0))
    store.lake.maintain()
    store.abandon()
    change_entry(lake, first_file(lake).path, rows=7)
    state, entry = state_of(lake), next(iter(old.files.values()))
    absent = replace(entry, path=f"spans/{entry.partition}/000000000001-00000000.parquet", rows=9)
    stranger = replace(entry, path="../../mine.parquet")
    listed = {one.path: one for one in (*state.files.values(), entry, absent, stranger)}
    write_manifest(lake, replace(state, files=listed))
    said = {action.file: action.what for action in repaired(tmp_path / "data").actions}
    assert "9 rows are lost" in said[f"lake/{absent.path}"]
    assert said[f"lake/{stranger.path}"].startswith("is no name of a file")
    assert (
        "the manifest says 7: the manifest was corrected" in said[f"lake/{first_file(lake).path}"]
    )
    assert said[f"lake/{entry.path}"] == "dropped: what replaced it is in the manifest too"
    assert outside.read_text() == "mine"
    batches = [make_batch(ROWS, seed) for seed in range(4)]
    assert spans_after_start(tmp_path / "data") == ids_of(*batches)


def test_checksums_are_added(tmp_path: Path) -> None:
    """Scenario: a lake of before file checksums. Guarantee: it has them after, nothing else."""
    lake = make_lake(tmp_path)
    with_checksums = state_of(lake).files
    forget_checksums(lake)
    (action,) = repaired(tmp_path).actions
    assert action.what == "checksums of 6 files added"
    assert state_of(lake).files == with_checksums


def test_a_damaged_journal(tmp_path: Path) -> None:
    """Scenario: one batch of four in the journal is damaged, or the first segment is gone.

    Guarantee: the good batches stay and are replayed, the segment as found is in quarantine.
    """
    make_lake(tmp_path, flushes=1, journalled=4)
    (segment,) = (tmp_path / "journal").glob("*.wal")
    flip(segment, segment.stat().st_size // 2)
    (action,) = repaired(tmp_path).actions
    assert action.file == f"journal/{segment.name}"
    assert sum(spans_after_start(tmp_path).values()) == (1 + 3) * ROWS


def test_a_hole_before_the_journal(tmp_path: Path) -> None:
    """Scenario: somebody deleted the oldest segment. Guarantee: said, and settled after."""
    make_lake(tmp_path, flushes=1, journalled=1)
    (segment,) = (tmp_path / "journal").glob("*.wal")
    store = Store(tmp_path)
    store.journal.write(make_batch(ROWS, 7))
    store.abandon()
    segment.unlink()
    assert not verify(tmp_path).is_sound
    (action,) = repaired(tmp_path).actions
    assert action.what == "settled_through raised from 1 to 2, where the journal begins"
    assert sum(spans_after_start(tmp_path).values()) == 2 * ROWS


def test_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """Scenario: a manifest of format version 7. Guarantee: refused, named, nothing changed."""
    lake = make_lake(tmp_path)
    state = state_of(lake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_text, "FORMAT_VERSION", 7)
        write_manifest(lake, state)
    before = contents(tmp_path)
    with pytest.raises(StartupError, match=r"_manifest\.json has format version 7"):
        repair(tmp_path)
    assert contents(tmp_path) == before


def test_a_running_writer(tmp_path: Path) -> None:
    """Scenario: another process has the directory. Guarantee: refused with its pid, dry or not."""
    make_lake(tmp_path)
    code = (
        "import sys; from pathlib import Path; from storage.files import DirectoryLock\n"
        "lock = DirectoryLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        before = contents(tmp_path)
        for dry_run in (True, False):
            with pytest.raises(StartupError, match=f"in use by process {holder.pid}"):
                repair(tmp_path, dry_run=dry_run)
        assert contents(tmp_path) == before
        assert verify(tmp_path).is_sound
        holder.kill()
        holder.wait()
    assert repair(tmp_path).actions == []


def test_where_there_is_no_lake(tmp_path: Path) -> None:
    """Scenario: a typo, or an empty directory. Guarantee: refused, and nothing is made there."""
    for data in (tmp_path / "no", tmp_path):
        with pytest.raises(StartupError, match="there is no lake in the data directory"):
            repair(data)
    assert list(tmp_path.iterdir()) == []


def test_what_was_erased_does_not_come_back(tmp_path: Path) -> None:
    """Scenario: a file that erasing wrote is damaged while the one before it is still there.

    Guarantee: its rows are lost rather than the erased ones are back.
    """
    lake = make_lake(tmp_path, flushes=1, journalled=0)
    with stored_signals(tmp_path, 3600, RecordingTelemetry()) as (stored,):
        spans = next(entry for entry in stored.files if entry.table == SPANS)
        gone = find([stored], Condition(where="span_id < '8'"))
        assert 0 < stored.rewrite_file(spans, gone).after < ROWS
    assert (lake / spans.path).exists()
    victim = first_file(lake)
    assert victim.path != spans.path
    DAMAGE["page"](lake / victim.path)
    repaired(tmp_path)
    assert spans_after_start(tmp_path) == {}


@pytest.mark.parametrize("is_repaired", [True, False])
def test_a_file_of_which_nothing_was_left_does_not_come_back(
    tmp_path: Path, *, is_repaired: bool
) -> None:
    """Scenario: erasing leaves no row of a file; both manifests are lost before its grace is over.

    Guarantee: neither repair nor a start brings a row back, what was not erased stays, and after
    the grace nothing is left of it on the disk.
    """
    lake = make_lake(tmp_path, flushes=2, journalled=0)
    with stored_signals(tmp_path, 3600, RecordingTelemetry()) as (stored,):
        files = sorted((one for one in stored.files if one.table == SPANS), key=lambda f: f.min_seq)
        gone = find([stored], Condition(where="batch_seq = 1"))
        assert [stored.rewrite_file(files[0], gone).after, len(stored.files)] == [0, 3]
    assert (lake / files[0].path).exists()
    for name in NAMES:
        (lake / name).unlink()
    if is_repaired:
        assert {action.file for action in repaired(tmp_path).actions} == {
            f"lake/{name}" for name in NAMES
        }
    assert spans_after_start(tmp_path) == ids_of(make_batch(ROWS, 1))
    with stored_signals(tmp_path, 0, RecordingTelemetry()) as (stored,):
        assert stored.unlink_replaced() == []
    assert len(list((lake / SPANS).glob("date=*/**/*.parquet"))) == 1


def test_a_file_without_rows_that_stays_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: erasing leaves no row of a file, and the disk refuses the commit after its own.

    Guarantee: what it replaced is unlinked all the same, all is sound, and the next start takes the
    file without rows out.
    """
    lake = make_lake(tmp_path, flushes=2, journalled=0)
    commit = Manifest.commit

    def refusing(self: Manifest, *args: Any, **options: Any) -> bool:
        if "add" not in options:
            raise OSError(errno.ENOSPC, "no room")
        return commit(self, *args, **options)

    with stored_signals(tmp_path, 0, RecordingTelemetry()) as (stored,):
        spans = min((one for one in stored.files if one.table == SPANS), key=lambda f: f.min_seq)
        gone = find([stored], Condition(where="batch_seq = 1"))
        monkeypatch.setattr(Manifest, "commit", refusing)
        assert stored.rewrite_file(spans, gone).after == 0
        assert stored.unlink_replaced() == []
        monkeypatch.undo()
    assert not (lake / spans.path).exists()
    assert [one.rows for one in state_of(lake).files.values() if one.table == SPANS] == [ROWS, 0]
    assert verify(tmp_path).is_sound
    assert spans_after_start(tmp_path) == ids_of(make_batch(ROWS, 1))
    assert [one.rows for one in state_of(lake).files.values() if one.table == SPANS] == [ROWS]
