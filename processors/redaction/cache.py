"""Remembers the verdict on strings seen before, within bounds on their number and bytes."""

from __future__ import annotations

from itertools import compress, repeat
from operator import is_
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from processors.redaction.verdict import Verdict

# Longer strings are mostly prompts that never come again, and remembering one costs its size in
# memory: judging 1 KiB costs tens of microseconds, seeing that there is nothing in it one or two.
MAX_STRING: Final = 1024
MAX_CLEAN: Final = 256
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

    def look_up(self, keys: list[Hashable]) -> list[Verdict | Unknown | None]:
        """Return the verdict for each key, UNKNOWN where there is none."""
        verdicts = list(map(self._young.get, keys, repeat(UNKNOWN)))
        if self._old:
            # a loop over what is new or has aged only
            for place in compress(range(len(keys)), map(is_, verdicts, repeat(UNKNOWN))):
                key = keys[place]
                verdict = self._old.get(key, UNKNOWN)
                if not isinstance(verdict, Unknown):
                    verdicts[place] = verdict
                    self.remember(key, verdict)
        return verdicts

    def remember(self, key: Hashable, verdict: Verdict | None) -> None:
        """Keep a verdict on a string, or on a ``(class, string)``, unless it is too long."""
        text = key if isinstance(key, str) else cast("tuple[int, str]", key)[1]
        if len(text) <= MAX_STRING and self._half:
            self._make_room()
            self._young[key] = verdict
            self._bytes += len(text)

    def remember_clean(self, texts: Iterable[str]) -> None:
        """Keep many strings in which nothing was found."""
        if self._half:
            self._make_room()
            short = [text for text in texts if len(text) <= MAX_CLEAN]
            self._young.update(dict.fromkeys(short))
            self._bytes += sum(map(len, short))

    def _make_room(self) -> None:
        if len(self._young) >= self._half or self._bytes >= _MAX_BYTES // 2:
            self._old, self._young, self._bytes = self._young, {}, 0

    def __len__(self) -> int:
        """Return how many verdicts are held."""
        return len(self._young) + len(self._old)
