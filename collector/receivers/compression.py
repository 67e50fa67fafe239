"""Request bodies as they come in, unpacked up to a limit and not a byte further."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from collector.model.errors import InvalidPayload, PayloadTooLarge

_GZIP_ONLY: Final = 16 + zlib.MAX_WBITS
# Unpacked at a time, so that a bomb is stopped within this much of the limit.
_STEP_BYTES: Final = 256 * 1024
# What packs into nothing costs time and counts for no limit; nobody needs it.
_MOST_MEMBERS: Final = 1000
_MOST_OVERHEAD_BYTES: Final = 256 * 1024


class Body(Protocol):
    """A request body that arrives in chunks."""

    @property
    def size_bytes(self) -> int:
        """Unpacked bytes held so far; never more than the limit."""
        ...

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk.

        Raises:
            PayloadTooLarge: The unpacked body exceeds the limit.
            InvalidPayload: The bytes are not what their encoding claims.
        """
        ...

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            InvalidPayload: The body ends in the middle.
        """
        ...


class PlainBody:
    """A body that is not compressed."""

    def __init__(self, most_bytes: int) -> None:
        """Refuse more than ``most_bytes``."""
        self._most_bytes = most_bytes
        self._chunks: list[bytes] = []
        self.size_bytes = 0

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        if self.size_bytes + len(chunk) > self._most_bytes:
            raise too_large(self._most_bytes)
        self.size_bytes += len(chunk)
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """See ``Body``."""
        return b"".join(self._chunks)


class GzipBody:
    """A gzip body of one or more members (RFC 1952, 2.2)."""

    def __init__(self, most_bytes: int) -> None:
        """Refuse more than ``most_bytes`` after decompression."""
        self._plain = PlainBody(most_bytes)
        self._most_bytes = most_bytes
        self._member = zlib.decompressobj(_GZIP_ONLY)
        self._members = 1
        self._packed_bytes = 0

    @property
    def size_bytes(self) -> int:
        """See ``Body``."""
        return self._plain.size_bytes

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        data = chunk
        self._packed_bytes += len(chunk)
        if self._packed_bytes > self._most_bytes + _MOST_OVERHEAD_BYTES:
            raise too_large(self._most_bytes)
        while data:
            if self._member.eof:
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise InvalidPayload(f"the body has more than {_MOST_MEMBERS} gzip members")
                self._member = zlib.decompressobj(_GZIP_ONLY)
            self._unpack(data)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> bytes:
        """See ``Body``."""
        # What zlib still holds back comes out without input; it is bounded like the rest.
        while not self._member.eof:
            if not self._unpack(b""):
                raise InvalidPayload("the gzip body ends in the middle")
        return self._plain.finish()

    def _unpack(self, data: bytes) -> int:
        # One byte more than is allowed tells that the limit is exceeded.
        room = min(_STEP_BYTES, self._most_bytes - self.size_bytes + 1)
        try:
            unpacked = self._member.decompress(data, room)
        except zlib.error as error:
            raise InvalidPayload("the body is not the gzip it claims to be") from error
        self._plain.feed(unpacked)
        return len(unpacked)


def too_large(most_bytes: int) -> PayloadTooLarge:
    """Return the error that names the limit."""
    return PayloadTooLarge(f"the request is larger than {most_bytes} bytes after decompression")
