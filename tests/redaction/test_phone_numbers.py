"""Phone numbers: what is asked of libphonenumber, and that nothing else would be found by it."""

from __future__ import annotations

import random

import phonenumbers
import pytest
import regex

from processors.redaction import phone_numbers
from processors.redaction.phone_numbers import PhoneNumberRecognizer

PHONES = PhoneNumberRecognizer()
SHAPES = [regex.compile(pattern.regex) for pattern in PHONES.patterns]
ANY_SHAPE = regex.compile(r"\d{1,5}(?:[ ().\-/]{0,2}\d{1,6}){1,4}")
PREFIXES = ("0", "00", "1", "011", "14", "49", "44", "55", "0055", "031", "090", "972", "0011")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def is_phone(text: str) -> bool:
    """Ask libphonenumber about every region."""
    international = "+" + text[2:] if text.startswith("00") else text
    regions = (None,) if international.startswith("+") else PHONES.REGIONS
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(international, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def numbers(seed: int, count: int) -> list[str]:
    """Return texts that have a phone's shape, or any of digits and separators."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        parts = [
            rng.choice(("", "", "(")) + rng.choice(("", *PREFIXES))
            + "".join(rng.choices("0123456789", k=rng.randint(1, 9)))
            for _ in range(40)
        ]  # fmt: skip
        text = "".join(part + rng.choice(" -./ )") for part in parts)
        for shape in (*SHAPES, ANY_SHAPE):
            found |= dict.fromkeys(shape.findall(text))
    return list(found)[:count]


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_turned_away_that_libphonenumber_takes(seed: int) -> None:
    """Scenario: numbers of any length and prefix, also in other scripts' digits.

    Guarantee: the same are phones as when every region is asked; both kinds are among them.
    """
    texts = [text for text in numbers(seed, 1500) if not PHONES._DATE.match(text)]
    texts += [text.translate(ARABIC) for text in texts[::15]]
    told = [not PHONES.invalidate_result(text) for text in texts]
    assert told == [is_phone(text) for text in texts]
    assert 0.05 < sum(told) / len(told) < 0.9


def test_libphonenumber_is_asked_about_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: a table of four-digit numbers. Guarantee: one region in ten is asked."""
    asked: list[str] = []
    monkeypatch.setattr(phone_numbers, "_is_phone", lambda text, _region: bool(asked.append(text)))
    rng = random.Random(1)
    table = " ".join(f"{rng.randrange(10_000):04}" for _ in range(5000))
    found = [match[0] for shape in SHAPES for match in shape.finditer(table)]
    assert len(found) > 300
    for text in found:
        PHONES.invalidate_result(text)
    assert len(asked) < len(found) * len(PHONES.REGIONS) / 10
