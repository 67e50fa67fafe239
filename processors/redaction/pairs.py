"""Names with a value behind them in text that is no JSON: what a key decides, they decide.

Literals and keyword arguments, records as languages print them, forms, logfmt, properties, SQL,
databases' complaints, YAML and XML. What a name as likely is in prose or in code is left alone.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from processors.redaction.bound_values import bound_values
from processors.redaction.key_words import words_of
from processors.redaction.keys import KeyKind
from processors.redaction.nested import is_said
from processors.redaction.secret_names import PLACEHOLDER
from processors.redaction.written_values import QUOTED, Value, inner, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processors.redaction.keys import KeyClass, KeyClassifier
    from processors.redaction.nested import JsonRedactor

_NAME: Final = r"[A-Za-z_][\w.\-]{0,80}"
_NAMED: Final = re.compile(
    rf"\b(?P<name>{_NAME}+)(?:(?P<quote>\\*+[\"'`])\]?+|(?::[\w:]{{1,80}}+)?\](?=[ \t]{{0,3}}=>))?+"
    r"(?P<blank>[ \t]{0,3}+)"
    r"(?P<sign>=>|:=|<>|[=:](?![=:~])|(?:NOT )?(?:I?LIKE|IN)(?=(?:[ \t]|\()\(?['\d]))",
    re.ASCII,
)
_ELEMENT: Final = re.compile(
    rf"(?:<|&lt;)(?:\w{{1,64}}:)?(?P<name>{_NAME}+)(?:\s[^<>&=]{{0,80}}+=[^<>&]{{0,200}}+)?"
    r"(?:>|&gt;)\s{0,80}+(?P<value>(?!\s)[^<>]{1,256}?)\s{0,80}"
    r"(?:(?:</|&lt;/)(?:\w{1,64}:)?(?:(?P=name)\b|[\w.\-]*\Z)|(?:<|&l?t?;?)?\Z)",
    re.ASCII,
)
_CLOSING: Final = re.compile("(?:<|&lt;)/")
# The field of a form in HTML or in parts, and the complaint of PostgreSQL and of MySQL
_FIELD: Final = re.compile(
    rf"\bname=[\"'](?P<name>{_NAME}+)[\"'][^<>\r\n]{{0,200}}?\bvalue=(?P<quote>[\"'])"
    r"(?P<value>(?:(?!(?P=quote))[^<>\r\n]){1,256})",
    re.ASCII,
)
_PART: Final = re.compile(
    rf"\bname=\"(?P<name>{_NAME}+)\"\r?\n(?:[^\r\n]{{1,200}}+\r?\n){{0,3}}\r?\n"
    r"(?P<value>[^\r\n]{1,256})",
    re.ASCII,
)
_TAKEN: Final = re.compile(
    r"\((?P<name>[\w., \"]{0,255}[\w\"])\)=\((?P<value>[^\r\n]{1,256}?)(?:\)(?=[ .\r\n]|\Z)|\Z)"
)
_TWICE: Final = re.compile(
    r"(?:Duplicate entry|Incorrect \w{1,20} value:) '(?P<value>[^\r\n]{1,256}?)' for (?:key|column)"
    rf" ['`](?:\w{{1,80}}`\.`){{0,2}}(?P<name>{_NAME}+)",
    re.ASCII,
)
_LITERAL: Final = re.compile(QUOTED, re.DOTALL)
_NUMBER: Final = re.compile(
    r"[+-]?\d[\d.]*+(?![\w\-@%:/])|(?:datetime\.)?date(?:time)?\([\d ,]{1,80}\)"
)
# What a value is wrapped in, or a list: whatever in it is quoted or a number is the value
_BRACKET: Final = re.compile(
    r"&?(?:Some|Just|Optional|String|Text|UUID|ObjectId|Decimal|EmailStr|PhoneNumber|Timestamp|int"
    r"|np\.\w{1,20}|\[\]\w{1,80}|map\[\w{1,80}\]\w{1,80}|map(?=\[\w{1,80}:)"
    r"|(?:[a-z]\w{0,80}+[.$]){0,9}(?P<type>[A-Z]\w{0,80}?)"
    r"(?:Dto|DTO|Entity|Model|Impl|Record|Data|Info)?(?:@[\da-f]{1,16})?)?[\[({]"
)
_CHARACTER: Final = r"[^\s\"'`,;&<>()\[\]{}|=]"
_RUN: Final = rf"(?:{_CHARACTER}|(?<={_CHARACTER})'(?={_CHARACTER}))"
_WORDS: Final = rf"{_RUN}{{1,64}}(?:,? (?!(?:or|if|is|not|in) ){_RUN}{{1,64}}){{0,4}}"
_BARE: Final = re.compile(rf"{_RUN}{{1,256}}(?<![.:!?])=?=?(?=[.:!?]?(?:[\s&;,)\]}}|\"'`]|\Z))")
# there a value ends at the next name or at the end of it all
_IN_RECORD: Final = re.compile(rf"{_WORDS}(?=, ?(?:{_NAME})?(?: ?=|\Z)| ?[)\]}}]|'?\Z)")
_IN_STRUCT: Final = re.compile(
    rf"{_RUN}{{1,64}}(?: (?!{_NAME}:){_RUN}{{1,64}}){{0,4}}(?=[}}\]]| {_NAME}:)"
)
_FIELDS: Final = re.compile(
    rf"\b(?P<name>{_NAME}+)(?:=(?P<value>{_IN_RECORD.pattern})|:(?P<bare>{_IN_STRUCT.pattern}))",
    re.ASCII,
)
_IN_ARRAY: Final = re.compile(rf"{_WORDS}(?=[ \t]*(?:[\r\n]|'?\Z)| [\[)])")
# ended by the next name, or by what ends the list in which it is not the first
_WORD: Final = r"(?:[^\s\"'`,;:&<>()\[\]{}|=]|(?<=\w)'(?=\w)){1,64}"
_LISTED: Final = rf"(?!(?:[Tt]he|an?|[Yy]our) ){_WORD}(?: {_WORD}){{0,3}}(?<![.!?])"
_IN_LIST: Final = re.compile(rf"{_LISTED}(?=[,;] ?(?:{_NAME})?(?::[ \t]|:?\Z))")
_LAST_IN_LIST: Final = re.compile(rf"{_LISTED}(?=[.!?]?(?:[)\]}}\"]|\s*(?:[\r\n]|\Z)))")
_WITH_DIGIT: Final = re.compile(rf"(?=[\w.+\-]{{0,256}}\d){_BARE.pattern}")
_LINE: Final = re.compile(
    r"^[ \t]*+(?:(?:[\-*>]|\d{1,2}[.)])[ \t]++)?\*{0,2}"
    rf"(?P<name>{_NAME}(?P<more>(?: [A-Za-z]{{1,20}}){{1,3}})?)"
    r"\*{0,2}[ \t]*+[:=]\*{0,2}(?(more)[ \t]++|(?:(?<==)[ \t]*+|[ \t]++))"
    rf"(?P<value>(?!(?:[Tt]he|an?|[Yy]our) ){_WORDS})[ \t]*\r?$",
    re.ASCII | re.MULTILINE,
)
# A pair in a list of pairs, or of a call; the headers that Node lists flat; {'Name': …, 'Value': …}
_OPENED: Final = r"(?:[bu](?=\\*[\"'`]))?\\*+[\"'`]"
_CLOSED: Final = r"\\*+[\"'`]"
_CALLED: Final = r"[\w:][\w.:\-]{0,80}+"
_TUPLE: Final = re.compile(
    r"(?:[\[{,]\s{0,80}+[\[({]|\(\s{0,80}+\(|(?P<call>(?<=\w)\())\s{0,80}+"
    rf"{_OPENED}(?P<name>{_CALLED}){_CLOSED}\s{{0,3}}+,\s{{0,80}}+(?>{QUOTED}|(?P<bare>[+-]?\d[\d.]*+))"
    r"(?=\\*+\s{0,80}+,?\s{0,80}+(?:[\])}]|\Z)|\n)",
    re.ASCII | re.DOTALL,
)
# Without quotes: in YAML the rest of a line, elsewhere what it says; code where the name has quotes
_PLAIN: Final = r"(?!\$[({])[^\s\"'`{\[|>,]\S*+(?:[ \t]++(?!#)\S++)*+"
_OF_ANY: Final = r"(?:[^\s\"'`,<>()\[\]{}|]|(?<=\w)'(?=\w))++"
_UP_TO_NAME: Final = rf"{_OF_ANY}(?: (?!{_NAME}:){_OF_ANY})*+"
_ENTRY: Final = re.compile(
    rf"(?<![a-z])(?:name|key)(?:{_CLOSED})?\s?(?:=>|[:=])\s{{0,3}}+"
    rf"(?P<key>{_OPENED})?(?P<name>{_CALLED})(?:{_CLOSED})?(?:\s?[,;]\s{{0,80}}+|\s{{0,80}}(?P<line>\n)\s{{0,80}}+"
    rf"| {{1,2}}(?=value:(?:\S| {_CLOSED})))"
    rf"(?:{_OPENED}|:)?value(?:{_CLOSED})?\s?(?:=>|[:=])\s{{0,3}}+"
    rf"(?:{QUOTED}|(?P<bare>(?(line){_PLAIN}|(?(key)[+-]?\d[\d.]*+|{_UP_TO_NAME}))))",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_HEADERS: Final = re.compile(
    rf"raw_?headers(?:{_CLOSED})?\s{{0,3}}[:=]\s{{0,3}}\[\s{{0,80}}(?={_OPENED})",
    re.ASCII | re.IGNORECASE,
)
_ITEM: Final = re.compile(rf"{QUOTED}(?:\s{{0,80}}+,\s{{0,80}}+)?", re.DOTALL)
# no value: also a type, or a name as code has it
_NO_VALUE: Final = re.compile(
    rf"(?!{PLACEHOLDER})"
    r"|(?:[$?]\w*|(?-i:%[sdrviqf]?)|\{[\w.]*\}|\.{3}|…|<\w[\w ]*>|(?:\w*_|email|secret|con)?str"
    r"|\w*string|u?int(?:8|16|32|64|128|eger)?|[iu](?:8|16|32|64|128)|uuid|date(?:time)?|bool(?:ean)?"
    r"|number|float|char|text|bytes|any|object)[?!,]?\Z",
    re.IGNORECASE,
)
# what follows a text that ends with a name: print("user:", x)
_FOLLOWS: Final = re.compile(r"\s*(?:[),;\]}]|\+\s)")
_SHORTEST: Final = 4  # of words that begin or end another: the name of username
# of a secret, not of an index or of a length: get("token", 0)
_SIGN: Final = re.compile(r"=|\d\D|\D\d|\d{3}")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z_.]*", re.ASCII)
# Who speaks, or what is spoken of: user: hello
_SPOKEN: Final = frozenset({"user", "enduser", "email", "emails", "e-mail", "mail", "phone", "tel"})
_BEFORE_BARE: Final = frozenset(["", *" \t\r\n(?&;,[{|\"'`#>-"])
_DIALLED: Final = re.compile(r"\+?\d[\d ./\-]*")
_PLACES: Final = (_LINE, _ELEMENT, _FIELD, _PART, _TAKEN, _TWICE, _TUPLE, _ENTRY)
_BEHIND: Final = re.compile(r"[ \t]{1,3}+")
_BEHIND_KEY: Final = re.compile(r"\s{1,80}+(?:string\(\d{1,9}\) )?")


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


def redact_pairs(
    text: str, blank: str, walk: JsonRedactor, keys: KeyClassifier, depth: int
) -> str | None:
    """Return the text without the values that names in it decide, None if there are none.

    ``blank`` is the text, as long, without what redaction wrote: <EMAIL_ADDRESS> is no element.
    The loops are over what may be names in a text whose marks promise some, and over values.
    """
    found = dict(
        (
            *_in_places(blank, keys),
            *_in_headers(blank, keys),
            *_behind_signs(blank, keys),
            *bound_values(blank, partial(_decision, keys, is_key=True)),
        )
    )
    parts: list[str] = []
    position = 0
    for value in sorted(found, key=lambda value: (value.start, -value.end)):
        if value.start >= position:
            spelled = text[value.start : value.end]
            is_whole = spelled == blank[value.start : value.end]
            plain = value.plain if is_whole else spelled
            new = walk.leaf(plain, plain, found[value], depth)
            if new is not plain:
                parts += text[position : value.start], new
                position = value.end
    return "".join([*parts, text[position:]]) if parts else None


def _in_places(text: str, keys: KeyClassifier) -> Iterator[tuple[Value, KeyClass]]:
    """Yield what a line, an element, a form, a complaint, a pair or an entry has a name for."""
    for pattern in _PLACES:
        for place in pattern.finditer(text):
            name, value = place["name"], written(place)
            key_class = _decision(keys, name, is_key=pattern in {_TUPLE, _ENTRY})
            if key_class is None or _is_code(name, value.plain):
                continue
            if pattern in {_LINE, _ELEMENT} and _is_said(name, value.plain):
                continue
            if pattern is _TUPLE and is_said(name, value.plain):
                continue
            if pattern is _TUPLE and place["call"] and not _is_given(value.plain, key_class):
                continue
            # a template's <first_name> has no end anywhere
            if pattern is not _ELEMENT or place.end() < len(text) or _CLOSING.search(text):
                yield value, key_class


def _in_headers(text: str, keys: KeyClassifier) -> Iterator[tuple[Value, KeyClass]]:
    """Yield the values of headers that stand flat in a list, each behind its name."""
    for start in _HEADERS.finditer(text):
        name = None
        position = start.end()
        while (item := _ITEM.match(text, position)) is not None:
            value, position = written(item), item.end()
            if name is None:
                name = value.plain
                continue
            key_class = _decision(keys, name, is_key=True)
            if key_class is not None and not _is_code(name, value.plain):
                yield value, key_class
            name = None


def _behind_signs(text: str, keys: KeyClassifier) -> Iterator[tuple[Value, KeyClass]]:
    """Yield what stands behind a name and a sign, alone or in brackets."""
    nested_end = 0
    for match in _NAMED.finditer(text):
        is_key = match["quote"] is not None and (match["sign"] == "=>" or "]" not in match[0])
        key_class = _decision(keys, match["name"], is_key=is_key)
        named = _name(text, match) if key_class is not None else None
        if key_class is None or named is None:
            continue
        bracket = _BRACKET.match(text, named.behind)
        if bracket is None or not _is_type_of(bracket["type"], named):
            value = _value(text, named)
            if value is not None and not _is_code(named.text, value.plain):
                yield value, key_class
        elif nested_end <= bracket.start():
            values, nested_end = inner(text, bracket.end() - 1)
            yield from ((one, key_class) for one in values if not _is_nothing(one.plain))
            for field in _FIELDS.finditer(text, bracket.end(), nested_end):
                if not _is_code(field["name"], written(field).plain):
                    yield written(field), key_class


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


def _is_type_of(type_name: str | None, named: _Name) -> bool:
    """Tell whether a type before a bracket is what the name has: user=User(…)."""
    if type_name is None:
        return True
    return (named.is_key or named.is_tight) and type_name.lower() in words_of(named.text)[0]


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


def _value(text: str, named: _Name) -> Value | None:
    """Return the one value behind a name."""
    literal = _LITERAL.match(text, named.behind)
    if literal is not None:
        value = written(literal)
        is_said = named.is_spoken and not named.is_tight and any(map(str.isspace, value.plain))
        is_said = is_said or (not named.is_key and _FOLLOWS.match(value.plain) is not None)
        return None if is_said else value
    bare = _NUMBER.match(text, named.behind) or _bare(text, named)
    return None if bare is None or named.is_spoken else Value(*bare.span(), bare[0])


def _bare(text: str, named: _Name) -> re.Match[str] | None:
    """Return the value that stands without quotes where a notation has such."""
    before, sign = named.before, named.sign
    if named.is_key:
        return None
    if sign == "=>":
        return _IN_ARRAY.match(text, named.behind) if before.endswith("[") else None
    if before[-1:] not in _BEFORE_BARE:
        return None
    is_upper = named.text[0].isupper()
    if sign == "=" and (named.is_tight or (is_upper and before in {"{ ", ", "})):
        is_record = before.endswith(("(", "[", "{", ",", ", ", "{ "))
        record = _IN_RECORD.match(text, named.behind) if is_record else None
        return record or (_BARE.match(text, named.behind) if named.is_tight else None)
    return _behind_colon(text, named) if sign == ":" else None


def _behind_colon(text: str, named: _Name) -> re.Match[str] | None:
    """Return the value without quotes behind a colon within a line."""
    before, behind = named.before, named.behind
    if named.is_tight and before.endswith(("{", "[", " ")):
        return _IN_STRUCT.match(text, behind)
    is_later = before in {", ", "; "} or before.endswith("(")
    last = _LAST_IN_LIST.match(text, behind) if is_later else None
    return last or _IN_LIST.match(text, behind) or _WITH_DIGIT.match(text, behind)


def _is_given(value: str, key_class: KeyClass) -> bool:
    """Tell a secret that a call is given from a name or what is logged: set("cookie", "a=b")."""
    return key_class.kind is KeyKind.CREDENTIAL and _SIGN.search(value) is not None


def _is_said(name: str, value: str) -> bool:
    """Tell what is said rather than had: words of a user, in a mail, on a phone."""
    last = _last_word(name)
    if last not in _SPOKEN or (last in {"phone", "tel"} and _DIALLED.fullmatch(value)):
        return False
    return name.rsplit(maxsplit=1)[-1].lower() in _SPOKEN or " " in value


def _is_code(name: str, value: str) -> bool:
    """Tell a value that is none: empty, a placeholder, a type, or called as the name is."""
    if _is_nothing(value) or words_of(value) == words_of(name):
        return True
    if not _IDENTIFIER.fullmatch(value):
        return False
    word = _last_word(value)
    return any(
        one == word or (len(word) >= _SHORTEST and (one.startswith(word) or one.endswith(word)))
        for one in words_of(name)[0]
    )


def _is_nothing(value: str) -> bool:
    return not value or _NO_VALUE.match(value) is not None


def _last_word(name: str) -> str:
    words = words_of(name)[0]
    return words[-1] if words else ""
