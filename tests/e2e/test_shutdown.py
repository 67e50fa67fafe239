"""SIGTERM finishes what was received; a second one does not wait."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.otlp_client import NUMBERED_SQL, GrpcClient, Load, numbered_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

ACKED_BEFORE_THE_SIGNAL = 500
_SYS_TGKILL = {"x86_64": 234, "aarch64": 131}


def test_sigterm_under_load_drains_and_exits_with_0(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: SIGTERM while clients send; their spans wait for a flush that is far away.

    Guarantees: exit 0; every acked span is in the lake and none twice; nothing left to replay.
    """
    running = sidecar("exporters.lake.flush_interval=1h", "service.shutdown_grace=20s")
    with Load(running.grpc_endpoint) as load:
        load.await_that(lambda ledger: len(ledger.acked) >= ACKED_BEFORE_THE_SIGNAL)
        assert running.sigterm() == 0, running.log[-4000:]
    verdict = load.ledger.compare(running.query(NUMBERED_SQL))
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
    assert verdict.acked >= ACKED_BEFORE_THE_SIGNAL
    running.start()
    assert running.metric("clearspan_spans_replayed_total") == 0


def test_spans_waiting_for_a_sampling_decision_survive_restarts(
    sidecar: Callable[..., Sidecar],
) -> None:
    """Scenario: traces held back by tail sampling meet SIGKILL, then SIGTERM, then their decision.

    Guarantees: they stay in the journal until decided, over any end, and are then stored once.
    """
    options = (
        "service.pipelines.traces.processors=[redaction, tail_sampling]",
        "processors.tail_sampling.policies=[{name: all, type: always_sample}]",
        "exporters.lake.flush_interval=100ms",
    )
    patient = sidecar(*options, "processors.tail_sampling.decision_wait=1h")
    with GrpcClient(patient.grpc_endpoint) as client:
        assert client.export(numbered_spans("pending", 0, 40)).ok
    patient.sigkill()
    patient.start()
    assert patient.metric("clearspan_spans_replayed_total") == 40
    assert patient.metric("clearspan_spans_pending") == 40
    assert patient.sigterm() == 0, patient.log[-4000:]
    assert patient.query(NUMBERED_SQL) == []
    decided = sidecar(*options, "processors.tail_sampling.decision_wait=100ms")
    rows = decided.query_until(NUMBERED_SQL, rows=40)
    assert [row["copies"] for row in rows] == [1] * 40
    assert decided.metric("clearspan_spans_stored_total") == 40


def test_a_signal_that_another_thread_takes_is_noticed(sidecar: Callable[..., Sidecar]) -> None:
    """Scenario: the kernel gives SIGTERM to a thread that is not the main one, as it may.

    Guarantee: exit 0 all the same: the main thread, which sleeps, is woken.
    """
    running = sidecar()
    tasks = Path(f"/proc/{running.pid}/task").iterdir()
    other = next(task for task in tasks if task.name != str(running.pid) and _takes_sigterm(task))
    call = _SYS_TGKILL[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    sent = libc.syscall(call, running.pid, int(other.name), signal.SIGTERM)
    assert sent == 0, os.strerror(ctypes.get_errno())
    assert running.wait() == 0


def test_second_sigterm_exits_at_once(sidecar: Callable[..., Sidecar], tmp_path: Path) -> None:
    """Scenario: a batch is stuck in a user's processor, the grace is an hour, two SIGTERMs.

    Guarantees: the first waits for the batch, the second does not, and says so by its exit code.
    """
    entered = tmp_path / "entered"
    running = sidecar(
        "service.shutdown_grace=1h",
        "service.pipelines.traces.processors=[redaction, 'stuck_processor:Stuck']",
        f"processors={{'stuck_processor:Stuck': {{entered: '{entered}'}}}}",
        python_path=Path(__file__).parent,
    )
    sender = threading.Thread(target=_send_one, args=(running.grpc_endpoint,))
    sender.start()
    _await_file(entered)
    running.signal(signal.SIGTERM)
    running.await_log("stopping")
    running.signal(signal.SIGTERM)
    assert running.wait(20) == 128 + signal.SIGTERM
    sender.join()


def _takes_sigterm(task: Path) -> bool:
    try:
        lines = (task / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    blocked = next(line.split()[1] for line in lines if line.startswith("SigBlk:"))
    return not int(blocked, 16) & 1 << signal.SIGTERM - 1


def _send_one(endpoint: str) -> None:
    with GrpcClient(endpoint) as client:
        client.export(numbered_spans("stuck", 0, 1), limit_s=60)


def _await_file(path: Path, limit_s: float = 30) -> None:
    pause = threading.Event()
    for _ in range(int(limit_s / 0.02)):
        if path.exists():
            return
        pause.wait(0.02)
    raise AssertionError(f"{path.name} never came")
