"""A real `clearspan run` in a process of its own, for tests: start, ask, stop, kill, start again.

Everything it writes is under one directory: ``data``, ``logs`` (one stdout and stderr a start) and
its ``home``. The ports stay the same over restarts, as a sidecar's do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.ports import hold_port

if TYPE_CHECKING:
    from types import TracebackType

COMMAND = Path(sys.executable).with_name("clearspan")
# Limits are met only by what hangs: a busy machine takes ten times as long as a quiet one.
START_LIMIT_S = 120
STOP_LIMIT_S = 60
COMMAND_LIMIT_S = 240
QUERY_LIMIT_S = 120
HTTP_OK = 200
_POLL_S = 0.02


class Sidecar:
    """One sidecar and its directory; a context manager that leaves no process behind."""

    def __init__(
        self,
        root: Path,
        *overrides: str,
        data_dir: Path | None = None,
        cache_dir: Path | None = None,
        python_path: Path | None = None,
    ) -> None:
        """Choose free ports and lay out ``root``; nothing is started.

        ``overrides`` are `--set` arguments; ``python_path`` is where user processors are found.
        """
        self.root = root
        self.data_dir = data_dir or root / "data"
        self.logs = root / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._held = [hold_port() for _ in range(4)]
        grpc, http, metrics, health = (each.getsockname()[1] for each in self._held)
        self.grpc_endpoint = f"127.0.0.1:{grpc}"
        self.http_endpoint = f"127.0.0.1:{http}"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        self._overrides = (
            f"receivers.otlp.protocols.grpc.endpoint={self.grpc_endpoint}",
            f"receivers.otlp.protocols.http.endpoint={self.http_endpoint}",
            f"exporters.prometheus.endpoint=127.0.0.1:{metrics}",
            f"extensions.health_check.endpoint=127.0.0.1:{health}",
            f"exporters.lake.path={self.data_dir}",
            *overrides,
        )
        self._environment = os.environ | {
            "HOME": str(root / "home"),
            "XDG_CACHE_HOME": str(cache_dir or root / "cache"),
            "PYTHONPATH": str(python_path or ""),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._copiers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start and wait until it is ready."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs and give the ports back."""
        if self._process is not None and self._process.poll() is None:
            self.sigkill()
        for each in self._held:
            each.close()

    @property
    def pid(self) -> int:
        """Return the id of the running process."""
        return self._running().pid

    @property
    def log(self) -> str:
        """Return everything logged so far, over all starts."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self.logs.glob("*.stderr"))
        )

    def start(self, *, await_ready: bool = True) -> None:
        """Start the process; unless told otherwise, return when `/ready` says so."""
        self._starts += 1
        arguments = [part for item in self._overrides for part in ("--set", item)]
        self._process = subprocess.Popen(
            [str(COMMAND), "run", *arguments],
            cwd=self.root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # Copied by threads, so that a limit on the process's file sizes does not hit its logs.
        for stream, name in (
            (self._process.stdout, "stdout"),
            (self._process.stderr, "stderr"),
        ):
            path = self.logs / f"{self._starts:03}.{name}"
            copier = threading.Thread(target=_copy, args=(stream, path), daemon=True)
            copier.start()
            self._copiers.append(copier)
        if await_ready:
            self.await_ready()

    def await_ready(self) -> None:
        """Return when `/ready` answers 200; fail when the process ends or takes too long."""
        limit = time.monotonic() + START_LIMIT_S
        while self.health("/ready") != HTTP_OK:
            if self._running().poll() is not None:
                raise AssertionError(f"it ended at start\n{self.log[-4000:]}")
            if time.monotonic() > limit:
                raise AssertionError(f"not ready in {START_LIMIT_S} s\n{self.log[-4000:]}")
            time.sleep(_POLL_S)

    def await_log(self, text: str, limit_s: float = START_LIMIT_S) -> None:
        """Return when the log of any start holds the text."""
        limit = time.monotonic() + limit_s
        while text not in self.log:
            if time.monotonic() > limit:
                raise AssertionError(f"no {text!r} in the log\n{self.log[-4000:]}")
            time.sleep(_POLL_S)

    def health(self, path: str) -> int:
        """Return the status of `/live` or `/ready`, 0 when nobody answers."""
        try:
            with urllib.request.urlopen(self.health_url + path, timeout=5) as reply:  # noqa: S310
                status: int = reply.status
                return status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def scrape(self, accept: str = "text/plain") -> str:
        """Return the body of `/metrics`."""
        request = urllib.request.Request(self.metrics_url, headers={"Accept": accept})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            body: bytes = reply.read()
        return body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, 0 when there is none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def command(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another verb with this sidecar's configuration, in a process of its own."""
        options = [part for item in self._overrides for part in ("--set", item)]
        return subprocess.run(
            [str(COMMAND), verb, *options, *arguments],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT_S,
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return the rows that `clearspan query`, in a process of its own, answers with."""
        done = subprocess.run(
            [str(COMMAND), "query", "--data", str(self.data_dir), "--format", "json", sql],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=QUERY_LIMIT_S,
        )
        if done.returncode:
            raise AssertionError(f"query failed with {done.returncode}: {done.stderr[-2000:]}")
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def query_until(self, sql: str, *, rows: int, limit_s: float = 60) -> list[dict[str, Any]]:
        """Ask again until there are at least that many rows; return the last answer."""
        limit = time.monotonic() + limit_s
        while len(found := self.query(sql)) < rows and time.monotonic() < limit:
            time.sleep(_POLL_S)
        return found

    def sigkill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self._running().kill()
        self._running().wait(STOP_LIMIT_S)

    def sigterm(self) -> int:
        """Ask it to end, wait, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    def wait(self, limit_s: float = STOP_LIMIT_S) -> int:
        """Wait for its end and return the exit code."""
        code = self._running().wait(limit_s)
        for copier in self._copiers:
            copier.join(limit_s)
        return code

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("not started")
        return self._process


def _copy(stream: IO[bytes] | None, path: Path) -> None:
    if stream is None:
        raise AssertionError("the process has no such stream")
    with path.open("wb", buffering=0) as target, stream:
        for line in stream:
            target.write(line)
