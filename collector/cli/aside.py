"""A query beside the main thread, and how far it is as a bar on a terminal's stderr.

DuckDB 2.0 lets Python see no signal until a query is done, so Ctrl-C needs a thread of its own.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb

from collector.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

_AFTER_S: Final = 1.0
_POLL_S: Final = 0.1

Answer = TypeVar("Answer")


def run_aside(work: Callable[[], Answer]) -> Future[Answer]:
    """Begin the work in a thread that does not keep the process, and return its outcome to be."""
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            outcome.set_exception(error)

    threading.Thread(target=run, name="query", daemon=True).start()
    return outcome


def percent_of(connection: duckdb.DuckDBPyConnection | None) -> float:
    """Return how far the connection's query is, below 0 where that is not known."""
    try:
        return float(connection.query_progress()) if connection else -1.0
    except duckdb.Error:  # closed in this moment
        return -1.0


def await_answer(outcome: Future[Answer], percent: Callable[[], float]) -> Answer:
    """Return the outcome, or raise its error; after a second without one show a bar.

    ``percent`` is asked ten times a second; below 0 it does not know. Nothing is shown where stderr
    is no terminal, and nothing of the bar is left at the end.
    """
    timeout_s = _AFTER_S if sys.stderr.isatty() else None
    if wait([outcome], timeout_s).not_done:
        with progress("scanning") as show:
            while wait([outcome], _POLL_S).not_done:
                share = percent()
                if share >= 0:
                    show(share, 100)
    return outcome.result()
