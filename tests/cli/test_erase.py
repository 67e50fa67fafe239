"""`clearspan erase` on data directories at rest: what it finds, refuses and does not pass over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.cli.erasure import Wanted, erase
from collector.model import schema as s
from collector.model.errors import ConfigError, QueryError, StartupError
from storage.erasure import Condition, find
from storage.files import DirectoryLock
from storage.live_data import LiveData
from storage.live_erasure import ask
from storage.sql import run_query
from tests.storage.batches import BASE_US, make_batch
from tests.storage.damage import DAMAGE, first_file, snapshot
from tests.storage.store import Store, lake_settings

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.batch import SpanBatch

USER = "CORP\\ann o'brien \"ü"
LINK = {
    s.SPAN_ID: b"s" * 8,
    "trace_state": "",
    "flags": 0,
    "attributes": [],
    "non_string_types": [],
    "dropped_attributes_count": 0,
}


def trace(number: int) -> bytes:
    """Return the id of a numbered trace."""
    return bytes([7] * 8) + number.to_bytes(8, "big")


def spans(*values: str, links: dict[int, dict[str, Any]] | None = None) -> SpanBatch:
    """Return a span a trace, numbered from 1, with these attributes and, where given, a link."""
    links = links or {}
    numbers = range(1, len(values) + 1)
    return make_batch(len(values)).replace(
        {
            s.TRACE_ID: pa.array(map(trace, numbers), pa.binary(16)),
            s.ATTRIBUTES: pa.array([[("who", value)] for value in values], s.STRING_MAP),
            s.LINKS: pa.array(
                [[LINK | links[one]] if one in links else [] for one in numbers], pa.list_(s.LINK)
            ),
        }
    )


def stored(data: Path, batch: SpanBatch, *, flushed: bool = True) -> None:
    """Leave a batch in the lake or in the journal of a data directory that nobody uses."""
    store = Store(data, lake_settings())
    store.store(batch)
    assert not flushed or store.lake.flush()
    store.abandon()


def run(data: Path, *, yes: bool = True, quarantined: bool = False, **wanted: Any) -> bool:
    """Erase at once; return whether nothing is left."""
    asked = {"trace_ids": (), "users": (), "where": None, "whole_traces": False} | wanted
    return erase(
        Wanted(**asked),
        [],
        [f"exporters.lake.path={data}"],
        {},
        yes=yes,
        no_grace=True,
        delete_quarantined=quarantined,
    )


def left(data: Path) -> list[int]:
    """Return the numbers of the traces that SQL finds."""
    rows = run_query(data, "SELECT trace_id FROM spans ORDER BY 1").table.to_pylist()
    return [int(row["trace_id"][16:], 16) for row in rows]


@pytest.mark.parametrize("user", ["", "  "])
def test_an_empty_user_is_everybody(tmp_path: Path, user: str) -> None:
    """Scenario: the variable of a script is empty. Guarantees: refused, nothing is erased."""
    stored(tmp_path / "data", spans("a", "b"))
    with pytest.raises(ConfigError, match="every span would hold it"):
        run(tmp_path / "data", users=(user,))
    assert left(tmp_path / "data") == [1, 2]


def test_single_spans_and_whole_traces_at_once_are_asked_for_in_words(tmp_path: Path) -> None:
    """Scenario: `--where` beside `--trace-id`. Guarantees: refused unless `--whole-traces` says
    that the spans' traces are meant.
    """  # noqa: D205 - the guarantee needs two lines
    stored(tmp_path / "data", spans("a", "b", "c"))
    both: dict[str, Any] = {"trace_ids": (trace(1).hex(),), "where": "attributes['who'] = 'b'"}
    with pytest.raises(ConfigError, match="say --whole-traces"):
        run(tmp_path / "data", **both)
    assert left(tmp_path / "data") == [1, 2, 3]
    assert run(tmp_path / "data", **both, whole_traces=True)
    assert left(tmp_path / "data") == [3]


def test_a_user_is_found_as_json_spells_it(tmp_path: Path) -> None:
    """Scenario: a value with backslash, quotes and an umlaut: as it is, in nested values, in JSON
    within JSON, in ASCII, and in the attributes and the state of links.

    Guarantees: all of it goes, nothing else does.
    """  # noqa: D205 - the scenario needs two lines
    once = json.dumps({"who": USER}, ensure_ascii=False)
    values = [USER, once, json.dumps(USER), json.dumps({"x": once}), "b", "c", "CORP ann"]
    links = {5: {"attributes": [("by", f"for {USER}")]}, 6: {"trace_state": f"v={USER}"}}
    stored(tmp_path / "data", spans(*values, links=links))
    assert run(tmp_path / "data", users=(USER,))
    assert left(tmp_path / "data") == [7]


def test_links_in_the_journal_to_what_is_gone_are_emptied(tmp_path: Path) -> None:
    """Scenario: an unsettled span links to a trace, of which nothing is stored any more.

    Guarantees: the id is in no file afterwards; the span stays.
    """
    batch = spans("a", "b", links={2: {s.TRACE_ID: trace(99)}})
    stored(tmp_path / "data", batch, flushed=False)
    assert run(tmp_path / "data", trace_ids=(trace(99).hex(),))
    store = Store(tmp_path / "data")
    assert store.restored == 2
    assert store.lake.flush()
    store.abandon()
    assert left(tmp_path / "data") == [1, 2]
    links = run_query(tmp_path / "data", "SELECT links FROM spans WHERE len(links) > 0").table
    assert [one["trace_id"] for one in links.to_pylist()[0]["links"]] == [""]


@pytest.mark.parametrize("flushed", [False, True])
def test_a_batch_of_which_nothing_stays(tmp_path: Path, *, flushed: bool) -> None:
    """Scenario: all spans of the only batch. Guarantees: they go; the next start goes on."""
    stored(tmp_path / "data", spans("a", "b"), flushed=flushed)
    assert run(tmp_path / "data", where="true")
    store = Store(tmp_path / "data")
    assert store.restored == 0
    store.store(spans("c"))
    assert store.lake.flush()
    store.abandon()
    assert left(tmp_path / "data") == [1]


def test_what_a_dead_sidecar_was_asked_is_done(tmp_path: Path) -> None:
    """Scenario: a sidecar died before it did a request; another trace is erased.

    Guarantees: both are gone, and the request with the ids. What cannot be read is left to the
    next sidecar, which says so.
    """
    data = tmp_path / "data"
    stored(data, spans("a", "b", "c"))
    condition = Condition(trace_ids=(trace(1),), whole_traces=True)
    ask(data, find([LiveData(data)], condition), no_grace=True)
    unreadable = data / "erase" / "unreadable.arrow"
    unreadable.write_bytes(b"of another version")
    (data / "erase" / "half.arrow.tmp").write_bytes(b"a crash")
    assert run(data, trace_ids=(trace(2).hex(),))
    assert left(data) == [3]
    assert list((data / "erase").iterdir()) == [unreadable]


def test_what_is_quarantined_is_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenario: erasing finds a cut file, which it sets aside.

    Guarantees: the receipt names it and is not clean until it is deleted.
    """
    data = tmp_path / "data"
    stored(data, spans("a", "b"))
    DAMAGE["cut"](data / "lake" / first_file(data / "lake").path)
    assert not run(data, users=("ann",))
    receipt = json.loads(capsys.readouterr().out)
    assert any("is quarantined: it may hold" in problem for problem in receipt["problems"])
    assert run(data, users=("ann",), quarantined=True)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """Scenario: `erase` without `--yes`, on a sound lake and on one with a cut file.

    Guarantees: no file is touched; of the damage there is an error.
    """
    data = tmp_path / "data"
    stored(data, spans("a", "b"))
    before = snapshot(data)
    assert run(data, yes=False, trace_ids=(trace(1).hex(),))
    assert snapshot(data) == before
    DAMAGE["cut"](data / "lake" / first_file(data / "lake").path)
    before = snapshot(data)
    with pytest.raises(QueryError):
        run(data, yes=False, trace_ids=(trace(1).hex(),))
    assert snapshot(data) == before


def test_files_of_an_older_schema_are_asked(tmp_path: Path) -> None:
    """Scenario: no file has a column of today. Guarantees: its spans are found all the same."""
    data = tmp_path / "data"
    stored(data, spans("only here", "b"))
    for file in data.glob("lake/spans/date=*/*/*.parquet"):
        pq.write_table(pq.ParquetFile(file).read().drop_columns(["reasoning_tokens"]), file)
    for condition in (
        Condition(trace_ids=(trace(1),)),
        Condition(texts=("only here",), where="reasoning_tokens > 0"),
    ):
        assert len(find([LiveData(data)], condition)) == 1


def test_times_are_utc_as_in_a_query(tmp_path: Path) -> None:
    """Scenario: `--where` with a time, on a machine that is elsewhere.

    Guarantees: as many spans as `clearspan query` finds.
    """
    stored(tmp_path / "data", spans("a", "b"))
    after = pa.scalar(BASE_US + 2_000_000, s.TIMESTAMP).as_py().strftime("%Y-%m-%d %H:%M:%S")
    command = [sys.executable, "-m", "collector.cli", "erase", "--where", f"start_time < '{after}'"]
    for zone in ("America/New_York", "Asia/Tokyo"):
        done = subprocess.run(
            [*command, "--set", f"exporters.lake.path={tmp_path / 'data'}"],
            env=os.environ | {"TZ": zone},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith("2 traces, ")


def test_a_lost_lake_of_log_records_is_missed(tmp_path: Path) -> None:
    """Scenario: `logs/lake` is gone, its journal is not. Guarantees: erasing does not pass by."""
    data = tmp_path / "data"
    stored(data, spans("a"))
    (data / "logs/journal").mkdir(parents=True)
    with pytest.raises(StartupError, match=r"there is no lake in .*/logs"):
        run(data, users=("ann",))


def test_a_sidecar_that_answers_and_ends_has_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a sidecar answers and ends after the command saw that there is no answer yet.

    Guarantee: the answer counts.
    """
    data = tmp_path / "data"
    stored(data, spans("x"))
    owner = DirectoryLock(data)

    def answer_and_end(_: LiveData) -> bool:
        for request in list((data / "erase").glob("*.arrow")):
            request.with_suffix(".json").write_text("{}")
        return False

    monkeypatch.setattr(LiveData, "is_served", property(answer_and_end))
    assert run(data, where="false")
    assert not list((data / "erase").iterdir())
    owner.close()
