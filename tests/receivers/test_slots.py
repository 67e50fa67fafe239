"""Who gives way when all places are taken, and that what waits for one takes no memory."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from collector.model.errors import Overloaded
from collector.receivers import otlp_grpc
from collector.receivers.slots import Slots
from collector.receivers.timeouts import Timeouts
from tests.receivers.conftest import start
from tests.receivers.fakes import WAIT_S
from tests.receivers.test_grpc import EXPORT, export, never_sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.receivers.conftest import Served

MESSAGE_BYTES = 16 * 2**20
NEVER_SLOW_S = 1000.0
ALWAYS_SLOW_S = 0.0


@pytest.mark.parametrize("connections", [1, 16])
def test_idle_calls_do_not_keep_others_out(connections: int) -> None:
    """Scenario: 48 calls, three times as many as are received at once, never send their message.

    Guarantees: others are served long before the calls' time is up, and an idle call that gave way
    is told to come again.
    """
    served = start(Timeouts(slow_s=0.05))
    gone = threading.Event()
    with ExitStack() as stack:
        own = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            stack.enter_context(grpc.insecure_channel(served.grpc, own))
            for _ in range(connections + 1)
        ]
        idle = [
            channels[number % connections].stream_unary(EXPORT).future(never_sent(gone))
            for number in range(48)
        ]
        served.telemetry.wait_for("otlp_grpc", "overloaded", count=32)  # the others hold places
        for _ in range(5):
            assert export(channels[-1], b"honest") == b""
        ended = [call for call in idle if call.done()]
        assert {call.code() for call in ended} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
        gone.set()
    assert served.intake.received == [b"honest"] * 5
    served.listeners.stop(0)


def test_what_waits_for_a_place_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a client sends a message of 16 MiB as fast as it may, while all places are taken.

    Guarantees: it may not send more than 64 KiB and what windows are rounded by, however fast the
    connection is: else the bound on what is received at once bounds no memory.
    """
    monkeypatch.setattr(otlp_grpc, "_MOST_RECEIVING", 0)
    served = start(Timeouts(body_s=1.0), limit=MESSAGE_BYTES)
    assert sum(sent_bytes(served)) < 128 * 1024
    served.listeners.stop(0)


def test_what_has_a_place_is_taken_whole() -> None:
    """Scenario: the same client while there is a place, with half of what the limit allows.

    Guarantees: all is taken, which shows that the test above can fail.
    """
    served = start(limit=MESSAGE_BYTES)
    assert sum(sent_bytes(served, most=MESSAGE_BYTES // 2)) == MESSAGE_BYTES // 2
    served.listeners.stop(0)


def sent_bytes(served: Served, most: int = MESSAGE_BYTES) -> Iterator[int]:
    """Send a message by plain HTTP/2 as its windows allow; yield the size of each piece.

    Ends when ``most`` bytes are sent or the call is over.
    """
    host, port = served.grpc.split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as connection:
        frames = connection.makefile("rb")
        headers = {
            b":method": b"POST",
            b":scheme": b"http",
            b":path": EXPORT.encode(),
            b":authority": b"test",
            b"content-type": b"application/grpc",
            b"te": b"trailers",
        }
        block = b"".join(b"\0" + text(name) + text(value) for name, value in headers.items())
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 4, 1, block)
        )
        windows, initial = {0: 65_535, 1: 65_535}, 65_535
        waiting, left = struct.pack(">xI", MESSAGE_BYTES), most
        while left:
            size = min(16_000, left, *windows.values())
            if size > 0:
                connection.sendall(frame(0, 0, 1, (waiting + b"x" * size)[:size]))
                waiting = waiting[size:]
                windows = {stream: window - size for stream, window in windows.items()}
                left -= size
                yield size
                continue
            kind, flags, stream, body = next_frame(frames.read)
            if kind == 8:
                windows[stream] += int.from_bytes(body, "big")
            elif kind == 4 and not flags & 1:
                for name, value in struct.iter_unpack(">HI", body):
                    if name == 4:
                        windows[1] += value - initial
                        initial = value
                connection.sendall(frame(4, 1, 0))
            elif kind == 6 and not flags & 1:
                connection.sendall(frame(6, 1, 0, body))
            elif kind in {1, 3}:
                return


def text(value: bytes) -> bytes:
    """Return a string of HPACK, without Huffman's code."""
    return bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def next_frame(read: object) -> tuple[int, int, int, bytes]:
    """Read kind, flags, stream and body."""
    assert callable(read)
    head = read(9)
    kind, flags, stream = struct.unpack(">BBI", head[3:])
    return kind, flags, stream, read(int.from_bytes(head[:3], "big"))


class Calls:
    """Calls at a loop's slots, each in a task of its own; the first letter is the connection."""

    def __init__(self, slots: Slots) -> None:
        """Begin with none."""
        self._slots = slots
        self._done: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.holding: list[str] = []
        self.refused: list[str] = []

    async def arrive(self, name: str) -> None:
        """Begin a call."""
        self._done[name] = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._hold(name)))
        await settle()

    async def finish(self, name: str) -> None:
        """Let a call get its message."""
        self._done[name].set()
        await settle()

    async def end(self) -> None:
        """Cancel all that is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self, name: str) -> None:
        try:
            async with self._slots.place(name[0]):
                self.holding.append(name)
                await self._done[name].wait()
        except Overloaded:
            self.refused.append(name)
        self.holding.remove(name)


async def settle() -> None:
    """Let all tasks come to where they wait: nothing here takes more turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


def outcome(
    most: int, slow_s: float, arrivals: Sequence[str], finished: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Return which calls hold a place and which were refused in the end."""

    async def run() -> tuple[list[str], list[str]]:
        calls = Calls(Slots(most, slow_s))
        for name in arrivals:
            await calls.arrive(name)
        for name in finished:
            await calls.finish(name)
        seen = sorted(calls.holding), list(calls.refused)
        await calls.end()
        return seen

    return asyncio.run(run())


def test_nobody_who_is_not_slow_is_interrupted() -> None:
    """Scenario: more calls than places, all of them quick enough.

    Guarantees: the first keep their places, and none is refused.
    """
    assert outcome(2, NEVER_SLOW_S, ["a1", "a2", "b1"]) == (["a1", "a2"], [])


def test_slow_calls_stay_while_nobody_waits() -> None:
    """Scenario: no more calls than places, all of them slow.

    Guarantees: none is interrupted.
    """
    assert outcome(2, ALWAYS_SLOW_S, ["a1", "a2"]) == (["a1", "a2"], [])


def test_the_next_place_is_for_who_has_fewest_and_came_last() -> None:
    """Scenario: one connection has both places and waits for more; then others come.

    Guarantees: the connections without a place come first, of them the newest call.
    """
    waiting = ["a1", "a2", "a3", "b1", "c1", "a4"]
    assert outcome(2, NEVER_SLOW_S, waiting, ["a1"]) == (["a2", "c1"], [])
    assert outcome(2, NEVER_SLOW_S, waiting, ["a1", "c1"]) == (["a2", "b1"], [])


def test_one_slow_call_gives_way_for_one_that_waits() -> None:
    """Scenario: all places are held by slow calls when another comes.

    Guarantees: one of them is refused, the oldest of the connection that has most.
    """
    assert outcome(2, ALWAYS_SLOW_S, ["a1", "b1", "c1"]) == (["b1", "c1"], ["a1"])
    assert outcome(3, ALWAYS_SLOW_S, ["b1", "a1", "a2", "c1"]) == (["a2", "b1", "c1"], ["a1"])
