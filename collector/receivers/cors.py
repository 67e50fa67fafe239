"""Cross-origin requests (CORS): which pages may send, and what browsers are told about it.

https://fetch.spec.whatwg.org/#http-cors-protocol. Starlette's CORSMiddleware cannot answer 204,
leave ``Access-Control-Max-Age`` out or allow credentials to some origins only, answers on paths
that do not exist, and the connection's own errors (408, 431) never pass it.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Final

from config.cors import ANY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from config.cors import CorsSettings

    Headers = list[tuple[bytes, bytes]]

_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
# sendBeacon is let through only with this and the origin by name (opentelemetry-js#3062)
_WITH_CREDENTIALS: Final = (b"access-control-allow-credentials", b"true")
# opentelemetry-js waits as long as a 429 or 503 says, if the page may read that
_EXPOSE: Final = (b"access-control-expose-headers", b"retry-after")
_ALLOW_METHODS: Final = (b"access-control-allow-methods", b"POST")
_VARY: Final = (b"vary", b"origin")
_VARY_PREFLIGHT: Final = (
    b"vary",
    b"origin, access-control-request-method, access-control-request-headers",
)
# The first three need no leave (Fetch, 2.2.2) but for long or unusual values.
_HEADERS: Final = "accept, accept-language, content-language, content-encoding, content-type"
# Only what an answer may carry is given back.
_HEADER_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, -]+")
# What a wildcard stands for: any part of host and port, as in the Collector.
_ANY_PART: Final = r"[a-z0-9._:\[\]-]*"
_NOT_ALLOWED: Final = b"the origin is not in receivers.otlp.protocols.http.cors.allowed_origins"


class Cors:
    """What is said to a request of which origin."""

    def __init__(self, settings: CorsSettings) -> None:
        """Say what the settings allow."""
        origins = settings.allowed_origins
        self._named = frozenset(origin.encode() for origin in origins if ANY not in origin)
        self._is_any_allowed = ANY in origins
        self._patterns = [_pattern(origin) for origin in origins if ANY in origin]
        self._is_any_header_allowed = ANY in settings.allowed_headers
        self._headers = ", ".join([_HEADERS, *settings.allowed_headers]).encode()
        self._max_age: Headers = []
        if settings.max_age:
            self._max_age = [(b"access-control-max-age", str(ceil(settings.max_age)).encode())]

    def answer(self, request: Mapping[bytes, bytes]) -> Headers:
        """Return what every answer to a request with these headers carries, errors as well."""
        allowed = self._allowed(request)
        return [*allowed, _EXPOSE, _VARY] if allowed else [_VARY]

    def preflight(self, request: Mapping[bytes, bytes]) -> Headers:
        """Return the headers that allow what a preflight asks for; empty if its origin may not.

        The browser compares them with what it wants to send: methods and headers that are not
        allowed are no error here.
        """
        allowed = self._allowed(request)
        if not allowed:
            return []
        headers = self._headers
        asked = request.get(b"access-control-request-headers", b"")
        if self._is_any_header_allowed and _HEADER_NAMES.fullmatch(asked):
            headers = asked  # `*` itself would not do for Authorization, nor with credentials
        return [
            *allowed,
            _ALLOW_METHODS,
            (b"access-control-allow-headers", headers),
            *self._max_age,
        ]

    def _allowed(self, request: Mapping[bytes, bytes]) -> Headers:
        origin = request.get(b"origin")
        if origin is None:
            return []
        if origin in self._named:
            return [(_ALLOW_ORIGIN, origin), _WITH_CREDENTIALS]
        if self._is_any_allowed:
            return [(_ALLOW_ORIGIN, b"*")]
        if any(pattern.fullmatch(origin) for pattern in self._patterns):
            return [(_ALLOW_ORIGIN, origin)]
        return []


class CorsApp:
    """An ASGI app around another: answers preflights, adds to the other's answers."""

    def __init__(
        self, app: ASGIApp, cors: Cors, paths: Collection[str], on_refused: Callable[[str], None]
    ) -> None:
        """Answer preflights for ``paths``; ``on_refused`` is told why one was not allowed."""
        self._app = app
        self._cors = cors
        self._paths = frozenset(paths)
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        if self._is_preflight(scope, headers):
            await self._answer_preflight(headers, send)
            return
        more = self._cors.answer(headers)

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, send_more)

    def _is_preflight(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        return (
            scope["method"] == "OPTIONS"
            and scope["path"] in self._paths
            and b"origin" in headers
            and b"access-control-request-method" in headers
            and b"expect" not in headers  # no browser's; the app closes such a connection
        )

    async def _answer_preflight(self, headers: Mapping[bytes, bytes], send: Send) -> None:
        told = [*self._cors.preflight(headers), _VARY_PREFLIGHT]
        if len(told) > 1:
            status, body = 204, b""  # which has no length (RFC 9110, 8.6)
        else:
            self._on_refused("origin")
            status, body = 403, _NOT_ALLOWED
            length = str(len(body)).encode()
            told += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body})


def _pattern(origin: str) -> re.Pattern[bytes]:
    return re.compile(_ANY_PART.join(map(re.escape, origin.split(ANY))).encode())
