"""Settings of cross-origin requests: which pages of other origins may send."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from config.base import Settings
from config.types import LAST_PORT, Duration

ANY: Final = "*"
# RFC 6454, 6.2 with wildcards; the host in the letters that browsers send, IPv6 in brackets
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z*][a-z0-9+.*-]*)://"
    r"(?:[a-z0-9._*-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}|\*))?"
)
_DEFAULT_PORTS: Final = frozenset({("http", "80"), ("https", "443")})
# RFC 9110, 5.6.2
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse_origin(value: object) -> object:
    """Check ``*`` or ``scheme://host[:port]`` with at most one ``*``; return it in lower case."""
    if not isinstance(value, str) or value == ANY:
        return value
    if value == "null":
        raise ValueError("null cannot be allowed: frames and files of any site have that origin")
    # without isascii() lower() would make a K of the sign for kelvin
    match = _ORIGIN.fullmatch(value.lower()) if value.isascii() else None
    if match is None or value.count(ANY) > 1 or not _is_port(match["port"]):
        raise ValueError(
            "an origin is * or written scheme://host or scheme://host:port with nothing behind it, "
            "like https://shop.example.com, with at most one * in it; other letters as xn--"
        )
    if match.group("scheme", "port") in _DEFAULT_PORTS:
        raise ValueError("the scheme's own port is left out of an origin: browsers never send it")
    return value.lower()


def parse_header_name(value: object) -> object:
    """Check the name of a header, or ``*``; return it in lower case."""
    if not isinstance(value, str):
        return value
    if _TOKEN.fullmatch(value) is None or (ANY in value and value != ANY):
        raise ValueError("a header is * or a name alone, like X-Request-Id")
    return value.lower()


class CorsSettings(Settings):
    """Lets pages of other origins send (CORS), as their browsers ask in a preflight.

    Preflights of allowed origins get 204, others 403. Credentials (cookies) are allowed to origins
    named in full, never to those that a `*` lets in: clearspan reads none, but a proxy before it
    may, and `sendBeacon`, with which older exporters of JavaScript send that are given no
    `headers`, always brings them.
    """

    allowed_origins: tuple[Annotated[str, BeforeValidator(parse_origin)], ...] = Field(
        (),
        description="Origins whose pages may send, like `https://shop.example.com`. A `*` stands "
        "for any characters in it, dots too (`https://*.example.com`, `http://localhost:*`), alone "
        "for every origin. With none CORS is off.",
    )
    allowed_headers: tuple[Annotated[str, BeforeValidator(parse_header_name)], ...] = Field(
        (),
        description="Headers that exporters may send besides those that OTLP needs and browsers "
        "always send; `*` for any.",
    )
    max_age: Duration = Field(
        0.0,
        description="How long browsers may remember the answer to a preflight, in whole seconds; "
        "0 leaves that to them (5 s).",
    )


def _is_port(port: str | None) -> bool:
    return port is None or port == ANY or int(port) <= LAST_PORT
