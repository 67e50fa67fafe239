"""Origins and headers of other pages as they are written."""

from __future__ import annotations

import pytest

from collector.model.errors import ConfigError
from config.loader import load_settings
from config.settings import CorsSettings

_CORS = "receivers.otlp.protocols.http.cors"
_NO_ORIGIN = "an origin is * or written scheme://host or scheme://host:port"


def _loaded(overrides: list[str]) -> CorsSettings:
    http = load_settings([], overrides, {}).receivers.otlp.protocols.http
    assert http is not None
    return http.cors


def test_the_documented_forms() -> None:
    """Scenario: every form, in a mixture of cases. Guarantee: as browsers write them."""
    origins = "[https://Shop.example.com, 'https://*.example.com', 'http://[::1]:3000', '*']"
    found = _loaded(
        [
            f"{_CORS}.allowed_origins={origins}",
            f"{_CORS}.allowed_headers=[X-Tenant, '*']",
            f"{_CORS}.max_age=2h",
        ]
    )
    assert found.allowed_origins == (
        "https://shop.example.com",
        "https://*.example.com",
        "http://[::1]:3000",
        "*",
    )
    assert found.allowed_headers == ("x-tenant", "*")
    assert found.max_age == 7200.0


def test_it_is_off_by_default() -> None:
    """Scenario: nothing said. Guarantee: no origin, no header, no time."""
    assert _loaded([]) == CorsSettings(allowed_origins=(), allowed_headers=(), max_age=0)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        *(
            ("allowed_origins", text, _NO_ORIGIN)
            for text in (
                "",
                "shop.example.com",
                "*.example.com",
                "https://",
                "https://shop.example.com/",
                "https://shop.example.com/checkout",
                "https://shop.example.com?a",
                "https://shop.example.com#a",
                "https://user@shop.example.com",
                "https://shop.example.com:",
                "https://shop.example.com:http",
                "https://shop.example.com:65536",
                "https://*.example.com:*",
                "https://müller.example",
                "https://\u212a.example",
                " https://shop.example.com",
                "https://shop.example.com, https://example.org",
            )
        ),
        ("allowed_origins", "null", "null cannot be allowed"),
        ("allowed_origins", "http://shop.example.com:80", "the scheme's own port is left out"),
        ("allowed_origins", "https://shop.example.com:443", "the scheme's own port is left out"),
        ("allowed_headers", "", "a header is * or a name alone"),
        ("allowed_headers", "X-Tenant: 5", "a header is * or a name alone"),
        ("allowed_headers", "x-*", "a header is * or a name alone"),
        ("allowed_headers", "x-ä", "a header is * or a name alone"),
    ],
)
def test_what_is_none(option: str, text: str, message: str) -> None:
    """Scenario: near misses behind a good one. Guarantee: one line with the place and remedy."""
    good = {"allowed_origins": "http://a", "allowed_headers": "a"}[option]
    with pytest.raises(ConfigError) as caught:
        load_settings([], [f"{_CORS}.{option}=[{good}, '{text}']"], {})
    [line] = str(caught.value).splitlines()
    assert f"{_CORS}.{option}[1]: {message}" in line
