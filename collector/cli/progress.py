"""Progress bars on a terminal's stderr; elsewhere nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP_S = 0.25


@contextmanager
def progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show how far it is; the yielded function is told each further amount."""
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def wait_visibly(seconds: float) -> None:
    """Wait, showing what for."""
    with _bar() as bar:
        task = bar.add_task("waiting for queries that may still read the old files", total=seconds)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_S))
            bar.update(task, completed=seconds - max(0.0, until - time.monotonic()))


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
