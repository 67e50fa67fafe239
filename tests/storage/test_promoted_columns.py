"""Columns of the configuration's own: the same answers from files that have them and older ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

from collector.model import schema as s
from collector.model.telemetry import LAKE_COMPACTIONS
from config.rules import OTEL_TRACES_NAMES
from storage import manifest_text
from storage.backup import backup
from storage.environment import Environment
from storage.erasure import Condition, affected, find
from storage.lake_file_check import check_file
from storage.lake_tables import HOUR_US, SPANS, SPANS_SCHEMA
from storage.layout import Layout, PromotedColumn
from storage.manifest import MANIFEST, MANIFEST_COPY
from storage.manifest_text import parse, render
from storage.repair import repair
from storage.rewrite import StoredData
from storage.sql import connect, print_setup, refresh, run_query
from storage.sql_lakes import find_lakes
from storage.sql_vocabulary import read_vocabulary
from storage.verify import verify
from tests.storage.batches import BASE_US, make_batch
from tests.storage.promoting import batch_with, promoting, query, write
from tests.storage.recording import RecordingTelemetry
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

TENANT = ("tenant", "tenant.id")
ODD = {
    "int": ["7", "+7", "-7", "007", "0x1F", " 7", "7.0", "1_0", "", "9223372036854775807",
            "9223372036854775808", "-9223372036854775808", "9" * 31, "seven", "<EMAIL>", "7\n"],
    "double": ["1", "1.5", ".5", "5.", "+1e3", "-0", "nan", "inf", "Infinity", "1e999", "1e-999",
               "1e", "1_0.5", "", "half", " 1", "0x1p3"],
    "bool": ["true", "false", "True", "FALSE", "1", "0", "t", "", "yes"],
    "string": ["", "a", "'; --", '"', "ü", "x" * 3000],
}  # fmt: skip


def values(data: Path, sql: str) -> list[Any]:
    """Return a query's first column."""
    return run_query(data, sql).table.column(0).to_pylist()


@pytest.mark.parametrize("kind", ODD)
def test_stored_and_computed_values_are_the_same(tmp_path: Path, kind: str) -> None:
    """Scenario: values of every shape, flushed together, each alone, and before the column was.

    Guarantees: a value's column does not depend on the rows beside it, nor on whether the file
    has the column; the column is of the type asked for; without the attribute it is null.
    """
    odd = [*ODD[kind], None]
    spans = [[("x", value)] if value is not None else [] for value in odd]
    write(tmp_path / "old", lake_settings(), batch_with(spans))
    settings = promoting(("col", "x", kind))
    write(tmp_path / "old", settings)
    write(tmp_path / "new", settings, batch_with(spans))
    write(tmp_path / "alone", settings, *(batch_with([one], seed=n) for n, one in enumerate(spans)))
    sql = "SELECT attributes['x'] AS x, col, typeof(col) AS t FROM spans ORDER BY x NULLS LAST"
    old, new, alone = (
        [repr(row) for row in run_query(tmp_path / name, sql).table.to_pylist()]
        for name in ("old", "new", "alone")
    )
    assert new == old == alone
    typed = {"int": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}[kind]
    assert set(values(tmp_path / "new", "SELECT typeof(col) FROM spans")) == {typed}
    found = values(tmp_path / "new", "SELECT col FROM spans WHERE col IS NOT NULL")
    assert len(found) == {"int": 6, "double": 8, "bool": 4, "string": 6}[kind]


def test_columns_come_go_and_change_their_type(tmp_path: Path) -> None:
    """Scenario: three runs with other columns each, then one without any; each query in another
    process; the rows of the first two runs are merged by the third.

    Guarantee: after each start the columns are exactly the configured ones, of the type
    configured, and answer for the rows of every run.
    """  # noqa: D205 - the scenario needs two lines
    data = tmp_path / "data"
    spans = [[("tenant.id", f"t{n % 3}"), ("retries", str(n))] for n in range(12)]
    resource = [[("service.name", "shop"), ("region", "eu")] for _ in range(12)]
    runs = [
        promoting(TENANT, ("retries", "retries", "int")),
        promoting(("retries", "retries", "string"), ("region", "region", "string", "resource")),
        promoting(("retries", "retries", "double"), TENANT),
    ]
    stats = "SELECT count(*) AS n, sum(TRY_CAST(retries AS BIGINT))::BIGINT AS sum"
    types = ("BIGINT", "VARCHAR", "DOUBLE")
    columns = (["tenant", "retries"], ["retries", "region"], ["retries", "tenant"])
    for number, settings in enumerate(runs):
        write(data, settings, batch_with(spans, resource, seed=number))
        (row,) = query(data, f"{stats}, any_value(typeof(retries)) AS t FROM spans")
        assert row == {"n": 12 * (number + 1), "sum": 66 * (number + 1), "t": types[number]}
        described = [one["column_name"] for one in query(data, "DESCRIBE spans")]
        assert described[-2:] == columns[number]
        assert described[-3] == s.DROPPED_LINKS_COUNT
        if "region" in columns[number]:
            (row,) = query(data, "SELECT count(*) AS n FROM spans WHERE region = 'eu'")
        else:
            (row,) = query(data, "SELECT 3 * count(*) AS n FROM spans WHERE tenant = 't1'")
        assert row == {"n": 12 * (number + 1)}
    store = Store(data, runs[2])
    store.lake.maintain()
    assert len([f for f in store.manifest()["files"] if f["table"] == "spans"]) == 1
    store.abandon()
    assert verify(data).findings == []
    (row,) = query(data, f"{stats}, any_value(typeof(retries)) AS t FROM spans")
    assert row == {"n": 36, "sum": 198, "t": "DOUBLE"}
    write(data, lake_settings())
    described = [one["column_name"] for one in query(data, "DESCRIBE spans")]
    assert described[-1] == s.DROPPED_LINKS_COUNT
    assert query(data, "SELECT count(*) AS n FROM otel_traces") == [{"n": 36}]


def test_every_face_of_sql_shows_them(tmp_path: Path) -> None:
    """Scenario: a column named like a word of SQL, in new files and in an older one.

    Guarantees: ``spans``, ``otel_traces``, ``trace()`` and the printed setup in a plain DuckDB
    have it, and the same rows; the setup's first statement, run again, shows newer rows.
    """
    data = tmp_path / "data"
    write(data, lake_settings(), batch_with([[("tenant.id", "a")]] * 5))
    settings = promoting(("order", "tenant.id"))
    write(data, settings, batch_with([[("tenant.id", "b")]] * 7, seed=1))
    setup = print_setup(data)
    with connect(data) as ours, duckdb.connect() as plain:
        plain.execute(setup)
        for connection in (ours, plain):
            for view in ("spans", "otel_traces"):
                sql = f'SELECT "order", count(*) FROM {view} GROUP BY 1 ORDER BY 1'
                assert connection.sql(sql).fetchall() == [("a", 5), ("b", 7)]
            trace_id = connection.sql("SELECT trace_id FROM spans LIMIT 1").fetchall()[0][0]
            assert connection.sql(f"SELECT \"order\" FROM trace('{trace_id}')").fetchall()
        write(data, settings, batch_with([[("tenant.id", "b")]] * 2, seed=2))
        plain.execute(next(part for part in setup.split(";\n") if "SET VARIABLE" in part))
        assert plain.sql("SELECT count(*) FROM spans WHERE \"order\" = 'b'").fetchall() == [(9,)]


@pytest.mark.parametrize("is_session", [False, True])
def test_columns_stand_in_one_order(tmp_path: Path, is_session: bool) -> None:
    """Scenario: two lakes promote the same columns in different order; a third one promotes none.

    Guarantee: the same columns in the same order, whether or not the third is among them, in views
    and look-ups; each with its own values.
    """
    spans = [[("tenant.id", "a"), ("zone", "z")]]
    zone = ("zone", "zone")
    runs = {"1": promoting(TENANT, zone), "2": promoting(zone, TENANT), "3": lake_settings()}
    for seed, (name, settings) in enumerate(runs.items()):
        write(tmp_path / name, settings, batch_with(spans, seed=seed))
    for lakes in (("1", "2"), ("3", "1", "2")):
        with connect([tmp_path / name for name in lakes], is_session=is_session) as connection:
            for (trace,) in connection.sql("SELECT trace_id FROM spans").fetchall():
                for source in ("spans", f"trace('{trace}')"):
                    rows = connection.sql(f"FROM {source}")
                    assert rows.columns == [*SPANS_SCHEMA.names, "zone", "tenant"]
                    assert set(rows.select("zone, tenant").fetchall()) == {("z", "a")}


@pytest.mark.parametrize("is_session", [False, True])
def test_any_name_that_is_accepted_works(tmp_path: Path, is_session: bool) -> None:
    """Scenario: columns called what the views' SQL might call something of its own, or what a
    column of another table is called that is stored in a way of its own.

    Guarantees: each holds its attribute, in every view and look-up, whatever reads it.
    """  # noqa: D205 - the scenario needs two lines
    names = ("id", "l", "stored", "events", "times", "names", "maps", "value", "x", "select")
    names += ("time", "time_unix_nano", "observed_time", "record_idx", "body", "event_idx")
    settings = promoting(*((name, name) for name in names))
    write(tmp_path, settings, batch_with([[(name, f"of {name}") for name in names]]))
    selected = ", ".join(f'"{name}"' for name in names)
    (trace,) = values(tmp_path, "SELECT trace_id FROM spans")
    setup = print_setup(tmp_path)
    with connect(tmp_path, is_session=is_session) as ours, duckdb.connect() as plain:
        plain.execute(setup)
        for connection in (ours, plain):
            for source in ("spans", "otel_traces", f"trace('{trace}')"):
                found = connection.sql(f"SELECT {selected} FROM {source}").fetchall()
                assert found == [tuple(f"of {name}" for name in names)], source
            assert connection.sql("SELECT count(*) FROM traces").fetchall() == [(1,)]


def test_an_open_session_sees_a_column_that_is_added(tmp_path: Path) -> None:
    """Scenario: the sidecar starts with another configuration while a shell is open.

    Guarantee: the next refresh has the column, for completion too; taken away, it is gone.
    """
    data = tmp_path / "data"
    write(data, lake_settings(), batch_with([[("tenant.id", "a")]] * 5))
    lakes = find_lakes(data)
    with connect(data) as connection:
        assert "tenant" not in read_vocabulary(connection).tables["spans"]
        write(data, promoting(TENANT), batch_with([[("tenant.id", "a")]] * 2, seed=1))
        refresh(connection, lakes)
        assert read_vocabulary(connection).tables["spans"]["tenant"] == "VARCHAR"
        found = connection.sql("SELECT count(*) FROM spans WHERE tenant = 'a'").fetchall()
        assert found == [(7,)]
        write(data, lake_settings())
        refresh(connection, lakes)
        assert "tenant" not in read_vocabulary(connection).tables["otel_traces"]


def test_older_files_are_rewritten_one_by_one(tmp_path: Path) -> None:
    """Scenario: three hours of files; a start that promotes a column; maintenance again and again,
    with a hand on the clock: an hour that was just written to is left alone.

    Guarantees: one file a run, though files of another hour are merged in it, none twice, until all
    have the column; rows and events stay.
    """  # noqa: D205 - the scenario needs two lines
    data = tmp_path / "data"
    hours = [BASE_US + n * HOUR_US for n in range(3)]
    write(data, lake_settings(), *(make_batch(20, n, at) for n, at in enumerate(hours)))
    clock = [0.0]
    environment = Environment(monotonic=lambda: clock[0])
    store = Store(data, promoting(("client", "client.port", "int")), environment)
    for seed, at_us in ((3, hours[2]), *((seed, BASE_US + 5 * HOUR_US) for seed in range(4, 12))):
        store.store(make_batch(20, seed, at_us))
        assert store.lake.flush()
    sql = "SELECT span_id, name, client FROM spans WHERE client IS NOT NULL ORDER BY 1"
    before = run_query(data, sql).table
    assert before.num_rows

    def stale() -> int:
        files = store.lake._manifest.state.files.values()
        return sum(e.table == SPANS and not e.layout.columns for e in files)

    left = []
    for _ in range(4):
        left.append(stale())
        store.lake.maintain()
    assert store.telemetry.sums[LAKE_COMPACTIONS.name,] > 0
    assert left == [3, 2, 1, 1]
    clock[0] += 3600
    store.lake.maintain()
    assert stale() == 0
    paths = {f["path"] for f in store.manifest()["files"]}
    store.lake.maintain()
    assert {f["path"] for f in store.manifest()["files"]} == paths
    assert run_query(data, sql).table == before
    store.abandon()
    assert verify(data).findings == []


def test_the_names_that_are_taken(tmp_path: Path) -> None:
    """What the configuration refuses are the view's columns as SQL compares them."""
    write(tmp_path, lake_settings())
    names = {
        name.lower() for name in values(tmp_path, "SELECT column_name FROM (DESCRIBE otel_traces)")
    }
    assert {name for name in names if "." not in name} == OTEL_TRACES_NAMES


@pytest.mark.parametrize("runs", [1, 2])
def test_a_new_file_is_not_asked_for_its_attributes(tmp_path: Path, runs: int) -> None:
    """Scenario: a filter on a promoted column; all files have it, or there is an older one.

    Guarantee: files that have it give only it, with the filter inside the scan; when all do,
    nothing else is read.
    """
    data = tmp_path / "data"
    spans = [[("tenant.id", f"t{n}")] for n in range(50)]
    for settings in (lake_settings(), promoting(TENANT))[-runs:]:
        write(data, settings, batch_with(spans))
    with connect(data) as connection:
        plan = connection.sql("EXPLAIN SELECT count(*) FROM spans WHERE tenant = 't7'")
        text = plan.fetchall()[0][1]
    assert text.count("READ_PARQUET") == runs
    assert "Filters: tenant = 't7'" in text
    assert text.count("map_extract") == runs - 1


def test_lakes_that_differ_are_queried_as_one(tmp_path: Path) -> None:
    """Scenario: three pods' lakes: one promotes a column, one another, one the first differently.

    Guarantee: the union of the columns for all rows; of two meanings that of the first lake.
    """
    spans = [[("tenant.id", "a"), ("zone", "z"), ("n", "5")]] * 4
    write(tmp_path / "1", promoting(TENANT), batch_with(spans, seed=1))
    write(tmp_path / "2", promoting(("zone", "zone")), batch_with(spans, seed=2))
    write(tmp_path / "3", promoting(("tenant", "n", "int")), batch_with(spans, seed=3))
    lakes = [str(tmp_path / name) for name in "123"]
    found = run_query(lakes, "SELECT DISTINCT tenant, zone, count(*) OVER () AS n FROM spans")
    assert found.table.to_pylist() == [{"tenant": "a", "zone": "z", "n": 12}]
    found = run_query(lakes[::-1], "SELECT DISTINCT tenant, zone FROM spans")
    assert found.table.to_pylist() == [{"tenant": 5, "zone": "z"}]


def test_a_manifest_of_version_1_is_read_and_upgraded(tmp_path: Path) -> None:
    """Scenario: a lake as the version before wrote it; then a start that promotes a column.

    Guarantees: SQL and verify read the old manifest; the start writes it in today's format with
    all its files, and the column answers for the old rows.
    """
    data = tmp_path / "data"
    write(data, lake_settings(), batch_with([[("tenant.id", "a")]] * 6))
    state = parse((data / "lake" / MANIFEST).read_bytes())
    old = json.loads(render(state, 0.0))
    old["files"] = [{k: v for k, v in file.items() if k != "layout"} for file in old["files"]]
    for key in ("layout", "layouts", "checksum"):
        del old[key]
    body = json.dumps(old | {"format_version": 1}, separators=(",", ":"))[:-1].encode()
    for name in (MANIFEST, MANIFEST_COPY):
        (data / "lake" / name).write_bytes(manifest_text.seal(body))
    assert verify(data).findings == []
    assert query(data, "SELECT count(*) AS n FROM spans") == [{"n": 6}]
    write(data, promoting(TENANT), batch_with([[("tenant.id", "a")]] * 2, seed=1))
    assert json.loads((data / "lake" / MANIFEST).read_bytes())["format_version"] == 2
    assert query(data, "SELECT count(*) AS n FROM spans WHERE tenant = 'a'") == [{"n": 8}]


def test_a_lost_manifest_and_a_backup_keep_the_columns(tmp_path: Path) -> None:
    """Scenario: old and new files; a backup; both manifests lost; a footer's column missing.

    Guarantees: repair finds the columns again from the files; the copy has them too; a file that
    lacks a column its footer names is damaged.
    """
    data = tmp_path / "data"
    write(data, lake_settings(), batch_with([[("tenant.id", "a")]] * 3))
    write(data, promoting(TENANT), batch_with([[("tenant.id", "b")]] * 4, seed=1))
    backup(data, tmp_path / "copy")
    assert verify(tmp_path / "copy").findings == []
    before = parse((data / "lake" / MANIFEST).read_bytes())
    for name in (MANIFEST, MANIFEST_COPY):
        (data / "lake" / name).unlink()
    repair(data)
    after = parse((data / "lake" / MANIFEST).read_bytes())
    assert (
        after.layout
        == before.layout
        == Layout.of_today(SPANS, [PromotedColumn("tenant", "span", "tenant.id", "string")])
    )
    assert after.files == before.files
    for place in (data, tmp_path / "copy"):
        assert verify(place).findings == []
        assert values(place, "SELECT count(*) FROM spans WHERE tenant IN ('a', 'b')") == [7]
    newest = next(path for path, entry in after.files.items() if entry.layout.columns)
    file = data / "lake" / newest
    footer = pq.read_metadata(file).metadata
    rows = pq.ParquetFile(file).read().drop_columns(["tenant"])
    with pq.ParquetWriter(file, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata(footer)
    entry = after.files[newest]
    check = check_file(data / "lake", replace(entry, bytes=file.stat().st_size, crc32=None), None)
    assert [one.what for one in check.problems] == ["lacks columns: tenant"]


def test_erasure_asks_and_rewrites_them(tmp_path: Path) -> None:
    """Scenario: ``--where`` on a promoted column, over old and new files and the journal.

    Guarantee: rows of all three go; what is left of the old file has the column now.
    """
    data = tmp_path / "data"
    spans = [[("tenant.id", f"t{n % 2}")] for n in range(10)]
    write(data, lake_settings(), batch_with(spans))
    write(data, promoting(TENANT), batch_with(spans, seed=1))
    store = Store(data, promoting(TENANT))
    store.journal.write(batch_with(spans, seed=2))
    store.abandon()
    with StoredData(data, 0.0, RecordingTelemetry()) as stored:
        erased = find([stored], Condition(where="tenant = 't1'"))
        assert len(erased) == 15
        for segment in stored.segments:
            stored.rewrite_segment(segment, erased)
        todo = affected(stored, erased)
        for entry in stored.files:
            if stored.relative(data / "lake" / entry.path) in todo:
                stored.rewrite_file(entry, erased)
    assert verify(data).is_sound
    write(data, promoting(TENANT))
    found = run_query(data, "SELECT tenant, count(*) AS n FROM spans GROUP BY 1").table.to_pylist()
    assert found == [{"tenant": "t0", "n": 15}]
    state = parse((data / "lake" / MANIFEST).read_bytes())
    layouts = {
        bool(entry.layout.columns) for entry in state.files.values() if entry.table == "spans"
    }
    assert layouts == {True}
