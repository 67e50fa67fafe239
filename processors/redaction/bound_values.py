"""What databases were given, where text repeats it: bound parameters, rows, a row that failed.

A row of INSERT is judged by its columns' names. Parameters and failed rows have none beside them;
their values go as a user's name does, whatever they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from processors.redaction.written_values import NUMBER, Value, inner, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processors.redaction.keys import KeyClass

# Of SQLAlchemy (errors and log), EF Core, TypeORM, Django; PostgreSQL's log; MyBatis; Hibernate 5
# and 6; PostgreSQL's error
_CAPTION: Final = (
    r"(?:generated in|cached since|no key|raw sql|caching disabled|insertmanyvalues \d"
    r"|dialect [^\]\s]{1,80} does not support)"
)
_IN_BRACKETS: Final = re.compile(
    rf"(?:\[(?:parameters:|Parameters=|{_CAPTION}[^\]\r\n]{{0,120}}\])|-- PARAMETERS:|; args=)"
    r" ?(?=[\[({])"
)
_NUMBERED: Final = re.compile(r"\b[Pp]arameters: (?=\$1 = )")
# PostgreSQL doubles a quote and escapes nothing; a repr around it escapes the quotes
_NUMBERED_VALUE: Final = re.compile(
    r"\$\d{1,5} = (?:NULL|'(?P<value>(?:[^']|'')*+)(?:'|\Z)"
    r"|\\++'(?P<escaped>(?:[^'\\]|\\++(?!['\\])|\\++'\\++')*+)(?:\\*+'|\\*\Z))(?:, )?"
)
_TYPED: Final = re.compile(r"==>\s{1,3}Parameters: ")
_TYPE: Final = r"\([A-Z]\w{2,40}\)"
# A value over lines is one without its end on the first
_TYPED_VALUE: Final = re.compile(
    rf"(?:null, )*+(?P<value>(?!null\s)(?:[^\r\n]+?(?={_TYPE}(?:, |[\r\n]|\Z))"
    rf"|[^\r\n]+[\r\n](?:(?!<?==)[\s\S]){{1,2000}}?"
    rf"(?={_TYPE}(?:, |[\r\n]|\Z)|\Z)|[^\r\n]+))"
    rf"(?:{_TYPE}(?:, )?)?"
)
_LOGGED: Final = re.compile(
    r"\b(?:binding parameter|extracted value) (?:\(\w{1,80}:\w{1,40}\) (?:<-|->) "
    r"|\[\w{1,80}\] as \[\w{1,40}\] - |\(\[\w{1,80}\] : \[\w{1,40}\]\) - )"
    r"\[(?P<value>[^\r\n]*?(?=\]?\Z|\][\r\n])"
    r"|[^\r\n\]]*[\r\n](?:(?!binding param|extracted val)[\s\S]){0,2000}?(?=\][\r\n]|\]?\Z)"
    r"|[^\r\n]*)"
)
_FAILED: Final = re.compile(
    r"\bFailing row contains \((?P<value>[^\r\n]*?(?=\)\.?\s{0,9}(?:[\r\n\"']|\\n|\Z)|\Z)"
    r"|(?:(?!\)\.)[^\r\n])*[\r\n](?:(?!Failing row)[\s\S]){0,4000}?"
    r"(?=\)\.(?:[\r\n\"']|\\n|\Z)|\)?\Z)"
    r"|[^\r\n]*)"
)
_SPACE: Final = r"(?:\s|\\++[nrt])"
_ESCAPED: Final = re.compile(r"\\+[nrt]")
_INSERT: Final = re.compile(
    rf"(?:(?<!\w)|(?<=\\[nrt]))(?:insert|replace{_SPACE}{{1,80}}+into){_SPACE}{{1,80}}+"
    rf"[^()'=;]{{0,300}}+\((?P<columns>[^()'=]{{1,8000}}+)\){_SPACE}{{0,80}}+"
    rf"(?:(?:output|overriding){_SPACE}[^()]{{1,200}}?)?"
    rf"values?{_SPACE}{{0,80}}+(?:row{_SPACE}{{0,80}}+)?(?=\()",
    re.IGNORECASE,
)
# SQL's literals go over lines; an apostrophe between letters is one that nobody escaped
_CELL: Final = re.compile(
    rf"(?P<open>[\[({{])|(?P<close>[\])}}])|(?P<comma>,)|{NUMBER}"
    r"|(?P<quote>[\"'`])(?P<value>(?:[^\\\"'`]|\\.|(?P=quote){2}|(?<=\w)(?P=quote)(?=\w)"
    r"|(?!(?P=quote))[\"'`])*+)(?:(?P=quote)|\\?\Z)"
    r"|\\++(?P<sign>[\"'`])(?P<escaped>(?:[^\\\"'`]|\\++(?![\"'`\\])|\\*+(?!(?P=sign))[\"'`])*+)"
    r"(?:\\++(?P=sign))?+",
    re.DOTALL,
)
_NEXT_ROW: Final = re.compile(
    rf"{_SPACE}{{0,80}}+,{_SPACE}{{0,80}}+(?:row{_SPACE}{{0,80}}+)?(?=\()", re.IGNORECASE
)
HINT: Final = (
    r"(?:\[parameters[:=]|-- parameters:|; args=|\[(?:generated in|cached since|no key|raw sql"
    r"|caching disabled|insertmanyvalues \d|dialect [^\]\s]+ does not support)[^\]]*\]) ?[\[({]"
    r"|parameters: \$1|==>\s+parameters:|binding parameter|extracted value|failing row contains \("
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
        names = _ESCAPED.sub(" ", insert["columns"]).split(",")
        columns = [decision(name.strip(' \t\r\n"`[]\\')) for name in names]
        cells, end = _cells(text, insert.end())
        for column, value in cells:
            key_class = columns[column] if column < len(columns) else None
            if key_class is not None and value.plain:
                yield value, key_class


def _unnamed(text: str) -> Iterator[Value]:
    end = 0
    for start in _IN_BRACKETS.finditer(text):
        if start.start() < end:
            continue
        if start[0].startswith("[Parameters="):  # literals over lines, and "(Size = 40)"
            cells, end = _cells(text, start.end())
            yield from (one for _, one in cells if not text.endswith(" = ", 0, one.start))
        else:
            values, end = inner(text, start.end())
            yield from values
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
