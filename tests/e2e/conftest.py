"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def sidecar(tmp_path: Path, shared_cache: Path) -> Iterator[Callable[..., Sidecar]]:
    """Make sidecars, started and ready, that are gone after the test."""
    with ExitStack() as stack:

        def make(*overrides: str, **options: Any) -> Sidecar:
            options.setdefault("cache_dir", shared_cache)
            return stack.enter_context(Sidecar(tmp_path, *overrides, **options))

        yield make
