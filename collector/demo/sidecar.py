"""Starts the real sidecar as a child process for the demo, and always takes it down again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from collector.model.errors import StartupError
from collector.model.telemetry import PENDING_SPANS, RECEIVED_SPANS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND: Final = (sys.executable, "-m", "collector.cli")
CONFIG: Final = """\
processors:
  redaction:
    hmac_key: ${env:CLEARSPAN_DEMO_KEY}
  tail_sampling:
    decision_wait: 2s
    policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      - {name: slow, type: latency, latency: {threshold_ms: 1000}}
      - {name: expensive, type: cost, cost: {min_usd: 0.03}}
      - {name: a quarter, type: probabilistic, probabilistic: {sampling_percentage: 25}}
service:
  pipelines:
    traces:
      processors: [redaction, cost, tail_sampling]
"""
START_TIMEOUT_S: Final = 30.0
SETTLE_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 15.0
_POLL_S: Final = 0.05
_HTTP_OK: Final = 200
_LOG_TAIL: Final = 1500


@dataclass(frozen=True, slots=True)
class DemoSidecar:
    """A running sidecar: where it listens (host:port each), its data, its log and its config."""

    process: subprocess.Popen[bytes]
    grpc: str
    http: str
    metrics: str
    health: str
    root: Path
    ready_s: float

    @property
    def data(self) -> Path:
        """Return the directory of journal and lake."""
        return self.root / "data"

    @property
    def log(self) -> str:
        """Return what it logged so far."""
        return (self.root / "sidecar.log").read_text(errors="replace")

    def scrape(self) -> str:
        """Return the text of ``/metrics``; raises StartupError when it is gone."""
        try:
            url = f"http://{self.metrics}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read()).decode()
        except OSError as error:
            raise StartupError(self.trouble("does not answer /metrics")) from error

    def await_settled(self, spans: int) -> str:
        """Wait until it has received ``spans`` and decided and stored all of them.

        Returns the scrape that says so. Raises StartupError after SETTLE_TIMEOUT_S.
        """
        give_up = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < give_up:
            text = self.scrape()
            sums = sum_metrics(text)
            if sums.get(RECEIVED_SPANS.name, 0) >= spans and not sums.get(PENDING_SPANS.name, 0):
                return text
            time.sleep(_POLL_S)
        raise StartupError(self.trouble("still has spans pending"))

    def trouble(self, what: str) -> str:
        """Return one message: what is wrong, and the end of the log."""
        return f"the sidecar {what}; the end of its log:\n{self.log[-_LOG_TAIL:]}"


@contextlib.contextmanager
def run_sidecar(root: Path) -> Iterator[DemoSidecar]:
    """Run `clearspan run` with the demo's config on free ports until the block ends.

    Raises StartupError when it does not become ready. Whatever happens, the child is ended and
    waited for.
    """
    config = root / "clearspan.yaml"
    config.write_text(CONFIG)
    grpc, http, metrics, health = _free_endpoints(4)
    places = (
        f"receivers.otlp.protocols.grpc.endpoint={grpc}",
        f"receivers.otlp.protocols.http.endpoint={http}",
        f"exporters.prometheus.endpoint={metrics}",
        f"extensions.health_check.endpoint={health}",
        f"exporters.lake.path={root / 'data'}",
    )
    command = [*COMMAND, "run", "--config", str(config)]
    for place in places:
        command += ["--set", place]
    environment = os.environ | {"CLEARSPAN_DEMO_KEY": secrets.token_hex(32)}
    started = time.monotonic()
    with (root / "sidecar.log").open("wb") as log:
        # its own session: Ctrl-C in a terminal reaches this process only, which then ends it
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        sidecar = DemoSidecar(process, grpc, http, metrics, health, root, 0.0)
        _await_ready(sidecar, started)
        ready_s = time.monotonic() - started
        yield DemoSidecar(process, grpc, http, metrics, health, root, ready_s)
    finally:
        _end(process)


def sum_metrics(scrape: str) -> dict[str, float]:
    """Return every sample name with the sum over its labels."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(scrape):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


def _await_ready(sidecar: DemoSidecar, started: float) -> None:
    while not _answers_ok(f"http://{sidecar.health}/ready"):
        code = sidecar.process.poll()
        if code is not None:
            raise StartupError(sidecar.trouble(f"ended at start with code {code}"))
        if time.monotonic() - started > START_TIMEOUT_S:
            raise StartupError(sidecar.trouble(f"was not ready after {START_TIMEOUT_S:g} s"))
        time.sleep(_POLL_S)


def _answers_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - own port
            return int(answer.status) == _HTTP_OK
    except (urllib.error.URLError, OSError):
        return False


def _free_endpoints(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
