"""What the demo's app leaks on purpose, where, and how to find what became of it.

Every value is invented. Each exhibit sits on a span with attribute ``demo.exhibit`` in a trace that
fails or is slow, so tail sampling keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One planted value: its place in words, the whole text that holds it, and the SQL column.

    ``after`` selects the stored text; ``secret`` is what must be found nowhere.
    """

    name: str
    place: str
    secret: str
    text: str
    after: str
    table: str = "spans"


def _attribute(key: str) -> str:
    return f"attributes['{key}']"


# in two parts, so that scanners of this repository do not take them for real
_API_KEY: Final = "sk-" + "proj-Zx81mQpT4vLw9RkNc2Yb7HsD"
_BEARER: Final = "Bearer " + "q7Xv2LmN9pRt4WzK8sJd"
_DSN: Final = "postgresql://shop:" + "pa55-tulip-Harbor" + "@db.internal/orders"

EXHIBITS: Final = (
    Exhibit(
        "prompt-email",
        "prompt",
        "nora.lindqvist@example.com",
        "Where is my order? Write to nora.lindqvist@example.com please.",
        _attribute("gen_ai.input.messages"),
    ),
    Exhibit(
        "prompt-card",
        "prompt",
        "4539 1488 0343 6467",
        "Refund my card 4539 1488 0343 6467, it was charged twice.",
        _attribute("gen_ai.input.messages"),
    ),
    Exhibit(
        "prompt-key",
        "prompt",
        _API_KEY,
        f"Why does my script fail? OPENAI_API_KEY={_API_KEY}",
        _attribute("gen_ai.input.messages"),
    ),
    Exhibit(
        "span-name",
        "span name",
        "omar.haddad@example.org",
        "send receipt to omar.haddad@example.org",
        "name",
    ),
    Exhibit(
        "event-attribute",
        "event attribute",
        "5425233430109903",
        "gateway said: card 5425233430109903 declined",
        _attribute("gateway.answer"),
        "span_events",
    ),
    Exhibit(
        "exception",
        "exception message",
        "lena.fischer@example.net",
        "no account for lena.fischer@example.net",
        "exception_message",
        "span_events",
    ),
    Exhibit(
        "stacktrace",
        "exception stack trace",
        "DE89370400440532013000",
        "transfer from DE89370400440532013000 refused",
        "exception_stacktrace",
        "span_events",
    ),
    Exhibit(
        "header",
        "request header",
        _BEARER.removeprefix("Bearer "),
        _BEARER,
        _attribute("http.request.header.authorization"),
    ),
    Exhibit(
        "identity",
        "user.email (joinable token)",
        "kofi.mensah@example.com",
        "kofi.mensah@example.com",
        _attribute("user.email"),
    ),
    Exhibit(
        "resource",
        "resource attribute",
        "pa55-tulip-Harbor",
        _DSN,
        "resource_attributes['app.dsn']",
    ),
)
BY_NAME: Final = {exhibit.name: exhibit for exhibit in EXHIBITS}
