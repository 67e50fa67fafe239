"""Progress bars on a terminal's stderr; elsewhere nothing, and nothing is left at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL_S: Final = 0.1


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, float | None], None]]:
    """Show how far it is; the yielded function is told what is done and what there is to do."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("[dim]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def wait_visibly(seconds: float) -> None:
    """Wait until queries that may still read replaced files are over, saying so."""
    with progress("waiting for queries that read the old files") as show:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            show(seconds - left, seconds)
            time.sleep(min(left, _POLL_S))
