"""Ports for what tests start, held so that nobody else is given them."""

from __future__ import annotations

import socket


def hold_port() -> socket.socket:
    """Return a socket that holds a free port of this host until it is closed.

    No other test and no client that connects is given the port, whether its server is up, killed
    or not yet started. A server that sets `SO_REUSEADDR`, as all of them do, can listen on it.
    """
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    # After the bind, which with this option would share a port that is already held.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held
