"""What databases were given, where text repeats it: bound parameters, rows, a row that failed.

A row of INSERT is judged by its columns' names. Parameters and failed rows have none beside them;
their values go as a user's name does, whatever they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from processors.redaction.written_values import NUMBER, QUOTED, Value, inner, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processors.redaction.keys import KeyClass

# Of SQLAlchemy (errors and log), EF Core, TypeORM, Django; PostgreSQL's log; MyBatis; Hibernate 5
# and 6; PostgreSQL's error
_IN_BRACKETS: Final = re.compile(
    r"(?:\[(?:parameters:|Parameters=|(?:generated in|cached since|no key|raw sql|caching disabled)"
    r"[^\]\r\n]{0,120}\])|-- PARAMETERS:|; args=) ?(?=[\[({])"
)
_NUMBERED: Final = re.compile(r"\bparameters: (?=\$1 = )")
_NUMBERED_VALUE: Final = re.compile(rf"\$\d{{1,5}} = (?:NULL|{QUOTED})(?:, )?", re.DOTALL)
_TYPED: Final = re.compile(r"==>\s{1,3}Parameters: ")
_TYPED_VALUE: Final = re.compile(
    r"(?:null, )*+(?P<value>(?!null\s)[^\r\n]+?)"
    r"(?:\([A-Z]\w{2,40}\)(?:, |(?=[\r\n]|\Z))|(?=[\r\n]|\Z))"
)
_LOGGED: Final = re.compile(
    r"\bbinding parameter (?:\(\d{1,5}:\w{1,40}\) <- |\[\d{1,5}\] as \[\w{1,40}\] - )"
    r"\[(?P<value>[^\r\n]*?)(?:\]?(?=[\r\n])|\]?\Z)"
)
_FAILED: Final = re.compile(
    r"\bFailing row contains \((?P<value>[^\r\n]*?)"
    r"(?:\)\.?(?=\s{0,9}(?:[\r\n\"']|\\n|\Z))|(?=[\r\n])|\Z)"
)
_INSERT: Final = re.compile(
    r"\binsert\s{1,9}(?:ignore\s{1,9})?into\s{1,9}[\w.\"`\[\]$\\]{1,200}+\s{0,9}"
    r"\((?P<columns>[^()'=]{1,4000}+)\)\s{0,9}(?:(?:output|overriding)\s[^()]{1,200}?)?"
    r"values?\s{0,9}(?=\()",
    re.IGNORECASE,
)
_CELL: Final = re.compile(
    rf"(?P<open>[\[({{])|(?P<close>[\])}}])|(?P<comma>,)|{NUMBER}|{QUOTED}", re.DOTALL
)
_NEXT_ROW: Final = re.compile(r"\s{0,9},\s{0,9}(?=\()")
HINT: Final = (
    r"(?:\[parameters[:=]|-- parameters:|; args=|\[(?:generated in|cached since|no key|raw sql"
    r"|caching disabled)[^\]]*\]) ?[\[({]|parameters: \$1|==>\s+parameters:"
    r"|binding parameter|failing row contains \("
)


def bound_values(
    text: str, decision: Callable[[str], KeyClass | None]
) -> Iterator[tuple[Value, KeyClass]]:
    """Yield what was bound, inserted or in a row; ``decision`` is that of a column's name."""
    somebody = decision("username")
    if somebody is not None:
        yield from ((value, somebody) for value in _unnamed(text) if value.plain)
    end = 0
    for insert in _INSERT.finditer(text):
        if insert.start() < end:
            continue
        columns = [decision(name.strip(' \t\r\n"`[]\\')) for name in insert["columns"].split(",")]
        cells, end = _cells(text, insert.end())
        for column, value in cells:
            key_class = columns[column] if column < len(columns) else None
            if key_class is not None and value.plain:
                yield value, key_class


def _unnamed(text: str) -> Iterator[Value]:
    end = 0
    for start in _IN_BRACKETS.finditer(text):
        if start.start() >= end:
            values, end = inner(text, start.end())
            yield from (one for one in values if not text.endswith("(Size = ", 0, one.start))
    for opening, one_more in ((_NUMBERED, _NUMBERED_VALUE), (_TYPED, _TYPED_VALUE)):
        position = 0
        for start in opening.finditer(text):
            if start.start() < position:
                continue
            position = start.end()
            while (one := one_more.match(text, position)) is not None:
                position = one.end()
                if any(one.groupdict().get(group) for group in ("value", "escaped")):
                    yield written(one)
    for pattern in (_LOGGED, _FAILED):
        yield from map(written, pattern.finditer(text))


def _cells(text: str, start: int) -> tuple[list[tuple[int, Value]], int]:
    """Return each value of the rows that begin here with its column's place; the rows' end."""
    cells: list[tuple[int, Value]] = []
    depth = column = 0
    for token in _CELL.finditer(text, start):
        if token["open"]:
            depth += 1
            column = 0 if depth == 1 else column
        elif token["close"]:
            depth -= 1
            if depth == 0 and not _NEXT_ROW.match(text, token.end()):
                return cells, token.end()
        elif token["comma"]:
            column += depth == 1
        else:
            cells.append((column, written(token)))
    return cells, len(text)
