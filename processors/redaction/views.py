"""Other readings of a string: percent, base64, escapes, folded Unicode, written-out numbers."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from typing import Final
from urllib.parse import unquote

_MAX_ROUNDS: Final = 3
# Invisible characters (zero-width, soft hyphen, direction marks, variation selectors) and every
# dash that NFKC leaves alone.
_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_DASHES: Final = "\u058a\u2010-\u2015\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d"
_HIDDEN: Final = re.compile(f"[{_INVISIBLE}]")
_DASH: Final = re.compile(f"[{_DASHES}]")
_FOREIGN_DIGIT: Final = re.compile(r"[^\D0-9]")  # Arabic, Devanagari, … which NFKC keeps
_FOLDABLE: Final = re.compile(rf"[{_INVISIBLE}{_DASHES}]|[^\D0-9]")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
_EXPONENT: Final = re.compile(r"(?<![\w.\-])(\d)\.?(\d{0,18})[eE]\+?(\d{1,2})(?![\w.\-])")
# Base64 of at least 8 bytes, in either alphabet. What Hyperscan looks for is a capital behind a
# small letter or digit: prose and hex have none, base64 of 8 bytes of text has one in 995 cases of
# 1,000, of 10 bytes in 999, of 16 always. Looking for runs of the alphabet instead makes the scan a
# third slower.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-]{11,}={0,2}")
BASE64_HINT: Final = "[a-z0-9][A-Z]"
_HUMP: Final = re.compile(BASE64_HINT)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_EXPONENT_HINT: Final = re.compile(r"[\d.][eE][+\d]")
# The longest number that any card, phone or account has.
_MAX_DIGITS: Final = 40


def is_folded(text: str) -> bool:
    """Tell whether Unicode folding leaves the text alone (always so for ASCII)."""
    return text.isascii() or (
        unicodedata.is_normalized("NFKC", text) and _FOLDABLE.search(text) is None
    )


def fold(text: str) -> str:
    """Return the text without invisible characters, in NFKC, with plain hyphens and digits."""
    if text.isascii():
        return text
    text = _DASH.sub("-", unicodedata.normalize("NFKC", _HIDDEN.sub("", text)))
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def unescape(text: str) -> str:
    r"""Undo backslash escapes as JSON and most languages write them (\u0040, \n, \/)."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_unescaped, text)


def decode(text: str) -> str:
    """Undo one layer of everything this module knows."""
    return _undone(text)[-1]


def readings(text: str) -> list[str]:
    """Return the decodings of the text that differ from it, one layer after the other.

    Each is read with its base64 left as it is, too: that is what stands behind ``Basic%20``.
    """
    found: list[str] = []
    latest = [text]
    for _ in range(_MAX_ROUNDS):
        before = len(found)
        for one in latest:
            for new in _undone(one) if _may_differ(one) else ():
                if new != text and new not in found:
                    found.append(new)
        latest = found[before:]
        if not latest:
            break
    return found


def _undone(text: str) -> tuple[str, ...]:
    """Return the text without one layer of all but base64 and exponents, and of those as well."""
    spelled_out = unescape(fold(text))
    if "%" in spelled_out:
        spelled_out = unquote(spelled_out)
    undone = _EXPONENT.sub(_written_out, _BASE64.sub(_decoded, spelled_out))
    return (undone,) if undone == spelled_out else (spelled_out, undone)


def _may_differ(text: str) -> bool:
    """Tell whether the text has anything that ``decode`` undoes: most has not."""
    return (
        not text.isascii()
        or "\\" in text
        or "%" in text
        or (text != text.lower() and _HUMP.search(text) is not None)
        or _EXPONENT_HINT.search(text) is not None
    )


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    return _SIMPLE.get(match[3], match[3])


def _decoded(match: re.Match[str]) -> str:
    """Return the text that base64 stands for, or the parts between slashes decoded, or as it is."""
    if not _HUMP.search(match[0]):  # the screen did not send it here: the same for all
        return match[0]
    plain = _from_base64(match[0])
    if plain is not None:
        return plain
    parts = match[0].split("/")
    if len(parts) == 1:
        return match[0]
    decoded = [_from_base64(part) if _BASE64.fullmatch(part) else None for part in parts]
    return "/".join(new or old for new, old in zip(decoded, parts, strict=True))


def _from_base64(text: str) -> str | None:
    """Return printable text, None if the bytes are no such: ids and hashes never are."""
    bare = text.rstrip("=").translate(_URL_SAFE)
    try:
        plain = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return plain if all(c.isprintable() or c.isspace() for c in plain) else None


def _written_out(match: re.Match[str]) -> str:
    lead, fraction, exponent = match[1], match[2], int(match[3])
    if exponent < len(fraction) or exponent > _MAX_DIGITS:
        return match[0]
    return lead + fraction.ljust(exponent, "0")
