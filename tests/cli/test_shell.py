"""``clearspan shell`` in a real terminal: statements, keys, history, completion, errors."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from collector.cli.completion import SqlCompleter
from collector.cli.shell import is_complete
from storage.sql import connect
from storage.sql_vocabulary import read_vocabulary
from tests.cli.terminal import CTRL_C, CTRL_D, TAB, Terminal
from tests.sql.rows import batch_of, shop, span
from tests.sql.small_lake import SmallLake

ENTER = "\r"
PROMPT = "clearspan>"
COMMANDS = (".help", ".tables", ".schema", ".quit")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data directory whose lake holds the shop's five spans."""
    SmallLake(tmp_path / "data").append(shop())
    return tmp_path / "data"


def start(data: Path) -> Terminal:
    """Return a shell that waits for its first statement."""
    state = str(data.parent / "state")
    shell = Terminal("shell", "--data", str(data), XDG_STATE_HOME=state, PAGER="cat")
    shell.wait_for(PROMPT)
    return shell


def ask(shell: Terminal, text: str, until: str = " row") -> str:
    """Type a statement; return what is shown up to a text and wait for the next prompt."""
    shell.type(text + ENTER)
    shown = shell.wait_for(until)
    shell.wait_for(PROMPT)
    return shown


def test_a_session(data: Path) -> None:
    """Statements, an error, a table of one's own, a statement on three lines, leaving."""
    with start(data) as shell:
        assert "n  5" in ask(shell, "SELECT count(*) AS n FROM spans;")
        ask(shell, "SELECT nme FROM spans;", until='Referenced column "nme" not found')
        shell.type("CREATE TABLE mine AS SELECT 41 + 1 AS answer;" + ENTER)
        shell.wait_for(PROMPT)
        shell.type("SELECT answer" + ENTER)
        shell.wait_for("->")
        shell.type("FROM mine -- not yet;" + ENTER)
        shell.wait_for("->")
        assert "answer  42" in ask(shell, ";")
        both = ask(shell, "SELECT 'one' AS a; SELECT 'two' AS b;", until="b  two")
        assert "a  one" in both
        shell.type(CTRL_D)
        assert shell.wait() == 0
        assert "Traceback" not in shell.screen


def test_commands(data: Path) -> None:
    """.help, .tables, .schema and .quit; a wrong one says where they are listed."""
    with start(data) as shell:
        ask(shell, ".help", until="weighted_quantile")
        ask(shell, ".tables", until="otel_traces")
        ask(shell, ".schema traces", until="duration_ms     DOUBLE")
        ask(shell, ".schema nowhere", until="there is no table nowhere")
        ask(shell, ".tabels", until=".help lists them")
        shell.type(".quit" + ENTER)
        assert shell.wait() == 0


def test_ctrl_c_drops_what_was_typed(data: Path) -> None:
    """Half a statement, then Ctrl-C: a fresh prompt, and the half is not part of what follows."""
    with start(data) as shell:
        shell.type("SELECT 'half" + ENTER + CTRL_C)
        shell.wait_for(PROMPT)
        assert "text  whole" in ask(shell, "SELECT 'whole' AS text;")


def test_ctrl_c_ends_a_query_and_the_session_goes_on(data: Path) -> None:
    """Hours of SQL, Ctrl-C once the bar is shown: interrupted, then the next statement answers."""
    with start(data) as shell:
        shell.type("SELECT sum(a.range * b.range) FROM range(100000000) a, range(10000) b;" + ENTER)
        shell.wait_for("scanning")
        shell.type(CTRL_C)
        shell.wait_for("interrupted")
        shell.wait_for(PROMPT)
        assert "n  5" in ask(shell, "SELECT count(*) AS n FROM spans;")


def test_newer_spans_are_seen(data: Path) -> None:
    """Spans committed during the session are in the next statement's answer."""
    lake = SmallLake(data.parent / "growing")
    lake.append(shop())
    with start(data.parent / "growing") as shell:
        assert "n  5" in ask(shell, "SELECT count(*) AS n FROM spans;")
        lake.append(shop())
        assert "n  10" in ask(shell, "SELECT count(*) AS n FROM spans;")


def test_history_is_kept_for_the_user_only(data: Path) -> None:
    """A second session has the first one's statements; the file is the user's alone."""
    with start(data) as shell:
        ask(shell, "SELECT 'remember me' AS text;")
        shell.type(CTRL_D)
        shell.wait()
    file = data.parent / "state" / "clearspan" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o644)
    with start(data) as shell:
        shell.type("\x1b[A")  # arrow up
        shell.wait_for("remember me")
        assert "text  remember me" in ask(shell, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_place_for_history_it_works(data: Path) -> None:
    """A state directory that cannot be made: no history, no error."""
    (data.parent / "state").write_text("a file", encoding="utf-8")
    with start(data) as shell:
        assert "n  5" in ask(shell, "SELECT count(*) AS n FROM spans;")


def test_tab_completes(data: Path) -> None:
    """One candidate is put in by Tab: a macro, a column, an attribute key; the result proves it."""
    with start(data) as shell:
        for typed, added in (
            ("SELECT weighted_q", "uantile("),
            ("duration_ns, sample_w", "eight"),
            (", 0.5) AS p, attr(attributes, 'feature.f", "lag"),
        ):
            shell.type(typed + TAB)
            shell.wait_for(added)  # what was typed may be on the screen already
        shown = ask(shell, "') AS flag FROM spans GROUP BY flag;")
        assert "new-cart" in shown
        assert "p     40000000" in shown


def test_the_shell_needs_a_terminal(data: Path) -> None:
    """Piped in: one line on what to use instead, exit 1."""
    done = subprocess.run(
        [sys.executable, "-m", "collector.cli", "shell", "--data", str(data)],
        input="SELECT 1;",
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XDG_STATE_HOME": str(data.parent)},
    )
    assert done.returncode == 1
    assert "clearspan query - reads SQL from a pipe" in done.stderr


@pytest.fixture
def completer(tmp_path: Path) -> SqlCompleter:
    """Return a completer over a lake with odd attribute keys."""
    lake = SmallLake(tmp_path)
    odd = [("http.route", "/"), ("it's", "x"), ("\x1b[31mred", "x"), ("späne", "x")]
    lake.append(batch_of([span(1, 0, 1, attributes=odd)]))
    with connect(tmp_path) as connection:
        return SqlCompleter(read_vocabulary(connection), COMMANDS)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sel", ["SELECT"]),
        ("SELECT serv", ["ServiceName", "server_address", "server_port"]),
        ("FROM otel", ["otel_traces"]),
        ("SELECT Span", ["SpanAttributes", "SpanId", "SpanKind"]),
        ("SELECT adj", ["adjusted_count("]),
        ("SELECT attributes['", ["http.route", "it''s", "service.name"]),
        ("SELECT attr(resource_attributes, 'ser", ["service.name"]),
        ("SELECT attr(s.attributes,'http", ["http.route"]),
        ("SELECT 'sel", []),
        ("SELECT 1 -- sel", []),
        ("SELECT 1 /* sel", []),
        ("SELECT 'é', sel", ["SELECT"]),
        ("SELECT 'é', 'sel", []),
        ("SELECT 'é' -- sel", []),
        ("SELECT ", []),
        (".s", [".schema"]),
        (".schema tra", ["traces"]),
    ],
)
def test_what_is_offered(completer: SqlCompleter, text: str, first: list[str]) -> None:
    """By what stands before the cursor: the first words offered, none inside text or comment."""
    offered = completer.get_completions(Document(text), CompleteEvent())
    words = [one.text for one in offered]
    assert words[:3] == first
    assert not any("\x1b" in word for word in words)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1;  -- done", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT ';'", False),
        ("SELECT $$;", False),
        ('SELECT "a;', False),
        ("SELECT 1 -- ;", False),
        ("/* ;", False),
        ("SELECT 1; SELECT", False),
        (".tables", True),
        ("SELECT 'Zahlung bestätigen';", True),
        ("SELECT 'é'; -- 日本", True),
        ("SELECT 'é' -- ;", False),
        ("SELECT ';é' AS aaa", False),
        ("SELECT '\udcff';", True),
        ("", True),
    ],
)
def test_a_statement_ends_at_a_semicolon(text: str, complete: bool) -> None:
    """Outside strings, names and comments, last in the input."""
    assert is_complete(text) is complete
