"""Named entities by a model, asked in processes of its own.

A model takes milliseconds a text and hundreds of megabytes, holds the interpreter and can hang:
none of that may happen to the sidecar. Texts and answers go over pipes; nothing is written.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import structlog

from collector.model.errors import ConfigError
from processors.redaction.findings import Finding, RedactionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from config.redaction_ner import NerSettings

_log = structlog.get_logger()
_OPTION: Final = "processors.redaction.ner"


class _WorkerGoneError(Exception):
    """The process ended, answered nonsense or took too long; never leaves this module."""


class NamedEntities:
    """Asks worker processes; from one thread at a time."""

    def __init__(self, settings: NerSettings) -> None:
        """Start the workers and wait until each has loaded its model.

        Raises:
            ConfigError: The engine, its package or the model is missing or does not load.
        """
        self._settings = settings
        self._rule = f"ner, {settings.engine}"
        self._known: dict[str, list[Finding] | None] = {}
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        workers = [_Worker(settings) for _ in range(settings.workers)]
        for worker in workers:
            worker.await_model()
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(settings.workers, "ner")

    def prepare(self, texts: Iterable[str]) -> None:
        """Ask about these texts, as many at a time as there are workers; forget earlier ones."""
        distinct = list(dict.fromkeys(texts))
        self._known = dict(zip(distinct, self._threads.map(self._ask, distinct), strict=True))

    def find(self, text: str) -> list[Finding]:
        """Return what is in a text.

        Raises:
            RedactionFailedError: It could not be found out.
        """
        found = self._known[text] if text in self._known else self._ask(text)
        if found is None:
            raise RedactionFailedError(self._rule)
        return found

    def _ask(self, text: str) -> list[Finding] | None:
        """Return findings, or None; a worker that fails is replaced by a new one."""
        worker = self._idle.get()
        try:
            if worker is None:
                worker = _Worker(self._settings)
                worker.await_model()
            found = worker.ask(text, self._settings.timeout)
        except (_WorkerGoneError, ConfigError) as error:
            _log.error("named entities could not be looked for", error=type(error).__name__)
            if worker is not None:
                worker.kill()
            worker = found = None
        finally:
            self._idle.put(worker)
        if found is None:
            return None
        return [
            Finding(entity, start, end, score, self._rule) for entity, start, end, score in found
        ]


class _Worker:
    """One process, alone in its session: Ctrl-C at the terminal is not for it."""

    def __init__(self, settings: NerSettings) -> None:
        self._settings = settings
        self._process = subprocess.Popen(
            [sys.executable, "-m", "processors.redaction.ner_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a library's words may repeat the text
            start_new_session=True,
        )
        self._answers = b""
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def await_model(self) -> None:
        """Return when the model is loaded; raises ConfigError when it is not."""
        settings = self._settings
        try:
            answer = self._exchange(
                [settings.engine, settings.model, settings.entities], settings.start_timeout
            )
        except _WorkerGoneError as error:
            self.kill()
            raise ConfigError(f"{_OPTION}: the model did not load ({error})") from None
        if "error" in answer:
            self.kill()
            raise ConfigError(f"{_OPTION}: {answer['error']}")

    def ask(self, text: str, timeout_s: float) -> Sequence[Any] | None:
        """Return entity, start, end and score of each find; None if the model failed on it."""
        found: Sequence[Any] | None = self._exchange(text, timeout_s).get("found")
        return found

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _exchange(self, question: Any, timeout_s: float) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise _WorkerGoneError("no pipes")
        until = time.monotonic() + timeout_s
        left = memoryview(json.dumps(question).encode() + b"\n")
        questions, answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(questions, selectors.EVENT_WRITE)
            selector.register(answers, selectors.EVENT_READ)
            while b"\n" not in self._answers:
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    raise _WorkerGoneError("it took too long")
                for key, _ in ready:
                    if key.fd == answers:
                        self._answers += _read(answers)
                    else:
                        left = left[_write(questions, left) :]
                        if not left:
                            selector.unregister(questions)
        line, _, self._answers = self._answers.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise _WorkerGoneError("it answered nonsense") from error
        if not isinstance(answer, dict):
            raise _WorkerGoneError("it answered nonsense")
        return answer


def _read(descriptor: int) -> bytes:
    part = os.read(descriptor, 65_536)
    if not part:
        raise _WorkerGoneError("it ended")
    return part


def _write(descriptor: int, content: memoryview) -> int:
    try:
        return os.write(descriptor, content)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise _WorkerGoneError("it ended") from error
