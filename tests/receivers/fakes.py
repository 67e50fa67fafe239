"""The receivers' boundary, small and real: an intake with its own thread, a counting telemetry."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from collector.model.contracts import Outcome
from collector.otlp.descriptor import TRACES
from collector.otlp.from_json import protobuf_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.model.contracts import Transport
    from collector.model.metric import Metric

WAIT_S = 10.0


class FakeIntake:
    """Keeps what is submitted and answers from another thread, when ``gate`` is open."""

    def __init__(self) -> None:
        """Answer with full success until told otherwise."""
        self.received: list[bytes] = []
        self.transports: list[Transport] = []
        self.futures: list[Future[Outcome]] = []
        self.outcome: Outcome | Exception = Outcome()
        self.refusal: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.submitted = threading.Semaphore(0)
        self._worker = ThreadPoolExecutor(1)

    def from_json(self, text: bytes) -> bytes:
        """Return a request of traces in JSON as protobuf, as the pipeline does."""
        return protobuf_of(text, TRACES)

    def submit(self, payload: bytes, transport: Transport) -> Future[Outcome]:
        """Take a request, or raise ``refusal``."""
        if self.refusal is not None:
            raise self.refusal
        self.received.append(payload)
        self.transports.append(transport)
        future: Future[Outcome] = Future()
        self.futures.append(future)
        self._worker.submit(self._answer, future)
        self.submitted.release()
        return future

    def reset(self) -> None:
        """Forget everything."""
        self.gate.set()
        self._worker.submit(lambda: None).result(WAIT_S)
        self.received, self.transports, self.futures = [], [], []
        self.outcome, self.refusal = Outcome(), None
        self.submitted = threading.Semaphore(0)

    def wait_for_submit(self) -> None:
        """Return when one more request has been submitted."""
        assert self.submitted.acquire(timeout=WAIT_S)

    def _answer(self, future: Future[Outcome]) -> None:
        self.gate.wait(WAIT_S)
        if isinstance(self.outcome, Exception):
            future.set_exception(self.outcome)
        else:
            future.set_result(self.outcome)


class FakeTelemetry:
    """Adds up counters by metric name and labels."""

    def __init__(self) -> None:
        """Start at zero."""
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._changed = threading.Condition()

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """See ``Telemetry``; labels are checked as the real one does."""
        assert len(labels) == len(metric.labels)
        with self._changed:
            self._counts[labels] += int(amount)
            self._changed.notify_all()

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """See ``Telemetry``."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See ``Telemetry``."""

    def sample(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """See ``Telemetry``."""

    def wait_for(self, *labels: str, count: int = 1) -> None:
        """Return when the counter with these labels has reached ``count``."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._counts[labels] >= count, WAIT_S), (
                self._counts
            )

    @property
    def refused(self) -> dict[tuple[str, ...], int]:
        """Requests refused so far by (receiver, reason)."""
        with self._changed:
            return dict(self._counts)

    def reset(self) -> None:
        """Start again at zero."""
        with self._changed:
            self._counts.clear()
