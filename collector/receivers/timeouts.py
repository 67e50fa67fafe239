"""How long clients may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in seconds.

    ``head_s`` and ``body_s`` are for the parts of one request (a gRPC message is a body).
    ``slow_s`` is how long one may take to arrive while others wait for its place: a link of 70
    Mbit/s brings the largest in 2 s. ``idle_s`` is between HTTP requests: longer than the 30 to
    60 s at which exporters send, so that they do not write to a connection that is just being
    closed. ``ping_s`` is the least time between a gRPC client's pings: Go and Java ping every
    10 s, less a second for jitter.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    slow_s: float = 2.0
    idle_s: float = 90.0
    ping_s: float = 9.0
