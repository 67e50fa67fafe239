"""Pieces of patterns: what a secret is called, and what is written there that is none."""

from __future__ import annotations

from typing import Final

# A value that is code or a placeholder, not a secret: null, $1, ${VAR}, {{ x }}, :name, %(x)s, ***
PLACEHOLDER: Final = (
    r"(?!(?:null|none|nil|true|false|undefined|string|required|optional|empty|redacted)\b"
    r"|\$\{|\{\{|\$\d|%\(|:\w|\*{3})"
)
_RUN: Final = r"[^\s\"',;&<>]"


def _ahead(sign: str) -> str:
    """Ask for a sign of a secret before the run ends.

    A run too long for that counts as one: looking on from every bearer in ``bearer+bearer+…`` takes
    quadratic time.
    """
    return rf"(?={_RUN}{{0,255}}?{sign}|{_RUN}{{256}})"


DIGIT_OR_HUMP: Final = _ahead(r"(?:\d|(?-i:[a-z][A-Z]))")
DIGIT_OR_SIGN: Final = _ahead(r"[\d!@#$%^*_+=]")
BARE: Final = r"[^\s\"',;&<>\\]"
NAME_OF_ONE: Final = (
    r"(?:pass(?:word|wd|phrase|code|wort)|pwd|secret|api[_.\- ]?key|(?:access|secret|private"
    r"|signing|encryption|account|master)[_.\- ]?key|(?:auth|access|refresh|id|session|bearer"
    r"|security|csrf)[_.\- ]?token|credentials?)"
)
