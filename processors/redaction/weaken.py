"""Rewrites a recognizer's pattern into one that Hyperscan takes and that matches at least as much.

Two forms: for ASCII text, and for the ASCII shadow of other text (see ``screen``). Every change is
towards more matches: assertions go, possessive and atomic become ordinary. Only a negated class in
a look-around at an end of the pattern stays, as a character that may also be missing or be one
that JSON puts round a value; that keeps false flags three times lower than dropping it.
"""

from __future__ import annotations

import re
from typing import Final

_QUANTIFIER: Final = re.compile(r"[*+?]|\{\d*,?\d*\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]")
_LOOK: Final = re.compile(r"\(\?<?[!=]")
_ONE_CLASS: Final = re.compile(r"\[[^\^](?:\\.|[^\]\\])*\]|\\[wds]")
_UNPORTABLE_ESCAPES: Final = frozenset("pPNuUxXGKLmMhHRvV0123456789")
_PLAIN_GROUP: Final = re.compile(r"\(\?[is\-]*:")
_JSON_EDGE: Final = r"[\"\s:,\[\]{}]"


class UnscreenableError(Exception):
    """The pattern uses something for which no superset is known."""


def weaken(pattern: str, *, shadow: bool) -> str:
    """Return the superset of ``pattern``; ``shadow`` is for text whose letters were replaced.

    Raises:
        UnscreenableError: The pattern cannot be translated.
    """
    if not pattern.isascii():
        raise UnscreenableError
    out: list[str] = []
    position = 0
    while position < len(pattern):
        piece, position = _next(pattern, position, shadow=shadow)
        out.append(piece)
    return "".join(out)


def _next(  # noqa: PLR0911 - one return a construct
    pattern: str, position: int, *, shadow: bool
) -> tuple[str, int]:
    """Translate the construct that begins at ``position``; return it and where the next begins."""
    character = pattern[position]
    if character == "\\":
        escape = pattern[position : position + 2]
        if escape[1:] in _UNPORTABLE_ESCAPES:
            raise UnscreenableError
        return ("" if escape in {r"\A", r"\Z", r"\z", r"\B"} else escape), position + 2
    if character == "[":
        return _class(pattern, position, shadow=shadow)
    if character in "^$":
        return "", position + 1
    if _LOOK.match(pattern, position):
        end = _closing(pattern, position)
        return _look(pattern, position, end, shadow=shadow), end
    named = re.compile(r"\(\?(?:P?<\w+>|>|\|)").match(pattern, position)
    if named:
        return "(?:", named.end()
    if pattern.startswith("(?", position) and not _PLAIN_GROUP.match(pattern, position):
        raise UnscreenableError
    quantifier = _QUANTIFIER.match(pattern, position)
    if quantifier and position:
        end = quantifier.end()
        follow = pattern[end : end + 1]
        # possessive becomes greedy; lazy makes no difference to whether there is a match
        return quantifier[0], end + (follow in {"+", "?"})
    return character, position + 1


def _class(pattern: str, position: int, *, shadow: bool) -> tuple[str, int]:
    found = _CLASS.match(pattern, position)
    if (
        found is None
        or re.search(r"\\[pPNuUxX0-9]", found[0])
        or "&&" in found[0]
        or "--" in found[0]
        or "||" in found[0]
    ):
        raise UnscreenableError
    # In a shadow, a character outside the class may have become one inside it.
    return ("." if shadow and found[0].startswith("[^") else found[0]), found.end()


def _look(pattern: str, start: int, end: int, *, shadow: bool) -> str:
    negative_behind = pattern.startswith("(?<!", start) and start == 0
    negative_ahead = pattern.startswith("(?!", start) and end == len(pattern)
    inner = pattern[start + 4 if negative_behind else start + 3 : end - 1]
    if shadow or not (negative_behind or negative_ahead) or not _ONE_CLASS.fullmatch(inner):
        return ""
    other = f"[^{inner[1:]}" if inner.startswith("[") else inner.upper()
    edge = "^" if negative_behind else "$"
    return f"(?:{edge}|{other}|{_JSON_EDGE})"


def _closing(pattern: str, start: int) -> int:
    """Return the position after the parenthesis that closes the one at ``start``."""
    depth, position = 0, start
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 1
        elif character == "[":
            found = _CLASS.match(pattern, position)
            if found is None:
                raise UnscreenableError
            position = found.end() - 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return position + 1
        position += 1
    raise UnscreenableError
