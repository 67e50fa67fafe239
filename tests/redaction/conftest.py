"""Redactors built once (Presidio's import takes seconds), and a counting telemetry."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from config.settings import RedactionSettings
from processors.redaction import RedactionProcessor, Redactor
from processors.redaction.detectors import Detectors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from collector.model.metric import Metric
    from processors.redaction.findings import Finding

KEY = "a key of the tests, 32 bytes long"


class Counts:
    """Telemetry that adds up."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.totals: Counter[tuple[str, ...]] = Counter()

    def add(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter."""
        self.totals[(metric.name, *labels)] += int(amount)

    def set(self, *_: object) -> None:
        """Ignore gauges."""

    observe = sample = set  # noqa: A003 - the protocol's names


class _AllRules(Detectors):
    """Runs every rule, one that has no match at a third of the time: without a time limit."""

    def find(self, text: str, marks: Iterable[int]) -> list[Finding]:
        """Return what all marked rules find."""
        rules = [(mark, self.rules[mark]) for mark in marks if mark < len(self.rules)]
        return super().find(
            text,
            [
                mark
                for mark, rule in rules
                if hasattr(rule.recognizer, "search") or rule.compiled.search(text)
            ],
        )


def without_screen(settings: RedactionSettings) -> Redactor:
    """Return a redactor that runs every rule on every string."""
    redactor = Redactor(settings, screened=False)
    stock = redactor._detectors
    redactor._finder._detectors = _AllRules(*(getattr(stock, one.name) for one in fields(stock)))
    return redactor


@pytest.fixture(scope="session", autouse=True)
def _own_cache_directory(shared_cache: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        yield


@pytest.fixture(scope="session")
def settings() -> RedactionSettings:
    """Defaults with a fixed HMAC key, so that tokens compare between instances."""
    return RedactionSettings(hmac_key=KEY)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def redactor(settings: RedactionSettings) -> Redactor:
    """Screened, as in production."""
    return Redactor(settings)


@pytest.fixture(scope="session")
def unscreened(settings: RedactionSettings) -> Redactor:
    """Runs every rule on every string."""
    return without_screen(settings)


@pytest.fixture
def counts() -> Counts:
    """Telemetry to look into."""
    return Counts()


@pytest.fixture
def processor(settings: RedactionSettings, counts: Counts) -> RedactionProcessor:
    """A processor with an empty cache."""
    return RedactionProcessor(settings, counts)
