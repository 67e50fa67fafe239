"""Admission: how much may be in flight, and which requests are worked on together."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collector.model.errors import ClearspanError, Overloaded, PayloadTooLarge, ShuttingDown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.model.contracts import Outcome, Transport
    from config.settings import BatchingSettings

# A micro-batch of this size has its fixed cost (5 ms) well spread. Twice as much gains 4 %, but a
# few senders that wait for their answers never have that much under way, and would wait in vain.
_ENOUGH_BYTES: Final = 512 * 1024
_NEW_GAP_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An admitted request: its bytes, where it came from, who waits for it."""

    payload: bytes
    transport: Transport
    future: Future[Outcome]
    received_s: float


class Room:
    """The bytes that may be admitted and unanswered, for all queues that share it."""

    def __init__(self, capacity_bytes: int) -> None:
        """Start empty."""
        self.capacity_bytes = capacity_bytes
        self._taken_bytes = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take some of it; False when there is not as much left."""
        with self._lock:
            if self._taken_bytes + size_bytes > self.capacity_bytes:
                return False
            self._taken_bytes += size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Let others have what was taken."""
        with self._lock:
            self._taken_bytes -= size_bytes


class IntakeQueue:
    """A queue bounded by bytes whose reader takes what belongs into one micro-batch."""

    def __init__(
        self,
        room: Room,
        batching: BatchingSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bound the bytes admitted and unanswered by ``room``."""
        self._room = room
        self._batching = batching
        self._clock = clock
        self._enough_bytes = min(_ENOUGH_BYTES, batching.max_bytes)
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0
        self._in_flight_bytes = 0
        self._closed = False
        self._last_arrival_s = float("-inf")
        self._gap_s = float("inf")
        self._changed = threading.Condition()

    @property
    def capacity_bytes(self) -> int:
        """Most bytes that may be admitted and unanswered."""
        return self._room.capacity_bytes

    @property
    def in_flight_bytes(self) -> int:
        """Bytes admitted and not yet answered."""
        return self._in_flight_bytes

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closed

    def put(self, payload: bytes, transport: Transport) -> Future[Outcome]:
        """Admit a request.

        Raises:
            PayloadTooLarge: It exceeds the capacity by itself.
            ShuttingDown: The queue is closed.
            Overloaded: The bytes in flight would exceed the capacity.
        """
        if len(payload) > self._room.capacity_bytes:
            most = self._room.capacity_bytes
            raise PayloadTooLarge(f"the request is larger than max_in_flight_bytes, {most} bytes")
        request = Request(payload, transport, Future(), self._clock())
        with self._changed:
            if self._closed:
                raise ShuttingDown("the sidecar is shutting down", retry_after_s=5.0)
            if not self._room.take(len(payload)):
                raise Overloaded("too many bytes in flight", retry_after_s=1.0)
            self._in_flight_bytes += len(payload)
            self._waiting.append(request)
            self._waiting_bytes += len(payload)
            self._note_arrival(request.received_s)
            if len(self._waiting) == 1 or self._waiting_bytes >= self._enough_bytes:
                self._changed.notify()  # in between the reader would wait on all the same
        return request.future

    def take(self, timeout_s: float) -> Sequence[Request]:
        """Return the next micro-batch, or nothing when none came in time or the queue closed.

        Small requests that keep coming are waited for, up to ``max_wait`` after the first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_s)
            while self._waiting and not self._closed and (more_s := self._worth_waiting()) > 0:
                self._changed.wait(more_s)
            taken: list[Request] = []
            size = 0
            while self._waiting and (
                not taken or size + len(self._waiting[0].payload) <= self._batching.max_bytes
            ):
                taken.append(self._waiting.popleft())
                size += len(taken[-1].payload)
            self._waiting_bytes -= size
            return taken

    def finish(self, request: Request, outcome: Outcome | ClearspanError) -> None:
        """Answer a request; its bytes count no more. A caller that gave up is passed over."""
        with self._changed:
            self._in_flight_bytes -= len(request.payload)
        self._room.give_back(len(request.payload))
        if not request.future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, ClearspanError):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)

    def close(self) -> None:
        """Admit nothing more; what was admitted can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _note_arrival(self, now_s: float) -> None:
        gap = now_s - self._last_arrival_s
        self._last_arrival_s = now_s
        known = self._gap_s != float("inf")
        smooth = self._gap_s + _NEW_GAP_SHARE * (gap - self._gap_s) if known else gap
        # one long pause must not hide that requests come fast again
        self._gap_s = min(smooth, 4 * self._batching.max_wait) if gap != float("inf") else gap

    def _worth_waiting(self) -> float:
        """Return the seconds to wait for more requests; 0 when the batch should go now."""
        waited = self._clock() - self._waiting[0].received_s
        if self._waiting_bytes >= self._enough_bytes or self._gap_s >= self._batching.max_wait:
            return 0.0
        return self._batching.max_wait - waited
