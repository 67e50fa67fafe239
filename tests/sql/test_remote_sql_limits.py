"""The SQL endpoint: what a query cannot do to the next one, to the sidecar and to its machine."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.sql.sql_endpoint import (
    BEARER,
    ENDLESS,
    MAX_ROWS,
    WAIT_S,
    SqlEndpoint,
    await_that,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


UNSTOPPABLE = "SELECT levenshtein(repeat('ab', 200000), repeat('ba', 200000))"


@pytest.fixture
def patient(lake: Path) -> Iterator[SqlEndpoint]:
    """Serve it with time for a query to be killed, hung up on or waited for."""
    with serve(lake, timeout=60) as endpoint:
        yield endpoint


CROSS_JOIN = """
    SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e, spans f, spans g
    WHERE a.name > b.name
"""
RUNAWAYS = {
    "a cross join": (ENDLESS, 504, "2 s"),
    "a cross join of spans": (CROSS_JOIN, 504, "2 s"),
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
    "an error that quotes many bytes": ("SELECT repeat(chr(1), 3000000)::INT", 400, "it has 3,"),
    "bytes only as JSON": ("SELECT repeat(chr(1), 200) FROM range(999)", 400, "max_result_bytes"),
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_a_runaway_query_meets_a_limit_and_the_next_one_works(
    limited: SqlEndpoint, name: str
) -> None:
    """Scenario: endless, hungry or talkative. Guarantees: the limit is named; the next works."""
    sql, status, says = RUNAWAYS[name]
    reply = limited.ask(sql)
    assert (reply.status_code, says in reply.json()["error"]) == (status, True), reply.text
    assert limited.rows("SELECT 1 AS a") == [{"a": 1}]


def test_a_result_just_within_the_limits_is_answered(limited: SqlEndpoint) -> None:
    """Scenario: exactly as many rows as are allowed. Guarantees: all of them, none cut off."""
    rows = limited.rows(f"SELECT * FROM range({MAX_ROWS})")
    assert [row["range"] for row in rows] == list(range(MAX_ROWS))


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exec cat /dev/zero", "ended"),
        ("""echo '{"bytes": 1000000000000}'; exec yes""", "0.2 s"),
    ],
)
def test_an_answer_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    """Scenario: a process that sends without a pause, no line at all or a body without end.

    Guarantees: told so, soon and before it fills the memory; the process is ended.
    """
    worker = tmp_path / "worker"
    worker.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    worker.chmod(0o700)
    monkeypatch.setattr("storage.query_processes.sys.executable", str(worker))
    monkeypatch.setattr("storage.query_processes._START_LIMIT_S", 0.2)
    with serve(tmp_path, max_concurrent_queries=1) as endpoint:
        reply = endpoint.ask("SELECT 1")
        assert (reply.status_code, says in reply.json()["error"]) == (503, True), reply.text


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
        assert _nice(pid) == 19
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


def test_a_client_that_does_not_read_is_let_go(lake: Path) -> None:
    """Scenario: a large answer to a client that reads nothing.

    Guarantees: it holds its place no longer than a query may take.
    """
    sql = "SELECT repeat('x', 1000) AS x FROM range(30000)"
    limits = {"timeout": 2, "max_concurrent_queries": 1, "max_result_bytes": 2**26}
    with serve(lake, **limits) as endpoint, _asking(endpoint, sql, receives=4096):
        await_that(lambda: endpoint.outcomes("disconnected") == 1)
        assert endpoint.rows("SELECT 1 AS a") == [{"a": 1}]


def test_answers_at_the_same_time_are_each_ones_own(lake: Path) -> None:
    """Scenario: four clients, each with its own question many times.

    Guarantees: every answer is to its question.
    """
    with serve(lake, max_concurrent_queries=4) as endpoint, ThreadPoolExecutor(4) as clients:

        def ask(number: int) -> bool:
            sql = f"SELECT {number} AS a, count(*) AS n FROM range({number * 1000})"
            return all(endpoint.rows(sql) == [{"a": number, "n": number * 1000}] for _ in range(20))

        assert all(clients.map(ask, range(4)))
        assert endpoint.outcomes("answered") == 80


def test_stopping_ends_what_runs(lake: Path) -> None:
    """Scenario: the sidecar stops while a query has ten minutes. Guarantees: nothing is left."""
    with serve(lake, timeout=600) as endpoint:
        asking = _asking(endpoint, ENDLESS)
        await_that(lambda: bool(endpoint.processes()))
    with asking:
        assert not endpoint.processes()


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
