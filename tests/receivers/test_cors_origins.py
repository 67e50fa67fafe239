"""Which origins, credentials and headers the settings of cross-origin requests allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.receivers.cors import Cors
from config.settings import CorsSettings

SHOP = "https://shop.example.com"
OTHER = "https://evil.example.org"
HEADERS = "accept, accept-language, content-language, content-encoding, content-type"
CONFIGURED = st.sampled_from(["*", SHOP, OTHER, "https://*", "https://*.example.com"])


def allowed_origin(settings: CorsSettings, origin: str) -> bytes | None:
    """Return the origin that the answer to an origin's request allows."""
    answer = dict(Cors(settings).answer({b"origin": origin.encode()}))
    return answer.get(b"access-control-allow-origin")


@pytest.mark.parametrize(
    ("configured", "origin", "is_allowed"),
    [
        (SHOP, SHOP, True),
        ("HTTPS://Shop.Example.com", SHOP, True),
        (SHOP, "https://shopXexample.com", False),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://a.example.com:8443", False),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://aXexample.com", False),
        ("https://*.example.com", "https://evil.org/.example.com", False),
        ("https://*.example.com", "https://evil.org\x80.example.com", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost.evil.org", False),
        ("http://*", "http://127.0.0.1:3000", True),
        ("http://*", "http://[::1]:3000", True),
        ("http://*", "https://127.0.0.1", False),
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("capacitor://localhost", "capacitor://localhost", True),
    ],
)
def test_what_an_origin_matches(configured: str, origin: str, is_allowed: bool) -> None:
    """Scenario: origins named in full and with a wildcard. Guarantees: as documented, no others."""
    settings = CorsSettings(allowed_origins=(configured,))
    assert allowed_origin(settings, origin) == (origin.encode() if is_allowed else None)


@pytest.mark.parametrize("origin", [OTHER, "null", "", "anything \x80"])
def test_every_origin(origin: str) -> None:
    """Scenario: `*`. Guarantees: all are allowed, and what they sent is not given back."""
    assert allowed_origin(CorsSettings(allowed_origins=("*",)), origin) == b"*"


@given(
    st.lists(CONFIGURED, min_size=1),
    st.sampled_from([SHOP, OTHER, "https://a.example.com", "null", "*"]),
)
def test_credentials_are_for_origins_named_in_full(configured: list[str], origin: str) -> None:
    """Scenario: any origins beside each other, with and without wildcards.

    Guarantees: credentials are allowed exactly where the origin is named, and with its name.
    """
    cors = Cors(CorsSettings(allowed_origins=tuple(configured)))
    for answer in (cors.answer, cors.preflight):
        found = dict(answer({b"origin": origin.encode()}))
        is_named = origin in configured and "*" not in origin
        assert found.get(b"access-control-allow-credentials") == (b"true" if is_named else None)
        if is_named:
            assert found[b"access-control-allow-origin"] == origin.encode()


@pytest.mark.parametrize(
    ("configured", "asked", "allowed"),
    [
        ((), b"content-type,authorization", HEADERS),
        (("Authorization", "x-b3"), b"content-type", f"{HEADERS}, authorization, x-b3"),
        (("*",), b"authorization,content-type", "authorization,content-type"),
        (("*",), None, f"{HEADERS}, *"),
        (("*",), b"x\x01y", f"{HEADERS}, *"),
    ],
)
def test_which_headers_are_allowed(
    configured: tuple[str, ...], asked: bytes | None, allowed: str
) -> None:
    """Scenario: headers that are configured, any, and names that are none.

    Guarantees: OTLP's and the configured ones; with `*` those asked for, which `*` itself would
    not allow all (Authorization), and nothing that an answer cannot carry.
    """
    settings = CorsSettings(allowed_origins=(SHOP,), allowed_headers=configured)
    request = {b"origin": SHOP.encode()}
    if asked is not None:
        request[b"access-control-request-headers"] = asked
    found = dict(Cors(settings).preflight(request))
    assert found[b"access-control-allow-headers"] == allowed.encode()


@pytest.mark.parametrize(
    ("max_age", "sent"), [(0, None), (600, b"600"), (90.5, b"91"), (0.5, b"1")]
)
def test_how_long_a_preflight_holds(max_age: float, sent: bytes | None) -> None:
    """Scenario: no time and times. Guarantees: no header, or whole seconds."""
    cors = Cors(CorsSettings(allowed_origins=(SHOP,), max_age=max_age))
    found = dict(cors.preflight({b"origin": SHOP.encode()}))
    assert found.get(b"access-control-max-age") == sent
