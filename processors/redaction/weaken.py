"""Rewrites a recognizer's pattern into one that Hyperscan takes and that matches at least as much.

Two forms: for ASCII text, and for the ASCII shadow of other text (see ``screen``). Every change is
towards more matches: assertions go, possessive and atomic become ordinary. Only a negated class in
a look-around at an end of the pattern stays, as a character that may also be missing or be one
that JSON puts round a value; that keeps false flags three times lower than dropping it.
"""

from __future__ import annotations

import re
from typing import Final

from processors.redaction.shadow import shadow_of

_QUANTIFIER: Final = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}|\{,\d+\}")
_COUNTED: Final = re.compile(r"\{(\d*)(,?)(\d*)\}")
# Nothing is counted further: Hyperscan compiled all rules in 5 s, and does in 1.5, and RE2 takes no
# bound over 1,000.
_MOST_COUNTED: Final = 64
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]")
_LOOK: Final = re.compile(r"\(\?<?[!=]")
_ONE_CLASS: Final = re.compile(r"\[[^\^](?:\\.|[^\]\\])*\]|\\[wds]")
_UNPORTABLE_ESCAPES: Final = frozenset("pPNuUxXGKLmMhHRvV0")
_NAMED_GROUP: Final = re.compile(r"\(\?(?:P?<\w+>|>|\|)")
_FLAGS: Final = re.compile(r"\(\?[ims]+\)")
_CAPTURING: Final = re.compile(r"\((?!\?)|\(\?P?<\w")
_MEMBER: Final = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)
_MOST_MEMBERS: Final = 0x3000
_NO_WIDTH: Final = re.compile(r"[\^$]|\(\*SKIP\)")
_PLAIN_GROUP: Final = re.compile(r"\(\?[is\-]*:")
_JSON_EDGE: Final = r"[\"\s:,\[\]{}]"


class UnscreenableError(Exception):
    """The pattern uses something for which no superset is known."""


def weaken(pattern: str, *, shadow: bool) -> str:
    """Return the superset of ``pattern``; ``shadow`` is for text whose letters were replaced.

    Raises:
        UnscreenableError: The pattern cannot be translated.
    """
    out: list[str] = []
    position = 0
    while position < len(pattern):
        if out and not out[-1] and _repeats(pattern, position):
            raise UnscreenableError  # it would repeat what stands before what was dropped
        piece, position = _next(pattern, position, shadow=shadow)
        out.append(piece)
    return "".join(out)


def _repeats(pattern: str, position: int) -> bool:
    return _QUANTIFIER.match(pattern, position) is not None


def _next(  # noqa: PLR0911 - one return a construct
    pattern: str, position: int, *, shadow: bool
) -> tuple[str, int]:
    """Translate the construct that begins at ``position``; return it and where the next begins."""
    character = pattern[position]
    if character == "\\":
        return _escape(pattern, position, shadow=shadow), position + 2
    if character == "[":
        return _class(pattern, position, shadow=shadow)
    if no_width := _NO_WIDTH.match(pattern, position):
        return "", no_width.end()
    if not character.isascii():
        return (re.escape(shadow_of(character)) if shadow else "."), position + 1
    if _LOOK.match(pattern, position):
        end = _closing(pattern, position)
        if _repeats(pattern, end):
            raise UnscreenableError
        return _look(pattern, position, end, shadow=shadow), end
    if pattern.startswith("(?", position) and not _PLAIN_GROUP.match(pattern, position):
        return _group(pattern, position)
    quantifier = _QUANTIFIER.match(pattern, position)
    if quantifier and position:
        end = quantifier.end()
        follow = pattern[end : end + 1]
        # possessive becomes greedy; lazy makes no difference to whether there is a match
        return _COUNTED.sub(_counted, quantifier[0]), end + (follow in {"+", "?"})
    if character == "{":
        raise UnscreenableError  # errors that may be in a match, or what engines read differently
    return character, position + 1


def _counted(bounds: re.Match[str]) -> str:
    least = int(bounds[1] or 0)
    most = int(bounds[3] or _MOST_COUNTED + 1) if bounds[2] else least
    if most > _MOST_COUNTED:
        return f"{{{min(least, _MOST_COUNTED)},}}"
    return f"{{{least},{most}}}" if bounds[2] else f"{{{least}}}"


def _escape(pattern: str, position: int, *, shadow: bool) -> str:
    escape = pattern[position : position + 2]
    if escape[1:] in _UNPORTABLE_ESCAPES or not escape[1:]:
        raise UnscreenableError
    if escape[1:].isdigit():
        return _repeated(pattern, position, shadow=shadow)
    return "" if escape in {r"\A", r"\Z", r"\z", r"\B"} else escape


def _group(pattern: str, position: int) -> tuple[str, int]:
    named = _NAMED_GROUP.match(pattern, position)
    if named:
        return "(?:", named.end()
    flags = _FLAGS.match(pattern, position)
    if flags is None:
        raise UnscreenableError
    return "", flags.end()  # they hold for all of the pattern and are in the compiled one's flags


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
    if shadow and found[0].startswith("[^"):
        return ".", found.end()
    text = found[0] if found[0].isascii() else _ascii_class(found[0], shadow=shadow)
    return text, found.end()


def _ascii_class(text: str, *, shadow: bool) -> str:
    """Return the class with ASCII members only: those that its other members can stand for.

    In ASCII text that is a letter in the other case (the Kelvin sign matches k), in a shadow
    whatever their shadows are.
    """
    head = "[^" if text.startswith("[^") else "["
    if "[:" in text:
        raise UnscreenableError
    members: list[str] = []
    for match in _MEMBER.finditer(text[len(head) : -1]):
        if match[0].isascii():
            members.append(match[0])
            continue
        first, last = ord(match[1][-1]), ord((match[2] or match[1])[-1])
        if last - first > _MOST_MEMBERS:
            raise UnscreenableError
        characters = "".join(map(chr, range(first, last + 1)))
        shadows = {
            one
            for character, one in zip(characters, shadow_of(characters), strict=True)
            if shadow or character.isascii() or one.isalpha()
        }
        members += sorted(map(re.escape, shadows))
    return f"{head}{''.join(members)}]" if members else "."


def _repeated(pattern: str, position: int, *, shadow: bool) -> str:
    """Return, for a reference to an earlier group, what that group may have matched."""
    if pattern[position + 2 : position + 3].isdigit():
        raise UnscreenableError
    number, place = int(pattern[position + 1]), 0
    while place < position:
        if pattern[place] == "\\":
            place += 2
            continue
        if pattern[place] == "[":
            found = _CLASS.match(pattern, place)
            if found is None:
                break
            place = found.end()
            continue
        if _CAPTURING.match(pattern, place):
            number -= 1
            if not number:
                end = _closing(pattern, place)
                if end > position:
                    break  # a reference to the group it stands in
                # not at an end of what is weakened: looks must be dropped, not consumed
                return weaken(f"(?:{pattern[place:end]})", shadow=shadow)
        place += 1
    raise UnscreenableError


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
