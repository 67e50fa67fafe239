"""OTLP/JSON that is refused for what known senders write wrong, made such as is taken.

Searched for only when a request was refused as it came, and by text: a quote within a string is
escaped, so what looks like a key with its colon is one. Nothing here is quadratic, and all of it
but halves and wrong bytes leaves other threads their turn.
"""

from __future__ import annotations

import re
from base64 import b64encode
from codecs import iterdecode
from typing import Final, NamedTuple

# Halves of surrogate pairs, which JSON can say and UTF-8 cannot, where every backslash begins an
# escape. The same beginning for both lets a search skip what has none.
_HIGH: Final = r"[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = re.compile(rf"\\u(?:{_HIGH}(?!\\u{_LOW})|(?<!\\u{_HIGH}\\u){_LOW})")
_REPLACEMENT: Final = "\ufffd"
# Wrong bytes are replaced one by one in C, 0.2 us each, and nothing else runs until that is over.
_STEP_BYTES: Final = 64 * 1024
_INT64: Final = range(-(2**63), 2**63)
_INT64_DIGITS: Final = 19
# JavaScript has one kind of number, and its SDK calls whole ones integers, up to 1.8e308; Python's
# JSON exporter writes integers of any size as text.
_WIDE_NUMBER: Final = re.compile(
    r'"intValue"(\s*+:\s*+)(?:"(-?\d{19,})"|(-?\d{19,}+(?![.eE])|-?\d++(?:\.\d++)?+[eE]\+?\d{2,}+))'
)
# https://github.com/open-telemetry/opentelemetry-js/issues/6190: a Buffer, a Uint8Array; a list is
# what https://github.com/open-telemetry/opentelemetry-rust/pull/2471 ended.
_BYTES: Final = re.compile(
    r'"bytesValue":(?:\{"type":"Buffer","data":\[[\d,]*+\]\}|\{(?:"\d++":\d++,?)*+\}|\[[\d,]*+\])'
)
_BYTE: Final = re.compile(r'(?<![\d"])\d++(?!")')
# Protobuf's JSON takes both alphabets, padded or not; msgspec only the standard one, padded.
_BASE64: Final = re.compile(r'"bytesValue"(\s*+:\s*+)"((?:[\w+/-]++|\\/)++)={0,2}+"', re.ASCII)
_STANDARD_DIGITS: Final = str.maketrans("-_", "+/")


class Mended(NamedTuple):
    """The better text, and whether U+FFFD stands in it for characters that cannot be."""

    text: str
    has_replaced: bool


def mended(text: bytes) -> Mended | None:
    """Return the text with known mistakes mended; None when it has none of them.

    Raises:
        ValueError: What stands for bytes are larger numbers.
    """
    steps = (text[at : at + _STEP_BYTES] for at in range(0, len(text), _STEP_BYTES))
    whole = "".join(iterdecode(steps, "utf-8", "replace"))
    wrong = whole.count(_REPLACEMENT) - text.count(_REPLACEMENT.encode())
    found, halves = _HALF.subn(_REPLACEMENT, whole.replace(r"\\", r"\u005c"))
    found, numbers = _WIDE_NUMBER.subn(_in_a_kind_that_holds_it, found)
    found, texts = _BYTES.subn(_in_base64, found)
    found, base64s = _BASE64.subn(_in_standard_base64, found)
    is_better = wrong or halves or numbers or texts or base64s
    return Mended(found, has_replaced=wrong + halves > 0) if is_better else None


def _in_a_kind_that_holds_it(found: re.Match[str]) -> str:
    """Return a number as it was if it fits, as a double if it has no quotes, or else as text."""
    space, text, number = found.groups()
    digits = (text or number).lstrip("-")
    if len(digits) <= _INT64_DIGITS and digits.isdigit() and int(text or number) in _INT64:
        return found[0]
    return f'"stringValue"{space}"{text}"' if text else f'"doubleValue"{space}{number}'


def _in_base64(found: re.Match[str]) -> str:
    numbers = _BYTE.finditer(found[0])  # one Python object at a time, unlike findall
    return f'"bytesValue":"{b64encode(bytes(int(one[0]) for one in numbers)).decode()}"'


def _in_standard_base64(found: re.Match[str]) -> str:
    digits = found[2].replace("\\/", "/").translate(_STANDARD_DIGITS)
    return f'"bytesValue"{found[1]}"{digits}{"=" * (-len(digits) % 4)}"'
