r"""One Hyperscan pass tells which rules can match a string; the others need not run.

The database is built from the live rules in prefilter mode: it may flag a string that no rule
matches, never the other way round. ``\d``, ``\w``, ``\s`` and letter case mean more in Unicode
than in Hyperscan's bytes, so text that is not ASCII is screened by its *shadow*: the same string
with every character replaced by an ASCII one of the same classes.
"""

from __future__ import annotations

import string
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import hyperscan as hs
import regex
import structlog

from processors.redaction import views
from processors.redaction.screen_store import load_or_compile
from processors.redaction.weaken import UnscreenableError, weaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processors.redaction.recognizers import Rule

# Marks that are no rule's: the string needs its other readings or its JSON looked into.
LOOK_CLOSER: Final = 1_000_000
_CONTROL: Final = 1_000_001
_PREFILTER: Final = (
    hs.HS_FLAG_PREFILTER
    | hs.HS_FLAG_DOTALL
    | hs.HS_FLAG_MULTILINE
    | hs.HS_FLAG_SINGLEMATCH
    | hs.HS_FLAG_ALLOWEMPTY
)
# With 3 % of the strings marked, 8 at a time take a third of the calls.
_SCANNED_TOGETHER: Final = 8
_INLINE_FLAGS: Final = regex.compile(r"\A\(\?[ims]+\)")
_PERCENT: Final = r"%[0-9A-Fa-f]{2}"
_BACKSLASH: Final = r"\\"
_EXPONENT: Final = r"(?:^|[^\w.\-])\d\.?\d{0,18}[eE]\+?\d{1,2}(?:$|[^\w.\-])"
_EXPONENT_IN_SHADOW: Final = r"\d[eE]\+?\d"
# Unicode white space among the ASCII controls, which Hyperscan's \s does not know
_SEPARATORS: Final = r"[\x1c-\x1f]"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Expression:
    ascii: str
    shadow: str
    mark: int
    flags: int


class Screen:
    """Tells which rules a string needs. One thread at a time."""

    def __init__(self, rules: Sequence[Rule], key_hint: str, *, always_json: bool) -> None:
        """Build (or load) the databases.

        ``key_hint`` finds JSON text with a key that may matter; with ``always_json`` every string
        that looks like JSON is looked into.
        """
        expressions = [
            _Expression(plain, shadow, LOOK_CLOSER, _PREFILTER | hs.HS_FLAG_CASELESS)
            for plain, shadow in (
                (_PERCENT, _PERCENT),
                (_BACKSLASH, _BACKSLASH),
                (_EXPONENT, _EXPONENT_IN_SHADOW),
                (key_hint, key_hint),
            )
        ]
        base64 = views.BASE64_HINT
        expressions.append(_Expression(base64, base64, LOOK_CLOSER, _PREFILTER))
        if always_json:
            expressions.append(
                _Expression(r"^\s*[\[{]", r"^\s*[\[{]", LOOK_CLOSER, _PREFILTER),
            )
        expressions.append(_Expression(_SEPARATORS, _SEPARATORS, _CONTROL, _PREFILTER))
        self._always: list[int] = []
        for position, rule in enumerate(rules):
            expression = _expression(rule, position)
            if expression is None:
                self._always.append(position)
                _log.warning("pattern runs on every string", rule=rule.pattern.name)
            else:
                expressions.append(expression)
        marks = [e.mark for e in expressions]
        flags = [e.flags for e in expressions]
        self._plain, failed = load_or_compile([e.ascii for e in expressions], marks, flags)
        self._shadow, failed_shadow = load_or_compile([e.shadow for e in expressions], marks, flags)
        for mark in sorted(failed | failed_shadow):
            if mark >= LOOK_CLOSER:
                raise RuntimeError("a pattern of clearspan's own did not compile")
            self._always.append(mark)
            _log.warning("pattern runs on every string", rule=rules[mark].pattern.name)

    def suspicious(self, texts: list[str]) -> list[bool]:
        """Tell for each text whether anything is marked.

        Most texts are clean, and a call costs as much as 100 bytes of text, so several are scanned
        as lines of one text: every expression takes the end of a line for an end of the text.
        """
        if self._always:
            return [True] * len(texts)
        result: list[bool] = []
        for first in range(0, len(texts), _SCANNED_TOGETHER):  # over strings not seen before
            block = texts[first : first + _SCANNED_TOGETHER]
            found: list[int] = []
            lines = "\n".join(block)
            if lines.isascii():
                self._plain.scan(lines.encode(), _collect, context=found)
                if not found:
                    result += [False] * len(block)
                    continue
            result += [bool(self.marks(text)) for text in block]
        return result

    def marks(self, text: str) -> list[int]:
        """Return the positions of rules that may match, and LOOK_CLOSER where it applies.

        Empty means: nothing can be in this string.
        """
        found = self._always.copy()
        if text.isascii():
            self._plain.scan(text.encode(), _collect, context=found)
            if _CONTROL not in found:
                return found
        elif not views.is_folded(text):
            found.append(LOOK_CLOSER)
        shadow = text.translate(_SHADOW)
        self._shadow.scan(shadow.encode("ascii"), _collect, context=found)
        return found


def _collect(mark: int, _from: int, _to: int, _flags: int, found: Any) -> None:
    found.append(mark)


def _expression(rule: Rule, position: int) -> _Expression | None:
    if rule.compiled.flags & regex.VERBOSE:
        return None
    flags = _PREFILTER
    if rule.compiled.flags & regex.IGNORECASE:
        flags |= hs.HS_FLAG_CASELESS
    pattern = _INLINE_FLAGS.sub("", rule.pattern.regex)  # they are in the compiled one's flags
    try:
        plain = weaken(pattern, shadow=False)
        shadow = weaken(pattern, shadow=True)
    except UnscreenableError:
        return None
    return _Expression(plain, shadow, position, flags)


class _ShadowTable(dict[int, str]):
    """Maps a code point to the ASCII character with the same classes; fills itself."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = shadow = _shadow_of(character)
        return shadow


def _shadow_of(character: str) -> str:
    code = ord(character)
    if regex.match(r"\s", character):
        return character if character in " \t\n\r\f\v" else " "
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return character
    if regex.match(r"\d", character):
        return str(unicodedata.decimal(character))
    if regex.match("[A-Za-z]", character, regex.IGNORECASE):
        # the Kelvin sign, long s and the Turkish i (dotless i matches I, not i)
        return next(
            letter
            for letter in string.ascii_letters
            if regex.match(letter, character, regex.IGNORECASE)
        )
    return "_" if regex.match(r"\w", character) else "~"


_SHADOW: Final = _ShadowTable()
