"""What a scraper reads: the signals' text through prometheus_client's own parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

if TYPE_CHECKING:
    from collector.metrics.golden_signals import GoldenSignals


def samples(text: str, *, openmetrics: bool = False) -> dict[tuple[str, tuple[Any, ...]], float]:
    """Return every sample but creation times: (name, sorted labels) to value."""
    parse = parse_openmetrics if openmetrics else parse_text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text + "# EOF\n" if openmetrics else text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(signals: GoldenSignals, name: str, **wanted: str) -> float:
    """Return the sum of the samples of this name that have these labels."""
    return sum(
        amount
        for (sample, found), amount in samples(signals.render(openmetrics=False)).items()
        if sample == name and wanted.items() <= dict(found).items()
    )
