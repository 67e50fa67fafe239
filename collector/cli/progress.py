"""Progress bars on a terminal's stderr; elsewhere nothing, and nothing is left at the end."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AFTER_S: Final = 1.0
_POLL_S: Final = 0.1

Answer = TypeVar("Answer")


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show how far it is; the yielded function is told each further amount."""
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def wait_visibly(seconds: float) -> None:
    """Wait until queries that may still read replaced files are over, saying so."""
    with progress("waiting for queries that read the old files", seconds) as advance:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_S))
            advance(min(left, _POLL_S))


def await_answer(outcome: Future[Answer], percent: Callable[[], float]) -> Answer:
    """Return the outcome, or raise its error; after a second without one show a bar.

    ``percent`` is asked ten times a second; below 0 it does not know.
    """
    timeout_s = _AFTER_S if sys.stderr.isatty() else None
    if wait([outcome], timeout_s).not_done:
        with _bar() as bar:
            task = bar.add_task("scanning", total=None)
            while wait([outcome], _POLL_S).not_done:
                share = percent()
                if share >= 0:
                    bar.update(task, total=100, completed=share)
    return outcome.result()


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("[dim]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
