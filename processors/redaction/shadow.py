"""The ASCII shadow of a text: every character replaced by an ASCII one of its classes.

What a pattern finds in the text it finds in the shadow too, once it is weakened for shadows.
"""

from __future__ import annotations

import string
import unicodedata
from typing import Final

import regex


def shadow_of(text: str) -> str:
    """Return the shadow."""
    return text.translate(_TABLE)


class _ShadowTable(dict[int, str]):
    """Maps a code point to the ASCII character with the same classes; fills itself."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = shadow = _of(character)
        return shadow


def _of(character: str) -> str:
    code = ord(character)
    if regex.match(r"\s", character):
        return character if character in " \t\n\r\f\v" else " "
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return character
    if regex.match(r"\d", character):
        # `regex` knows digits of later Unicode than this Python: any digit is of the same classes
        return str(unicodedata.decimal(character, 0))
    if regex.match("[A-Za-z]", character, regex.IGNORECASE):
        # the Kelvin sign, long s and the Turkish i (dotless i matches I, not i)
        return next(
            letter
            for letter in string.ascii_letters
            if regex.match(letter, character, regex.IGNORECASE)
        )
    return "_" if regex.match(r"\w", character) else "~"


_TABLE: Final = _ShadowTable()
