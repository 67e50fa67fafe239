r"""One Hyperscan pass tells which rules can match a string; the others need not run.

The database is built from the live rules in prefilter mode: it may flag a string that no rule
matches, never the other way round. ``\d``, ``\w``, ``\s`` and letter case mean more in Unicode
than in Hyperscan's bytes, so text that is not ASCII is screened by its *shadow*: the same string
with every character replaced by an ASCII one of the same classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import regex
import structlog

from processors.redaction import views
from processors.redaction.multi_pattern import Expression, compile_all
from processors.redaction.shadow import shadow_of
from processors.redaction.weaken import UnscreenableError, weaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processors.redaction.keys import KeyClassifier
    from processors.redaction.recognizers import Rule

# Marks that are no rule's: the string needs its other readings or its JSON looked into, has to be
# judged whatever the screen says, or may have a name that decides on what is behind it.
LOOK_CLOSER: Final = 1_000_000
_CONTROL: Final = 1_000_001
UNSCREENED: Final = 1_000_002
PAIRS: Final = 1_000_003
# What a marked string costs is that its whole block is scanned again, string by string.
_SCANNED_TOGETHER: Final = 16
_SHORT: Final = 128
_CLEAN: Final[list[int]] = []
_INLINE_FLAGS: Final = regex.compile(r"\A\(\?[ims]+\)")
_PERCENT: Final = r"%[0-9A-Fa-f]{2}"
_BACKSLASH: Final = r"\\"
_JSON: Final = r'^\s*[\[{]|\{\s*"'
_EXPONENT: Final = r"(?:^|[^\w.\-])\d\.?\d{0,18}[eE]\+?\d{1,2}(?:$|[^\w.\-])"
_EXPONENT_IN_SHADOW: Final = r"\d\.?[eE]\+?\d"
# Unicode white space among the ASCII controls, which Hyperscan's \s does not know
_SEPARATORS: Final = r"[\x1c-\x1f]"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Weak:
    """One pattern in the two forms it is looked for."""

    plain: str
    shadow: str
    mark: int
    is_caseless: bool = True


class Screen:
    """Tells which rules a string needs. One thread at a time."""

    def __init__(
        self,
        rules: Sequence[Rule],
        keys: KeyClassifier,
        *,
        engine: str | None = None,
    ) -> None:
        """Build (or load) the databases.

        ``keys`` say what in a text tells of names that may decide. ``engine``: see
        ``multi_pattern``.
        """
        weak = [
            _Weak(_PERCENT, _PERCENT, LOOK_CLOSER),
            _Weak(_BACKSLASH, _BACKSLASH, LOOK_CLOSER),
            _Weak(_EXPONENT, _EXPONENT_IN_SHADOW, LOOK_CLOSER),
            _Weak(keys.hint, keys.hint, LOOK_CLOSER),
            _Weak(keys.pair_hint, keys.pair_hint, PAIRS),
            _Weak(views.BASE64_HINT, views.BASE64_HINT, LOOK_CLOSER, is_caseless=False),
            _Weak(_SEPARATORS, _SEPARATORS, _CONTROL),
        ]
        if keys.has_globs:
            weak.append(_Weak(_JSON, _JSON, LOOK_CLOSER))
        self._always: list[int] = []
        for position, rule in enumerate(rules):
            one = _weak(rule, position)
            if one is None:
                self._always.append(position)
            else:
                weak.append(one)
        plain = compile_all([Expression(e.plain, e.mark, e.is_caseless) for e in weak], engine)
        shadow = compile_all([Expression(e.shadow, e.mark, e.is_caseless) for e in weak], engine)
        self._plain, self._shadow = plain.scan, shadow.scan
        failed = plain.failed | shadow.failed
        if any(mark >= LOOK_CLOSER for mark in failed):
            raise RuntimeError("a pattern of clearspan's own did not compile")
        self._always += sorted(failed)
        for mark in self._always:
            _log.warning("pattern runs on every string", rule=rules[mark].pattern.name)

    def screened(self, texts: list[str]) -> list[list[int]]:
        """Return the marks of each text.

        Most texts are short and clean, and a call costs as much as 200 bytes of text, so several
        are scanned as lines of one: every expression takes the end of a line for an end of the
        text.
        """
        result: list[list[int]] = [_CLEAN] * len(texts)
        short: list[int] = []
        for place, text in enumerate(texts):  # over strings not seen before
            if len(text) <= _SHORT and not self._always:
                short.append(place)
            else:
                result[place] = self.marks(text)
        for first in range(0, len(short), _SCANNED_TOGETHER):
            block = short[first : first + _SCANNED_TOGETHER]
            lines = "\n".join([texts[place] for place in block])
            found: list[int] = []
            if lines.isascii():
                self._plain(lines.encode(), found)
                if not found:
                    continue
            for place in block:
                result[place] = self.marks(texts[place])
        return result

    def marks(self, text: str) -> list[int]:
        """Return the positions of rules that may match, and LOOK_CLOSER where it applies.

        Empty means: nothing can be in this string.
        """
        found = self._always.copy()
        if text.isascii():
            self._plain(text.encode(), found)
            if _CONTROL not in found:
                return found
        elif not views.is_folded(text):
            found.append(LOOK_CLOSER)
        shadow = shadow_of(text)
        self._shadow(shadow.encode("ascii"), found)
        return found


def _weak(rule: Rule, position: int) -> _Weak | None:
    if rule.compiled.flags & regex.VERBOSE:
        return None
    pattern = _INLINE_FLAGS.sub("", rule.pattern.regex)  # they are in the compiled one's flags
    try:
        plain = weaken(pattern, shadow=False)
        shadow = weaken(pattern, shadow=True)
    except UnscreenableError:
        return None
    return _Weak(plain, shadow, position, bool(rule.compiled.flags & regex.IGNORECASE))
