"""The SQL endpoint: what it answers, and to whom; and what its documentation says."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from collector.model.errors import QueryError
from config.loader import load_settings
from storage import query_session
from storage.query_session import QuerySession
from storage.sql import connect, run_query, run_statements
from tests.sql.rows import TRACE_HEX, shop
from tests.sql.small_lake import SmallLake
from tests.sql.sql_endpoint import (
    BEARER,
    WAIT_S,
    SqlEndpoint,
    serve,
)
from tests.sql.test_docs import DOC, QUESTIONS

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

DEFAULT = "127.0.0.1:13134"


def stream(reply: httpx.Response) -> pa.Table:
    """Return what an Arrow IPC stream holds."""
    return pa.ipc.open_stream(reply.content).read_all()


def test_every_documented_question_is_answered_alike(lake: Path) -> None:
    """Scenario: the queries of the documentation, as JSON and as Arrow.

    Guarantees: the same rows, values and types as `clearspan query`.
    """
    with serve(lake) as endpoint, connect(lake) as connection:
        for question, sql in QUESTIONS:
            # some ask for the last minutes: their answers agree within one
            here = run_statements(connection, sql)
            assert here is not None
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
    limited: SqlEndpoint, asked: str | None, accept: str, media_type: str
) -> None:
    """Scenario: a format in the body, in Accept, in both, in none.

    Guarantees: the body's wins; JSON otherwise; nothing is cached.
    """
    body = {"sql": "SELECT 1 AS a"} | ({"format": asked} if asked else {})
    reply = limited.post(body, accept=accept)
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
def test_without_the_token_nothing_is_told(limited: SqlEndpoint, authorization: str | None) -> None:
    """Scenario: no token, part of it, more of it, another scheme.

    Guarantees: 401 with the challenge, whatever the body; the token is not in the answer.
    """
    headers = {} if authorization is None else {"authorization": authorization.encode()}
    reply = limited.client.post(limited.url, content=b"{", headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert BEARER not in reply.text
    assert limited.ask("SELECT 1", authorization=f"bearer  {BEARER}").status_code == 200


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
    limited: SqlEndpoint, request_line: str, options: dict[str, Any], status: int, says: str
) -> None:
    """Scenario: another method, path, type, a large body, a body that says something else.

    Guarantees: the status, and JSON whose "error" says what is expected.
    """
    method, path = request_line.split()
    url = limited.url.replace("/v1/sql", path)
    headers = {"authorization": f"Bearer {BEARER}"}
    reply = limited.client.request(method, url, headers=headers, **options)
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
def test_bodies_that_are_no_requests(limited: SqlEndpoint, body: bytes, status: int) -> None:
    """Scenario: half a body, a deep one, half a character, no text, one too large in chunks.

    Guarantees: told so.
    """
    headers = {"authorization": f"Bearer {BEARER}", "content-type": "application/json"}
    for content in (body, iter([body[:10], body[10:]])):
        reply = limited.client.post(limited.url, content=content, headers=headers)
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
    limited: SqlEndpoint, lake: Path, sql: str, says: str
) -> None:
    """Scenario: SQL with a mistake. Guarantees: 400 that names it, and no path of this machine."""
    reply = limited.ask(sql)
    assert reply.status_code == 400
    assert says in reply.json()["error"]
    assert str(lake) not in reply.text


def test_a_damaged_file_is_named_without_its_directory(tmp_path: Path) -> None:
    """Scenario: a listed file is no Parquet. Guarantees: 503 that names the file, not the path."""
    lake = SmallLake(tmp_path)
    with serve(tmp_path) as endpoint:
        assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 0}]
        lake.append(shop())
        name = lake.files["spans"][1]
        (lake.path / name).write_bytes(b"nothing of the kind")
        reply = endpoint.ask("SELECT max(name) FROM spans")
    assert reply.status_code == 503
    assert name in reply.json()["error"]
    assert str(tmp_path) not in reply.text


TREE = """
    WITH RECURSIVE tree AS (
        SELECT trace_id, span_id, 0 AS depth FROM trace('{0}') WHERE is_root
        UNION ALL
        SELECT s.trace_id, s.span_id, depth + 1 FROM spans s
        JOIN tree t ON s.trace_id = t.trace_id AND s.parent_span_id = t.span_id)
    SELECT span_id, depth FROM tree
"""


def test_values_for_which_arrow_has_no_type_are_text(limited: SqlEndpoint) -> None:
    """Scenario: a number above 2^127. Guarantees: its digits, not what fits into a signed one."""
    largest = str(2**128 - 1)
    assert limited.rows(f"SELECT {largest}::UHUGEINT AS n") == [{"n": largest}]


def test_a_trace_is_walked_as_a_tree(limited: SqlEndpoint) -> None:
    """Scenario: two recursions over the lake's files in a process with one thread.

    Guarantees: the spans with their depths; DuckDB does not wait for a thread that is not there.
    """
    tree = TREE.format(TRACE_HEX)
    found = limited.rows(f"SELECT * FROM ({tree}) UNION ALL SELECT * FROM ({tree}) ORDER BY depth")
    assert [row["depth"] for row in found] == [0, 0, 1, 1]


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


def test_while_the_lake_cannot_be_read_it_says_so(tmp_path: Path) -> None:
    """Scenario: an open process, and the manifest is damaged, is away, is there again.

    Guarantees: 503 with Retry-After and no path of this machine, then an answer.
    """
    manifest = SmallLake(tmp_path).path / "_manifest.json"
    written = manifest.read_bytes()
    with serve(tmp_path) as endpoint:
        assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 0}]
        for damage in (lambda: manifest.write_bytes(b"{"), manifest.unlink):
            damage()
            reply = endpoint.ask("SELECT count(*) AS n FROM spans")
            assert (reply.status_code, reply.headers.get("retry-after")) == (503, "1"), reply.text
            assert str(tmp_path) not in reply.text
        manifest.write_bytes(written)
        assert endpoint.rows("SELECT count(*) AS n FROM spans") == [{"n": 0}]


def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    """Scenario: the data directory's name is a pattern to DuckDB; then a file is damaged.

    Guarantees: every query is answered; no error names the directory, escaped or not.
    """
    data = tmp_path / "a[1]*?"
    lake = SmallLake(data)
    lake.append(shop())
    with serve(data, max_concurrent_queries=1) as endpoint:
        for source, count in (("spans", 5), (f"trace('{TRACE_HEX}')", 4)):
            assert endpoint.rows(f"SELECT count(*) AS n FROM {source}") == [{"n": count}]
        (lake.path / "_manifest.json").write_bytes(b"{")
        assert str(tmp_path) not in endpoint.ask("FROM spans").text


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


def test_files_that_go_away_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: three times files are removed between the manifest and the query, as by erasure.

    Guarantees: the answer is right; a file that stays away is an error that names it.
    """
    lake = SmallLake(tmp_path)
    lake.append(shop())
    settings = {"memory_limit": 2**30, "threads": 1, "timeout": 30.0}
    limits = {"max_result_rows": 1000, "max_result_bytes": 2**20}
    session = QuerySession(data=str(tmp_path), **settings, **limits)
    times = [3]
    refresh = query_session.refresh

    def refresh_and_merge(*arguments: Any) -> None:
        refresh(*arguments)
        if times[0]:
            times[0] -= 1
            lake.compact(unlink=True)

    monkeypatch.setattr(query_session, "refresh", refresh_and_merge)
    answer = session.answer("SELECT count(*) AS n FROM spans", "json")
    assert (json.loads(answer), times) == ([{"n": 5}], [0])
    (lake.path / lake.files["spans"][1]).unlink()
    with pytest.raises(QueryError, match=lake.files["spans"][1]):
        session.answer("SELECT count(*) AS n FROM spans", "json")


@pytest.fixture
def documented(limited: SqlEndpoint, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return the documented examples by language, for this limited."""
    monkeypatch.setenv("CLEARSPAN_SQL_TOKEN", BEARER)
    section = DOC.split("## Over HTTP")[1].split("\n## ")[0].replace(DEFAULT, limited.address)
    blocks: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        blocks.setdefault(language, []).append(block)
    return blocks


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_the_documented_client_works(
    documented: dict[str, list[str]], library: str, lake: Path
) -> None:
    """Scenario: the Python of the documentation. Guarantees: it makes the spans a data frame."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    client, *examples = documented["python"]
    (example,) = (block for block in examples if library in block)
    names: dict[str, Any] = {}
    exec(client + example, names)  # noqa: S102 - our own documentation
    assert type(names["spans"]).__module__.startswith(library)
    assert len(names["spans"]) == len(run_query(lake, "SELECT 1 FROM spans"))


def test_the_documented_curl_works(documented: dict[str, list[str]], lake: Path) -> None:
    """Scenario: the curl of the documentation. Guarantees: it prints each service's spans."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (command,) = documented["sh"]
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=WAIT_S)
    spans = sum(row["spans"] for row in json.loads(done.stdout))
    assert spans == len(run_query(lake, "SELECT 1 FROM spans"))


def test_the_documented_configuration_is_one(
    documented: dict[str, list[str]], tmp_path: Path
) -> None:
    """Scenario: the YAML of the documentation. Guarantees: it loads, and turns the endpoint on."""
    (tmp_path / "secret").write_text(f"{BEARER}\n", encoding="ascii")
    (text,) = documented["yaml"]
    file = tmp_path / "c.yaml"
    mounted = "/run/secrets/clearspan-sql"
    file.write_text(text.replace(mounted, str(tmp_path / "secret")), encoding="utf-8")
    sql = load_settings([file], [], {}).extensions.sql
    assert sql.enabled
    assert sql.endpoint == DEFAULT


def _unordered(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(json.dumps, rows))
