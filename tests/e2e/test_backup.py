"""Backups and checks of a real sidecar's data while it ingests, merges and unlinks."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from storage.backup import backup
from tests.e2e.otlp_client import NUMBERED_SQL, Load
from tests.e2e.sidecar import COMMAND, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = 3
# Files live for moments, so that a backup or check meets many that are replaced under it.
BUSY = (
    "exporters.lake.flush_interval=50ms",
    "exporters.lake.journal.segment_bytes=128KiB",
    "exporters.lake.compaction.interval=200ms",
    "exporters.lake.compaction.min_files=12",
    "exporters.lake.unlink_grace=0s",
    "service.pipelines.traces.processors=[redaction]",
)


def clearspan(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a verb and return how it ended."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def await_more(load: Load, spans: int) -> None:
    """Return when so many more spans were acknowledged."""
    wanted = len(load.ledger.acked) + spans
    load.await_that(lambda ledger: len(ledger.acked) >= wanted)


class AwaitingMerge:
    """Progress of a backup that goes on when the newest file of the moment is merged and gone."""

    def __init__(self, data: Path, load: Load) -> None:
        """Wait at the first file that is copied."""
        self._data, self._load = data, load
        self._has_waited = False

    def __call__(self, _copied: int, _total: int) -> None:
        """Wait, if this is the first file."""
        if not self._has_waited:
            self._has_waited = True
            files = self._data.glob("lake/spans/date=*/*/*.parquet")
            newest = max(files, key=lambda path: path.name)
            self._load.await_that(lambda _: not newest.exists())


@pytest.mark.timeout(300)
def test_backups_of_a_busy_sidecar(
    tmp_path: Path, shared_cache: Path, sidecar: Callable[..., Sidecar]
) -> None:
    """Scenario: under load, again and again: verify, a backup anew that is so slow that the files
    it copies are replaced under it, and an update of another.

    Guarantee: the running lake is always sound; every backup is sound, SQL reads it, and a sidecar
    started on the last ones has each span acknowledged before the backup, once, and none that was
    never sent.
    """  # noqa: D205 - the scenario needs two lines
    running = sidecar(*BUSY)
    updated, anew = tmp_path / "updated", tmp_path / f"anew-{ROUNDS - 1}"
    restarts = 0
    with Load(running.grpc_endpoint) as load:
        for number in range(ROUNDS):
            await_more(load, 300)
            done = clearspan("verify", "--data", running.data_dir, "--json")
            assert done.returncode == 0, done.stdout
            acked = {tmp_path / f"anew-{number}": set(load.ledger.acked)}
            made = backup(
                running.data_dir,
                tmp_path / f"anew-{number}",
                on_progress=AwaitingMerge(running.data_dir, load),
            )
            restarts += made.restarts
            acked[updated] = set(load.ledger.acked)
            done = clearspan("backup", updated, "--data", running.data_dir, "--update")
            assert done.returncode == 0, done.stderr
            print(done.stdout.strip())
            for target in acked:
                done = clearspan("verify", "--data", target, "--json")
                report = json.loads(done.stdout)
                assert done.returncode == 0, report["findings"]
                done = clearspan("query", "--data", target, "--format", "json", NUMBERED_SQL)
                assert {row["copies"] for row in json.loads(done.stdout)} == {1}
    assert running.sigterm() == 0
    assert restarts > 0
    for target in (anew, updated):
        restored = Sidecar(
            tmp_path / f"restored-{target.name}", *BUSY, data_dir=target, cache_dir=shared_cache
        )
        with restored:
            assert restored.sigterm() == 0
        load.ledger.acked = acked[target]
        verdict = load.ledger.compare(restored.query(NUMBERED_SQL))
        print(target.name, verdict)
        assert (verdict.lost, verdict.twice, verdict.phantom) == (0, 0, 0)
        done = clearspan("verify", "--data", target)
        assert done.returncode == 0, done.stdout


def test_nobody_else_writes(
    tmp_path: Path, shared_cache: Path, sidecar: Callable[..., Sidecar]
) -> None:
    """Scenario: while a sidecar runs, a second one, a repair and a backup go to its directory.

    Guarantee: each is refused with exit code 2; the first two name the pid; the lake stays sound.
    """
    running = sidecar()
    second = Sidecar(tmp_path / "second", data_dir=running.data_dir, cache_dir=shared_cache)
    second.start(await_ready=False)
    assert second.wait() == 2
    assert f"in use by process {running.pid}" in second.log
    for arguments in (("repair",), ("repair", "--dry-run")):
        done = clearspan(*arguments, "--data", running.data_dir)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"in use by process {running.pid}" in done.stderr
    done = clearspan("backup", running.data_dir, "--data", running.data_dir, "--update")
    assert done.returncode == 2
    assert "lies in the other" in done.stderr
    assert clearspan("verify", "--data", running.data_dir).returncode == 0
