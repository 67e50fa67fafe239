"""Syncs behind the acknowledgement: for ``sync: interval``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()


class LateSync:
    """Calls ``sync`` in a thread of its own, ``interval_s`` after there is something to sync.

    It sleeps while nothing is written.
    """

    def __init__(self, interval_s: float, sync: Callable[[], None]) -> None:
        """Start the thread."""
        self._interval_s = interval_s
        self._sync = sync
        self._is_dirty = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """Say that something was written."""
        self._is_dirty.set()

    def close(self) -> None:
        """Sync for the last time and end the thread."""
        self._is_closing.set()
        self._is_dirty.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._is_dirty.wait()
            self._is_closing.wait(self._interval_s)
            self._is_dirty.clear()
            try:
                self._sync()
            except Exception as error:  # noqa: BLE001 - without this thread nothing is synced
                _log.error("journal sync failed", error=type(error).__name__)
                self._is_dirty.set()
