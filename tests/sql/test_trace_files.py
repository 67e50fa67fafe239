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
from tests.storage.store import lake_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

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
    files = sorted(str(path) for path in data.glob("lake/spans/date=*/*/*.parquet"))
    assert len(files) == 12
    known = TraceFiles([str(data / "lake")])
    narrowed = {trace: set(known.narrowed(files, trace)) for trace in of_trace}
    assert all(narrowed[trace] >= paths for trace, paths in of_trace.items())
    in_vain = sum(len(narrowed[trace] - paths) for trace, paths in of_trace.items())
    assert in_vain <= 0.001 * len(of_trace) * len(files)
    absent = [os.urandom(16).hex() for _ in range(1000)]
    assert sum(known.narrowed(files, trace) != files[:1] for trace in absent) <= 10


def test_a_session_finds_what_a_single_query_finds(data: Path) -> None:
    """Scenario: traces and their events, upper case, none, no id; files that come and go meanwhile.

    Guarantee: the same rows and errors as in a session of one query.
    """
    lakes = find_lakes(data)
    with connect(data, is_session=True) as connection:
        for trace in sorted(holders(data))[::40]:
            for macro in ("trace", "trace_events"):
                sql = f"FROM {macro}('{trace.upper()}')"
                rows = asked(connection, sql)
                assert rows == run_query(data, sql).table.to_pylist()
                assert rows or macro == "trace_events"
        assert asked(connection, f"FROM trace('{'0' * 32}')") == []
        with pytest.raises(QueryError, match="hex"):
            run_statements(connection, "FROM trace('no id')")
        newer = make_batch(50, seed=99)
        write(data, lake_settings(), newer)
        refresh(connection, lakes)
        trace = newer.column(s.TRACE_ID)[0].as_py().hex()
        assert asked(connection, f"FROM trace('{trace}')")


def test_a_session_plans_for_the_files_that_hold_the_trace(data: Path) -> None:
    """Scenario: the plan of a look-up. Guarantee: one file with rows is read, once."""
    trace, paths = next((trace, paths) for trace, paths in holders(data).items() if len(paths) == 1)
    with connect(data, is_session=True) as connection:
        plan = connection.sql(f"EXPLAIN ANALYZE FROM trace('{trace}')").fetchall()[0][1]
    assert re.findall(r"Total Files Read: (\d+)", plan) == ["2"]  # it and the one without rows
    assert len(paths) == 1


def test_columns_promoted_later_are_found(tmp_path: Path) -> None:
    """Scenario: files from before and after a column was promoted, log records beside them.

    Guarantee: each trace has its value, wherever it is stored.
    """
    write(tmp_path, lake_settings(), batch_with([[("tenant.id", "old")]] * 3))
    write(tmp_path, promoting(TENANT), batch_with([[("tenant.id", "new")]] * 3, seed=1))
    write_logs(tmp_path)
    with connect(tmp_path, is_session=True) as connection:
        seen = asked(connection, "SELECT DISTINCT trace_id, tenant FROM spans ORDER BY ALL")
        for one in seen:
            found = asked(connection, f"SELECT tenant FROM trace('{one['trace_id']}')")
            assert {row["tenant"] for row in found} == {one["tenant"]}
        assert {one["tenant"] for one in seen} == {"old", "new"}
        assert len(asked(connection, f"FROM trace_logs('{TRACE_HEX}')")) == 3
        assert asked(connection, f"FROM trace_logs('{'0' * 32}')") == []


def test_lakes_with_odd_names_are_narrowed_too(tmp_path: Path) -> None:
    """Scenario: two directories, one with signs of a pattern. Guarantee: rows of both."""
    batch = make_batch(40)
    names = ("plain", "a [1]*?")
    for name in names:
        (tmp_path / name).mkdir()
        write(tmp_path / name, lake_settings(), batch)
    trace = batch.column(s.TRACE_ID)[0].as_py().hex()
    places = [tmp_path / name for name in names]
    with connect(places, is_session=True) as connection:
        both = len(asked(connection, f"FROM trace('{trace}')"))
    assert both == 2 * len(run_query(places[0], f"FROM trace('{trace}')"))


def test_in_doubt_a_file_stays(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: files of nobody's lake, gone, cut, without filters, and more than are kept.

    Guarantee: all stay, none is an error.
    """
    lake, elsewhere = data / "lake", tmp_path_factory.mktemp("other")
    place = lake / "spans" / "date=2026-01-01" / "hour=00"
    place.mkdir(parents=True)
    (place / "000000000001-cafe.parquet").write_bytes(b"PAR1 no more PAR1")
    ids = pa.table({s.TRACE_ID: pa.array([b"x" * 16], pa.binary(16))})
    pq.write_table(ids, place / "000000000002-cafe.parquet")
    odd = [
        "/etc/passwd",
        f"{elsewhere}/spans/date=2026-01-01/hour=00/000000000001-cafe.parquet",
        f"{lake}/spans/../../spans/date=2026-01-01/hour=00/000000000001-cafe.parquet",
        *(f"{place}/00000000000{number}-cafe.parquet" for number in (1, 2, 3)),
    ]
    absent = "0" * 32
    assert TraceFiles([str(lake)]).narrowed(odd, absent) == odd
    files = sorted(str(path) for path in data.glob("lake/spans/date=2*/hour=2*/*.parquet"))
    assert TraceFiles([str(lake)]).narrowed(files, "xyz") == files
    monkeypatch.setattr(trace_files, "_MOST_BYTES", 1)
    kept = TraceFiles([str(lake)]).narrowed(files, absent)
    assert kept == files[1:]  # only the first one's were read


def test_filters_of_files_that_are_gone_are_let_go(data: Path) -> None:
    """Scenario: other files are asked for than before. Guarantee: the old ones' are not kept."""
    files = sorted(str(path) for path in data.glob("lake/spans/date=*/*/*.parquet"))
    known = TraceFiles([str(data / "lake")])
    known.narrowed(files[:6], "0" * 32)
    known.narrowed(files[6:], "0" * 32)
    assert held(known) == set(files[6:])


def held(known: TraceFiles) -> set[str]:
    """Return the files whose filters are in memory."""
    return {path for table in known._known.values() for path in table}


def test_the_function_is_no_way_to_other_files(data: Path) -> None:
    """Scenario: SQL calls it with a path of its own. Guarantee: it comes back, unread."""
    paths: Sequence[str] = ("/etc/shadow", "/proc/self/environ")
    with connect(data, is_session=True) as connection:
        (row,) = asked(connection, f"SELECT {FUNCTION}({list(paths)}, '00') AS files")
    assert row["files"] == list(paths)
