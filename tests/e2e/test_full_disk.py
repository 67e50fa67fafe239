"""A full disk: senders are told to come back, nothing acknowledged is lost, and it goes on."""

from __future__ import annotations

import os
import random
import string
import subprocess
import threading
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.e2e.otlp_client import NUMBERED_SQL, GrpcClient, Ledger, Reply, numbered_spans, post
from tests.e2e.sidecar import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.sidecar import Sidecar

DISK_MIB = 32
BALLAST_MIB = 16
BATCH = 2
NOISE_BYTES = 100_000  # a span: the disk is full after some 100 batches
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of its own with 32 MiB, half of it taken by a file ``ballast``."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
    try:
        (disk / "ballast").write_bytes(b"\0" * BALLAST_MIB * 2**20)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
def test_full_disk_refuses_and_resumes(
    sidecar: Callable[..., Sidecar],
    small_disk: Path,
) -> None:
    """Scenario: load until the disk is full, then some more, then a big file is deleted.

    Guarantees: a retryable code with RetryInfo (HTTP: 503 or 429 with Retry-After), the process
    lives and serves SQL, it takes spans again by itself, every acked span is stored once.
    """
    running = sidecar(
        "exporters.lake.flush_interval=200ms",
        "exporters.lake.journal.segment_bytes=1MiB",
        data_dir=small_disk / "data",
    )
    ledger = Ledger()
    fill = _Filler(ledger)
    with GrpcClient(running.grpc_endpoint) as client:
        refusal = fill.send_while(client, lambda reply: reply.ok)
        assert ledger.acked, "refused before the disk was full"
        assert refusal.code in RETRYABLE
        assert refusal.retry_delay_s is not None
        for _ in range(10):  # refusing is a lasting state, not the end of it
            fill.send(client)
        by_http = post(running.http_endpoint, fill.next_payload())
        assert by_http.code in {HTTP_OK, 429, 503}
        assert by_http.ok or by_http.retry_delay_s is not None
        assert running.health("/live") == HTTP_OK
        assert running.query("SELECT count(*) AS spans FROM spans")
        (small_disk / "ballast").unlink()
        resumed = fill.send_while(client, lambda reply: not reply.ok, pause_s=0.1)
        assert resumed.ok
        for _ in range(10):
            assert fill.send(client).ok
    assert running.sigterm() == 0, running.log[-4000:]
    verdict = ledger.compare(running.query(NUMBERED_SQL))
    print(f"\n{verdict}, refused {dict(ledger.refusals)}")
    assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)


class _Filler:
    """Sends batches that hardly compress, a new one each time, and keeps the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._first = 0
        self._random = random.Random(20)

    def next_payload(self) -> bytes:
        """Return a batch with random letters, other ones each time, entered as sent."""
        noise = "".join(self._random.choices(string.ascii_letters, k=NOISE_BYTES))
        payload = numbered_spans("filler", self._first, BATCH, noise=noise)
        self._ledger.sent |= {("filler", self._first + offset) for offset in range(BATCH)}
        self._first += BATCH
        return payload

    def send(self, client: GrpcClient) -> Reply:
        """Send a new batch and enter its outcome."""
        payload = self.next_payload()
        spans = {("filler", self._first - BATCH + offset) for offset in range(BATCH)}
        reply = client.export(payload)
        if reply.ok:
            self._ledger.acked |= spans
        else:
            self._ledger.refusals[reply.code] += 1
        return reply

    def send_while(
        self,
        client: GrpcClient,
        holds: Callable[[Reply], bool],
        *,
        pause_s: float = 0,
        tries: int = 4000,
    ) -> Reply:
        """Send until an answer does not satisfy the condition; return that answer."""
        pause = threading.Event()
        for _ in range(tries):
            if not holds(reply := self.send(client)):
                return reply
            pause.wait(pause_s)
        raise AssertionError(f"still the same after {tries} batches: {reply.code}")
