"""Phone numbers by shape, then by libphonenumber: no walk over every text."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

import phonenumbers
import regex
from phonenumbers import PhoneMetadata
from presidio_analyzer import Pattern

from processors.redaction.recognizers import FailClosedRecognizer


class PhoneNumberRecognizer(FailClosedRecognizer):
    """Bare runs of ten or eleven digits need a word like "phone" near them or in the key."""

    REGIONS: Final = ("US", "GB", "DE", "FR", "IL", "IN", "BR", "IT", "ES", "NL", "AU")
    _DATE: Final = regex.compile(r"\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d(?!\d)")

    def __init__(self) -> None:
        """Set up the shapes."""
        head, tail = r"(?<![\w.+\-/])", r"(?![\w\-/]|\.\d)"
        super().__init__(
            "PHONE_NUMBER",
            patterns=[
                Pattern(
                    "phone, international",
                    rf"(?<![\w+])\+[1-9](?:[ ().\-/]{{0,3}}\d){{6,14}}{tail}",
                    0.6,
                ),
                Pattern(
                    "phone, international 00",
                    rf"{head}00[1-9]\d(?:[ ().\-/]{{0,2}}\d){{6,12}}{tail}",
                    0.5,
                ),
                Pattern(
                    "phone, North America",
                    rf"(?<![\w.+/]|\d-)(?:1[ .\-])?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[ .\-])"
                    rf"[2-9]\d\d[ .\-]\d{{4}}{tail}",
                    0.5,
                ),
                Pattern(
                    "phone, trunk zero",
                    rf"{head}\(?0[1-9]\d{{0,4}}\)?[ \-/]\d{{2,9}}(?:[ \-]\d{{2,6}}){{0,4}}{tail}",
                    0.45,
                ),
                Pattern("phone, pairs", rf"{head}0[1-9](?:[ .\-]\d\d){{4}}{tail}", 0.45),
                Pattern("phone, India", rf"{head}[6-9]\d{{4}}[ \-]\d{{5}}{tail}", 0.45),
                Pattern(
                    "phone, Brazil",
                    rf"{head}\(?[1-9]\d\)? ?9?\d{{4}}-\d{{4}}{tail}",
                    0.45,
                ),
                Pattern("phone, bare digits", rf"{head}[01]?[2-9]\d{{9}}{tail}", 0.05),
            ],
            context=[
                "phone", "phones", "telephone", "tel", "cell", "cellphone", "mobile", "sms",
                "fax", "whatsapp", "call", "dial", "text", "msisdn",
            ],
        )  # fmt: skip

    def invalidate_result(self, pattern_text: str) -> bool:
        """Refuse dates, and what libphonenumber takes for no number of any region."""
        if self._DATE.match(pattern_text):
            return True
        text = "+" + pattern_text[2:] if pattern_text.startswith("00") else pattern_text
        if text.startswith("+"):
            return not _is_phone(text, None)
        # libphonenumber takes 0.1 ms a region, and reads digits of every script
        digits = "".join(filter(str.isdecimal, text)) if text.isascii() else None
        return not any(
            (digits is None or _possible(region).fullmatch(digits)) and _is_phone(text, region)
            for region in self.REGIONS
        )


@cache
def _possible(region: str) -> re.Pattern[str]:
    """Return what matches all digits that may be dialled in a region, and few others.

    A number follows the prefix for abroad, or perhaps the country's and national ones, which
    libphonenumber takes off one after the other; where it then puts another text in the place of
    a national prefix, any few digits may be one.
    """
    known: Any = PhoneMetadata.metadata_for_region(region)
    national = known.national_prefix_for_parsing or ""
    before = r"\d{0,5}" if known.national_prefix_transform_rule else f"(?:{national})*"
    number = known.general_desc.national_number_pattern
    return re.compile(
        rf"(?:{known.international_prefix})\d+|(?:{known.country_code})?{before}0*(?:{number})"
    )


def _is_phone(text: str, region: str | None) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(text, region)))
    except phonenumbers.NumberParseException:
        return False
