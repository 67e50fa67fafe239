"""``clearspan shell``: SQL over the lake, statement by statement."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
from prompt_toolkit import PromptSession
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from collector.cli.answers import show
from collector.cli.aside import await_answer, percent_of, run_aside
from collector.cli.completion import SqlCompleter, sql_tokens
from collector.model.errors import QueryError
from collector.model.printable import printable
from storage.sql import connect, from_newest_files, refresh, run_statements
from storage.sql_lakes import find_lakes
from storage.sql_views import MACROS, VIEWS
from storage.sql_vocabulary import read_tables, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.sql_output import Result

_PROMPT: Final = "clearspan> "
_MORE: Final = "        -> "
_COMMANDS: Final = {
    ".help": "this text",
    ".tables": "the views, and tables made in this session",
    ".schema TABLE": "a table's columns and their types",
    ".quit": "leave; so does Ctrl-D",
}
_KEYS: Final = "SQL ends with a semicolon. Tab completes; attributes[' offers attribute keys."
_NO_TERMINAL: Final = "the shell needs a terminal; clearspan query - reads SQL from a pipe"


def run_shell(data: Sequence[str]) -> None:
    """Read statements from the terminal and show their rows until the user leaves.

    A statement ends with a semicolon; each sees the lake as it is by then. Errors are shown and the
    session goes on. Raises QueryError when there is no terminal or no lake.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise QueryError(_NO_TERMINAL)
    lakes = find_lakes(data)
    with from_newest_files(lambda: connect(lakes, is_session=True)) as connection:
        session = _session(connection)
        _say(f"{', '.join(VIEWS)} of {len(lakes)} lake{'s' * (len(lakes) > 1)}; .help for help")
        while True:
            try:
                text = session.prompt(_PROMPT).strip()
            except KeyboardInterrupt:  # what was typed is dropped
                continue
            except EOFError:
                return
            if text.rstrip(";").strip() in {".quit", ".exit"}:
                return
            _answer(connection, lakes, text)


def is_complete(text: str) -> bool:
    """Return whether Enter ends the input: a command, or SQL up to a semicolon outside literals."""
    if not text.strip() or text.lstrip().startswith("."):
        return True
    tokens = [token for token, kind in sql_tokens(text) if kind != duckdb.token_type.comment]
    return bool(tokens) and tokens[-1].startswith(";")


def _session(connection: duckdb.DuckDBPyConnection) -> PromptSession[str]:
    vocabulary = read_vocabulary(connection)
    session: PromptSession[str] = PromptSession(
        history=_history(),
        completer=SqlCompleter(vocabulary, [name.partition(" ")[0] for name in _COMMANDS]),
        complete_while_typing=False,
        prompt_continuation=_MORE,
        multiline=Condition(lambda: not is_complete(session.default_buffer.text)),
    )
    return session


def _history() -> History:
    """Return the history, in a file that only the user can read; in memory where there can be none.

    What is typed can hold values of spans.
    """
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(state) / "clearspan" / "history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        os.fchmod(file, stat.S_IRUSR | stat.S_IWUSR)  # one that was there may have been wider
        os.close(file)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _answer(connection: duckdb.DuckDBPyConnection, lakes: Sequence[str], text: str) -> None:
    try:
        if text.startswith("."):
            _command(connection, text)
            return
        from_newest_files(lambda: refresh(connection, lakes))
        for statement in _statements(connection, text):
            result = _run(connection, statement)
            if result is not None:
                show(result)
    except QueryError as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say("interrupted")


def _statements(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    try:
        return [statement.query for statement in connection.extract_statements(text)]
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def _run(connection: duckdb.DuckDBPyConnection, statement: str) -> Result | None:
    """Run one statement; Ctrl-C ends it and raises KeyboardInterrupt once it has ended."""
    outcome = run_aside(lambda: run_statements(connection, statement))
    try:
        return await_answer(outcome, lambda: percent_of(connection))
    except KeyboardInterrupt:
        connection.interrupt()
        outcome.exception()  # waits: the connection cannot do two things
        raise


def _command(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    name, _, argument = text.rstrip("; ").partition(" ")
    tables = read_tables(connection)
    match name, argument.strip():
        case ".help", "":
            lines = [*_columns(_COMMANDS), "", f"views   {', '.join(VIEWS)}"]
            lines += [f"macros  {', '.join(MACROS)}", "", _KEYS]
        case ".tables", "":
            lines = list(tables)
        case ".schema", table if table in tables:
            lines = _columns(tables[table])
        case ".schema", table:
            raise QueryError(f"there is no table {table}; .tables lists them")
        case _:
            raise QueryError(f"{text} is no command; .help lists them")
    sys.stdout.write("\n".join([*lines, ""]))


def _columns(pairs: dict[str, str]) -> list[str]:
    width = max(map(len, pairs))
    return [f"{name:<{width}}  {value}" for name, value in pairs.items()]


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()
