"""Values that each have the right type and that nobody can mean: refused by name at the start."""

from __future__ import annotations

import pytest

from collector.model.errors import ConfigError
from config.loader import load_settings

_POLICY = "{name: b, type: latency, latency: {threshold_ms: 2, upper_threshold_ms: 1}}"
_NOT_MEANT = {
    "service.pipelines.traces.exporters=[prometheus]": (
        "service.pipelines.traces.exporters: must name 'lake': spans are acknowledged when they "
        "are kept there"
    ),
    "receivers.otlp.protocols.grpc.max_recv_msg_size=2GiB": (
        "receivers.otlp.protocols.grpc.max_recv_msg_size: must be at most 2147483647"
    ),
    "processors.redaction.cache_strings=1000001": (
        "processors.redaction.cache_strings: must be at most 1000000"
    ),
    "processors.tail_sampling.policies="
    f"[{{name: a, type: and, and: {{and_sub_policy: [{_POLICY}]}}}}]": (
        "processors.tail_sampling.policies[0].and.and_sub_policy[0].latency.upper_threshold_ms: "
        "must be more than threshold_ms, or 0 for no upper bound"
    ),
}


@pytest.mark.parametrize(("override", "message"), _NOT_MEANT.items(), ids=str)
def test_it_is_refused_by_name(override: str, message: str) -> None:
    """Scenario: one such value. Guarantees: one line that names the option and says what holds."""
    with pytest.raises(ConfigError) as caught:
        load_settings([], [override], {})
    [line] = str(caught.value).splitlines()
    assert message in line


@pytest.mark.parametrize(
    "override",
    [
        "service.pipelines.traces.exporters=[lake]",
        "receivers.otlp.protocols.grpc.max_recv_msg_size=2147483647",
        "processors.redaction.cache_strings=1000000",
    ],
)
def test_the_last_that_can_be_meant_is_taken(override: str) -> None:
    """Scenario: the same options at their bounds. Guarantees: no error."""
    load_settings([], [override], {})
