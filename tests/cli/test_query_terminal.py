"""``clearspan query`` where a person sits: the bar of a long scan and the pager."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest

from collector.cli import main
from collector.cli.shell import _answer
from storage.sql import connect
from storage.sql_lakes import find_lakes
from tests.cli.terminal import CTRL_C, Terminal
from tests.sql.rows import batch_of, shop, span
from tests.sql.small_lake import SmallLake

_ROOT = Path(__file__).parents[2]
# about four seconds on a slow core, whose share DuckDB knows
LONG = "SELECT sum(a.range * b.range) AS s FROM range(100000000) a, range(14) b"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory whose lake holds the shop's five spans."""
    path = tmp_path_factory.mktemp("data")
    SmallLake(path).append(shop())
    return path


def query(data: Path, sql: str, *more: str) -> tuple[str, ...]:
    """Return the command's arguments."""
    return ("query", sql, "--data", str(data), *more)


def test_a_long_scan_shows_how_far_it_is(data: Path) -> None:
    """A query of some seconds: a share that grows, gone at the end, and the rows."""
    with Terminal(*query(data, LONG), PAGER="cat") as terminal:
        terminal.wait_for("scanning")
        terminal.wait_for("%")
        assert terminal.wait() == 0
        assert "1 row" in terminal.screen
        assert terminal.screen.count("%") > 3
        assert terminal.raw.count(b"\x1b[?25h") == 1  # the cursor is there again


def test_a_short_query_shows_no_bar(data: Path) -> None:
    """Milliseconds of work: only rows."""
    with Terminal(*query(data, "SELECT count(*) FROM spans"), PAGER="cat") as terminal:
        assert terminal.wait() == 0
        assert "scanning" not in terminal.screen


def test_ctrl_c_while_the_bar_is_shown(data: Path) -> None:
    """The key, not a signal from outside: exit 130, the cursor back, no trace."""
    with Terminal(*query(data, LONG.replace("14", "14000"))) as terminal:
        terminal.wait_for("scanning")
        terminal.type(CTRL_C)
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.screen
        assert terminal.raw.count(b"\x1b[?25h") == 1


def test_off_a_terminal_there_is_no_bar(data: Path) -> None:
    """A long query in a script: stderr stays empty."""
    done = subprocess.run(
        [sys.executable, "-m", "collector.cli", *query(data, LONG)],
        capture_output=True,
        text=True,
        check=True,
        cwd=_ROOT,
    )
    assert done.stderr == ""
    assert "1 row" in done.stdout


def test_a_long_table_is_paged(data: Path, tmp_path: Path) -> None:
    """A hundred rows on thirty lines: the pager gets them all, each no wider than the screen."""
    paged = tmp_path / "paged"
    sql = "SELECT range AS n, repeat('x', 300) AS text FROM range(100)"
    with Terminal(*query(data, sql), PAGER=f"tee {paged}") as terminal:
        assert terminal.wait() == 0
    lines = paged.read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "100 rows"
    assert len(lines) == 103
    assert max(map(len, lines)) <= 100


def test_what_fits_is_not_paged(data: Path, tmp_path: Path) -> None:
    """Ten rows on thirty lines: straight to the screen."""
    paged = tmp_path / "paged"
    with Terminal(*query(data, "FROM range(10)"), PAGER=f"tee {paged}") as terminal:
        assert terminal.wait() == 0
        assert "10 rows" in terminal.screen
    assert not paged.exists()


def test_a_pager_that_is_left_early(data: Path) -> None:
    """The user reads the first line of many and leaves: exit 0, no trace."""
    with Terminal(*query(data, "FROM range(100000)"), PAGER="head -n 1") as terminal:
        assert terminal.wait() == 0
        assert "range" in terminal.screen
        assert "Traceback" not in terminal.screen


def test_no_pager(data: Path) -> None:
    """PAGER=cat, or one that is not there: the first forty rows and how many there are."""
    for pager in ("cat", "", "no-such-pager"):
        with Terminal(*query(data, "FROM range(1000)"), PAGER=pager) as terminal:
            assert terminal.wait() == 0
            assert "1,000 rows (40 shown" in terminal.screen


def test_an_error_is_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scenario: a span's name is an escape sequence, and DuckDB's error quotes it.

    Guarantees: query and shell show it and the terminal does not obey it.
    """
    SmallLake(tmp_path).append(batch_of([span(1, 0, 1, name="\x1b]0;owned\x07\x9b31m")]))
    sql = "SELECT name::INTEGER FROM spans"
    with patch.object(sys, "argv", ["clearspan", *query(tmp_path, sql)]), pytest.raises(SystemExit):
        main()
    lakes = find_lakes(tmp_path)
    with connect(lakes) as connection:
        _answer(connection, lakes, sql)
    shown = capsys.readouterr().err
    assert shown.count(r"\x1b]0;owned\x07\x9b31m") == 2
    assert set("\x1b\x07\x9b").isdisjoint(shown)


def test_arrow_is_a_stream_on_a_pipe_and_a_file_in_a_file(data: Path, tmp_path: Path) -> None:
    """--format arrow: each reader of Arrow gets what it can open; a terminal gets neither."""
    sql = "SELECT name, cost_usd, attributes FROM spans ORDER BY start_time_unix_nano"
    command = [sys.executable, "-m", "collector.cli", *query(data, sql, "--format", "arrow")]
    piped = subprocess.run(command, capture_output=True, check=True, cwd=_ROOT).stdout
    stream = pa.ipc.open_stream(piped).read_all()
    path = tmp_path / "result.arrow"
    subprocess.run([*command, "--output", str(path)], check=True, cwd=_ROOT)
    with pa.memory_map(str(path)) as file:
        assert pa.ipc.open_file(file).read_all() == stream
    assert stream.column("name").to_pylist()[0] == "GET /ask"
    assert stream.schema.field("cost_usd").type == pa.decimal128(18, 9)
    with Terminal(*query(data, sql, "--format", "arrow")) as terminal:
        assert terminal.wait() == 1
        assert "arrow is not for a terminal" in terminal.screen
