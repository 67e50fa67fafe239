"""The SQL face over a lake on disk: views, macros, newer data, files that go away, errors."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.model.errors import QueryError
from storage import sql
from storage.lake_tables import SPANS_SCHEMA
from storage.sql import connect, print_setup, run_query
from tests.sql.rows import OTHER, START, TRACE_HEX, batch_of, shop, span
from tests.sql.small_lake import SmallLake
from tests.sql.writer import write_once, write_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory whose lake holds the shop's five spans."""
    write_once(tmp_path)
    return tmp_path


def rows(data: Path, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    found: list[dict[str, Any]] = run_query(data, query).table.to_pylist()
    return found


def test_spans_show_ids_as_text_and_everything_else_as_stored(data: Path) -> None:
    """A span comes back with lower-case hexadecimal ids, links too, its maps and exact times."""
    found = rows(data, "SELECT * FROM spans ORDER BY start_time_unix_nano")
    assert [field for field in found[0]] == SPANS_SCHEMA.names  # noqa: C416 - order matters
    assert found[0]["trace_id"] == TRACE_HEX
    assert found[0]["span_id"] == "0000000000000001"
    assert found[0]["parent_span_id"] is None
    assert found[1]["parent_span_id"] == "0000000000000001"
    assert found[1]["links"][0]["trace_id"] == OTHER.hex()
    assert found[1]["links"][0]["span_id"] == "ff" * 8
    assert found[1]["links"][0]["attributes"] == [("why", "retry")]
    assert found[0]["start_time"] == START
    assert found[0]["start_time_unix_nano"] == int(START.timestamp()) * 10**9 + 7
    assert dict(found[0]["attributes"]) == {"feature.flag": "new-cart", "n": "1"}
    assert found[2]["cost_usd"] == Decimal("0.003")


def test_events_are_rows_of_their_own(data: Path) -> None:
    """The exception is found by its type, with its span, service and weight."""
    (event,) = rows(data, "SELECT * FROM span_events WHERE exception_type = 'ValueError'")
    assert (event["trace_id"], event["span_id"]) == (TRACE_HEX, "0000000000000002")
    assert (event["service_name"], event["exception_message"]) == ("assistant", "bad amount")
    assert (event["event_idx"], event["sample_weight"]) == (0, 1.0)


def test_a_trace_is_one_row(data: Path) -> None:
    """Sums over the trace; an unknown price is null or counted, never 0; no root, no root name."""
    whole, rootless = rows(data, "SELECT * FROM traces ORDER BY start_time")
    assert whole == {
        "trace_id": TRACE_HEX,
        "root_service": "shop",
        "root_name": "GET /ask",
        "start_time": START,
        "duration_ms": 900.0,
        "spans": 4,
        "errors": 1,
        "cost_usd": Decimal("0.003"),
        "unpriced_spans": 1,
        "input_tokens": 2000,
        "output_tokens": 100,
        "services": ["assistant", "shop"],
        "sample_weight": 1.0,
        "sample_reason": "always",
    }
    assert rootless["root_name"] is None
    assert rootless["cost_usd"] is None
    assert (rootless["unpriced_spans"], rootless["input_tokens"]) == (0, None)
    assert rootless["sample_weight"] == 10.0


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63 - 1), -(2**63)])
def test_extreme_numbers_do_not_end_a_view(tmp_path: Path, extreme: int) -> None:
    """Scenario: times and tokens at the ends of 64 bits, beside an ordinary trace.

    Guarantees: every view answers, the ordinary trace as ever; a sum out of range is null.
    """
    claims = {"start_time_unix_nano": extreme, "duration_ns": extreme, "input_tokens": extreme}
    event = {"time_unix_nano": extreme, "name": "e", "attributes": []}
    hostile = [
        span(number, 0, 1, trace_id=OTHER, events=[event], events_count=1, **claims)
        for number in (1, 2)
    ]
    SmallLake(tmp_path).append(batch_of([*hostile, span(3, 0, 7, input_tokens=10)]))
    for view in ("spans", "span_events", "otel_traces", "feedback"):
        run_query(tmp_path, f"FROM {view}")
    ordinary, other = rows(tmp_path, "SELECT * FROM traces ORDER BY trace_id")
    assert (ordinary["input_tokens"], ordinary["duration_ms"]) == (10, 7.0)
    assert other["input_tokens"] is None


def test_usage_of_agents_is_not_added_to_that_of_their_calls(tmp_path: Path) -> None:
    """An agent span repeats its calls' tokens: the trace's sum is that of the calls."""
    call = span(1, 0, 5, gen_ai_operation_name="chat", input_tokens=10)
    agent = span(2, 0, 9, gen_ai_operation_name="invoke_agent", input_tokens=10)
    recall = span(3, 0, 9, gen_ai_operation_name="upsert_memory", input_tokens=10)
    SmallLake(tmp_path).append(batch_of([call, agent, recall]))
    assert rows(tmp_path, "SELECT input_tokens FROM traces") == [{"input_tokens": 10}]


def test_a_trace_is_found_by_the_stored_bytes(data: Path) -> None:
    """trace() gives what the filter on text gives, but reaches the files as a filter on bytes."""
    by_macro = rows(data, f"FROM trace('{TRACE_HEX}')")
    by_text = f"FROM spans WHERE trace_id = '{TRACE_HEX}' ORDER BY start_time"
    assert by_macro == rows(data, by_text)
    assert len(by_macro) == 4
    (event,) = rows(data, f"FROM trace_events('{TRACE_HEX}')")
    assert event["name"] == "exception"
    with connect(data) as connection:
        plan = connection.sql(f"EXPLAIN FROM trace('{TRACE_HEX.upper()}')").fetchall()[0][1]
    assert "trace_id = '\\x01\\x02" in plan
    assert "lower(hex" not in plan.split("Filters:")[1]


def test_attr_reads_a_key_of_a_map(data: Path) -> None:
    """attr() gives the value or null."""
    query = "SELECT attr(attributes, 'n') AS n, attr(resource_attributes, 'x') AS x FROM spans"
    assert rows(data, f"{query} LIMIT 1") == [{"n": "1", "x": None}]


def test_each_query_sees_what_was_committed_before_it(data: Path) -> None:
    """Another process's query right after a commit has the new rows."""
    lake = SmallLake(data / "second")
    program = (
        "import sys; from pathlib import Path; from storage.sql import run_query;"
        "print(run_query(Path(sys.argv[1]), 'SELECT count(*) AS n FROM spans').table['n'][0])"
    )
    for expected in (5, 10):
        lake.append(shop())
        command = [sys.executable, "-c", program, str(data / "second")]
        answer = subprocess.run(command, capture_output=True, check=True, text=True)
        assert answer.stdout.strip() == str(expected)


def test_queries_while_another_process_writes_see_whole_moments(tmp_path: Path) -> None:
    """The lake's own writer appends and compacts all the while: no row twice or missing."""
    context = multiprocessing.get_context("spawn")
    first, stop = context.Event(), context.Event()
    writer = context.Process(target=write_until, args=(str(tmp_path), first, stop))
    writer.start()
    try:
        assert first.wait(60)
        counts = [
            rows(
                tmp_path,
                "SELECT (SELECT count(*) FROM spans) AS n, (SELECT count(*) FROM span_events) AS e,"
                " (SELECT count(DISTINCT batch_seq) FROM spans) AS batches",
            )[0]
            for _ in range(20)
        ]
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0
    assert [(found["n"], found["e"]) for found in counts] == [
        (5 * found["batches"], found["batches"]) for found in counts
    ]
    assert counts == sorted(counts, key=lambda found: found["n"])
    assert counts[-1]["n"] > counts[0]["n"]


def test_files_that_go_away_are_asked_for_once_more(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merges take files away between reading the manifest and the query: the answer is right."""
    lake = SmallLake(data / "merging")
    lake.append(shop())
    lake.append(shop())
    opened: list[Path] = []
    connect_before = sql.connect

    def connect_then_merge(data_dir: Path) -> duckdb.DuckDBPyConnection:
        connection = connect_before(data_dir)
        if len(opened) < 3:
            lake.compact(unlink=True)
        opened.append(data_dir)
        return connection

    monkeypatch.setattr(sql, "connect", connect_then_merge)
    assert rows(data / "merging", "SELECT count(*) AS n FROM spans") == [{"n": 10}]
    assert len(opened) == 4


@pytest.mark.parametrize("is_told", [False, True])
def test_an_object_that_goes_away_is_asked_for_once_more(is_told: bool) -> None:
    """S3 objects are removed meanwhile, in the words of httpfs; then access is, which is final."""
    url = "https://bucket.s3.amazonaws.com/lake/spans"
    errors = [
        f"HTTP Error: Unable to connect to URL {url}/1.parquet: 404 (Not Found).",
        f"HTTP Error: HTTP GET error on '{url}/2.parquet' (HTTP 404)",
        f"HTTP Error: HTTP GET error on '{url}/3.parquet' (HTTP 403)",
    ]
    left = errors.copy()

    def ask() -> int:
        error = duckdb.HTTPException(left.pop(0))
        if is_told:
            raise QueryError("the lake cannot be read") from error
        raise error

    with pytest.raises((QueryError, duckdb.HTTPException)):
        sql.from_newest_files(ask)
    assert left == []
    left = errors[:2] * 2
    with pytest.raises((QueryError, duckdb.HTTPException)):
        sql.from_newest_files(ask)
    assert left == errors[1:2]


def test_a_file_that_stays_away_is_an_error(data: Path) -> None:
    """The manifest names a file that is not there: an error that says which, not a wrong count."""
    lake = SmallLake(data / "broken")
    lake.append(shop())
    (lake.path / lake.files["spans"][1]).unlink()
    with pytest.raises(QueryError, match=r"spans/date=2026-03-01"):
        run_query(data / "broken", "SELECT count(*) FROM spans")


@pytest.mark.parametrize(
    "name", ["plain", "it's here", "a [1]*?{x}", "späne\u2003\U0001f4c8", 'q"q']
)
def test_a_plain_duckdb_sees_the_same_data(tmp_path: Path, name: str) -> None:
    """The printed SQL in an ordinary DuckDB, whatever the path: same rows, newer when rerun."""
    lake = SmallLake(tmp_path / name)
    lake.append(shop())
    with duckdb.connect() as plain:
        plain.execute(print_setup(tmp_path / name))
        query = f"FROM trace('{TRACE_HEX}')"
        ours = run_query(tmp_path / name, query).table.column("span_id")
        assert plain.sql(query).to_arrow_table().column("span_id") == ours
        lake.append(shop())
        assert plain.sql("SELECT count(*) FROM spans").fetchall() == [(5,)]
        plain.execute(print_setup(tmp_path / name))
        assert plain.sql("SELECT count(*), sum(spans) FROM traces").fetchall() == [(2, 10)]


@pytest.mark.parametrize(("name", "neighbour"), [("x*", "xy"), ("x?", "xy"), ("[xy]z", "yz")])
def test_a_neighbour_that_the_path_would_match_is_not_read(
    tmp_path: Path, name: str, neighbour: str
) -> None:
    """A directory called x* beside one called xy: its queries see its own spans only."""
    for directory in (name, neighbour):
        SmallLake(tmp_path / directory).append(shop())
    assert rows(tmp_path / name, "SELECT count(*) AS n FROM spans") == [{"n": 5}]


def test_a_relative_data_directory_is_made_absolute(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set-up SQL works from any working directory; the lake directory itself is accepted."""
    monkeypatch.chdir(data.parent)
    relative = data.relative_to(data.parent)
    assert str(data / "lake") in print_setup(relative)
    assert rows(relative / "lake", "SELECT count(*) AS n FROM spans") == [{"n": 5}]


def test_an_empty_lake_answers(tmp_path: Path) -> None:
    """Before the first flush: views exist, with no rows."""
    SmallLake(tmp_path)
    assert rows(tmp_path, "SELECT count(*) AS n FROM traces") == [{"n": 0}]


def test_a_file_of_an_older_version_lacks_a_column(data: Path) -> None:
    """A column that a file does not have is null in its rows; the others are unharmed."""
    lake = SmallLake(data / "older")
    lake.append(shop())
    path = lake.path / lake.files["spans"][1]
    older = pq.ParquetFile(path).read().drop_columns(["user_id", "links"])
    pq.write_table(older, path)
    lake.append(batch_of([span(9, 0, 1, user_id="u")]))
    found = rows(data / "older", "SELECT user_id, links FROM spans ORDER BY user_id NULLS LAST")
    assert found[0] == {"user_id": "u", "links": []}
    assert found[-1]["user_id"] is None


def test_nothing_is_fetched_from_the_network(data: Path) -> None:
    """Extensions are neither installed nor loaded on the way: a URL is refused at once."""
    with pytest.raises(QueryError, match="httpfs"):
        run_query(data, "SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "there is no .*_manifest.json: is this the directory of exporters.lake.path"),
        ("not json", "is not JSON"),
        ("[1]", "is not an object"),
        ('{"format_version": 3}', "format_version 3; this clearspan reads up to 2"),
        ('{"format_version": 1, "spans": []}', "lists no files"),
        ('{"format_version": 1, "spans": "x", "span_events": "y"}', "lists no files"),
    ],
)
def test_a_directory_that_is_no_lake_is_explained(
    tmp_path: Path, manifest: str | None, message: str
) -> None:
    """A wrong directory or a foreign manifest: an error that says what was expected where."""
    (tmp_path / "lake").mkdir()
    if manifest is not None:
        (tmp_path / "lake" / "_manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(QueryError, match=message):
        run_query(tmp_path, "SELECT 1")


def test_a_missing_data_directory_is_explained(tmp_path: Path) -> None:
    """No directory at all: the error names it, and so does print_setup."""
    with pytest.raises(QueryError, match=r"no data directory .*nowhere"):
        print_setup(tmp_path / "nowhere")


def test_a_foreign_file_in_the_manifest_is_an_error(data: Path) -> None:
    """A listed file that is not Parquet: a QueryError, whatever the query."""
    (data / "lake" / "spans" / "_empty.parquet").write_bytes(b"something else")
    with pytest.raises(QueryError):
        run_query(data, "SELECT count(*) FROM spans")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nme FROM spans", "nme"),
        (" ", "no statement"),
        ("SELECT error('stop')", "stop"),
    ],
)
def test_wrong_sql_is_explained(data: Path, query: str, message: str) -> None:
    """DuckDB's own words reach whoever wrote the query, as a QueryError."""
    with pytest.raises(QueryError, match=message):
        run_query(data, query)


def test_the_last_of_several_statements_is_the_result(data: Path) -> None:
    """Statements run in order in one session."""
    assert rows(data, "SET VARIABLE x = 3; SELECT getvariable('x') AS x") == [{"x": 3}]


def test_only_listed_files_are_read(data: Path) -> None:
    """The files a query reads are the manifest's, all of them, in order, and no stray one."""
    lake = SmallLake(data / "stray")
    lake.append(shop())
    lake.write("spans", "date=2026-03-01/hour=12", pa.table(SPANS_SCHEMA.empty_table()))
    with connect(data / "stray") as connection:
        files = connection.sql("SELECT getvariable('clearspan').spans").fetchall()[0][0]
    listed = json.loads((lake.path / "_manifest.json").read_bytes())["spans"]
    assert files == [f"{lake.path}/{name}" for name in listed]
