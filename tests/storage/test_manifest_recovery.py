"""Opening a lake with a damaged manifest or file: nothing lost, nothing twice, no crash loop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from collector.model import telemetry as t
from collector.model.errors import StartupError
from storage.manifest_text import ManifestDamagedError, parse
from tests.storage.batches import make_batch
from tests.storage.store import ids_of, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.storage.conftest import Opener

NAMES = ("_manifest.json", "_manifest.copy.json")


def stored_and_abandoned(open_store: Opener, flushes: int = 4) -> tuple[Path, list]:
    """Leave a lake with flushed, merged and only journalled batches, as a crash would."""
    store = open_store(settings=lake_settings(unlink_grace=3600.0))
    batches = []
    for seed in range(flushes):
        batches.append(store.store(make_batch(40, seed)))
        store.lake.flush()
    store.lake.maintain()
    batches.append(store.store(make_batch(40, 100)))
    store.lake.flush()
    batches.append(store.store(make_batch(40, 101)))
    store.abandon()
    return store.path / "lake", batches


@pytest.mark.parametrize("damaged", [NAMES[:1], NAMES[1:], NAMES])
@pytest.mark.parametrize("how", ["gone", "empty", "garbage", "half", "flipped", "other json"])
def test_a_damaged_manifest_costs_nothing(
    open_store: Opener,
    damaged: tuple[str, ...],
    how: str,
) -> None:
    """Scenario: the manifest, its copy or both are missing, cut, flipped or foreign, while files
    replaced by compaction are still on disk and one batch is only in the journal.

    Guarantee: every span is there once after the start, and after the next one; what was damaged
    is kept aside.
    """  # noqa: D205 - the scenario needs two lines
    lake, batches = stored_and_abandoned(open_store)
    for name in damaged:
        content = (lake / name).read_bytes()
        middle = len(content) // 2
        variants = {
            "empty": b"",
            "garbage": b"\x00\xff" * 50,
            "half": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "other json": b'{"generation": 1}',
        }
        if how == "gone":
            (lake / name).unlink()
        else:
            (lake / name).write_bytes(variants[how])
    for _ in range(2):
        store = open_store()
        assert store.lake.flush()
        assert store.span_ids() == ids_of(*batches)
        store.abandon()
    if how != "gone" and damaged != NAMES[1:]:
        assert len(list(lake.glob("*.damaged*"))) == len(damaged)


def test_every_flipped_byte_of_a_manifest_is_noticed(open_store: Opener) -> None:
    """Scenario: each byte of a manifest is changed in turn, and each shorter one is read.

    Guarantee: never taken for a manifest.
    """
    lake, _ = stored_and_abandoned(open_store, 1)
    content = (lake / NAMES[0]).read_bytes()
    parse(content)
    for position in range(len(content)):
        flipped = content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        for variant in (flipped, content[:position]):
            with pytest.raises(ManifestDamagedError):
                parse(variant)


def test_a_manifest_of_a_later_version_is_left_alone(open_store: Opener) -> None:
    """Scenario: a downgrade. Guarantee: one clear error naming file and version, no change."""
    lake, _ = stored_and_abandoned(open_store, 1)
    from storage import manifest_text  # noqa: PLC0415 - to write as a later version

    state = parse((lake / NAMES[0]).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_text, "FORMAT_VERSION", 3)
        content = manifest_text.render(state, 0.0)
    (lake / NAMES[0]).write_bytes(content)
    with pytest.raises(StartupError, match=r"_manifest\.json: format version 3"):
        open_store()
    assert (lake / NAMES[0]).read_bytes() == content


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "end"])
def test_a_damaged_file_is_put_aside(open_store: Opener, how: str) -> None:
    """Scenario: one Parquet file of many is missing, empty, cut short or overwritten at its end.

    Guarantee: the others are read as before; the file is in quarantine, counted, and not found
    damaged again at the next start.
    """
    lake, batches = stored_and_abandoned(open_store)
    files = [f for f in read_manifest(lake)["files"] if f["table"] == "spans"]
    victim = next(f for f in files if f["rows"] == 40)
    path = lake / victim["path"]
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[:-9], "end": content[:-4] + b"XXXX"}[how])
    store = open_store()
    assert store.telemetry.sums[t.LAKE_QUARANTINED.name,] == 1
    assert store.lake.flush()
    assert store.span_ids() == ids_of(*batches[:-2], batches[-1])
    assert len(list((lake / "quarantine").glob("*"))) == (0 if how == "gone" else 1)
    store.abandon()
    assert open_store().telemetry.sums[t.LAKE_QUARANTINED.name,] == 0


def test_a_flipped_page_is_found_by_compaction(open_store: Opener) -> None:
    """Scenario: one byte in a data page is wrong; the file is to be merged.

    Guarantee: the merge does not spread it: the file is put aside, the others are merged.
    """
    store = open_store()
    batches = []
    for seed in range(5):
        batches.append(store.store(make_batch(40, seed)))
        store.lake.flush()
    victim = next(f["path"] for f in store.manifest()["files"] if f["table"] == "spans")
    path = store.path / "lake" / victim
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    store.lake.maintain()
    assert store.telemetry.sums[t.LAKE_QUARANTINED.name,] == 1
    assert store.span_ids() == ids_of(*batches[1:])
    assert store.rows("span_events").num_rows == 5 * 8


def test_only_our_own_leftovers_are_removed(open_store: Opener) -> None:
    """Scenario: an uncommitted file, a replaced file, staged files and a stranger's Parquet file.

    Guarantee: ours go (the replaced one after its grace), the stranger's stays, none is read.
    """
    lake, batches = stored_and_abandoned(open_store)
    hour = next((lake / "spans").glob("date=*/hour=*"))
    listed = {f["path"] for f in read_manifest(lake)["files"]}
    replaced = [p for p in hour.glob("*.parquet") if p.relative_to(lake).as_posix() not in listed]
    assert replaced
    uncommitted = hour / "999999999999-0123abcd.parquet"
    stranger = hour / "mine.parquet"
    for path in (uncommitted, stranger, lake / "staging/x.parquet"):
        path.write_bytes(replaced[0].read_bytes())
    store = open_store(settings=lake_settings(unlink_grace=3600.0))
    assert not uncommitted.exists()
    assert not (lake / "staging/x.parquet").exists()
    store.lake.maintain()
    assert replaced[0].exists()
    store.abandon()
    store = open_store()
    store.lake.maintain()
    assert not replaced[0].exists()
    assert stranger.exists()
    store.lake.flush()
    assert store.span_ids() == ids_of(*batches)


def read_manifest(lake: Path) -> dict:
    """Return the manifest of a lake directory."""
    return json.loads((lake / NAMES[0]).read_text())
