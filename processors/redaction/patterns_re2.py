"""Many patterns at once by RE2: the fallback, about twice Hyperscan's time on short strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import re2

from processors.redaction.multi_pattern import Compiled, Expression

if TYPE_CHECKING:
    from collections.abc import Sequence

_MEMORY_BYTES: Final = 512 * 2**20  # RE2's default of 8 MiB is too little for a hundred patterns


def compile_all(expressions: Sequence[Expression]) -> Compiled:
    """Compile the expressions; those that RE2 does not take are returned as failed."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, as Hyperscan sees them
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    patterns = re2.Set.SearchSet(options)
    marks: list[int] = []
    failed = set()
    for one in expressions:
        flags = "(?ims)" if one.is_caseless else "(?ms)"
        try:
            patterns.Add(flags + one.text)
        except re2.error:
            failed.add(one.mark)
        else:
            marks.append(one.mark)
    # A set never gives up on a long text for want of memory, as a single RE2 may: it starts afresh.
    patterns.Compile()

    def scan(data: bytes, found: list[int]) -> None:
        found.extend(map(marks.__getitem__, patterns.Match(data) or ()))

    return Compiled(scan, frozenset(failed))
