"""Values as text that is no JSON has them: in quotes of any language, escaped, in brackets."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from processors.redaction.views import unescape

# An apostrophe between letters closes only where none follows soon: O'Brien', O''Brien'
QUOTED: Final = (
    r"(?:[bfruBFRU@$]{1,2}(?=[\"'`]))?"
    r"(?:(?P<quote>\"\"\"|'''|[\"'`])(?P<value>(?:[^\\\n]|\\.)*?)"
    r"(?:(?P=quote)(?!(?:(?<=\w')'?|(?<=\w''))\w[^'\n=:<>]{0,63}(?:'|\Z))|(?=\n)|\\?\Z)"
    r"|\\++[\"'`](?P<escaped>[^\"'`\\\n]*+)(?:\\++[\"'`])?+)"
)
NUMBER: Final = r"(?P<bare>(?<![\w.\-$@])[+-]?\d[\d.]*+(?![\w\-]))"
_INNER: Final = re.compile(
    rf"(?P<open>[\[({{])|(?P<close>[\])}}])|{NUMBER}|(?:{QUOTED})(?P<colon>\s*(?:=>|:))?", re.DOTALL
)


class Value(NamedTuple):
    """Where a value is written, and what it reads."""

    start: int
    end: int
    plain: str


def written(match: re.Match[str]) -> Value:
    """Return the value in a match, without the escapes that are behind a quote."""
    groups = match.groupdict()
    group = next(one for one in ("value", "escaped", "bare") if groups.get(one) is not None)
    is_quoted = group == "escaped" or groups.get("quote") is not None
    return Value(*match.span(group), unescape(match[group]) if is_quoted else match[group])


def inner(text: str, start: int) -> tuple[list[Value], int]:
    """Return what is quoted or a number in the bracket that opens here, without keys; its end."""
    values: list[Value] = []
    depth, end = 0, len(text)
    for token in _INNER.finditer(text, start):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
            if depth == 0:
                end = token.end()
                break
        elif not token["colon"]:
            values.append(written(token))
    return values, end
