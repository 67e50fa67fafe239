"""Check digits that a user's rule can ask for by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE: Final = 97
_TEN: Final = 10


def luhn(text: str) -> bool:
    """Tell whether the digits of the text end in their Luhn check digit."""
    digits = [int(character) for character in text if character.isdecimal()]
    doubled = [digit * 2 for digit in digits[-2::-2]]
    total = sum(digits[-1::-2]) + sum(digit - 9 if digit >= _TEN else digit for digit in doubled)
    return len(digits) > 1 and total % _TEN == 0


def mod97(text: str) -> bool:
    """Tell whether letters and digits, the first four moved to the end, leave 1 (ISO 7064)."""
    plain = "".join(filter(str.isalnum, text)).upper()
    if not plain.isascii() or len(plain) < 5:  # noqa: PLR2004 - country, check digits, a number
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % _BASE == 1


CHECKS: Final[dict[str, Callable[[str], bool]]] = {"luhn": luhn, "mod97": mod97}
