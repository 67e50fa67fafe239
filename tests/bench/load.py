"""The load generator: a process of its own that sends rendered templates over gRPC.

It reads one ``Job`` as JSON on stdin, sends, and writes one ``Load`` as JSON to stdout. It also
reads the receiving process's CPU time at both edges of the measured window, because only it knows
when they are.
"""

from __future__ import annotations

import json
import pickle
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.bench.payloads import masks
from tests.bench.proc import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.payloads import Template

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
RPC_TIMEOUT_S: Final = 30.0
REFUSED_PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where: closed loop of ``clients``, or ``rate`` spans a second if it is set.

    ``watch_pid`` is the process whose CPU time is read.
    """

    target: str
    templates: str
    seconds: float
    warm_up_s: float
    clients: int
    rate: float
    watch_pid: int
    seed: int


@dataclass(slots=True)
class Load:
    """What came of it; the window leaves the warm-up out, ``acked`` leaves nothing out."""

    acked: int = 0
    window_acked: int = 0
    window_s: float = 0.0
    window_cpu_s: float = 0.0
    rejected: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    latency_max_ms: float = 0.0
    bytes_per_span: float = 0.0
    generator_cpu_s: float = 0.0
    behind_ms: float = 0.0


class Generator:
    """Sends one job; thread-safe bookkeeping, one gRPC connection a client."""

    def __init__(self, job: Job, templates: list[Template]) -> None:
        """Open the connections (they connect on first use)."""
        self._job = job
        self._templates = templates
        self._masks = masks(job.seed)
        self._next = 0
        self._lock = threading.Lock()
        self._load = Load()
        self._failed: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._sent_bytes = 0
        self._sent_spans = 0
        self._measuring = False
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self._channels = [
            grpc.insecure_channel(job.target, options=options) for _ in range(job.clients)
        ]
        # no serialiser either way: requests and answers stay bytes
        self._calls = [channel.unary_unary(METHOD) for channel in self._channels]

    def run(self) -> Load:
        """Send for the whole warm-up and window, wait for every answer and return the sums."""
        cpu = time.process_time()
        send = self._open_loop if self._job.rate else self._closed_loop
        window = threading.Thread(target=self._watch_window)
        window.start()
        send(time.monotonic() + self._job.warm_up_s + self._job.seconds)
        window.join()
        for channel in self._channels:
            channel.close()
        load = self._load
        load.failed = dict(self._failed)
        load.bytes_per_span = self._sent_bytes / max(1, self._sent_spans)
        load.generator_cpu_s = time.process_time() - cpu
        if self._latencies:
            p50, p99 = np.percentile(self._latencies, [50, 99])
            load.latency_p50_ms, load.latency_p99_ms = float(p50) * 1e3, float(p99) * 1e3
            load.latency_max_ms = max(self._latencies) * 1e3
        return load

    def _watch_window(self) -> None:
        time.sleep(self._job.warm_up_s)
        started, cpu = time.monotonic(), cpu_seconds(self._job.watch_pid)
        self._measuring = True
        time.sleep(self._job.seconds)
        self._measuring = False
        self._load.window_cpu_s = cpu_seconds(self._job.watch_pid) - cpu
        self._load.window_s = time.monotonic() - started

    def _closed_loop(self, until: float) -> None:
        clients = [
            threading.Thread(target=self._send_until, args=(call, until)) for call in self._calls
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _send_until(self, call: Callable[..., bytes], until: float) -> None:
        while time.monotonic() < until:
            payload, spans = self._render()
            started = time.monotonic()
            try:
                answer = call(payload, timeout=RPC_TIMEOUT_S)
            except grpc.RpcError as error:
                self._note_failure(error, spans)
                time.sleep(REFUSED_PAUSE_S)
            else:
                self._note_answer(answer, spans, time.monotonic() - started)

    def _open_loop(self, until: float) -> None:
        """Start a request at every scheduled time whether or not earlier ones were answered.

        Latency counts from the schedule, so a stall of the receiver or of this process is in it.
        """
        interval = self._templates[0].spans / self._job.rate
        answered = threading.Semaphore(0)
        begin = time.monotonic()
        count = int((until - begin) / interval)
        for number in range(count):
            due = begin + number * interval
            payload, spans = self._render()
            time.sleep(max(0.0, due - time.monotonic()))
            self._load.behind_ms = max(self._load.behind_ms, (time.monotonic() - due) * 1e3)
            call = self._calls[number % len(self._calls)]
            future = call.future(payload, timeout=RPC_TIMEOUT_S)
            future.add_done_callback(self._on_answer(spans, due, answered))
        for _ in range(count):
            answered.acquire()

    def _on_answer(
        self,
        spans: int,
        due: float,
        answered: threading.Semaphore,
    ) -> Callable[[grpc.Future], None]:
        def note(future: grpc.Future) -> None:
            took = time.monotonic() - due
            error = future.exception()
            if error is None:
                self._note_answer(future.result(), spans, took)
            else:
                self._note_failure(error, spans)
            answered.release()

        return note

    def _render(self) -> tuple[bytes, int]:
        with self._lock:
            template = self._templates[self._next % len(self._templates)]
            self._next += 1
            mask = next(self._masks)
        payload = template.render(mask)
        with self._lock:
            self._sent_bytes += len(payload)
            self._sent_spans += template.spans
        return payload, template.spans

    def _note_answer(self, answer: bytes, spans: int, took: float) -> None:
        rejected = 0
        if answer:  # full success is the empty message
            message = ExportTraceServiceResponse.FromString(answer)
            rejected = message.partial_success.rejected_spans
        with self._lock:
            self._load.acked += spans - rejected
            self._load.rejected += rejected
            if self._measuring:
                self._load.window_acked += spans - rejected
                self._latencies.append(took)

    def _note_failure(self, error: grpc.RpcError, spans: int) -> None:
        with self._lock:
            self._failed[error.code().name] += spans


def main() -> None:
    """Do the job on stdin, report on stdout."""
    job = Job(**json.load(sys.stdin))
    templates = pickle.loads(Path(job.templates).read_bytes())  # noqa: S301 - our own file
    json.dump(asdict(Generator(job, templates).run()), sys.stdout)


if __name__ == "__main__":
    main()
