"""``clearspan doctor``: is everything here that a sidecar needs, and is one running?"""

from __future__ import annotations

import http.client
import os
import platform
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from collector.cli.self_test import redaction_self_test
from collector.logs import configure_logging
from collector.model.errors import ClearspanError, ConfigError
from config.loader import load_settings
from config.rendering import format_size
from config.rules import PROCESSORS, endpoints, unused_sections
from config.settings import LogsSettings
from config.tree import dotted
from config.types import split_endpoint
from processors.registry import load_custom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from config.settings import ClearspanSettings

_LIBRARIES: Final = (
    "duckdb",
    "genai-prices",
    "grpcio",
    "hyperscan",
    "presidio-analyzer",
    "pyarrow",
)
_HEALTH_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: ``fail`` keeps a sidecar from working, ``warn`` may be meant."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str


def examine(files: Sequence[Path], overrides: Sequence[str]) -> bool:
    """Print every check as it is made; return whether none failed."""
    healthy = True
    for check in _checks(files, overrides):
        sys.stdout.write(f"{check.status:<5} {check.name:<15} {check.detail}\n")
        sys.stdout.flush()
        healthy = healthy and check.status != "fail"
    return healthy


def _checks(files: Sequence[Path], overrides: Sequence[str]) -> Iterator[Check]:
    configure_logging(LogsSettings(level="error"))
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    own = f"clearspan {version('clearspan')}, Python {platform.python_version()}"
    yield Check("versions", "ok", f"{own}, {libraries}")
    try:
        settings = load_settings(files, overrides, os.environ)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Check("configuration", "fail", line)
        return
    names = ", ".join(map(str, files)) or "none given, all at its default"
    yield Check("configuration", "ok", names)
    for name in unused_sections(settings):
        yield Check("configuration", "warn", f"processors.{name} is not in the traces pipeline")
    running = _health(settings)
    yield running
    yield from _ports(settings, in_use_is_fine=running.detail.startswith("running"))
    yield from _data_directory(settings)
    yield from _custom_processors(settings)
    yield _redaction(settings)


def _health(settings: ClearspanSettings) -> Check:
    endpoint = settings.extensions.health_check.endpoint
    connection = http.client.HTTPConnection(*_reachable(endpoint), timeout=_HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return Check("sidecar", "ok", f"not running (nothing at {endpoint})")
    except (OSError, http.client.HTTPException) as error:
        return Check("sidecar", "fail", f"no answer from {endpoint}: {type(error).__name__}")
    finally:
        connection.close()
    if status == http.HTTPStatus.OK:
        return Check("sidecar", "ok", f"running and ready at {endpoint}")
    return Check("sidecar", "fail", f"running at {endpoint} but not ready (HTTP {status})")


def _reachable(endpoint: str) -> tuple[str, int]:
    """Return host and port to connect to for an endpoint that may mean every address."""
    host, port = split_endpoint(endpoint)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - a comparison


def _ports(settings: ClearspanSettings, *, in_use_is_fine: bool) -> Iterator[Check]:
    for path, endpoint in endpoints(settings):
        where = f"{endpoint} ({dotted(path)})"
        try:
            _bind(*split_endpoint(endpoint))
        except OSError as error:
            if in_use_is_fine:
                yield Check("port", "ok", f"{where} in use, by the sidecar as it seems")
            else:
                yield Check("port", "fail", f"{where} cannot be had: {error.strerror}")
        else:
            yield Check("port", "ok", f"{where} is free")


def _bind(host: str, port: int) -> None:
    family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _data_directory(settings: ClearspanSettings) -> Iterator[Check]:
    lake = settings.exporters.lake
    path = Path(lake.path).absolute()
    existing = next(one for one in (path, *path.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Check("data directory", "fail", f"{existing} is not writable: {error.strerror}")
        return
    free = shutil.disk_usage(existing).free
    signals = 2  # spans and log records, each with a journal and a lake
    wanted = signals * (lake.journal.max_bytes + lake.retention.max_bytes)
    made = "" if existing == path else " (will be made)"
    detail = f"{path}{made}, {free / 2**30:.1f} GiB free"
    if free < wanted:
        limits = f"journal and retention may take {format_size(wanted)}"
        yield Check("data directory", "warn", f"{detail}; {limits}")
    else:
        yield Check("data directory", "ok", detail)


def _custom_processors(settings: ClearspanSettings) -> Iterator[Check]:
    pipelines = settings.service.pipelines
    for name in dict.fromkeys((*pipelines.traces.processors, *pipelines.logs.processors)):
        if name in PROCESSORS:
            continue
        try:
            load_custom(name, settings.processors.custom_options(name))
        except ConfigError as error:
            # its text may quote the options, so of the cause only the kind is shown
            cause = type(error.__cause__ or error).__name__
            yield Check("processor", "fail", f"{name} cannot be made: {cause}")
        else:
            yield Check("processor", "ok", name)


def _redaction(settings: ClearspanSettings) -> Check:
    try:
        result = redaction_self_test(settings.processors)
    except ClearspanError as error:
        return Check("redaction", "fail", f"cannot run: {error}")
    if result.missed:
        return Check("redaction", "fail", f"missed planted {', '.join(result.missed)}")
    found = ", ".join(result.found) or "no entity it has a sample of"
    return Check("redaction", "ok", f"found planted {found} ({result.seconds:.1f} s with start-up)")
