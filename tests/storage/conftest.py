"""What storage tests share: telemetry, a way to open journal and lake, a way to read files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.storage.recording import RecordingTelemetry
from tests.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    """Return a telemetry that remembers."""
    return RecordingTelemetry()


@dataclass
class Opener:
    """Opens a store in the test's directory; the last one is closed with the test."""

    path: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __call__(self, **options: object) -> Store:
        """Open the data directory as a starting process would."""
        store = Store(self.path, **options)
        self.stack.callback(store.abandon)
        return store


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Opener]:
    """Return a function that opens journal and lake in a fresh directory."""
    opener = Opener(tmp_path / "data")
    with opener.stack:
        yield opener
