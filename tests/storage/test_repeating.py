"""A thread that repeats work and can be woken and stopped at any moment."""

from __future__ import annotations

import threading

from storage.repeating import Repeating


def test_a_stop_between_its_two_looks_is_not_missed() -> None:
    """Scenario: ``stop`` comes just after the thread looked whether it is to stop.

    Guarantee: it ends after the work that is going on, not when the interval of an hour is over.
    """
    worked = threading.Event()

    class Late(threading.Event):
        def is_set(self) -> bool:
            was_set = super().is_set()
            if not was_set:  # what stop() does
                self.set()
                repeating.wake()
            return was_set

    repeating = Repeating("test", 3600, worked.set, lambda: None, is_stopping=Late())
    repeating.start()
    repeating.wake()
    assert worked.wait(20)
    repeating._thread.join(20)
    assert not repeating._thread.is_alive()
