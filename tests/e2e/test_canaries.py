"""Canaries in a running sidecar: what a processor behind redaction lets out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.leak_search import find
from tests.e2e.otlp_client import GrpcClient, numbered_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sidecar import Sidecar

CANARY = "zq-canary-77310"
PROCESSOR = "leaking_processor:Leaking"


def test_a_canary_behind_redaction_is_dropped_counted_and_said(
    sidecar: Callable[..., Sidecar],
) -> None:
    """Scenario: a user's processor writes a canary into one span of each batch.

    Guarantees: that span is in no file and is counted; its neighbours are stored; all spans are
    accounted for; the log names the canary by its number only.
    """
    running = sidecar(
        f"service.pipelines.traces.processors=[redaction, '{PROCESSOR}']",
        f"processors={{'{PROCESSOR}': {{text: {CANARY}}}}}",
        f"processors.redaction.canaries=[no-such-canary, {CANARY}]",
        python_path=Path(__file__).parent,
    )
    with GrpcClient(running.grpc_endpoint) as client:
        assert client.export(numbered_spans("canary", 0, 40)).ok
    rows = running.query_until("SELECT name FROM spans", rows=39)
    assert len(rows) == 39
    seen = "clearspan_redaction_canaries_seen_total"
    assert running.metric(seen, canary="1", surface="name") == running.metric(seen) == 1
    assert running.metric("clearspan_spans_dropped_total", reason="canaries") == 1
    assert "canary seen behind redaction" in running.log
    assert running.sigterm() == 0
    assert find(CANARY, running.root, {}) == []
