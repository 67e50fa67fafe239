"""Remote queries, each in one of a few processes, so that none can hurt more than its own.

A process answers one query at a time and goes on to the next; one that takes too long is killed,
because DuckDB cannot always be interrupted, and one that is gone is replaced at the next query.
Questions and answers go over pipes; nothing is written.
"""

from __future__ import annotations

import glob
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import LifoQueue
from typing import TYPE_CHECKING, Any, Final

import structlog

from collector.model import errors
from collector.model.errors import QueryAborted, QueryError, QueryTimeout, QueryUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from collector.model.contracts import QueryFormat
    from config.extensions import SqlSettings

_log = structlog.get_logger("clearspan")
_START_LIMIT_S: Final = 60.0
# DuckDB ends most queries in time itself, and the process lives on
_KILLED_AFTER_S: Final = 1.0
_FORMS: Final = {"json": "json", "arrow": "arrows"}
_READ_BYTES: Final = 1 << 20
# An answer's first line, of which an error's message is at most 4,096 characters, escaped ones too.
_MOST_HEAD_BYTES: Final = 1 << 16
# What is freed is given back, so that the limit on a process's memory tells of what it needs.
_ALLOCATION: Final = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
# The rest of the environment, secrets among it, is nothing to a query.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH")


class RunningQuery:
    """A query that was submitted; ``done`` will hold the answer or a QueryError."""

    def __init__(self, sql: str, form: QueryFormat) -> None:
        """Keep what is asked; nothing runs yet."""
        self.done: Future[bytes] = Future()
        self.question = {"sql": sql, "format": _FORMS[form]}
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """End it, and its process with it; harmless when it is done."""
        with self._lock:
            self._is_cancelled = True
            if self._process is not None:
                self._process.kill()

    def held_by(self, process: _Process | None) -> None:
        """Say which process works on it now; raises QueryAborted when it was cancelled."""
        with self._lock:
            self._process = process
            if self._is_cancelled:
                raise QueryAborted("the query was cancelled")


class QueryProcesses:
    """Runs as many queries at once as there may be processes; starts each when it is needed."""

    def __init__(self, settings: SqlSettings, data: Path) -> None:
        """Run queries over the lake of a data directory; nothing is started yet."""
        self._settings = settings
        self._limits = {
            "data": str(data.absolute()),
            **settings.model_dump(
                include={"memory_limit", "threads", "timeout"}
                | {"max_result_rows", "max_result_bytes"}
            ),
        }
        # the last one back is the first to go on, so that no more are started than are needed
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(settings.max_concurrent_queries):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(settings.max_concurrent_queries, "query")
        self._closing = threading.Event()
        self._running: set[RunningQuery] = set()

    def submit(self, sql: str, form: QueryFormat) -> RunningQuery:
        """Begin a query, or let it wait until another one is done."""
        query = RunningQuery(sql, form)
        self._running.add(query)
        self._threads.submit(self._work, query)
        return query

    def close(self) -> None:
        """End all processes and wait until they are gone."""
        self._closing.set()
        for query in tuple(self._running):
            query.cancel()
        self._threads.shutdown()
        while not self._idle.empty():
            process = self._idle.get()
            if process is not None:
                process.end()

    def _work(self, query: RunningQuery) -> None:
        """Run a query; give its process back before anyone is told, or cancel() would hit it."""
        process = self._idle.get()
        answer, failure = b"", None
        try:
            query.held_by(None)  # it may have been cancelled while it waited
            if process is None or not process.is_alive():
                process = self._restarted(process)
            query.held_by(process)
            answer = process.ask(query.question, self._settings.timeout)
        except Exception as error:  # noqa: BLE001 - the thread's edge: told to whoever waits
            failure = error
        if process is not None and process.is_broken:
            process.end()
            process = None
        with suppress(QueryAborted):
            query.held_by(None)
        self._running.discard(query)
        self._idle.put(process)
        if failure is None:
            query.done.set_result(answer)
        else:
            query.done.set_exception(failure)

    def _restarted(self, ended: _Process | None) -> _Process:
        if ended is not None:
            ended.end()
        process = _Process(self._limits)
        try:
            process.await_ready()
        except QueryError as error:
            process.end()
            _log.error("query process could not be started", error=type(error).__name__)
            reason = str(error)
            for data in (self._limits["data"], glob.escape(self._limits["data"])):
                reason = reason.replace(f"{data}/", "").replace(data, "of exporters.lake.path")
            raise QueryUnavailable(f"queries cannot be run: {reason}") from error
        return process


class _Process:
    """One query process, alone in its session: Ctrl-C at the terminal is not for it."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self._limits = limits
        self.is_broken = False
        self._process = subprocess.Popen(
            # -P: what lies in the working directory is not imported
            [sys.executable, "-P", "-m", "storage.query_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a library's words may repeat what is stored
            env=_ALLOCATION
            | {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:  # pragma: no cover
            raise AssertionError
        self._questions = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        os.set_blocking(self._questions, False)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def await_ready(self) -> None:
        """Return when the lake is open; raises QueryError when it cannot be."""
        try:
            self._exchange(self._limits, _START_LIMIT_S)
        except TimeoutError as error:
            raise QueryTimeout(f"opening the lake took longer than {_START_LIMIT_S:g} s") from error

    def ask(self, question: dict[str, str], timeout_s: float) -> bytes:
        """Return the answer's bytes; raises QueryError, and ``is_broken`` if it must be ended."""
        try:
            return self._exchange(question, timeout_s + _KILLED_AFTER_S)
        except TimeoutError as error:
            raise QueryTimeout(
                f"the query took longer than {timeout_s:g} s (extensions.sql.timeout)"
            ) from error

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told."""
        self._process.kill()

    def end(self) -> None:
        """End it and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def _exchange(self, question: dict[str, Any], timeout_s: float) -> bytes:
        """Send a line, receive an answer; raises TimeoutError and QueryError."""
        self.is_broken = True  # until it turns out not to be
        until = time.monotonic() + timeout_s
        left = memoryview(json.dumps(question).encode() + b"\n")
        received = bytearray()
        head: dict[str, Any] | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._questions, selectors.EVENT_WRITE)
            selector.register(self._answers, selectors.EVENT_READ)
            while head is None or len(received) < head.get("bytes", 0):
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready or time.monotonic() > until:  # one that drips is always ready
                    raise TimeoutError
                for key, _ in ready:
                    if key.fd == self._questions:
                        left = left[_write(self._questions, left) :]
                        if not left:
                            selector.unregister(self._questions)
                    else:
                        searched = len(received)
                        received += _read(self._answers)
                        head = head or _take_head(received, searched)
        self.is_broken = head.get("is_spent", False)
        if "error" in head:
            kind: type[QueryError] = getattr(errors, head["error"])
            raise kind(head["message"])
        return bytes(received)


def _take_head(received: bytearray, searched: int) -> dict[str, Any] | None:
    """Take the first line off what was received and return what it says, None before its end.

    The first ``searched`` bytes hold no end of it. Raises QueryAborted when it is too long.
    """
    end = received.find(b"\n", searched)
    if (len(received) if end < 0 else end) > _MOST_HEAD_BYTES:
        raise _aborted()
    if end < 0:
        return None
    head: dict[str, Any] = json.loads(received[:end])
    del received[: end + 1]
    return head


def _read(descriptor: int) -> bytes:
    part = os.read(descriptor, _READ_BYTES)
    if not part:
        raise _aborted()
    return part


def _write(descriptor: int, content: memoryview) -> int:
    try:
        return os.write(descriptor, content)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise _aborted() from error


def _aborted() -> QueryAborted:
    return QueryAborted(
        "the process that ran this query ended: the query took more memory than it may, or broke it"
    )
