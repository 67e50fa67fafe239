"""JSON text and back, without losing a repeated key, the order or a digit."""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_QUOTED: Final = re.compile(r'[ \t\r\n]*"(?:[ \t\r\n"]|\\[nrt"\\])*[{\[]')
_KEY_END: Final = re.compile(r'"[ \t\r\n]*:')
# The longest digests, in place of digits in a list, take 42 times as much.
_MOST_GROWTH: Final = 64
_MAY_GROW_CHARS: Final = 1024


class _Number(str):
    """A number as it is spelled, so that 1.10 stays 1.10 and no digit is lost."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """An object with its keys in order, repeated ones too: none may be dropped unseen."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=_Number,
)


def looks_like_json(text: str) -> bool:
    """Tell whether the text may be a JSON object or array."""
    start = text[:64].lstrip(" \t\n\r")[:1]
    return start in ("{", "[") or (start == "" and text.lstrip(" \t\n\r")[:1] in ("{", "["))


def holds_json(text: str) -> bool:
    """Tell whether the text may be JSON, or JSON that was written as a JSON string."""
    return looks_like_json(text) or (text[:1] in ' \t\r\n"' and _QUOTED.match(text) is not None)


def has_json_within(text: str) -> bool:
    """Tell whether JSON may stand in the text: most prose and code has no quoted key."""
    return "{" in text and _KEY_END.search(text) is not None


def parse(text: str) -> Any:
    """Return the parsed object or array (or string).

    Raises ValueError when the text is no JSON and RecursionError when it is nested too deeply.
    """
    return _DECODER.decode(text)


def dump(value: Any) -> str:
    """Return the JSON text of what ``parse`` returned."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Object):
        return "{" + ", ".join(f"{quoted(key)}: {dump(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value)


def quoted(text: str) -> str:
    """Return the JSON string of a text."""
    if text.isascii():
        return encode_basestring(text)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate came as an escape and must go as one
        return json.dumps(text)
    return encode_basestring(text)


def has_outgrown(text: str, before: str) -> bool:
    """Tell whether a redacted text is far longer than before.

    In JSON within JSON each level doubles what stands before a quote or for a line's end: without
    an end to it 4 kB would become 2 MB, and 1 MB more than there is memory.
    """
    return len(text) > _MOST_GROWTH * len(before) + _MAY_GROW_CHARS


def leaves(text: str) -> Iterator[str]:
    """Yield every string value in JSON text; of other text the text itself."""
    if not looks_like_json(text):
        yield text
        return
    try:
        waiting = [parse(text)]
    except (ValueError, RecursionError):
        yield text
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, Object):
            waiting.extend(item for _, item in value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and not isinstance(value, _Number):
            yield value
