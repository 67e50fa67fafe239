"""``/live`` and ``/ready`` for probes: states of components, never anything of a payload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


def health_app(
    *, is_alive: Callable[[], bool], states: Callable[[], Mapping[str, bool]]
) -> ASGIApp:
    """Return an ASGI app that answers GET and HEAD.

    ``/live`` is 200 while ``is_alive()``; ``/ready`` and ``/`` are 200 while it is alive and every
    component in ``states()`` is ready; else 503. The body is JSON:
    ``{"status": "ready", "components": {"storage": true}}``.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # a probe has no body that matters
        if scope["path"] not in {"/", "/live", "/ready"}:
            await _answer(send, 404, {"status": "not found"})
        elif scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, {"status": "only GET and HEAD"}, allow=b"GET, HEAD")
        elif scope["path"] == "/live":
            alive = is_alive()
            await _answer(send, 200 if alive else 503, {"status": "alive" if alive else "stuck"})
        else:
            components = {"worker": is_alive(), **states()}
            ready = all(components.values())
            status = "ready" if ready else "unavailable"
            body = {"status": status, "components": components}
            await _answer(send, 200 if ready else 503, body)

    return app


async def _answer(
    send: Send, status: int, body: Mapping[str, object], allow: bytes | None = None
) -> None:
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if allow is not None:
        headers.append((b"allow", allow))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
