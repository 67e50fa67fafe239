"""docs/sql.md against the code: every column both ways, every query run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.model.schema import PROMOTIONS
from storage.lake_tables import SPAN_EVENTS_SCHEMA, SPANS_SCHEMA
from storage.sql import connect, run_query
from storage.sql_views import MACROS, VIEWS
from tests.sql.writer import write_once

DOC = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
CELL = r" ([^|]+) \|"
ROW = re.compile(rf"^\| `([\w.]+)` \|{CELL}{CELL}{CELL}(?:{CELL})?$", re.MULTILINE)
QUESTIONS = re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", DOC, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory with the shop's spans."""
    path = tmp_path_factory.mktemp("data")
    write_once(path)
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


def test_the_exporters_columns_say_where_they_come_from() -> None:
    """Each column of otel_traces names a column that its source has."""
    stored = {"": SPANS_SCHEMA.names, "span_events": SPAN_EVENTS_SCHEMA.names}
    for name, (_, source) in documented("otel_traces").items():
        column, _, table = source.replace("`", "").partition(" of ")
        assert column in stored[table], name


def test_every_view_and_macro_is_listed() -> None:
    """The overview names each of them and no other."""
    overview = DOC.split("| name | what |")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)", overview, re.MULTILINE)) == (*VIEWS, *MACROS)


def test_there_are_questions() -> None:
    """The document has queries, so the test below tests something."""
    assert len(QUESTIONS) >= 12


@pytest.mark.parametrize(("question", "query"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_every_query_answers_its_question(question: str, query: str, data: Path) -> None:
    """Each query of the document runs as printed and finds something in a small lake."""
    assert question.endswith("?")
    assert len(run_query(data, query)) >= 1


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
