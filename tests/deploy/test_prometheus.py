"""Prometheus files: taken by Prometheus itself, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from collector.model.telemetry import METRICS

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
METRIC_NAME = re.compile(r"\b(?:clearspan|otelcol)_\w+\b")


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs Debian's package prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("check", "config", "prometheus.yml"), id="config"),
        pytest.param(("check", "rules", "alerts.yml"), id="rules"),
        pytest.param(("test", "rules", "alerts.test.yml"), id="alerts-fire"),
    ],
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    """Scenario: Prometheus' own checker; series of a sick and of a healthy sidecar.

    Guarantees: the files load, and each alert fires for the sick one and for it only.
    """
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_name_only_metrics_that_clearspan_exposes() -> None:
    """Scenario: each expression's metrics and labels against the metric table.

    Guarantees: no alert that can never fire because a metric was renamed.
    """
    declared = {metric.name: metric for metric in METRICS}
    for alert, rule in RULES.items():
        used = set(METRIC_NAME.findall(rule["expr"]))
        assert used <= declared.keys(), alert
        grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
        labels = {label.strip() for group in grouped for label in group.split(",")}
        own = labels - {"job", "instance"}
        assert all(own <= set(declared[name].labels) for name in used), alert


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    """Scenario: alerts against their unit tests. Guarantees: a new alert comes with a test."""
    cases = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())
    (test,) = cases["tests"]
    expected = " ".join(sample["labels"] for sample in test["promql_expr_test"][0]["exp_samples"])
    for alert, rule in RULES.items():
        assert f'"{alert}"' in expected
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
