"""JSON that is no single whole document: cut off, several in one text, or behind other text.

Only what keys in it decide is judged here, where it stands; the text around it is left as it is,
and the rules look through all of it afterwards.
"""

from __future__ import annotations

import json
import re
from functools import reduce
from typing import TYPE_CHECKING, Final

from processors.redaction.json_text import has_outgrown, holds_json, quoted
from processors.redaction.keys import SCAN
from processors.redaction.nested import MAX_DEPTH, NAME_KEYS, VALUE_KEYS
from processors.redaction.operators import REDACTED, TOO_DEEP
from processors.redaction.verdict import Found
from processors.redaction.views import unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processors.redaction.keys import KeyClass
    from processors.redaction.nested import JsonRedactor

_SPACE: Final = r"[ \t\r\n]*"
_KEY: Final = re.compile(rf'"([^"]*+)(?="{_SPACE}:)')
_ESCAPED_QUOTE: Final = '\\"'
_FIRST_KEY: Final = rf'\{{(?={_SPACE}+"(?:[^"\\\n]++|\\[^\n])*+"{_SPACE}+:)'
# A string may be cut off at the end of the text, or of a line before one with another document: one
# in which the first quote is that of an object's first key, or of a key on a line behind it.
_DOCUMENT: Final = rf'[^"\n{{]*+(?:\{{(?!{_SPACE}+")[^"\n{{]*+)*+{_FIRST_KEY}'
_STRING: Final = rf'(?:[^"\\\n]++|\\[^\n]?+|\n(?!{_DOCUMENT}))*+'
_TOKEN: Final = re.compile(
    rf'"(?P<string>{_STRING})(?P<end>"(?P<colon>{_SPACE}:)?)?'
    r"|(?P<mark>[{}\[\],:])"
    r'|(?P<bare>[^ \t\r\n"{}\[\],:]++)',
    re.DOTALL,
)
# A string in which JSON is written: from its beginning, or behind other text where its quote is
# one that can open a string.
_OPENS: Final = r'[\[{](?: |\\[nrt]|[\[{])*+\\++"'
_WRITTEN: Final = (
    rf'"(?=(?: |\\[nrt"\\]){{0,16}}+{_OPENS}|(?<![^\s=:,(\[{{>]")'
    rf'(?:[^"\\{{\[]*+(?:\\[^\n]|(?!{_OPENS})[\[{{])){{0,16}}+[^"\\{{\[]*+{_OPENS})'
)
# From an object's first key, or such a string, up to what no JSON has.
_EMBEDDED: Final = re.compile(
    rf'(?:{_FIRST_KEY}|(?={_WRITTEN}))(?:{_SPACE}+(?:[{{}}\[\],:]|"{_STRING}"?'
    r"|-?(?:\d[\d.eE+\-]*+|NaN|Infinity|true|false|null)(?![^ \t\r\n\]},])))*+",
    re.DOTALL,
)
# The same where every quote is escaped and none stands around it all: ``{\"a\": \"b\"}``. How many
# backslashes the first quote has, all have; one more pair in a string escapes what is behind it.
_GAP: Final = r"(?:[ \t\r\n]|\\++[nrt])*+"
_CLOSES: Final = r'(?:(?P=quote)\\(?P=quote)\\)*+(?P=quote)"'
_KEY_TEXT: Final = r'(?:[^"\\\n]++|\\++(?!"))*+'
_ESCAPED: Final = re.compile(
    rf'\{{(?={_GAP}(?P<quote>\\++)"{_KEY_TEXT}(?:(?!{_CLOSES})(?P=quote)\\++"{_KEY_TEXT}){{0,4}}+'
    rf'\\++"{_GAP}:)(?:{_GAP}(?:[{{}}\[\],:]'
    rf'|(?P=quote)"(?:[^"\\\n]++|(?!{_CLOSES}|(?!(?P=quote))\\++")\\++"?)*+(?:{_CLOSES})?'
    r"|-?(?:\d[\d.eE+\-]*+|NaN|Infinity|true|false|null)(?![^ \t\r\n\]},\\])))*+",
    re.DOTALL,
)


def redact_fragments(text: str, walk: JsonRedactor, depth: int) -> str | None:
    """Return the text without the values that keys in it decide, None if there are none.

    A text that begins as JSON does is read as such to its end. In another, behind a byte order
    mark, ``data:`` or a line of a log, what reads as JSON is; code with braces is left alone.
    """
    if not _has_deciding_key(text, walk):
        return None
    redacted = _redacted(text, walk, depth) if holds_json(text) else None
    for pattern in (_ESCAPED, _EMBEDDED) if _ESCAPED_QUOTE in text else (_EMBEDDED,):
        if redacted is None:
            redacted = _with_embedded(pattern, text, walk, depth)
    return redacted


def _with_embedded(
    pattern: re.Pattern[str], text: str, walk: JsonRedactor, depth: int
) -> str | None:
    """Return the text with the JSON in it redacted; the loop is over pieces of JSON."""
    parts: list[str] = []
    position = 0
    for piece in pattern.finditer(text):
        levels = len(piece.groupdict().get("quote", "")).bit_length()
        plain = reduce(lambda written, _: _unquoted(written), range(levels), piece[0])
        new = _redacted(plain, walk, depth) if _has_deciding_key(plain, walk) else None
        if new is not None:
            for _ in range(levels):
                new = quoted(new)[1:-1]
                if has_outgrown(new, piece[0]):
                    walk.found.append(Found(REDACTED, "too deep"))
                    new = TOO_DEEP
                    break
            parts += text[position : piece.start()], new
            position = piece.end()
    return "".join([*parts, text[position:]]) if parts else None


def _redacted(text: str, walk: JsonRedactor, depth: int) -> str | None:
    """Return the text read as JSON, None if nothing in it is cut.

    What stands behind a key up to the next comma is its value, however much of it there is; a
    string in which JSON is written is judged as that JSON. The loop is over tokens.
    """
    parts: list[str] = []
    position = 0
    inside = _Inside(text, walk)
    key, key_class = "", SCAN
    for token in _TOKEN.finditer(text):
        string, end, colon, mark, bare = token.groups()
        if mark:
            key, key_class = "", inside.behind(mark, key_class)
            if len(inside.classes) + depth > MAX_DEPTH:
                walk.found.append(Found(REDACTED, "too deep"))
                return TOO_DEEP
            continue
        if colon:
            key = _unquoted(string)
            outer = inside.named if key in VALUE_KEYS else inside.classes
            key_class = walk.inner(outer[-1], key)
            continue
        key = ""
        if bare == "null" or (key_class is SCAN and (bare or _ESCAPED_QUOTE not in string)):
            continue
        value = bare or _unquoted(string)
        if key_class is SCAN and "{" not in value and not holds_json(value):
            continue
        new = walk.leaf(value, value, key_class, depth)
        if new is not value:
            written = quoted(new)
            parts += text[position : token.start()], written if bare or end else written[:-1]
            position = token.end()
    return "".join([*parts, text[position:]]) if parts else None


def _names(text: str) -> Iterator[list[str]]:
    """Yield what names a value in the text outside all objects and lists, then in each of them.

    They come in the order in which they open; the name may stand behind its value.
    """
    names: list[list[str]] = [[]]
    opened = [names[0]]
    key = ""
    for token in _TOKEN.finditer(text):
        string, _, colon, mark, bare = token.groups()
        if mark and mark in "{[":
            names.append([])
            opened.append(names[-1])
        elif mark and mark in "}]" and len(opened) > 1:
            opened.pop()
        elif key in NAME_KEYS and not (mark or colon or bare):
            opened[-1].append(_unquoted(string))
        key = _unquoted(string) if colon else ""
    return iter(names)


class _Inside:
    """Of each open object or list: the class it has, and that of a value which it names."""

    def __init__(self, text: str, walk: JsonRedactor) -> None:
        self.classes: list[KeyClass] = []
        self.named: list[KeyClass] = []
        self._names = _names(text)
        self._walk = walk
        self._open(SCAN)

    def behind(self, mark: str, key_class: KeyClass) -> KeyClass:
        """Return the class of what follows a mark; ``key_class`` is that of what stands there."""
        if mark == ":":
            return key_class
        if mark in "{[":
            self._open(key_class)
        elif mark in "}]" and len(self.classes) > 1:
            self.named.pop()
            return self.classes.pop()
        return self.classes[-1]

    def _open(self, key_class: KeyClass) -> None:
        self.classes.append(key_class)
        self.named.append(reduce(self._walk.inner, next(self._names), key_class))


def _has_deciding_key(text: str, walk: JsonRedactor) -> bool:
    """Tell whether there is anything to look for; most texts that are no JSON have no keys."""
    keys = set(map(_unquoted, set(_KEY.findall(text))))
    if not keys or _ESCAPED_QUOTE in text:
        return bool(keys)
    is_named = not (NAME_KEYS.isdisjoint(keys) or VALUE_KEYS.isdisjoint(keys))
    return is_named or any(walk.inner(SCAN, key) is not SCAN for key in keys)


def _unquoted(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        plain: str = json.loads(f'"{text}"', strict=False)
    except ValueError:  # an escape that JSON does not know, or half of one
        return unescape(text)
    return plain
