"""One measured run: a receiver, a profile, a mode."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tests.bench.evidence import Counters, Rows, await_settled, lake_rows
from tests.bench.load import Job, Load
from tests.bench.payloads import build_templates
from tests.bench.proc import cpu_seconds, peak_rss_bytes
from tests.bench.receivers import ReceiverFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.payloads import Profile
    from tests.bench.receivers import Receiver

Mode = Literal["closed", "open"]

BATCH_SPANS: Final[dict[Mode, int]] = {"closed": 512, "open": 100}
OPEN_RATE: Final = 10_000.0
CLIENTS: Final = 4
TEMPLATES: Final = 256
SEED: Final = 20_260
_IDLE_S: Final = 1.0
_IDLE_CPU_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run; ``rows`` and ``counters`` are clearspan's only."""

    receiver: str
    profile: Profile
    mode: Mode
    load: Load
    whole_cpu_us: float
    peak_rss_mb: float
    ready_s: float
    rows: Rows | None = None
    counters: Counters | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """CPU of the whole process per span, µs, within the measured window."""
        return self.load.window_cpu_s / max(1, self.load.window_acked) * 1e6

    @property
    def core_share(self) -> float:
        """Cores busy in the measured window."""
        return self.load.window_cpu_s / max(1e-9, self.load.window_s)

    @property
    def spans_per_s(self) -> float:
        """Spans acknowledged a second in the measured window."""
        return self.load.window_acked / max(1e-9, self.load.window_s)


def prepare(directory: Path, profile: Profile, mode: Mode) -> Path:
    """Write the templates of a profile and mode once, so that all receivers get the same."""
    path = directory / f"{profile}-{mode}.templates"
    if not path.exists():
        templates = build_templates(profile, spans=BATCH_SPANS[mode], count=TEMPLATES, seed=SEED)
        path.write_bytes(pickle.dumps(templates))
    return path


def warm_up_s(seconds: float) -> float:
    """Return how long the load runs before a measured window of so many seconds."""
    return min(5.0, max(2.0, seconds / 4))


def measure(
    receiver: Receiver, profile: Profile, mode: Mode, templates: Path, seconds: float
) -> Run:
    """Load the receiver, let it finish its work, stop it and check what it kept."""
    job = Job(
        target=receiver.target,
        templates=str(templates),
        seconds=seconds,
        warm_up_s=warm_up_s(seconds),
        clients=CLIENTS,
        rate=OPEN_RATE if mode == "open" else 0.0,
        watch_pid=receiver.process.pid,
        seed=SEED,
    )
    command = [sys.executable, "-m", "tests.bench.load"]
    work = json.dumps(asdict(job)).encode()
    answer = subprocess.run(command, input=work, capture_output=True, check=False)
    if answer.returncode or receiver.process.poll() is not None:
        log = receiver.log.read_text(errors="replace")[-2000:]
        raise ReceiverFailed(f"{receiver.name}: {answer.stderr.decode()[-2000:]}\n{log}")
    load = Load(**json.loads(answer.stdout))
    counters = await_settled(receiver) if receiver.data else None
    _await_idle(receiver.process.pid)
    whole_cpu_us = cpu_seconds(receiver.process.pid) / max(1, load.acked) * 1e6
    peak = peak_rss_bytes(receiver.process.pid) / 1e6
    code = receiver.stop()
    rows = lake_rows(receiver.data) if receiver.data else None
    return Run(
        receiver.name,
        profile,
        mode,
        load,
        whole_cpu_us,
        peak,
        receiver.ready_s,
        rows,
        counters,
        [*_check(load, rows, counters, code), *_log_errors(receiver)],
    )


def _check(load: Load, rows: Rows | None, counters: Counters | None, code: int) -> list[str]:
    problems = []
    if not load.window_acked:
        problems.append("nothing was acknowledged in the measured window")
    if rows is None or counters is None:
        return problems
    unknown = sum(load.failed.values())  # an error after the fsync may still have been stored
    if not load.acked <= rows.rows <= load.acked + unknown:
        problems.append(f"sent {load.acked:,} but stored {rows.rows:,}")
    if rows.rows != rows.distinct:
        problems.append(f"{rows.rows - rows.distinct:,} spans stored twice")
    if not counters.balanced:
        problems.append(f"counters do not add up: {counters}")
    if code:
        problems.append(f"exit code {code} after SIGTERM")
    return problems


def _log_errors(receiver: Receiver) -> list[str]:
    """Return the first error a receiver logged: a processor that fails does no work."""
    lines = receiver.log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "ERROR" in line or '"level": "error"' in line]
    return [f"{len(errors)} errors logged, the first: {errors[0][:300]}"] if errors else []


def _await_idle(pid: int) -> None:
    """Wait until the process has done its work: some receivers acknowledge before it."""
    before = cpu_seconds(pid)
    while True:
        time.sleep(_IDLE_S)
        now = cpu_seconds(pid)
        if now - before <= _IDLE_CPU_S * 2:
            return
        before = now
