"""Durations, sizes and endpoints as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.rendering import format_duration, format_size
from config.types import parse_duration, parse_endpoint, parse_size, split_endpoint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1h30m", 5400.0), ("7d", 604800.0), (" 2s ", 2.0), ("1.5m", 90.0)],
)
def test_durations(text: str, seconds: float) -> None:
    """Scenario: the documented forms. Guarantee: seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "s", "5y", "1h 30m", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    """Scenario: near misses. Guarantee: refused without repeating them."""
    with pytest.raises(ValueError, match="a duration is written like"):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_a_printed_duration_reads_back(seconds: float) -> None:
    """Scenario: any duration. Guarantee: printing loses nothing a person could set."""
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12, abs=1e-12)


@given(st.integers(min_value=0, max_value=2**60))
def test_a_printed_size_reads_back(size: int) -> None:
    """Scenario: any size. Guarantee: printing loses nothing."""
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "MiB", "1 XB", "-1", "1e3", "1,5MiB"])
def test_what_is_no_size(text: str) -> None:
    """Scenario: near misses. Guarantee: refused without repeating them."""
    with pytest.raises(ValueError, match="a size is written like"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:4317", "::1", 4317),
        ("db.internal:65535", "db.internal", 65535),
    ],
)
def test_endpoints(text: str, host: str, port: int) -> None:
    """Scenario: the documented forms. Guarantee: host without brackets, and port."""
    assert parse_endpoint(text) == text
    assert split_endpoint(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":4317",
        "host:",
        "host:65536",
        "host:-1",
        "::1:4317",
        "[]:1",
        "http://host:1",
        "h:٣",
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    """Scenario: near misses. Guarantee: refused without repeating them."""
    with pytest.raises(ValueError, match="an endpoint is written host:port"):
        parse_endpoint(text)
