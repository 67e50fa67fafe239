"""Many lakes queried as one: repeated directories, patterns, damage that is named, S3."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from collector.model.errors import QueryError
from storage.sql import print_setup, run_query
from storage.sql_lakes import find_lakes
from tests.sql.rows import TRACE_HEX, shop
from tests.sql.s3_server import serve
from tests.sql.small_lake import SmallLake


def has_httpfs() -> bool:
    """Return whether this DuckDB's httpfs is installed on this machine."""
    with duckdb.connect() as connection:
        try:
            connection.execute("LOAD httpfs")
        except duckdb.Error:
            return False
    return True


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """Return a directory of three pods' data directories."""
    for name in ("a", "b", "c"):
        SmallLake(tmp_path / name).append(shop())
    return tmp_path


def count(*data: Path | str, view: str = "spans") -> int:
    """Return the number of rows seen through these data directories."""
    return int(run_query(data, f"SELECT count(*) FROM {view}").table.column(0)[0].as_py())


def test_lakes_are_one(pods: Path) -> None:
    """Views, macros and traces over two pods: both pods' rows, a shared trace once."""
    both = (pods / "a", pods / "b")
    assert count(*both) == 10
    assert count(*both, view="span_events") == 2
    assert count(*both, view=f"trace('{TRACE_HEX}')") == 8
    assert count(*both, view="traces") == 2
    assert count(*both, view="otel_traces") == 10


def test_a_pattern_names_all_that_match(pods: Path) -> None:
    """`*` over pods, beside a file that is none: each pod's rows, the file left alone."""
    (pods / "notes.txt").write_text("", encoding="utf-8")
    assert count(f"{pods}/*") == 15
    assert count(f"{pods}/[ab]") == 10
    assert count(f"{pods}/*/lake") == 15


def test_a_directory_counts_once(pods: Path) -> None:
    """Given twice, by pattern, as the lake itself, through a link: its rows once."""
    (pods.parent / "link").symlink_to(pods / "a")
    try:
        again = (pods / "a", f"{pods}/a/lake", f"{pods}/b/../a", f"{pods.parent}/lin?")
        assert count(*again) == 5
        assert count(*again, f"{pods}/*") == 15
    finally:
        (pods.parent / "link").unlink()


def test_a_directory_with_a_star_in_its_name_is_itself(tmp_path: Path) -> None:
    """A directory that is called `x*`, beside `xy`: the name, not the pattern."""
    for name in ("x*", "xy"):
        SmallLake(tmp_path / name).append(shop())
    assert find_lakes(f"{tmp_path}/x*") == (f"{tmp_path}/x*/lake",)
    assert count(f"{tmp_path}/x*") == 5


def test_a_pattern_that_matches_nothing_is_an_error(pods: Path) -> None:
    """No pod at all is a mistake in the pattern, not an empty answer."""
    with pytest.raises(QueryError, match=r"no directory matches .*/z\*"):
        count(f"{pods}/z*")


def test_one_that_is_no_lake_is_named(pods: Path) -> None:
    """Among three pods one that has no manifest: an error with its path, no partial answer."""
    (pods / "b" / "lake" / "_manifest.json").unlink()
    with pytest.raises(QueryError, match=r"there is no .*/b/lake/_manifest\.json"):
        count(f"{pods}/*")


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1", None])
def test_a_damaged_one_is_named(pods: Path, content: bytes | None) -> None:
    """A file of one pod is empty, something else or gone: the error names that pod, not another."""
    files = sorted((pods / "b" / "lake" / "spans").rglob("*.parquet"))
    for file in files:
        file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(QueryError, match=r"the lake at \S*/b/lake cannot be read"):
        count(f"{pods}/*")


def test_an_unreadable_manifest_is_named(pods: Path) -> None:
    """A manifest that is a directory: the system's reason and the path."""
    manifest = pods / "c" / "lake" / "_manifest.json"
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(QueryError, match=r"/c/lake/_manifest\.json cannot be read: Is a directory"):
        count(f"{pods}/*")


def test_the_printed_setup_has_all_of_them(pods: Path) -> None:
    """A plain DuckDB with the printed SQL: the pods' rows as one, newer ones after a rerun."""
    text = print_setup([pods / "a", f"{pods}/[bc]"])
    with duckdb.connect() as plain:
        plain.execute(text)
        assert plain.sql("SELECT count(*) FROM spans").fetchall() == [(15,)]


def test_pods_of_different_versions(pods: Path) -> None:
    """One pod's files lack a column: null there, the others unharmed."""
    for file in (pods / "b" / "lake" / "spans").rglob("*.parquet"):
        pq.write_table(pq.ParquetFile(file).read().drop_columns(["prompt_name"]), file)
    query = "SELECT count(*), count(prompt_name) FROM spans"
    table = run_query([pods / "a", pods / "b"], query).table
    assert [column[0].as_py() for column in table.columns] == [10, 2]


@pytest.mark.skipif(has_httpfs(), reason="httpfs is installed for this DuckDB")
def test_s3_without_httpfs_says_what_is_missing() -> None:
    """No extension on this machine: what to install, and nothing is tried over the network."""
    with pytest.raises(QueryError, match="needs DuckDB's extension httpfs, which is not installed"):
        count("s3://bucket/prefix")


@pytest.mark.skipif(not has_httpfs(), reason="httpfs is not installed for this DuckDB")
def test_s3_prefixes_are_lakes(
    pods: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A bucket with the pods' directories: by prefix, by pattern, with a local one; 404 is named.

    The endpoint comes from a DuckDB secret that the user has stored.
    """
    home = tmp_path_factory.mktemp("home")
    (home / ".duckdb").mkdir()
    (home / ".duckdb" / "extensions").symlink_to(Path.home() / ".duckdb" / "extensions")
    monkeypatch.setenv("HOME", str(home))
    bucket = f"s3://{pods.name}"
    with serve(pods.parent) as endpoint, duckdb.connect() as connection:
        connection.execute("LOAD httpfs")
        connection.execute(
            "CREATE PERSISTENT SECRET test (TYPE s3, KEY_ID 'test', SECRET 'test',"
            f" ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false)"
        )
        assert count(f"{bucket}/a") == 5
        assert count(f"{bucket}/b/lake/") == 5
        assert count(f"{bucket}/*") == 15
        assert count(f"{bucket}/a", pods / "b") == 10
        with pytest.raises(QueryError, match=r"there is no lake at s3://.*/none: .*404"):
            count(f"{bucket}/none")
