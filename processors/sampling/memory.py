"""Remembers which traces were decided, for spans that come late: fixed size, no Python objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WAYS: Final = 4
ABSENT: Final = -1


class DecisionMemory:
    """A set of 64-bit trace hashes in buckets of four; each bucket forgets its oldest first.

    ``payload`` has one entry a place and belongs to the caller: whoever inserts writes it, at the
    places that ``insert`` returns. A million traces take 8 MB plus the payload. That two traces
    share a hash has a chance of about 2**-42 a look-up in a full memory of a million.
    """

    def __init__(self, capacity: int, payload: np.dtype[np.void]) -> None:
        """Make room for about ``capacity`` traces; 0 remembers none."""
        self._buckets = -(-capacity // _WAYS)
        self._keys = np.zeros((self._buckets, _WAYS), np.uint64)  # 0 is an empty place
        self._next = np.zeros(self._buckets, np.uint8)
        self.payload = np.zeros(self._buckets * _WAYS, payload)

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the place of each trace, ``ABSENT`` where it is not remembered."""
        if not self._buckets:
            return np.full(len(hashes), ABSENT, np.int64)
        keys, bucket = self._keys_and_buckets(hashes)
        is_here = self._keys[bucket] == keys[:, None]
        return np.where(is_here.any(axis=1), bucket * _WAYS + is_here.argmax(axis=1), ABSENT)

    def insert(self, hashes: NDArray[np.uint64], payload: NDArray[np.void]) -> None:
        """Remember these traces, none of which is remembered yet, with one payload each."""
        if not self._buckets:
            return
        keys, bucket = self._keys_and_buckets(hashes)
        order = np.argsort(bucket, kind="stable")
        bucket = bucket[order]
        rank = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)
        way = (self._next[bucket] + rank) % _WAYS
        # Where one bucket gets more than it holds, numpy lets the last assignment stand.
        self._keys[bucket, way] = keys[order]
        self._next[bucket] = (way + 1) % _WAYS
        self.payload[bucket * _WAYS + way] = payload[order]

    def _keys_and_buckets(
        self,
        hashes: NDArray[np.uint64],
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        buckets = (hashes >> np.uint64(16)) % np.uint64(self._buckets)
        return hashes | np.uint64(1), buckets.astype(np.int64)
