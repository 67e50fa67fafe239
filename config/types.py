"""Value types that config files use: durations, byte sizes, endpoints, module:Class references."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PORT: Final = re.compile(r"[0-9]{1,5}")
LAST_PORT: Final = 65535
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?B|B)?")
_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_duration(value: object) -> object:
    """Return seconds for ``500ms``, ``30s``, ``1h30m`` or ``7d``; a plain number is seconds."""
    if isinstance(value, str):
        text = value.strip()
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError("a duration is written like 500ms, 30s, 5m, 1h30m or 7d")
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return value


def parse_size(value: object) -> object:
    """Return bytes for ``64MiB``, ``1GB`` or ``512``; a plain number is bytes."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError("a size is written like 512KiB, 64MiB, 1GB or a number of bytes")
        return int(float(match[1]) * _BYTES[match[2] or "B"])
    return value


def parse_endpoint(value: object) -> object:
    """Check ``host:port`` (IPv6 hosts in brackets); port 0 lets the system choose."""
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        plausible = (
            bare and "/" not in bare and not bare.isspace() and (bare != host or ":" not in host)
        )
        if not plausible or _PORT.fullmatch(port) is None or int(port) > LAST_PORT:
            raise ValueError("an endpoint is written host:port, like 127.0.0.1:4317 or [::1]:4317")
    return value


def parse_column(value: object) -> object:
    """Check the name of a column: one that every engine takes, however it treats case."""
    if isinstance(value, str) and _COLUMN.fullmatch(value) is None:
        raise ValueError(
            "a column is a lower-case letter, then at most 62 of lower-case letters, digits and _"
        )
    return value


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
ByteSize = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Endpoint = Annotated[str, BeforeValidator(parse_endpoint)]
Percentage = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Return host (without brackets) and port of a checked endpoint."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)
