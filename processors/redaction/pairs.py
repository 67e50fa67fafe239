"""Names with a value behind them in text that is no JSON: what a key decides, they decide.

Literals of Python, Ruby and Go, keyword arguments, records as Java, Kotlin and Go print them,
forms, logfmt, properties, YAML and XML. What a name as likely is in prose or in code is left alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from processors.redaction.key_words import words_of
from processors.redaction.keys import KeyKind
from processors.redaction.secret_names import PLACEHOLDER
from processors.redaction.views import unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processors.redaction.keys import KeyClass, KeyClassifier
    from processors.redaction.nested import JsonRedactor

_NAME: Final = r"[A-Za-z_][\w.\-]{0,80}"
_NAMED: Final = re.compile(
    rf"\b(?P<name>{_NAME}+)(?P<quote>\\*+[\"'`])?+(?P<blank>[ \t]{{0,3}}+)"
    r"(?P<sign>=>|:=|[=:](?![=:~]))",
    re.ASCII,
)
_ELEMENT: Final = re.compile(
    rf"(?:<|&lt;)(?:\w{{1,64}}:)?(?P<name>{_NAME}+)(?:\s[^<>&\r\n]{{0,200}}+)?(?:>|&gt;)\s{{0,80}}+"
    r"(?P<value>(?!\s)[^<>]{1,256}?)\s{0,80}(?:</|&lt;/|(?:<|&l?t?;?)?\Z)",
    re.ASCII,
)
_CLOSING: Final = re.compile("(?:<|&lt;)/")
_QUOTED: Final = (
    r"(?:[bfruBFRU@$]{1,2}(?=[\"'`]))?"
    r"(?:(?P<quote>\"\"\"|'''|[\"'`])(?P<value>(?:[^\\\n]|\\.)*?)(?:(?P=quote)|(?=\n)|\\?\Z)"
    r"|\\++[\"'`](?P<escaped>[^\"'`\\\n]*+)(?:\\++[\"'`])?+)"
)
_LITERAL: Final = re.compile(_QUOTED, re.DOTALL)
_NUMBER: Final = re.compile(
    r"[+-]?\d[\d.]*+(?![\w\-@%:/])|(?:datetime\.)?date(?:time)?\([\d ,]{1,80}\)"
)
# What a value is wrapped in, or a list: whatever in it is quoted or a number is the value
_BRACKET: Final = re.compile(
    r"(?:(?:Some|Just|Optional|String|Text|UUID|ObjectId|Decimal|EmailStr"
    r"|\[\]\w+|map\[\w+\]\w+)\s?)?[\[({]"
)
_INNER: Final = re.compile(
    rf"(?P<open>[\[({{])|(?P<close>[\])}}])|(?P<number>(?<![\w.\-])[+-]?\d[\d.]*+(?![\w\-]))"
    rf"|(?:{_QUOTED})(?P<colon>\s*(?:=>|:))?",
    re.DOTALL,
)
_RUN: Final = r"[^\s\"'`,;&<>()\[\]{}|=]"
_WORDS: Final = rf"{_RUN}{{1,64}}(?:,? {_RUN}{{1,64}}){{0,4}}"
_BARE: Final = re.compile(rf"{_RUN}{{1,256}}(?<![.:!?])=?=?(?=[.:!?]?(?:[\s&;,)\]}}|\"'`]|\Z))")
# there a value ends at the next name or at the end of it all
_IN_RECORD: Final = re.compile(rf"{_WORDS}(?=, ?(?:{_NAME})?(?:=|\Z)|[)\]}}]|\Z)", re.ASCII)
_IN_STRUCT: Final = re.compile(
    rf"{_RUN}{{1,64}}(?: (?!{_NAME}:){_RUN}{{1,64}}){{0,4}}(?=\}}| {_NAME}:)", re.ASCII
)
_LINE: Final = re.compile(
    rf"^[ \t]*+(?:[\-*>][ \t]++)?\*{{0,2}}(?P<name>{_NAME}(?: [A-Za-z]{{1,20}}){{0,3}})\*{{0,2}}"
    rf"[ \t]*+[:=]\*{{0,2}}[ \t]++(?P<value>{_WORDS})[ \t]*\r?$",
    re.ASCII | re.MULTILINE,
)
# no value: also a type, or a name as code has it
_NO_VALUE: Final = re.compile(
    rf"(?!{PLACEHOLDER})|(?:[$%?]\w*|\.{{3}}|…|<\w[\w ]*>|\w*str(?:ing)?|u?int\w*|[iu]\d+|uuid"
    r"|date(?:time)?|bool(?:ean)?|number|float|char|text|any|object)[?!,]?\Z",
    re.IGNORECASE,
)
_SHORTEST: Final = 4  # of words that are in another: the name of username
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z_.]*", re.ASCII)
# Who speaks, or what is spoken of: user: hello
_SPOKEN: Final = frozenset({"user", "enduser", "email", "emails", "mail", "mails", "phone", "tel"})
_BEFORE_BARE: Final = frozenset(["", *" \t\r\n(?&;,[{|\"'`#>-"])
_BEHIND: Final = re.compile(r"[ \t]{1,3}+")
_BEHIND_KEY: Final = re.compile(r"\s{1,80}+")


class _Value(NamedTuple):
    """Where a value is written, and what it reads."""

    start: int
    end: int
    plain: str


class _Name(NamedTuple):
    """A name before a sign; ``before`` are two characters, ``behind`` is where a value begins."""

    text: str
    before: str
    sign: str
    behind: int
    is_key: bool
    is_tight: bool

    @property
    def is_spoken(self) -> bool:
        """Whether it may as well tell who speaks."""
        return self.text.lower() in _SPOKEN and self.sign == ":" and not self.is_key


def redact_pairs(text: str, walk: JsonRedactor, keys: KeyClassifier, depth: int) -> str | None:
    """Return the text without the values that names in it decide, None if there are none.

    The loops are over what may be names in a text whose marks promise some, and over values.
    """
    found = dict((*_in_lines_and_elements(text, keys), *_behind_signs(text, keys)))
    parts: list[str] = []
    position = 0
    for value in sorted(found):
        if value.start >= position:
            new = walk.leaf(value.plain, value.plain, found[value], depth)
            if new is not value.plain:
                parts += text[position : value.start], new
                position = value.end
    return "".join([*parts, text[position:]]) if parts else None


def _in_lines_and_elements(text: str, keys: KeyClassifier) -> Iterator[tuple[_Value, KeyClass]]:
    """Yield what a line or an element of XML has a name for."""
    for place in (*_LINE.finditer(text), *_ELEMENT.finditer(text)):
        name, value = place["name"], _Value(*place.span("value"), place["value"])
        key_class = _decision(keys, name)
        if key_class is None or _last_word(name) in _SPOKEN or _is_code(name, value.plain):
            continue
        # a template's <first_name> has no end anywhere
        if place.re is _LINE or place.end() < len(text) or _CLOSING.search(text):
            yield value, key_class


def _behind_signs(text: str, keys: KeyClassifier) -> Iterator[tuple[_Value, KeyClass]]:
    """Yield what stands behind a name and a sign, alone or in brackets."""
    nested_end = 0
    for match in _NAMED.finditer(text):
        key_class = _decision(keys, match["name"], is_key=match["quote"] is not None)
        named = _name(text, match) if key_class is not None else None
        if key_class is None or named is None:
            continue
        bracket = _BRACKET.match(text, named.behind)
        if bracket is None:
            value = _value(text, named)
            if value is not None and not _is_code(named.text, value.plain):
                yield value, key_class
        elif nested_end <= bracket.start():
            values, nested_end = _inner(text, bracket.end() - 1)
            yield from ((value, key_class) for value in values)


def _name(text: str, match: re.Match[str]) -> _Name | None:
    """Return a name before a sign, None if a quote closes behind it that did not open before it."""
    start, quote = match.start(), match["quote"]
    if quote and not text.endswith(quote, 0, start):
        return None
    behind = (_BEHIND_KEY if quote else _BEHIND).match(text, match.end())
    end = match.end() if behind is None else behind.end()
    is_tight = end == match.end() and not match["blank"]
    before = text[max(0, start - 2) : start]
    return _Name(match["name"], before, match["sign"], end, bool(quote), is_tight)


def _decision(keys: KeyClassifier, name: str, *, is_key: bool = False) -> KeyClass | None:
    """Return the class that decides on a value under the name, None if there is none.

    Of secrets, the rules know what they are called in text that is no literal with keys.
    """
    key_class = keys.classify_name(name)
    if not key_class.is_whole:
        return None
    if key_class.kind is KeyKind.CREDENTIAL and not is_key and not keys.is_chosen_credential(name):
        return None
    return key_class


def _value(text: str, named: _Name) -> _Value | None:
    """Return the one value behind a name."""
    literal = _LITERAL.match(text, named.behind)
    if literal is not None:
        group = "escaped" if literal["value"] is None else "value"
        plain = unescape(literal[group])
        is_said = named.is_spoken and not named.is_tight and any(map(str.isspace, plain))
        return None if is_said else _Value(*literal.span(group), plain)
    bare = _NUMBER.match(text, named.behind) or _bare(text, named)
    return None if bare is None or named.is_spoken else _Value(*bare.span(), bare[0])


def _bare(text: str, named: _Name) -> re.Match[str] | None:
    """Return the value that stands without quotes where a notation has such."""
    if named.is_key or not named.is_tight or named.before[-1:] not in _BEFORE_BARE:
        return None
    if named.sign == "=":
        is_record = named.before.endswith(("(", "[", "{", ",", ", "))
        record = _IN_RECORD.match(text, named.behind) if is_record else None
        return record or _BARE.match(text, named.behind)
    if named.sign == ":" and named.text[0].isupper() and named.before.endswith(("{", " ")):
        return _IN_STRUCT.match(text, named.behind)
    return None


def _inner(text: str, start: int) -> tuple[list[_Value], int]:
    """Return what is quoted or a number in the bracket that opens here, without keys; its end."""
    values: list[_Value] = []
    depth = 0
    for token in _INNER.finditer(text, start):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
            if depth == 0:
                return values, token.end()
        elif token["number"]:
            values.append(_Value(*token.span("number"), token["number"]))
        elif not token["colon"]:
            group = "escaped" if token["value"] is None else "value"
            values.append(_Value(*token.span(group), unescape(token[group])))
    return values, len(text)


def _is_code(name: str, value: str) -> bool:
    """Tell a value that is none: empty, a placeholder, a type, or called as the name is."""
    if not value or _NO_VALUE.match(value):
        return True
    if not _IDENTIFIER.fullmatch(value):
        return False
    word = _last_word(value)
    return word in words_of(name)[0] or (len(word) >= _SHORTEST and word in name.lower())


def _last_word(name: str) -> str:
    words = words_of(name)[0]
    return words[-1] if words else ""
