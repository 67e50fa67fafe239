"""How many connections may be open at once."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_connections() -> None:
    """Let this process open as many as the system allows it at most.

    The soft limit, often 1,024, is there for programs that use ``select``; Go programs raise it
    too (https://go.dev/issue/46279). Beyond it a new connection is closed at once.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a system that says "infinite" and takes no such number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
