"""The SQL endpoint: what it answers, whom, and what a query cannot do to the next one."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from storage.sql import run_query
from tests.sql.busy_day import busy_day
from tests.sql.rows import shop
from tests.sql.small_lake import SmallLake
from tests.sql.sql_endpoint import (
    BEARER,
    ENDLESS,
    WAIT_S,
    SqlEndpoint,
    await_that,
    serve,
)
from tests.sql.test_docs import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

MAX_ROWS = 1_000
MAX_BYTES = 2**20
UNSTOPPABLE = "SELECT levenshtein(repeat('ab', 200000), repeat('ba', 200000))"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with the shop's spans and those of a busy day."""
    path = tmp_path_factory.mktemp("data")
    lake = SmallLake(path)
    lake.append(shop())
    lake.append(busy_day())
    return path


@pytest.fixture(scope="module")
def endpoint(data: Path) -> Iterator[SqlEndpoint]:
    """Serve it with limits that are quickly reached."""
    limits = {"max_result_rows": MAX_ROWS, "max_result_bytes": MAX_BYTES, "memory_limit": 2**26}
    with serve(data, timeout=2, max_request_body_size=1024, **limits) as endpoint:
        yield endpoint


@pytest.fixture
def patient(data: Path) -> Iterator[SqlEndpoint]:
    """Serve it with time for a query to be killed, hung up on or waited for."""
    with serve(data, timeout=60) as endpoint:
        yield endpoint


def stream(reply: httpx.Response) -> pa.Table:
    """Return what an Arrow IPC stream holds."""
    return pa.ipc.open_stream(reply.content).read_all()


def test_every_documented_question_is_answered_alike(data: Path) -> None:
    """Scenario: the queries of the documentation, as JSON and as Arrow.

    Guarantees: the same rows, values and types as `clearspan query`.
    """
    with serve(data) as endpoint:
        for question, sql in QUESTIONS:
            # some ask for the last minutes: their answers agree within one
            here = run_query(data, sql)
            expected = io.BytesIO()
            here.write(expected, "json")
            # and some leave the order open
            assert _unordered(endpoint.ask(sql).json()) == _unordered(
                json.loads(expected.getvalue())
            ), question
            table = stream(endpoint.post({"sql": sql, "format": "arrow"}))
            assert table.schema == here.table.schema, question
            assert table.num_rows == len(here), question


@pytest.mark.parametrize(
    ("asked", "accept", "media_type"),
    [
        (None, "*/*", "application/json"),
        (None, "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
        ("json", "application/vnd.apache.arrow.stream", "application/json"),
        ("arrow", "application/json", "application/vnd.apache.arrow.stream"),
    ],
)
def test_the_format_is_negotiated(
    endpoint: SqlEndpoint, asked: str | None, accept: str, media_type: str
) -> None:
    """Scenario: a format in the body, in Accept, in both, in none.

    Guarantees: the body's wins; JSON otherwise; nothing is cached.
    """
    body = {"sql": "SELECT 1 AS a"} | ({"format": asked} if asked else {})
    reply = endpoint.post(body, accept=accept)
    assert reply.headers["content-type"] == media_type
    assert reply.headers["cache-control"] == "no-store"
    rows = reply.json() if "json" in media_type else stream(reply).to_pylist()
    assert rows == [{"a": 1}]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        f"Basic {BEARER}",
        BEARER,
        f"Bearer {BEARER[:-1]}",
        f"Bearer {BEARER}x",
        f"Bearer {BEARER.upper()}",
        "Bearer \u00e9\u00e9\u00e9\u00e9",
    ],
)
def test_without_the_token_nothing_is_told(
    endpoint: SqlEndpoint, authorization: str | None
) -> None:
    """Scenario: no token, part of it, more of it, another scheme.

    Guarantees: 401 with the challenge, whatever the body; the token is not in the answer.
    """
    headers = {} if authorization is None else {"authorization": authorization.encode()}
    reply = endpoint.client.post(endpoint.url, content=b"{", headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert BEARER not in reply.text
    assert endpoint.ask("SELECT 1", authorization=f"bearer  {BEARER}").status_code == 200


@pytest.mark.parametrize(
    ("request_line", "options", "status", "says"),
    [
        ("GET /v1/sql", {}, 405, "POST"),
        ("POST /v1/traces", {"json": {}}, 404, "/v1/sql"),
        ("POST /v1/sql", {"content": "SELECT 1"}, 415, "application/json"),
        ("POST /v1/sql", {"data": {"sql": "SELECT 1"}}, 415, "application/json"),
        ("POST /v1/sql", {"json": {"sql": "x" * 1024}}, 413, "1024"),
        ("POST /v1/sql", {"json": ["SELECT 1"]}, 400, "sql"),
        ("POST /v1/sql", {"json": {"sql": 1}}, 400, "sql"),
        ("POST /v1/sql", {"json": {"sql": "SELECT 1", "params": []}}, 400, "params"),
        ("POST /v1/sql", {"json": {"sql": "SELECT 1", "format": "csv"}}, 400, "arrow"),
    ],
)
def test_other_requests(
    endpoint: SqlEndpoint, request_line: str, options: dict[str, Any], status: int, says: str
) -> None:
    """Scenario: another method, path, type, a large body, a body that says something else.

    Guarantees: the status, and JSON whose "error" says what is expected.
    """
    method, path = request_line.split()
    url = endpoint.url.replace("/v1/sql", path)
    headers = {"authorization": f"Bearer {BEARER}"}
    reply = endpoint.client.request(method, url, headers=headers, **options)
    assert reply.status_code == status
    assert says in reply.json()["error"]
    assert ("allow" in reply.headers) == (status == 405)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 1000, 400),
        (b'{"sql": "\\ud800"}', 400),
        (b"\xff\xfe", 400),
        (b" " * 1025, 413),
    ],
)
def test_bodies_that_are_no_requests(endpoint: SqlEndpoint, body: bytes, status: int) -> None:
    """Scenario: half a body, a deep one, half a character, no text, one too large in chunks.

    Guarantees: told so.
    """
    headers = {"authorization": f"Bearer {BEARER}", "content-type": "application/json"}
    for content in (body, iter([body[:10], body[10:]])):
        reply = endpoint.client.post(endpoint.url, content=content, headers=headers)
        assert reply.status_code == status
        assert reply.json()["error"]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT nme FROM spans", "nme"),
        ("SELECT 'x'::INTEGER", "Conversion Error"),
        ("FROM trace('x')", "hex"),
        ("SELECT upper(1, 2, 3)", "upper"),
    ],
)
def test_wrong_sql_is_explained_in_duckdbs_words(
    endpoint: SqlEndpoint, data: Path, sql: str, says: str
) -> None:
    """Scenario: SQL with a mistake. Guarantees: 400 that names it, and no path of this machine."""
    reply = endpoint.ask(sql)
    assert reply.status_code == 400
    assert says in reply.json()["error"]
    assert str(data) not in reply.text


def test_a_damaged_file_is_named_without_its_directory(tmp_path: Path) -> None:
    """Scenario: a listed file is no Parquet. Guarantees: 400 that names the file, not the path."""
    lake = SmallLake(tmp_path)
    with serve(tmp_path) as endpoint:
        assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 0}]
        lake.append(shop())
        name = lake.files["spans"][1]
        (lake.path / name).write_bytes(b"nothing of the kind")
        reply = endpoint.ask("SELECT max(name) FROM spans")
    assert reply.status_code == 400
    assert name in reply.json()["error"]
    assert str(tmp_path) not in reply.text


def test_without_a_lake_it_says_so(tmp_path: Path) -> None:
    """Scenario: there is no lake yet, then there is.

    Guarantees: 503 with Retry-After, then an answer.
    """
    with serve(tmp_path) as endpoint:
        reply = endpoint.ask("SELECT 1")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "there is no lake/_manifest.json" in reply.json()["error"]
        SmallLake(tmp_path).append(shop())
        assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 5}]


def test_newer_spans_are_seen_and_removed_files_are_not_missed(tmp_path: Path) -> None:
    """Scenario: spans are written, files merged and the old ones removed, between queries.

    Guarantees: the same process sees all of it.
    """
    lake = SmallLake(tmp_path)
    lake.append(shop())
    with serve(tmp_path, max_concurrent_queries=1) as endpoint:
        for round_ in range(1, 4):
            counted = endpoint.rows("SELECT count(*) AS n FROM spans")
            assert counted == [{"n": 5 * round_}]
            lake.append(shop())
            lake.compact(unlink=True)


RUNAWAYS = {
    "a cross join": (ENDLESS, 504, "2 s"),
    "a cross join of spans": (
        "SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e WHERE a.name > b.name",
        504,
        "2 s",
    ),
    "a recursion without end": (
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
        504,
        "2 s",
    ),
    "one call that cannot be interrupted": (UNSTOPPABLE, 504, "2 s"),
    "one huge text": ("SELECT length(repeat('x', 2000000000))", 400, "memory"),
    "one huge list": ("SELECT len(range(1000000000))", 400, "memory"),
    "a huge aggregate": ("SELECT list(range) FROM range(100000000)", 400, "memory"),
    "a huge sort": ("SELECT * FROM range(100000000) ORDER BY hash(range)", 400, "memory"),
    "a huge group": ("SELECT count(*) FROM range(100000000) GROUP BY range", 400, "memory"),
    "many rows": ("SELECT * FROM range(1001)", 400, "max_result_rows"),
    "rows without end": (
        "SELECT a.range FROM range(100000000) a, range(100000) b",
        400,
        "max_result_rows",
    ),
    "many bytes": ("SELECT repeat('x', 4096) FROM range(300)", 400, "max_result_bytes"),
    "one cell of many bytes": ("SELECT repeat('x', 10000000)", 400, "max_result_bytes"),
    "bytes only as JSON": ("SELECT repeat(chr(1), 200) FROM range(999)", 400, "max_result_bytes"),
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_a_runaway_query_meets_a_limit_and_the_next_one_works(
    endpoint: SqlEndpoint, name: str
) -> None:
    """Scenario: endless, hungry or talkative. Guarantees: the limit is named; the next works."""
    sql, status, says = RUNAWAYS[name]
    reply = endpoint.ask(sql)
    assert (reply.status_code, says in reply.json()["error"]) == (status, True), reply.text
    assert endpoint.rows("SELECT 1 AS a") == [{"a": 1}]


def test_a_result_just_within_the_limits_is_answered(endpoint: SqlEndpoint) -> None:
    """Scenario: exactly as many rows as are allowed. Guarantees: all of them, none cut off."""
    rows = endpoint.rows(f"SELECT * FROM range({MAX_ROWS})")
    assert [row["range"] for row in rows] == list(range(MAX_ROWS))


def test_a_killed_process_is_told_and_replaced(patient: SqlEndpoint) -> None:
    """Scenario: SIGKILL of the query's process, in the middle of a query and between two.

    Guarantees: 500 that says so; the next queries work.
    """
    with ThreadPoolExecutor(1) as background:
        running = background.submit(patient.ask, ENDLESS)
        await_that(lambda: bool(patient.processes()))
        (pid,) = patient.processes()
        # starting takes a third of this
        await_that(lambda: _cpu_ticks(pid) > 100)
        assert _nice(pid) == min(19, os.nice(0) + 10)
        os.kill(pid, signal.SIGKILL)
        reply = running.result(WAIT_S)
    assert (reply.status_code, "ended" in reply.json()["error"]) == (500, True)
    assert patient.rows("SELECT 1 AS a") == [{"a": 1}]
    (pid,) = patient.processes()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert patient.rows("SELECT 2 AS a") == [{"a": 2}]
    assert patient.outcomes("aborted") == 1


def test_more_queries_than_there_is_room_for(patient: SqlEndpoint) -> None:
    """Scenario: two endless queries, and a third; then their clients hang up.

    Guarantees: the third is told at once to come again; when the clients are gone their queries
    are ended, long before their time, and there is room.
    """
    with _asking(patient, ENDLESS), _asking(patient, ENDLESS):
        await_that(lambda: len(patient.processes()) == 2)
        reply = patient.ask("SELECT 1 AS a")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "2 queries" in reply.json()["error"]
    await_that(lambda: patient.outcomes("disconnected") == 2)
    assert patient.rows("SELECT 1 AS a") == [{"a": 1}]


def test_a_client_that_does_not_read_is_let_go(data: Path) -> None:
    """Scenario: a large answer to a client that reads nothing.

    Guarantees: it holds its place no longer than a query may take.
    """
    sql = "SELECT repeat('x', 1000) AS x FROM range(30000)"
    limits = {"timeout": 2, "max_concurrent_queries": 1, "max_result_bytes": 2**26}
    with serve(data, **limits) as endpoint, _asking(endpoint, sql, receives=4096):
        await_that(lambda: endpoint.outcomes("disconnected") == 1)
        assert endpoint.rows("SELECT 1 AS a") == [{"a": 1}]


def test_answers_at_the_same_time_are_each_ones_own(data: Path) -> None:
    """Scenario: four clients, each with its own question many times.

    Guarantees: every answer is to its question.
    """
    with serve(data, max_concurrent_queries=4) as endpoint, ThreadPoolExecutor(4) as clients:

        def ask(number: int) -> bool:
            sql = f"SELECT {number} AS a, count(*) AS n FROM range({number * 1000})"
            return all(endpoint.rows(sql) == [{"a": number, "n": number * 1000}] for _ in range(20))

        assert all(clients.map(ask, range(4)))
        assert endpoint.outcomes("answered") == 80


def test_stopping_ends_what_runs(data: Path) -> None:
    """Scenario: the sidecar stops while a query has ten minutes. Guarantees: nothing is left."""
    with serve(data, timeout=600) as endpoint:
        asking = _asking(endpoint, ENDLESS)
        await_that(lambda: bool(endpoint.processes()))
    with asking:
        assert not endpoint.processes()


def _unordered(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(json.dumps, rows))


class _asking:  # noqa: N801 - used as a context manager
    """A client that sends a query and then neither reads nor closes, until the end."""

    def __init__(self, endpoint: SqlEndpoint, sql: str, receives: int = 0) -> None:
        host, _, port = endpoint.address.rpartition(":")
        self._socket = socket.socket()
        if receives:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self._socket.connect((host, int(port)))
        body = b'{"sql": "%b"}' % sql.encode()
        self._socket.sendall(
            b"POST /v1/sql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (BEARER.encode(), len(body), body)
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - a line of proc
        return stat.read().rpartition(")")[2].split()


def _nice(pid: int) -> int:
    return int(_stat(pid)[16])


def _cpu_ticks(pid: int) -> int:
    return int(_stat(pid)[11])
