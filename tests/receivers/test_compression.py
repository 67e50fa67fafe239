"""Unpacking stops at the limit: bombs cost what the limit allows, whatever they claim."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.model.errors import InvalidPayload, PayloadTooLarge
from collector.receivers.compression import GzipBody

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 2**20


def unpack(chunks: Iterable[bytes], most_bytes: int) -> bytes:
    """Feed all chunks and return the body."""
    body = GzipBody(most_bytes)
    for chunk in chunks:
        body.feed(chunk)
    return body.finish()


def gzip_bomb(size_mib: int) -> bytes:
    """Return a gzip body of zeros, a thousandth of what it unpacks to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size_mib)) + packer.flush()


@pytest.mark.parametrize("chunk_bytes", [100, 10**7])
def test_a_bomb_stops_at_the_limit(chunk_bytes: int) -> None:
    """Scenario: 256 MiB packed into 260 kB, with a limit of 4 MiB, in small chunks and at once.

    Guarantees: refused when the limit is reached: neither more output nor more memory than that.
    """
    bomb = gzip_bomb(256)
    body = GzipBody(4 * MIB)

    def feed_all() -> None:
        for start in range(0, len(bomb), chunk_bytes):
            body.feed(bomb[start : start + chunk_bytes])

    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            feed_all()
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
    finally:
        tracemalloc.stop()
    assert body.size_bytes <= 4 * MIB


def test_a_bomb_of_many_members_stops_at_the_limit() -> None:
    """Scenario: 100 members of 1 MiB each.

    Guarantees: the limit is for all members together.
    """
    with pytest.raises(PayloadTooLarge):
        unpack([gzip.compress(bytes(MIB)) * 100], 4 * MIB)


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    st.integers(1, 64),
    st.integers(-1, 1),
)
def test_members_come_out_whole_however_they_are_cut(
    members: list[bytes], chunk_bytes: int, spare: int
) -> None:
    """Scenario: any members, cut anywhere, with a limit one below, at and one above their size.

    Guarantees: the bytes come out as they went in, or the limit is named.
    """
    packed = b"".join(map(gzip.compress, members))
    chunks = [packed[start : start + chunk_bytes] for start in range(0, len(packed), chunk_bytes)]
    content = b"".join(members)
    most_bytes = len(content) + spare
    if most_bytes < 0:
        return
    if spare < 0:
        with pytest.raises(PayloadTooLarge, match=f"{most_bytes} bytes"):
            unpack(chunks, most_bytes)
    else:
        assert unpack(chunks, most_bytes) == content


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage_is_found_or_harmless(position: int, value: int) -> None:
    """Scenario: one byte of a gzip body is changed, and every prefix of it.

    Guarantees: nothing but the two errors of the contract, and never other bytes than went in.
    """
    content = bytes(range(256)) * 20
    packed = bytearray(gzip.compress(content))
    packed[position % len(packed)] = value
    for damaged in (bytes(packed), gzip.compress(content)[: position % len(packed)]):
        try:
            unpacked = unpack([damaged], 10 * len(content))
        except (InvalidPayload, PayloadTooLarge):
            continue
        assert unpacked == content


def test_what_unpacks_to_nothing_is_bounded_as_well() -> None:
    """Scenario: empty gzip members without end, and one member of empty blocks without end.

    Guarantees: both are refused, though no byte comes out of them.
    """
    body = GzipBody(MIB)
    with pytest.raises(InvalidPayload, match="more than 1000 gzip members"):
        body.feed(gzip.compress(b"") * 5000)
    empty_blocks = gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 500_000
    with pytest.raises(PayloadTooLarge):
        unpack(
            [empty_blocks[at : at + MIB // 4] for at in range(0, len(empty_blocks), MIB // 4)], MIB
        )
