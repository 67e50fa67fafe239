"""Fewer distinct values: URLs without ids and queries, database statements without literals.

Every function is idempotent and leaves what it does not recognise as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from processors.redaction import json_text

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WORD: Final = 30
_VERSION: Final = re.compile(r"v\d{1,2}")
_WORD: Final = re.compile(r"[A-Za-z_.~{}:*-]*")
_ORIGIN: Final = re.compile(r"([A-Za-z][\w+.-]*://)?(?:[^/?#@]*@)?([^/?#]*)")
_SPAN_NAME: Final = re.compile(r"((?:[A-Z]{3,10} )?)((?:https?://|/)\S*)")
_STATEMENT: Final = re.compile(
    r"\s*(?:select|insert|update|delete|replace|merge|with|call|exec|execute|explain)\b",
    re.IGNORECASE,
)
_QUOTED: Final = r"\"(?:[^\"\\]|\\.|\"\")*(?:\"|\\?\Z)"
_SQL_LITERAL: Final = re.compile(
    rf"(?P<quoted>{_QUOTED}(?:\s*,\s*{_QUOTED})*)"
    r"|(?P<name>`[^`]*`|\[[A-Za-z_][^\]]{0,128}\]"
    # PostgreSQL's operators and SQL Server's temporary tables begin like MySQL's comments
    r"|#(?:>>?|-)(?=\s*['$?:])|(?<!\w)\#{1,2}\w+\s*\."
    r"|\b(?i:from|join|into|table|update|insert|exists)\s+\#{1,2}\w+)"
    r"|(?P<comment>--[^\n]*|(?<![A-Za-z_$])\#[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"
    r"|(?:(?<!\w)[EeNnBbXx])?'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)"
    r"|(?<![\w.$@:?])[+-]?(?:0[xX][0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?![\w.])",
    re.DOTALL,
)
# What is in double quotes is a name to most databases and a text to MySQL. What stands around it
# tells; where nothing does, it goes.
_NAMES: Final = re.compile(r"[^\W\d][\w$ .-]*(?:\"\s*,\s*\"[^\W\d][\w$ .-]*)*")
_BEFORE_NAME: Final = re.compile(
    r"(?:[A-Za-z_]\.|\b(?:select|distinct|from|join|into|update|table)\b)\s*\Z", re.IGNORECASE
)
_BEHIND_NAME: Final = re.compile(r"\s*[.=<>!]")
_BEFORE_TEXT: Final = re.compile(
    r"(?:[=<>~]|\b(?:i?like|regexp|rlike|between|then|else|(?:in|values?)\s*\())\s*\Z",
    re.IGNORECASE,
)
_NEAR: Final = 24
_SQL_LIST: Final = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_SQL_ROWS: Final = re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+")
_COMMAND: Final = re.compile(r"\s*([A-Za-z_.]+)(\s+\S.*)?", re.DOTALL)


def url(text: str) -> str:
    """Return a URL or path with ``*`` for ids, without user, query and fragment.

    A bare query (``a=1&b=2``) keeps its names.
    """
    if "/" not in text:
        pairs = text.removeprefix("?").split("&")
        if all("=" in pair for pair in pairs):
            return "&".join(f"{pair.partition('=')[0]}=*" for pair in pairs)
        return text
    path = text.partition("#")[0].partition("?")[0]
    origin = _ORIGIN.match(path) if "://" in path else None
    if origin is None:
        return "/".join(map(_segment, path.split("/")))
    rest = path[origin.end() :]
    return f"{origin[1] or ''}{origin[2]}" + "/".join(map(_segment, rest.split("/")))


def sql(text: str) -> str:
    """Return a statement with ``?`` for literals and without comments."""
    has_names = False
    if '"' in text:
        text = _SQL_LITERAL.sub(lambda match: " " if match["comment"] else match[0], text)
        has_names = any(map(_tells_names, _SQL_LITERAL.finditer(text)))
    without = _SQL_LITERAL.sub(_without_literal if has_names else _without_names, text)
    return _SQL_ROWS.sub("(?)", _SQL_LIST.sub("(?)", without))


def redis(text: str) -> str:
    """Return commands (one a line) with ``?`` for all that follows each."""
    return "\n".join(map(_command, text.split("\n")))


def mongo(text: str) -> str:
    """Return a JSON query with ``"?"`` for every value; text that is no JSON becomes ``?``."""
    try:
        parsed = json_text.parse(text)
        without = _without_values(parsed)
        return text if without == parsed else json_text.dump(without)
    except (ValueError, RecursionError):
        return "?"


def span_name(text: str, *, urls: bool, statements: bool) -> str:
    """Return a span name with its path or its statement sanitized."""
    if urls and (match := _SPAN_NAME.fullmatch(text)):
        return match[1] + url(match[2])
    if statements and _STATEMENT.match(text):
        return sql(text)
    return text


SANITIZERS: Final[dict[str, Callable[[str], str]]] = {
    "url": url,
    "sql": sql,
    "redis": redis,
    "mongo": mongo,
    "span name, url": lambda text: span_name(text, urls=True, statements=False),
    "span name, sql": lambda text: span_name(text, urls=False, statements=True),
    "span name": lambda text: span_name(text, urls=True, statements=True),
}


def _segment(segment: str) -> str:
    if _VERSION.fullmatch(segment):
        return segment
    is_word = len(segment) <= _LONGEST_WORD and _WORD.fullmatch(segment) is not None
    return segment if is_word else "*"


def _without_literal(match: re.Match[str]) -> str:
    if match["quoted"]:
        return match[0] if _may_be_names(match) else "?"
    return match["name"] or (" " if match["comment"] else "?")


def _without_names(match: re.Match[str]) -> str:
    return "?" if match["quoted"] else _without_literal(match)


def _may_be_names(match: re.Match[str]) -> bool:
    """Tell whether names in double quotes may stand here: behind ``=`` only before a dot."""
    if not match["quoted"] or not match[0].endswith('"') or not _NAMES.fullmatch(match[0][1:-1]):
        return False
    before = match.string[max(0, match.start() - _NEAR) : match.start()]
    return not _BEFORE_TEXT.search(before) or match.string.startswith(".", match.end())


def _tells_names(match: re.Match[str]) -> bool:
    """Tell whether only names in double quotes can stand here, so that the others are names too."""
    if not _may_be_names(match):
        return False
    before = match.string[max(0, match.start() - _NEAR) : match.start()]
    return (
        _BEFORE_NAME.search(before) is not None
        or _BEHIND_NAME.match(match.string, match.end()) is not None
    )


def _command(line: str) -> str:
    match = _COMMAND.fullmatch(line)
    if match is None:
        return "?" if line.strip() else line
    return f"{match[1]} ?" if match[2] else match[1]


def _without_values(value: Any) -> Any:
    if isinstance(value, json_text.Object):
        return json_text.Object((key, _without_values(item)) for key, item in value)
    if isinstance(value, list):
        return [_without_values(item) for item in value]
    return "?"
