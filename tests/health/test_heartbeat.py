"""Signs of life of a real thread, by a clock the test sets."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collector.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN_S = 30.0
CHECKS = 1000


class Clock:
    """Time that passes when the test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@contextmanager
def busy_with(work: Callable[[], object]) -> Iterator[tuple[Heartbeat, Clock]]:
    """Run a worker that came round once and has been at ``work`` since."""
    clock = Clock()
    heartbeat = Heartbeat(clock)
    has_begun = threading.Event()

    def run() -> None:
        heartbeat.begin()
        heartbeat.come_round()
        has_begun.set()
        work()

    worker = threading.Thread(target=run)
    worker.start()
    assert has_begun.wait(10)
    yield heartbeat, clock
    worker.join(10)


def spin(until: threading.Event) -> None:
    """Use CPU until told to stop."""
    while not until.is_set():
        pass


def let_it_use_cpu(heartbeat: Heartbeat) -> None:
    """Return when the worker has used CPU since this was called."""
    before = heartbeat._read_cpu_s()
    while heartbeat._read_cpu_s() == before:
        time.sleep(0.001)


def test_a_worker_that_waits_for_ever_is_found_dead() -> None:
    """Scenario: the worker waits for a lock that nobody gives back.

    Guarantees: it is dead when it used no CPU for 30 s (it may have used some while it began to
    wait), and alive again as soon as it goes on.
    """
    lock = threading.Event()
    with busy_with(lock.wait) as (heartbeat, clock):
        assert heartbeat.is_alive(WITHIN_S)
        for _ in range(CHECKS):
            clock.now_s += WITHIN_S
            if not heartbeat.is_alive(WITHIN_S):
                break
            time.sleep(0.001)
        assert not heartbeat.is_alive(WITHIN_S)
        heartbeat.come_round()
        assert heartbeat.is_alive(WITHIN_S)
        lock.set()


def test_a_worker_that_is_busy_is_alive_for_minutes_and_not_for_ever() -> None:
    """Scenario: one batch keeps the worker at work for 14 minutes; a loop that has no end.

    Guarantees: whenever it is asked in the 14 minutes it is alive; later it is not.
    """
    done = threading.Event()
    with busy_with(lambda: spin(done)) as (heartbeat, clock):
        for _ in range(28):
            clock.now_s += WITHIN_S
            let_it_use_cpu(heartbeat)
            assert heartbeat.is_alive(WITHIN_S)
        clock.now_s += 2 * WITHIN_S
        let_it_use_cpu(heartbeat)
        assert not heartbeat.is_alive(WITHIN_S)
        done.set()
