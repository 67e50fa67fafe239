"""docs/metrics.md and the code list the same metrics."""

from __future__ import annotations

import re
from pathlib import Path

from collector.metrics.families import SIGNALS
from collector.model.telemetry import METRICS

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"\| `([a-z0-9_]+)` \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|")


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    """Name, kind, labels and meaning of each row equal the declaration, both ways."""
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, unit, meaning in ROW.findall(DOC.read_text(encoding="utf-8"))
        if unit
    }
    declared = {
        metric.name: (metric.kind, metric.labels, metric.help) for metric in (*SIGNALS, *METRICS)
    }
    assert documented == declared
