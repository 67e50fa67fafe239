"""docs/sql.md and its questions against the code: every column both ways, every query run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from collector.model.schema import PROMOTIONS
from storage.lake_tables import SPAN_EVENTS_SCHEMA, SPANS_SCHEMA
from storage.sql import connect, run_query
from storage.sql_views import MACROS, VIEWS
from tests.sql.busy_day import BURST_ERRORS, busy_day
from tests.sql.rows import TRACE, shop
from tests.sql.writer import write_once
from tests.storage.log_batches import log_batch, log_request, log_store

DOCS = Path(__file__).parents[2] / "docs"
DOC = (DOCS / "sql.md").read_text(encoding="utf-8")
ASKED = (DOCS / "sql-questions.md").read_text(encoding="utf-8")
DASH = "\N{EN DASH}"
CELL = r" ([^|]+) \|"
ROW = re.compile(rf"^\| `([\w.]+)` \|{CELL}{CELL}{CELL}(?:{CELL})?$", re.MULTILINE)
QUESTIONS = re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", ASKED, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with the shop's spans."""
    path = tmp_path_factory.mktemp("data")
    write_once(path)
    return path


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with the shop's spans, those of a busy day, and log records."""
    path = tmp_path_factory.mktemp("busy")
    write_once(path, shop(), busy_day())
    logs = log_store(path)
    failure = {"severity_number": 17, "severity_text": "ERROR", "trace_id": TRACE}
    logs.store(log_batch(log_request({**failure, "body": "bad amount"}, service_name="shop")))
    logs.lake.close()
    return path


def documented(view: str) -> dict[str, tuple[str, str]]:
    """Return the columns of a view's table in the document: name to type and attributes."""
    section = DOC.split(f"\n## `{view}`\n")[1].split("\n## ")[0]
    return {name: (kind, source) for name, kind, _, _, source in ROW.findall(section)}


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_documented_with_its_type(view: str, data: Path) -> None:
    """Names, order and types of a view are those in the document."""
    with connect(data) as connection:
        described = connection.sql(f"DESCRIBE {view}").fetchall()
    actual = {name: "STRUCT(…)[]" if name == "links" else kind for name, kind, *_ in described}
    expected = {name: kind for name, (kind, _) in documented(view).items()}
    assert list(actual.items()) == list(expected.items())


def test_the_stored_columns_are_the_documented_ones() -> None:
    """The tables in the lake and the views have the same columns."""
    assert list(documented("spans")) == SPANS_SCHEMA.names
    assert list(documented("span_events")) == SPAN_EVENTS_SCHEMA.names


def test_every_promoted_column_names_its_attributes() -> None:
    """Which attribute a column repeats, in order of trust, is what the promotion says."""
    sources = {
        name: tuple(re.findall(r"`([^`]+)`", source))
        for name, (_, source) in documented("spans").items()
        if "`" in source
    }
    assert sources == {promotion.column: promotion.keys for promotion in PROMOTIONS}


@pytest.mark.parametrize("view", ["traces", "otel_traces"])
def test_computed_columns_say_what_they_are_made_of(view: str) -> None:
    """Each column of a computed view names columns that their table has, or none."""
    stored = {"": SPANS_SCHEMA.names, "span_events": SPAN_EVENTS_SCHEMA.names}
    for name, (_, source) in documented(view).items():
        columns, _, table = source.replace("`", "").partition(" of ")
        assert set(columns.split(", ")) <= {*stored[table], DASH}, name


def test_every_view_and_macro_is_listed() -> None:
    """The overview names each of them and no other."""
    overview = DOC.split("| name | what |")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)", overview, re.MULTILINE)) == (*VIEWS, *MACROS)


def test_there_are_questions() -> None:
    """The document has queries, each once, so the test below tests something."""
    assert len(dict(QUESTIONS)) == len(QUESTIONS) == ASKED.count("```sql") >= 30


@pytest.mark.parametrize(("question", "query"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_every_query_answers_its_question(question: str, query: str, busy: Path) -> None:
    """Each query of the document runs as printed and finds something in a small lake."""
    assert question.endswith("?")
    assert len(run_query(busy, query)) >= 1


def test_the_documented_numbers_are_right(data: Path) -> None:
    """The shop's sums, by hand: cost, error rate under sampling, cache, cut-off answers."""
    queries = dict(QUESTIONS)

    def answer(start: str) -> dict[str, object]:
        (query,) = (sql for question, sql in queries.items() if question.startswith(start))
        row: dict[str, object] = run_query(data, query).table.to_pylist()[0]
        return row

    cost = answer("What does each model cost")
    assert (cost["calls"], cost["usd"], cost["unpriced"]) == (2, 0.003, 1)
    rates = run_query(
        data, queries["What share of requests fails, by service, corrected for sampling?"]
    )
    assert rates.table.to_pylist() == [
        {"service_name": "assistant", "requests": 1.0, "error_rate": 1.0},
        {"service_name": "shop", "requests": 11.0, "error_rate": 0.0},
    ]
    assert answer("How much of the prompts")["cache_hit_rate"] == 0.25
    cut_off = answer("Which answers were cut off")
    assert (cut_off["reason"], cut_off["answers"]) == ("length", 1)
    edge = answer("Which service calls which")
    assert (edge["client"], edge["server"], edge["calls"]) == ("shop", "assistant", 1)


def test_the_busy_days_numbers_are_right(busy: Path) -> None:
    """What was put there is what the queries find: burst, retries, new exception, tool, tokens."""
    queries = dict(QUESTIONS)

    def answers(start: str) -> list[dict[str, Any]]:
        (query,) = (sql for question, sql in queries.items() if question.startswith(start))
        rows: list[dict[str, Any]] = run_query(busy, query).table.to_pylist()
        return rows

    (burst,) = answers("When were there bursts")
    assert (burst["service_name"], burst["errors"]) == ("checkout", BURST_ERRORS)
    assert burst["error_rate"] == BURST_ERRORS / (BURST_ERRORS + 2 * 20)
    (retried,) = answers("What is retried")
    assert (retried["server_address"], retried["most_calls"]) == ("bank", 3)
    assert retried["extra_ms"] == 1_600
    (new,) = answers("Which exceptions are new")
    assert (new["exception_type"], new["times"]) == ("BankTimeout", 2)
    (tool,) = answers("Which tools fail")
    assert (tool["error_rate"], tool["usual_error"]) == (0.5, "timeout")
    (outlier,) = answers("Which calls use far more tokens")
    assert outlier["tokens"] == 50_100
    assert [turn["calls"] for turn in answers("What happened in one conversation")] == [3, 3]
    statement = answers("Which database statements")[0]
    assert (statement["statement"], statement["total_s"]) == ("UPDATE ?", 0.4)
    slow = next(row for row in answers("Which routes are slowest") if row["http_route"] == "/pay")
    assert (slow["p50_ms"], slow["p95_ms"], slow["max_ms"]) == (20, 500, 500)
    assert slow["requests"] == 92 * 20 + BURST_ERRORS
    (redacted,) = answers("How much is redacted")
    assert redacted["redacted_values"] == 2 * slow["requests"]
    models = {row["model"]: row for row in answers("How do the models compare")}
    assert models["claude-sonnet-4-5"]["usd_a_call"] == 0.002
    # three at 0.002, one at 0.003 and one without a price, which does not count as 0
    assert models["gpt-4o"]["usd_a_call"] == pytest.approx(0.00225)
