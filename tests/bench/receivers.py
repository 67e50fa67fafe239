"""The processes under test, each started for real: clearspan, and rotel as its peer."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROTEL: Final = "rotel==0.0.1a15"
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
_PROCESSOR: Final = Path(__file__).with_name("rotel_processor.py")


class PeerUnavailable(Exception):
    """Rotel cannot be had here; the message says why."""


class ReceiverFailed(Exception):
    """A process under test ended or never listened; the message holds the end of its log."""


@dataclass(slots=True)
class Receiver:
    """A running process under test; ``data`` and ``metrics_url`` are clearspan's only."""

    name: str
    process: subprocess.Popen[bytes]
    target: str
    log: Path
    ready_s: float
    data: Path | None = None
    metrics_url: str = ""

    def scrape(self) -> str:
        """Return the text of ``/metrics``."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:  # noqa: S310 - http
            return str(answer.read().decode())

    def stop(self) -> int:
        """Send SIGTERM, wait for the drain and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


@contextlib.contextmanager
def run_clearspan(directory: Path, options: tuple[str, ...] = ()) -> Iterator[Receiver]:
    """Run ``clearspan run`` on free ports with its data in ``directory``; defaults otherwise."""
    grpc, http, metrics, health = free_endpoints(4)
    data = directory / "data"
    places = (
        f"receivers.otlp.protocols.grpc.endpoint={grpc}",
        f"receivers.otlp.protocols.http.endpoint={http}",
        f"exporters.prometheus.endpoint={metrics}",
        f"extensions.health_check.endpoint={health}",
        f"exporters.lake.path={data}",
    )
    command = [sys.executable, "-m", "collector.cli", "run"]
    for place in (*places, *options):
        command += ["--set", place]
    with _process("clearspan", command, directory, dict(os.environ)) as receiver:
        _await(receiver, lambda: _answers_ok(f"http://{health}/ready"))
        receiver.target, receiver.data = grpc, data
        receiver.metrics_url = f"http://{metrics}/metrics"
        yield receiver


@contextlib.contextmanager
def run_rotel(directory: Path, *, redacting: bool) -> Iterator[Receiver]:
    """Run rotel into its blackhole, with the Python patterns or without.

    Raises PeerUnavailable when there is no agent for this platform.
    """
    agent, environment = _rotel_agent()
    grpc, http = free_endpoints(2)
    command = [str(agent), "start", "--exporter", "blackhole"]
    command += ["--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http]
    if redacting:
        command += ["--otlp-with-trace-processor", str(_PROCESSOR)]
    name = "rotel + Python patterns" if redacting else "rotel, discarding"
    with _process(name, command, directory, environment) as receiver:
        _await(receiver, lambda: _accepts(grpc))
        receiver.target = grpc
        yield receiver


def free_endpoints(count: int) -> list[str]:
    """Return ``count`` distinct endpoints of this host that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


@contextlib.contextmanager
def _process(
    name: str,
    command: list[str],
    directory: Path,
    environment: dict[str, str],
) -> Iterator[Receiver]:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield Receiver(name, process, "", log, time.monotonic())
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _await(receiver: Receiver, is_ready: Callable[[], bool]) -> None:
    started = receiver.ready_s
    while not is_ready():
        if receiver.process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
            tail = receiver.log.read_text(errors="replace")[-2000:]
            raise ReceiverFailed(f"{receiver.name} did not become ready:\n{tail}")
        time.sleep(0.02)
    receiver.ready_s = time.monotonic() - started


def _answers_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _accepts(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _rotel_agent() -> tuple[Path, dict[str, str]]:
    """Return the agent, fetched once into the environment's cache, and its environment."""
    if sys.version_info[:2] != (3, 11) or platform.machine() != "x86_64":
        raise PeerUnavailable(f"{ROTEL} has a wheel for CPython 3.11 on x86_64 only")
    cache = Path(sys.prefix) / ".cache" / "rotel"
    agent = cache / "rotel" / "rotel-agent"
    if not agent.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _download(cache)
        wheel = next(cache.glob("rotel-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract("rotel/rotel-agent", cache)
        agent.chmod(0o755)
    environment = dict(os.environ)
    environment["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR") or "")
    try:
        subprocess.run([str(agent), "--version"], check=True, capture_output=True, env=environment)
    except (subprocess.CalledProcessError, OSError) as error:
        hint = "it needs libpython3.11.so.1.0 (Debian: apt install libpython3.11)"
        raise PeerUnavailable(f"rotel-agent does not start: {hint}") from error
    return agent, environment


def _download(cache: Path) -> None:
    arguments = ["download", "--quiet", "--no-deps", "--dest", str(cache), ROTEL]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    command = [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("pip") is None:
        if uv is None:
            raise PeerUnavailable("neither pip nor uv is here to fetch it with")
        command = [uv, "tool", "run", "pip"]
    try:
        subprocess.run([*command, *arguments], check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise PeerUnavailable(f"pip could not download {ROTEL}") from error
