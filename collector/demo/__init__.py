"""`clearspan demo`: a real app, a real sidecar, and what came of the app's spans."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from collector.demo.sidecar import run_sidecar
from collector.demo.story import Story
from collector.model.errors import ClearspanError, StartupError
from storage.sql import connect

if TYPE_CHECKING:
    from types import FrameType

    from collector.demo.sidecar import DemoSidecar

_APP_TIMEOUT_S: Final = 40.0
_PLAIN_WIDTH: Final = 120
_INTERRUPTED: Final = 130  # what a shell says of Ctrl-C
_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc")


def run_demo(keep: bool) -> int:
    """Run the demo and return the exit code; with ``keep``, wait for Ctrl-C or SIGTERM at the end.

    0: shown, and no planted value was found. 1: something failed, said in one message. 2: the
    OpenTelemetry SDK (extra ``demo``) is not installed. 130: interrupted before the end. No
    process and no file is left behind.
    """
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else _PLAIN_WIDTH, highlight=False)
    if not all(map(_is_installed, _NEEDED)):
        console.print("The demo's app needs the OpenTelemetry SDK:", markup=False)
        console.print("  pip install 'clearspan[demo]'", markup=False)
        return 2
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="clearspan-demo-") as root:
            return _run(console, Path(root), keep=keep)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ClearspanError as error:
        console.print(f"The demo failed: {error}", markup=False, soft_wrap=True)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(console: Console, root: Path, *, keep: bool) -> int:
    started = time.monotonic()
    with run_sidecar(root) as sidecar:
        console.print(
            f"clearspan is ready after {sidecar.ready_s:.1f} s: OTLP/gRPC {sidecar.grpc}, "
            f"OTLP/HTTP {sidecar.http}, metrics {sidecar.metrics}, health {sidecar.health}",
            soft_wrap=True,
        )
        sent = _run_app(sidecar)
        console.print(
            f"a shop's app sent {sent['traces']} traces, {sent['spans']:,} spans; waiting for "
            "tail sampling (decision_wait: 2s) ...",
            soft_wrap=True,
        )
        scrape = sidecar.await_settled(sent["spans"])
        with connect(sidecar.data) as lake:
            story = Story(console, sidecar, lake, scrape)
            story.tell()
        console.print(f"\ndone in {time.monotonic() - started:.0f} s")
        if story.leaks:
            raise StartupError(f"{story.leaks} planted values were found: redaction failed")
        if story.unsearched:
            raise StartupError(f"{story.unsearched} files could not be searched to their end")
        if keep:
            _wait(console, sidecar)
    return 0


def _run_app(sidecar: DemoSidecar) -> dict[str, int]:
    """Run the instrumented app to its end; return how many traces and spans it says it sent."""
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{sidecar.grpc}",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    try:
        app = subprocess.run(
            [sys.executable, "-m", "collector.demo.app"],
            env=environment,
            capture_output=True,
            timeout=_APP_TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise StartupError(sidecar.trouble("let the demo's app wait too long")) from error
    except subprocess.CalledProcessError as error:
        # its stderr names what the exporter met; this app's spans hold invented values only
        tail = error.stderr.decode(errors="replace")[-1000:]
        raise StartupError(f"the demo's app ended with {error.returncode}:\n{tail}") from error
    counts: dict[str, int] = json.loads(app.stdout)
    return counts


def _wait(console: Console, sidecar: DemoSidecar) -> None:
    for name, value in (
        ("OTLP/gRPC", sidecar.grpc),
        ("OTLP/HTTP", sidecar.http),
        ("metrics", f"http://{sidecar.metrics}/metrics"),
        ("health", f"http://{sidecar.health}/ready"),
        ("data", str(sidecar.data)),
        ("config", str(sidecar.root / "clearspan.yaml")),
    ):
        console.print(f"  {name:<9} {value}", markup=False, soft_wrap=True)
    console.print("it runs until Ctrl-C (or SIGTERM); then it and its data are removed")
    try:
        code = sidecar.process.wait()
    except KeyboardInterrupt:
        return
    raise StartupError(sidecar.trouble(f"ended with code {code}"))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
