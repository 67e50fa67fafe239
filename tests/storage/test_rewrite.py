"""Rewriting what is stored: every row once, old or new, whatever happens meanwhile."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from collector.model import schema as s
from collector.model.errors import ClearspanError, StartupError
from storage.environment import REWRITE_POINTS
from storage.event_batches import from_batch, to_batch
from storage.lake_tables import SPAN_EVENTS_SCHEMA
from storage.rewrite import StoredData
from storage.sql import run_query
from tests.storage.batches import BASE_US, make_batch
from tests.storage.recording import RecordingTelemetry
from tests.storage.rewriting import NEW_NAME, RenameAndDrop, rewrite_all, rewrite_until_killed
from tests.storage.store import Store, lake_settings, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.storage.rewriting"])
ROWS = 60
HOUR_US = 3_600_000_000


def stored(path: Path) -> list[SpanBatch]:
    """Store four batches in four hours, and leave two more in the journal."""
    store = Store(path, lake_settings())
    batches = [make_batch(ROWS, seed, BASE_US + seed * HOUR_US) for seed in range(4)]
    for batch in batches:
        store.store(batch)
        assert store.lake.flush()
    batches += [store.journal.write(make_batch(ROWS, seed)) for seed in (4, 5)]
    store.abandon()
    return batches


def names_by_id(path: Path) -> dict[bytes, str]:
    """Start as a sidecar would and return the name of each span; none is there twice."""
    store = Store(path, lake_settings())
    assert store.lake.flush()
    store.abandon()
    table = read_table(path)
    ids = table.column(s.SPAN_ID).to_pylist()
    assert max(Counter(ids).values()) == 1
    return dict(zip(ids, table.column(s.NAME).to_pylist(), strict=True))


def expected(batches: list[SpanBatch]) -> dict[bytes, str]:
    """Return what is there when all is done."""
    table = pa.concat_tables([batch.table for batch in batches])
    ids = zip(table["span_id"].to_pylist(), table["trace_id"].to_pylist(), strict=True)
    return {span_id: NEW_NAME for span_id, trace_id in ids if trace_id[-1] % 2 == 0}


def test_every_row_is_rewritten(tmp_path: Path) -> None:
    """Scenario: files of four hours, and a journal. Guarantees: all rows changed, dropped ones gone
    from every file, events with them; what is not touched stays; nothing to do the second time.
    """  # noqa: D205 - the scenario needs two lines
    batches = stored(tmp_path / "data")
    before = read_table(tmp_path / "data")
    assert rewrite_all(tmp_path / "data") == 8
    after = read_table(tmp_path / "data")
    kept = set(after.column(s.SPAN_ID).to_pylist())
    same = [name for name in after.column_names if name != s.NAME]
    mask = pa.array([one in kept for one in before.column(s.SPAN_ID).to_pylist()])
    assert after.select(same).equals(before.select(same).filter(mask))
    events = read_table(tmp_path / "data", "span_events")
    assert set(events.column(s.NAME).to_pylist()) == {NEW_NAME}
    assert rewrite_all(tmp_path / "data") == 0
    assert names_by_id(tmp_path / "data") == expected(batches)
    assert not list((tmp_path / "data").rglob("*.tmp"))


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("point", REWRITE_POINTS)
def test_death_at_every_point_of_a_rewrite(tmp_path: Path, point: str, nth: int) -> None:
    """Scenario: the process is killed at a point, a reader looks, the next one goes on.

    Guarantees: at no time is a row lost or there twice; it ends as if nothing had happened.
    """
    path = tmp_path / "data"
    batches = stored(path)
    process = CONTEXT.Process(target=rewrite_until_killed, args=(str(path), point, nth))
    process.start()
    process.join()
    once_only = point == "lake.replaced_unlinked" and nth > 1
    assert process.exitcode == (0 if once_only else -signal.SIGKILL)
    wanted = expected(batches)
    rows = read_table(path)
    ids = rows.column(s.SPAN_ID).to_pylist()
    in_lake = {one for batch in batches[:4] for one in batch.column(s.SPAN_ID).to_pylist()}
    assert max(Counter(ids).values()) == 1
    assert wanted.keys() & in_lake <= set(ids) <= in_lake
    rewrite_all(path)
    assert names_by_id(path) == wanted


def test_queries_meanwhile_see_every_row_once(tmp_path: Path) -> None:
    """Scenario: queries all the time while files are rewritten one after the other.

    Guarantees: no error; a row that stays is there exactly once at every moment.
    """
    path = tmp_path / "data"
    batches = stored(path)
    wanted = len(expected(batches[:4]))
    ended = threading.Event()
    seen: list[tuple[int, int]] = []

    def ask() -> None:
        while not ended.is_set():
            table = run_query(path, "SELECT count(*) n, count(DISTINCT span_id) d FROM spans").table
            seen.append((table["n"][0].as_py(), table["d"][0].as_py()))

    reader = threading.Thread(target=ask)
    reader.start()
    try:
        change = RenameAndDrop()
        with StoredData(path, 60.0, RecordingTelemetry()) as data:
            for entry in data.files:
                data.rewrite_file(entry, change)
    finally:
        ended.set()
        reader.join()
    assert seen
    assert all(count == distinct for count, distinct in seen)
    counts = [count for count, _ in seen]
    assert counts == sorted(counts, reverse=True)
    assert wanted <= counts[-1] <= counts[0] <= 4 * ROWS


def test_events_survive_the_way_through_a_batch(tmp_path: Path) -> None:
    """Scenario: stored events as spans and back. Guarantees: every column is what it was."""
    stored(tmp_path / "data")
    events = read_table(tmp_path / "data", "span_events")
    service = pa.array([None if row % 3 == 0 else "shop" for row in range(events.num_rows)])
    place = events.schema.get_field_index(s.SERVICE_NAME)
    events = events.set_column(place, events.schema.field(place), service)
    events = pa.Table.from_arrays(
        [events.column(f.name).cast(f.type) for f in SPAN_EVENTS_SCHEMA], schema=SPAN_EVENTS_SCHEMA
    )
    batch = to_batch(events)
    names = [
        dict(row).get("service.name") for row in batch.column("resource_attributes").to_pylist()
    ]
    back = from_batch(batch.replace({s.SERVICE_NAME: pa.array(names, pa.string())}), events)
    assert back.equals(events)


def test_a_damaged_file_is_named_and_the_others_are_rewritten(tmp_path: Path) -> None:
    """Scenario: a byte of one file is flipped. Guarantees: it is named and kept; others go on."""
    path = tmp_path / "data"
    stored(path)
    change = RenameAndDrop()
    with StoredData(path, 0.0, RecordingTelemetry()) as data:
        entries = [entry for entry in data.files if entry.table == "spans"]
        file = path / "lake" / entries[1].path
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 255
        file.write_bytes(content)
        outcomes = []
        for entry in entries:
            try:
                outcomes.append(data.rewrite_file(entry, change).before)
            except ClearspanError as error:
                outcomes.append(str(error))
        left = {entry.path for entry in data.files}
    assert outcomes == [ROWS, f"{file} is damaged", ROWS, ROWS]
    assert entries[1].path in left
    assert not left & {entries[0].path, entries[2].path, entries[3].path}
    assert not list((path / "lake" / "staging").iterdir())


def test_no_lake_is_said_and_not_made(tmp_path: Path) -> None:
    """Scenario: a directory without a lake. Guarantees: an error that names it; it stays empty."""
    with pytest.raises(StartupError, match=str(tmp_path)):
        StoredData(tmp_path, 0.0, RecordingTelemetry())
    assert list(tmp_path.iterdir()) == []
