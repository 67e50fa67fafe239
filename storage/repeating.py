"""A background thread that does one thing again and again until it is stopped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()


class Repeating:
    """Calls ``work`` every ``interval_s``; a failure is counted and does not end the thread."""

    def __init__(  # noqa: PLR0913 - the last two are optional
        self,
        name: str,
        interval_s: float,
        work: Callable[[], None],
        on_failure: Callable[[], None],
        *,
        on_start: Callable[[], None] | None = None,
        is_stopping: threading.Event | None = None,
    ) -> None:
        """Nothing runs yet. ``on_start`` is called once in the thread."""
        self._interval_s = interval_s
        self._work = work
        self._on_failure = on_failure
        self._on_start = on_start
        self._is_stopping = is_stopping or threading.Event()
        self._is_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call is after one interval."""
        self._thread.start()

    def wake(self) -> None:
        """Work now instead of when the interval is over."""
        self._is_wanted.set()

    def stop(self) -> None:
        """End after the call that is going on, if any; returns when it has ended."""
        self._is_stopping.set()
        self._is_wanted.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._on_start is not None:
            self._on_start()
        while True:
            self._is_wanted.wait(self._interval_s)
            self._is_wanted.clear()  # before the look at the other, or a stop in between is missed
            if self._is_stopping.is_set():
                return
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the worker loop: counted, tried again
                self._on_failure()
                _log.error(
                    "background work failed",
                    thread=self._thread.name,
                    error=type(error).__name__,
                )
