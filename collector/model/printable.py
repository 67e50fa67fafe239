"""Text from anywhere, such as a span's name, as a terminal may have it."""

from __future__ import annotations

from typing import Final

_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """Return the text with escapes for control characters, which a terminal would obey."""
    return text.translate(_CONTROLS)
