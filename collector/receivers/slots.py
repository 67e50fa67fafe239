"""Places for what is being received: who is slow gives way as soon as others wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.model.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True, eq=False)
class _Call:
    """One request; ``since_s`` is when it got its place, by the loop's clock."""

    connection: str
    has_place: asyncio.Event = field(default_factory=asyncio.Event)
    since_s: float = 0.0
    patience: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    gives_way: bool = False


class Slots:
    """A bounded number of places, shared fairly by connections. For one loop.

    While all are taken, the next free place is for the connection that has the fewest, and of
    equals for the newest call: thousands that were opened and forgotten do not stand before it. A
    call that has held a place for ``slow_s`` while others wait loses it: one for each that waits,
    the longest of the connection that has most. Calls that are not slow are never interrupted, so
    that many slow senders get done one by one instead of chasing each other away.
    """

    def __init__(self, most: int, slow_s: float) -> None:
        """Start empty."""
        self._most = most
        self._slow_s = slow_s
        self._held: list[_Call] = []
        self._waiting: list[_Call] = []

    @asynccontextmanager
    async def place(self, connection: str) -> AsyncIterator[None]:
        """Wait for a place and have it inside the block.

        Raises:
            Overloaded: The place was needed for others.
        """
        call = _Call(connection)
        self._waiting.append(call)
        try:
            await self._wait(call)
            async with call.patience:
                yield
        except TimeoutError as error:
            if call.gives_way:
                raise Overloaded("others waited while the request did not arrive") from error
            raise
        finally:
            (self._held if call.has_place.is_set() else self._waiting).remove(call)
            self._hand_on()

    async def _wait(self, call: _Call) -> None:
        self._hand_on()
        while not call.has_place.is_set():
            self._make_way()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._slow_s):
                    await call.has_place.wait()

    def _hand_on(self) -> None:
        while self._waiting and len(self._held) < self._most:
            taken = Counter(call.connection for call in self._held)
            following = min(reversed(self._waiting), key=lambda call: taken[call.connection])
            self._waiting.remove(following)
            self._held.append(following)
            following.since_s = asyncio.get_running_loop().time()
            following.has_place.set()

    def _make_way(self) -> None:
        """Interrupt slow calls, at most as many as wait."""
        now_s = asyncio.get_running_loop().time()
        staying = [call for call in self._held if not call.gives_way]
        wanted = len(self._waiting) - (len(self._held) - len(staying))
        slow = [call for call in staying if now_s - call.since_s >= self._slow_s]
        taken = Counter(call.connection for call in staying)
        slow.sort(key=lambda call: (-taken[call.connection], call.since_s))
        for call in slow[: max(0, wanted)]:
            call.gives_way = True
            call.patience.reschedule(now_s)
