"""Look-ups of a trace in an open session, which knows from Bloom filters where it may be."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.model import schema as s
from collector.model.errors import QueryError
from storage import trace_files
from storage.sql import connect, refresh, run_query, run_statements
from storage.sql_lakes import find_lakes
from storage.trace_files import FUNCTION, TraceFiles
from tests.sql.test_logs import TRACE_HEX, write_logs
from tests.storage.batches import BASE_US, make_batch
from tests.storage.promoting import batch_with, promoting, write
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_read_metadata = pq.read_metadata
HOUR_US = 3_600_000_000
TENANT = ("tenant", "tenant.id")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a directory of twelve files of spans in three hours, each with traces of its own."""
    batches = [make_batch(300, seed, BASE_US + seed % 3 * HOUR_US) for seed in range(12)]
    write(tmp_path, lake_settings(), *batches)
    return tmp_path


def asked(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    result = run_statements(connection, sql)
    assert result is not None
    return result.table.to_pylist()


def files_read(connection: duckdb.DuckDBPyConnection, trace: str) -> list[int]:
    """Return how many files each scan of a look-up reads."""
    plan = connection.sql(f"EXPLAIN ANALYZE FROM trace('{trace}')").fetchall()[0][1]
    return [int(count) for count in re.findall(r"Total Files Read: (\d+)", plan)]


def holders(data: Path) -> dict[str, set[str]]:
    """Return in which files of spans each trace is, by reading them all."""
    found: dict[str, set[str]] = {}
    for path in data.glob("lake/spans/date=*/*/*.parquet"):
        ids = pq.read_table(path, columns=[s.TRACE_ID], partitioning=None).column(0)
        for one in ids.unique().to_pylist():
            found.setdefault(one.hex(), set()).add(str(path))
    return found


def test_only_files_that_hold_a_trace_are_left(data: Path) -> None:
    """Scenario: every trace of twelve files, and a thousand that are in none.

    Guarantee: a file that has a trace is never left out; one that has not hardly ever stays.
    """
    of_trace = holders(data)
    files = stored(data)
    assert len(files) == 12
    known = TraceFiles([str(data / "lake")])
    narrowed = {trace: set(known.narrowed(files, trace)) for trace in of_trace}
    assert all(narrowed[trace] >= paths for trace, paths in of_trace.items())
    in_vain = sum(len(narrowed[trace] - paths) for trace, paths in of_trace.items())
    assert in_vain <= 0.001 * len(of_trace) * len(files)
    absent = [os.urandom(16).hex() for _ in range(1000)]
    assert sum(known.narrowed(files, trace) != files[:1] for trace in absent) <= 10


def test_a_session_finds_what_a_single_query_finds(data: Path) -> None:
    """Scenario: traces and their events, upper case, none, no id, null; files that come and go.

    Guarantee: the same rows and the same error as in a session of one query.
    """
    lakes = find_lakes(data)
    traces = sorted(holders(data))[::40]
    with connect(data, is_session=True) as connection, connect(data) as single:
        for trace in traces:
            for macro in ("trace", "trace_events"):
                sql = f"FROM {macro}('{trace.upper()}')"
                rows = asked(connection, sql)
                assert rows == asked(single, sql)
                assert rows or macro == "trace_events"
        for absent in (f"'{'0' * 32}'", "''", "'00'", "NULL"):
            assert asked(connection, f"FROM trace({absent})") == []
        connection.execute(f"SET VARIABLE one = '{traces[0]}'")
        assert asked(connection, "FROM trace(getvariable('one'))")
        told = []
        for ask in (lambda sql: run_statements(connection, sql), lambda sql: run_query(data, sql)):
            with pytest.raises(QueryError) as error:
                ask("FROM trace('no id')")
            told.append(str(error.value).partition("\n")[0])
        assert told[0] == told[1]
        newer = make_batch(50, seed=99)
        store = Store(data)
        store.store(newer)
        store.lake.flush()
        store.lake.maintain()  # merges, and unlinks what was merged
        store.lake.close()
        store.journal.close()
        refresh(connection, lakes)
        refresh(single, lakes)
        assert len(holders(data)) > len(traces)
        for trace in (*traces, newer.column(s.TRACE_ID)[0].as_py().hex()):
            sql = f"FROM trace('{trace}')"
            assert asked(connection, sql) == asked(single, sql) != []


def test_a_session_plans_for_the_files_that_hold_the_trace(data: Path) -> None:
    """Scenario: the plan of a look-up. Guarantee: one file with rows is read, once."""
    trace = next(trace for trace, paths in holders(data).items() if len(paths) == 1)
    with connect(data, is_session=True) as connection:
        assert files_read(connection, trace) == [2]  # it and the one without rows


def test_columns_promoted_later_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: files from before and after a column was promoted, log records beside them.

    Guarantee: each trace has its value, wherever it is stored; no footer is read twice.
    """
    footers: list[Path] = []
    monkeypatch.setattr(
        trace_files.pq,
        "read_metadata",
        lambda path: (footers.append(path), _read_metadata(path))[1],
    )
    write(tmp_path, lake_settings(), batch_with([[("tenant.id", "old")]] * 3))
    write(tmp_path, promoting(TENANT), batch_with([[("tenant.id", "new")]] * 3, seed=1))
    write_logs(tmp_path)
    with connect(tmp_path, is_session=True) as connection:
        seen = asked(connection, "SELECT DISTINCT trace_id, tenant FROM spans ORDER BY ALL")
        for one in seen:
            found = asked(connection, f"SELECT tenant FROM trace('{one['trace_id']}')")
            assert {row["tenant"] for row in found} == {one["tenant"]}
        assert {one["tenant"] for one in seen} == {"old", "new"}
        assert len(footers) == len(set(footers)) == 2
        assert len(asked(connection, f"FROM trace_logs('{TRACE_HEX}')")) == 3
        assert asked(connection, f"FROM trace_logs('{'0' * 32}')") == []


def test_lakes_with_odd_names_are_narrowed_too(tmp_path: Path) -> None:
    """Scenario: two directories, one with signs of a pattern, two files each, one with the trace.

    Guarantee: rows of both, and only the files that hold them are read.
    """
    batch = make_batch(40)
    names = ("plain", "a [1]*?")
    for name in names:
        (tmp_path / name).mkdir()
        write(tmp_path / name, lake_settings(), batch, make_batch(40, seed=1))
    trace = batch.column(s.TRACE_ID)[0].as_py().hex()
    places = [tmp_path / name for name in names]
    with connect(places, is_session=True) as connection:
        both = len(asked(connection, f"FROM trace('{trace}')"))
        assert files_read(connection, trace) == [4]  # two lakes' files without rows
    assert both == 2 * len(run_query(places[0], f"FROM trace('{trace}')"))


def test_in_doubt_a_file_stays(data: Path) -> None:
    """Scenario: files that are gone, cut, or without filters; no id. Guarantee: all stay."""
    place = data / "lake" / "spans" / "date=2026-01-01" / "hour=00"
    place.mkdir(parents=True)
    (place / "000000000001-cafe.parquet").write_bytes(b"PAR1 no more PAR1")
    ids = pa.table({s.TRACE_ID: pa.array([b"x" * 16], pa.binary(16))})
    pq.write_table(ids, place / "000000000002-cafe.parquet")
    odd = [f"{place}/00000000000{number}-cafe.parquet" for number in (1, 2, 3)]
    known = TraceFiles([str(data / "lake")])
    for _ in range(2):
        assert known.narrowed(odd, "0" * 32) == odd
    files = stored(data)
    assert known.narrowed(files, "xyz") == known.narrowed(files, None) == files
    assert known.narrowed([], "00") == []
    assert known.narrowed(None, "00") is None
    assert known.narrowed(files, "0" * 32) == files[:1]
    changes = {"1": lambda path: os.truncate(path, 100), "2": os.unlink}  # of files that are known
    for digit, change in changes.items():
        for path in files:
            change(path)
        assert known.narrowed(files, digit * 32) == files


def test_a_query_asks_the_filters_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: DuckDB asks twice for one query; other ids and files follow.

    Guarantee: filters are read once for each id and list of files, and answers are those of it.
    """
    known, files = TraceFiles([str(data / "lake")]), stored(data)
    read = []
    monkeypatch.setattr(
        TraceFiles, "_may_hold", lambda _self, path, _asked: bool(read.append(path))
    )
    for asked_files, trace in ((files, "00"), (files, "01"), (files[1:], "01"), (files[1:], "00")):
        before = len(read)
        answers = [known.narrowed([*asked_files], trace * 16) for _ in range(2)]
        assert answers == [asked_files[:1]] * 2
        assert read[before:] == asked_files


def test_a_join_of_look_ups_asks_the_filters_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a trace's spans of two layouts and its events in one query.

    Guarantee: no file's filters are read twice.
    """
    write(data, promoting(TENANT), make_batch(300, 12))
    read: list[str] = []
    may_hold = TraceFiles._may_hold
    monkeypatch.setattr(
        TraceFiles,
        "_may_hold",
        lambda self, path, one: (read.append(path), may_hold(self, path, one))[1],
    )
    trace = next(iter(holders(data)))
    with connect(data, is_session=True) as connection:
        asked(connection, f"FROM trace('{trace}') JOIN trace_events('{trace}') USING (span_id)")
    with_rows = [path for path in read if "/date=" in path]
    assert len(with_rows) == len(set(with_rows)) > len(stored(data))


def test_files_that_are_gone_are_forgotten(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: half the files go, others are new. Guarantee: only what is there is known."""
    monkeypatch.setattr(trace_files, "_NEW_FILES_A_SWEEP", 7)
    known, files = TraceFiles([str(data / "lake")]), stored(data)
    known.narrowed(files[:6], "0" * 32)
    for path in data.glob("lake/spans/date=2023*/*/*.parquet"):
        if str(path) in files[:6]:
            path.unlink()
    known.narrowed(files[6:], "0" * 32)
    assert sorted(known._known) == files[6:]


def stored(data: Path) -> list[str]:
    """Return the files of spans that have rows."""
    return sorted(str(path) for path in data.glob("lake/spans/date=2023*/*/*.parquet"))


def test_the_function_is_no_way_to_other_files(data: Path, tmp_path_factory: Any) -> None:
    """Scenario: SQL names files of another lake, by their path or by way of the own one.

    Guarantee: they come back as they are, whether or not they hold the trace.
    """
    other = tmp_path_factory.mktemp("other")
    write(other, lake_settings(), make_batch(20), make_batch(20, seed=1))
    (data / "lake" / "link").symlink_to(other / "lake")
    theirs = stored(other)
    around = [path.replace(f"{other}/lake", f"{data}/lake/link") for path in theirs]
    beside = [path.replace(f"{other}", f"{data}/../{other.name}") for path in theirs]
    assert len(theirs) == 2
    with connect(data, is_session=True) as connection:
        for paths in (theirs, around, beside):
            sql = f"SELECT {FUNCTION}({paths}, '{'0' * 32}') AS files"
            assert asked(connection, sql) == [{"files": paths}]
    assert TraceFiles([str(other / "lake")]).narrowed(theirs, "0" * 32) == theirs[:1]
