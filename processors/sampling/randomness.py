"""Consistent probability sampling in numbers: 56 random bits a trace, and thresholds for them.

A trace is kept when its randomness is not below the threshold, so two samplers with the same
threshold agree, and what a lower probability keeps is part of what a higher one keeps.
Source: OpenTelemetry specification, "TraceState: Probability Sampling".
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from collector.model.schema import TRACE_ID

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from collector.model.batch import SpanBatch

BITS: Final = 56
RANGE: Final = 1 << BITS
HEX_DIGITS: Final = BITS // 4
_MASK: Final = np.uint64(RANGE - 1)
_ID_BYTES: Final = 16


def threshold_for(percentage: float, precision: int = HEX_DIGITS) -> int:
    """Return the rejection threshold for a share of 0 to 100 per cent; 0 keeps all, RANGE nothing.

    ``precision`` is how many hex digits count. Digits that only say that the share is near 0 or 1
    are not counted, so the relative error stays small there.
    """
    share = percentage / 100
    threshold = RANGE - round(share * RANGE)
    if threshold in {0, RANGE}:
        return threshold
    leading = max(-math.frexp(share)[1], -math.frexp(1 - share)[1]) // 4
    digits = min(HEX_DIGITS, precision + leading)
    unit = 1 << 4 * (HEX_DIGITS - digits)
    return min((threshold + unit // 2) // unit * unit, RANGE)


def probability_of(threshold: int) -> float:
    """Return the share that a threshold keeps."""
    return (RANGE - threshold) / RANGE


def threshold_text(threshold: int) -> str:
    """Return a threshold below RANGE as ``ot=th`` has it: hex without trailing zeros."""
    return f"{threshold:0{HEX_DIGITS}x}".rstrip("0") or "0"


def id_halves(ids: pa.Array) -> NDArray[np.uint64]:
    """Return 16-byte ids as numbers, one row an id, its first half in column 0."""
    raw = np.frombuffer(ids.buffers()[1], np.uint8)
    start = ids.offset * _ID_BYTES
    halves = raw[start : start + len(ids) * _ID_BYTES].view(">u8").astype(np.uint64)
    return halves.reshape(-1, 2)


def id_bytes(halves: NDArray[np.uint64]) -> NDArray[np.void]:
    """Return the ids of ``id_halves`` as 16 bytes each."""
    return halves.byteswap().view("V16").ravel()


def halves_of(ids: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return what ``id_halves`` gives for ids of 16 bytes each."""
    return np.ascontiguousarray(ids).view(">u8").astype(np.uint64).reshape(-1, 2)


def id_randomness(halves: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the last 7 bytes of each id, which W3C Trace Context level 2 makes random."""
    return (halves[:, 1] & _MASK).astype(np.int64)


def salted_randomness(halves: NDArray[np.uint64], salt: str) -> NDArray[np.int64]:
    """Return 56 bits of a hash of salt and id: independent of other salts and of other samplers."""
    seed = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest())
    return (mixed(halves, seed) >> np.uint64(64 - BITS)).astype(np.int64)


def mixed(halves: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Return a well-mixed 64-bit hash of each id (splitmix64 finaliser, once for each half)."""
    return _avalanche(_avalanche(halves[:, 0] ^ np.uint64(seed)) ^ halves[:, 1])


def _avalanche(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def trace_randomness(batch: SpanBatch) -> NDArray[np.int64]:
    """Return the randomness of each row's trace id."""
    return id_randomness(id_halves(batch.column(TRACE_ID)))
