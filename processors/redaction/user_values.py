"""Values the user blocks or allows by regular expression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import regex
from presidio_analyzer import Pattern

from processors.redaction.operators import BLOCKED
from processors.redaction.recognizers import TIMEOUT_S, FailClosedRecognizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def blocked_values(patterns: Sequence[str]) -> FailClosedRecognizer:
    """Return a recognizer of all of them; each is a rule that the screen knows."""
    return FailClosedRecognizer(
        BLOCKED,
        patterns=[
            Pattern(f"blocked_values[{number}]", pattern, 1.0)
            for number, pattern in enumerate(patterns)
        ],
        name=BLOCKED,
        # as the Collector reads them: case counts, ^ and $ are the ends of the value
        global_regex_flags=regex.VERSION0,
    )


def whole_match(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Return whether one of the patterns matches the whole of a text; None without patterns.

    A pattern that takes too long allows nothing.
    """
    if not patterns:
        return None
    compiled = tuple(map(regex.compile, patterns))

    def matches(text: str) -> bool:
        try:
            return any(one.fullmatch(text, timeout=TIMEOUT_S) for one in compiled)
        except TimeoutError:
            return False

    return matches
