"""Many patterns at once over bytes: Hyperscan, or RE2 where it has no wheel.

Both take every pattern as one that may match more often than it should, never less.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collector.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

Scan = Callable[[bytes, list[int]], None]
"""Adds to the list the marks of the patterns that occur in the bytes, in no order."""
_ENGINES: Final = (
    ("hyperscan", "processors.redaction.patterns_hyperscan"),
    ("re2", "processors.redaction.patterns_re2"),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A pattern for ASCII bytes, what to report when it occurs, and whether case matters."""

    text: str
    mark: int
    is_caseless: bool = True


@dataclass(frozen=True, slots=True)
class Compiled:
    """What scans for the expressions, and the marks of those it could not be made to look for."""

    scan: Scan
    failed: frozenset[int]


def compile_all(expressions: Sequence[Expression], engine: str | None = None) -> Compiled:
    """Compile with the best engine that is installed, or the one named.

    Raises:
        ConfigError: There is none.
    """
    for name, module in _ENGINES:
        if engine not in {None, name}:
            continue
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        made: Any = importlib.import_module(module)
        compiled: Compiled = made.compile_all(expressions)
        return compiled
    raise ConfigError("neither hyperscan nor google-re2 is installed: redaction needs one of them")
