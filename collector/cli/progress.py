"""How far a long query is, as a bar on a terminal's stderr."""

from __future__ import annotations

import sys
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable

_AFTER_S: Final = 1.0
_POLL_S: Final = 0.1

Answer = TypeVar("Answer")


def await_answer(outcome: Future[Answer], percent: Callable[[], float]) -> Answer:
    """Return the outcome, or raise its error; after a second without one show a bar.

    ``percent`` is asked ten times a second; below 0 it does not know. Nothing is shown where stderr
    is no terminal, and nothing of the bar is left at the end.
    """
    timeout_s = _AFTER_S if sys.stderr.isatty() else None
    if wait([outcome], timeout_s).not_done:
        columns = (
            TextColumn("[dim]scanning"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            while wait([outcome], _POLL_S).not_done:
                share = percent()
                if share >= 0:
                    bar.update(task, total=100, completed=share)
    return outcome.result()
