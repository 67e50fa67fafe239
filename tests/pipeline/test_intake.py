"""Admission and micro-batching."""

from __future__ import annotations

import threading

import pytest

from collector.intake import IntakeQueue, Room
from collector.model.contracts import Outcome
from collector.model.errors import Overloaded, PayloadTooLarge, ShuttingDown, StorageUnavailable
from config.settings import BatchingSettings


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        """Start at 0 s."""
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now_s


def queue(capacity: int = 1000, clock: Clock | None = None, **batching: object) -> IntakeQueue:
    """Make a queue whose time stands still."""
    settings = BatchingSettings(**{"max_wait": 0, **batching})
    return IntakeQueue(Room(capacity), settings, clock or Clock())


def test_bytes_in_flight_are_bounded_until_answered() -> None:
    """Scenario: limit, then a byte more. Guarantees: refused at once, admitted after an answer."""
    intake = queue(10)
    intake.put(b"x" * 10, "grpc")
    with pytest.raises(Overloaded) as refused:
        intake.put(b"y", "grpc")
    assert refused.value.retry_after_s > 0
    [request] = intake.take(0)
    with pytest.raises(Overloaded):
        intake.put(b"y", "grpc")
    intake.finish(request, Outcome())
    assert request.future.result(0) == Outcome()
    intake.put(b"y", "grpc")
    assert intake.in_flight_bytes == 1


def test_what_never_fits_is_not_asked_to_come_back() -> None:
    """Scenario: a request larger than all that may be in flight. Guarantees: refused for good."""
    with pytest.raises(PayloadTooLarge, match="max_in_flight_bytes, 10 bytes"):
        queue(10).put(b"x" * 11, "grpc")


def test_an_error_reaches_its_own_caller_and_a_gone_caller_is_passed_over() -> None:
    """Scenario: one caller fails, one gave up. Guarantees: outcomes do not mix, bytes are freed."""
    intake = queue()
    failing, gone = intake.put(b"a", "grpc"), intake.put(b"b", "http")
    assert gone.cancel()
    first, second = intake.take(0)
    intake.finish(first, StorageUnavailable("full"))
    intake.finish(second, Outcome())
    assert isinstance(failing.exception(0), StorageUnavailable)
    assert intake.in_flight_bytes == 0


def test_what_waits_is_taken_together_up_to_the_byte_limit() -> None:
    """Scenario: three requests, room for two. Guarantees: order kept, a huge one still goes."""
    intake = queue(max_bytes=8)
    for payload in (b"aaaa", b"bbbb", b"c" * 50):
        intake.put(payload, "grpc")
    taken = [[r.payload[:1] for r in intake.take(0)] for _ in range(2)]
    assert taken == [[b"a", b"b"], [b"c"]]


def test_a_lone_request_is_not_made_to_wait() -> None:
    """Scenario: the first request ever. Guarantees: it goes at once, whatever max_wait says."""
    intake = queue(max_wait=0.5)
    intake.put(b"a", "grpc")
    assert len(intake.take(0)) == 1


def test_small_requests_that_keep_coming_are_waited_for() -> None:
    """Scenario: requests 1 ms apart. Guarantees: the reader waits until max_wait, then has all."""
    clock = Clock()
    intake = queue(clock=clock, max_wait=0.5)
    for _ in range(5):
        clock.now_s += 0.001
        intake.put(b"a", "grpc")
    taken: list[int] = []
    reader = threading.Thread(target=lambda: taken.append(len(intake.take(1))))
    reader.start()
    intake.put(b"a", "grpc")
    assert not taken
    clock.now_s += 0.5
    intake.put(b"a", "grpc")
    reader.join(5)
    assert taken == [7]


def test_a_full_batch_is_not_made_to_wait() -> None:
    """Scenario: requests 1 ms apart reach ``max_bytes``. Guarantees: they go before max_wait."""
    clock = Clock()
    intake = queue(clock=clock, max_wait=1, max_bytes=8)
    for _ in range(2):
        clock.now_s += 0.001
        intake.put(b"aaa", "grpc")
    taken: list[int] = []
    reader = threading.Thread(target=lambda: taken.append(len(intake.take(1))))
    reader.start()
    clock.now_s += 0.001
    intake.put(b"aa", "grpc")
    reader.join(0.8)
    assert taken == [3]


def test_closing_refuses_newcomers_and_hands_out_the_rest() -> None:
    """Scenario: shutdown with one request waiting. Guarantees: it is still worked on."""
    intake = queue()
    intake.put(b"a", "grpc")
    intake.close()
    with pytest.raises(ShuttingDown):
        intake.put(b"b", "grpc")
    assert len(intake.take(0)) == 1
    assert not intake.take(0)
