"""Remembers the verdict on strings seen before, within bounds on their number and bytes."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from processors.redaction.verdict import Verdict

# Longer strings are mostly prompts that never come again: scanning 1 KiB costs about 6 µs,
# remembering it costs 1 KiB of memory.
MAX_STRING: Final = 1024
_MAX_BYTES: Final = 32 * 2**20


class Unknown:
    """The type of UNKNOWN, so that a verdict of None (clean) can be told from no verdict."""


UNKNOWN: Final = Unknown()


class VerdictCache:
    """A map of two generations: when the young one is full it becomes the old one.

    What is asked for again moves back to the young one, so strings in use survive and at most
    ``entries`` strings or 32 MiB of characters are held. Not thread-safe.
    """

    def __init__(self, entries: int) -> None:
        """Bound the cache to about ``entries`` strings; 0 remembers nothing."""
        self._half = entries // 2
        self._young: dict[Hashable, Verdict | None] = {}
        self._old: dict[Hashable, Verdict | None] = {}
        self._bytes = 0

    def look_up(self, keys: Iterable[Hashable]) -> list[Verdict | Unknown | None]:
        """Return the young generation's verdict for each key, UNKNOWN where it has none."""
        return list(map(self._young.get, keys, repeat(UNKNOWN)))

    def recall(self, key: Hashable, size: int) -> Verdict | Unknown | None:
        """Return what either generation knows of one key, and keep it young.

        ``size`` is the length of the string the key stands for.
        """
        verdict = self._young.get(key, UNKNOWN)
        if isinstance(verdict, Unknown):
            verdict = self._old.get(key, UNKNOWN)
            if not isinstance(verdict, Unknown):
                self.remember(key, size, verdict)
        return verdict

    def remember(self, key: Hashable, size: int, verdict: Verdict | None) -> None:
        """Keep a verdict, unless the string is too long to be worth its memory."""
        if size > MAX_STRING or not self._half:
            return
        if len(self._young) >= self._half or self._bytes >= _MAX_BYTES // 2:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = verdict
        self._bytes += size

    def __len__(self) -> int:
        """Return how many verdicts are held."""
        return len(self._young) + len(self._old)
