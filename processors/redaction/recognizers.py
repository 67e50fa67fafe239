"""Presidio recognizers made fit for spans: fail-closed, bounded in time, no network, no logs.

Every class here works in a stock ``AnalyzerEngine`` as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final

import regex
from presidio_analyzer import Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    CryptoRecognizer,
    IbanRecognizer,
    UsSsnRecognizer,
)

from processors.redaction.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

# A pattern that takes longer on one string has its string replaced whole.
TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled pattern of one recognizer."""

    recognizer: Any
    pattern: Pattern
    compiled: regex.Pattern[str]

    @staticmethod
    def of(recognizer: Any, pattern: Pattern) -> Rule:
        """Compile the pattern with its recognizer's flags."""
        flags = recognizer.global_regex_flags
        return Rule(recognizer, pattern, regex.compile(pattern.regex, flags))

    def find(self, text: str) -> list[Finding]:
        """Return every match with a score above 0, as Presidio scores it.

        Raises TimeoutError instead of skipping the pattern, as Presidio would.
        """
        search = getattr(self.recognizer, "search", None)
        if search is not None:
            return list(search(self, text))
        found = []
        for match in self.compiled.finditer(text, timeout=TIMEOUT_S):
            start, end = match.span("secret" if "secret" in self.compiled.groupindex else 0)
            one = self.judge(text, start, end) if end > start else None
            if one is not None:
                found.append(one)
        return found

    def judge(self, text: str, start: int, end: int) -> Finding | None:
        """Score one match by the recognizer's own checks; None if they refuse it."""
        value = text[start:end]
        score = float(self.pattern.score)
        valid = self.recognizer.validate_result(value)
        if valid is not None:
            score = 1.0 if valid else 0.0
        if self.recognizer.invalidate_result(value):
            score = 0.0
        if score <= 0:
            return None
        entity = self.recognizer.supported_entities[0]
        return Finding(entity, start, end, score, self.pattern.name)


class FailClosed:
    """Mixed into a pattern recognizer: its ``analyze`` raises on a timeout.

    A pattern with a group named ``secret`` cuts only that group. Subclasses may define
    ``search(rule, text)`` to find matches in their own way.
    """

    patterns: list[Pattern]

    def analyze(
        self,
        text: str,
        entities: list[str],  # noqa: ARG002 - Presidio's signature
        nlp_artifacts: Any = None,  # noqa: ARG002
        regex_flags: int | None = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        """Return Presidio results for the text; for use outside clearspan."""
        return [
            RecognizerResult(found.entity, found.start, found.end, found.score)
            for pattern in self.patterns
            for found in Rule.of(self, pattern).find(text)
        ]


class FailClosedRecognizer(FailClosed, PatternRecognizer):  # type: ignore[misc]  # presidio is untyped
    """A fail-closed recognizer of patterns given to it."""


_LOCAL: Final = r"[\w.!#$%&'*+\-/=?^`{|}~]"
_ADDRESS: Final = regex.compile(rf"(?<!{_LOCAL}){_LOCAL}++@[\w\-]++(?:\.[\w\-]++)*+")
_INTERNAL_HOSTS: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "corp", "home", "lan", "mail"},
)
# Characters that an address may have before the @ but that, in a span, mostly end what stands
# before the address: /users/a@b.org, to=a@b.org, {a@b.org}.
_BEFORE: Final = regex.compile(r"\A(?:.*[/?&|{}`]|[^\w]+)", regex.DOTALL)
_ASSIGNED: Final = regex.compile(r"\A[\w.\-]*=(?!.*\.(?:com|net|org|edu|gov|io|de|uk|fr)\Z)")
# scheme://user: before it makes it a URL's password and host, which is the secret rules' matter
_USERINFO: Final = regex.compile(r"://[^\s:/@]*:\Z")
_TLD: Final = regex.compile(r"[^\W\d_][\w\-]*[^\W_]")


class LaxEmailRecognizer(FailClosedRecognizer):
    """E-mail addresses at any domain with a plausible last label, and at internal host names.

    Presidio's own asks ``tldextract``, which knows public suffixes only and fetches their list
    over the network. The search is linear: it starts only where a run of address characters does.
    """

    def __init__(self) -> None:
        """Set up the one pattern."""
        super().__init__(
            "EMAIL_ADDRESS",
            patterns=[
                # what the screen looks for; _ADDRESS is what counts
                Pattern("email", r"@[\w\-]", 1.0),
            ],
            context=["email"],
        )

    def search(self, _rule: Rule, text: str) -> Iterator[Finding]:
        """Yield the address inside each match, without what stands before it."""
        position = 0
        while (at := text.find("@", position)) >= 0:
            # an address holds no blank, so the search need not begin before the last one
            begin = max(position, text.rfind(" ", position, at) + 1)
            match = _ADDRESS.search(text, begin, timeout=TIMEOUT_S)
            if match is None:
                return
            position = max(match.end(), at + 1)
            found = _address(text, match)
            if found is not None:
                yield found


def _address(text: str, match: regex.Match[str]) -> Finding | None:
    local, _, domain = match[0].partition("@")
    if not _is_mail_domain(domain):
        return None
    if _USERINFO.search(text[max(0, match.start() - 300) : match.start()]):
        return None
    cut = _BEFORE.match(local)
    offset = cut.end() if cut else 0
    assigned = _ASSIGNED.match(local, offset)
    offset = assigned.end() if assigned else offset
    if offset == len(local):
        offset = 0
    return Finding("EMAIL_ADDRESS", match.start() + offset, match.end(), 1.0, "email")


def _is_mail_domain(domain: str) -> bool:
    first, dot, _ = domain.partition(".")
    if not dot:
        return first.lower() in _INTERNAL_HOSTS
    return _TLD.fullmatch(domain.rpartition(".")[2]) is not None


# Luhn: what a digit's character is worth, and what at every second place
_VALUE: Final = bytes(max(0, code - ord("0")) % 10 for code in range(256))
_DOUBLED: Final = bytes(sum(divmod(2 * value, 10)) for value in _VALUE)


# What pthread_self gives on 64-bit Linux, and Python as a thread's id: addresses near the stack's,
# which 64 divides
_THREADS: Final = range(0x7F00_0000_0000, 0x8000_0000_0000, 64)


class CardRecognizer(FailClosed, CreditCardRecognizer):  # type: ignore[misc]  # presidio is untyped
    """Presidio's card numbers with Mastercard's 2-series, without microsecond timestamps."""

    def __init__(self) -> None:
        """Add a pattern beside Presidio's."""
        super().__init__(
            patterns=[
                # Luhn decides (score 1 or 0), so the base score never does
                Pattern("card", self.PATTERNS[0].regex, 0.5),
                # The look-behind stands behind what it is about, here and in the IBAN's, because
                # the screen drops it there: in front it makes Hyperscan three times slower.
                Pattern(
                    "mastercard 2-series",
                    r"2(?<!\w2)(?:2(?:2[1-9]|[3-9]\d)|[3-6]\d\d|7(?:[01]\d|20))[- ]?\d{4}[- ]?\d{4}"
                    r"[- ]?\d{4}\b",
                    0.5,
                ),
            ],
        )

    def validate_result(self, pattern_text: str) -> bool:
        """Check Luhn; a number that starts with 1 is a card only with UATP's 15 digits.

        Sixteen digits from 14… to 19… are times in microseconds, a tenth of which pass Luhn; and of
        the fifteen, those in _THREADS are ids of threads.
        """
        number = pattern_text.replace("-", "").replace(" ", "")
        if int(number[0]) == 1 and len(number) != 15:  # noqa: PLR2004 - see the docstring
            return False
        if len(number) == 15 and int(number) in _THREADS and number == pattern_text:  # noqa: PLR2004
            return False
        if number.isascii():  # 0.6 us rather than 12
            digits = number.encode()
            return (
                sum(digits[::-2].translate(_VALUE) + digits[-2::-2].translate(_DOUBLED)) % 10 == 0
            )
        return bool(super().validate_result(pattern_text))


_IBAN_LENGTHS: Final = {
    # ISO 13616 registry
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


# what the screen's pattern says of a head, in the form that is quick to search for
_IBAN_HEAD: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){4}",
)


class ExactIbanRecognizer(FailClosed, IbanRecognizer):  # type: ignore[misc]  # presidio is untyped
    """IBANs in either case, cut at their country's length, checked by mod 97.

    Presidio's own takes what follows an IBAN for its last group ("BE68… from account") and then
    misses it.
    """

    def __init__(self) -> None:
        """Replace the pattern by the head of an IBAN, for the screen; the rest is walked."""
        super().__init__(
            patterns=[
                Pattern(
                    "iban",
                    rf"[A-Z]{{2}}(?<=(?<![A-Za-z0-9])(?:{'|'.join(_IBAN_LENGTHS)}))[0-9]{{2}}"
                    r"(?:[ \-]?[A-Za-z0-9]){4}",
                    1.0,
                ),
            ],
            regex_flags=regex.IGNORECASE,
        )

    def search(self, rule: Rule, text: str) -> Iterator[Finding]:
        """Yield each candidate that has its country's length and check digits."""
        position = 0
        while match := _IBAN_HEAD.search(text, position):
            end = _iban_end(text, match.start())
            position = end or match.start() + 4
            if end:
                yield Finding("IBAN_CODE", match.start(), end, 1.0, rule.pattern.name)


def _iban_end(text: str, start: int) -> int | None:
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    if length is None:
        return None
    # one blank or hyphen at most between two characters
    window = text[start : start + 2 * length]
    places = [at for at, character in enumerate(window, start) if character not in " -"][:length]
    if len(places) < length or any(b - a > 2 for a, b in pairwise(places)):  # noqa: PLR2004
        return None
    stop = places[-1] + 1
    if stop < len(text) and text[stop].isascii() and text[stop].isalnum():
        return None
    if not all(text[at].isascii() and text[at].isalnum() for at in places):
        return None
    plain = "".join(text[at] for at in places).upper()
    number = int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4]))
    return stop if number % 97 == 1 else None


class BitcoinRecognizer(FailClosed, CryptoRecognizer):  # type: ignore[misc]  # presidio is untyped
    """Presidio's Bitcoin addresses; hexadecimal ids are turned away before the checksum."""

    # Presidio's matches; put as {25,59}, Hyperscan takes quadratic time: 21 s for 4 MB of digits.
    PATTERNS: ClassVar = [
        Pattern("Crypto (Medium)", "(bc1|[13])[a-zA-HJ-NP-Z0-9]?[a-zA-HJ-NP-Z0-9]{25,58}", 0.5)
    ]
    _HEX: Final = frozenset("0123456789abcdefABCDEF")

    def validate_result(self, pattern_text: str) -> bool:
        """Check the address's checksum; a trace id (all hex) is none but once in 2**32."""
        if self._HEX.issuperset(pattern_text):
            return False
        return bool(super().validate_result(pattern_text))


class SsnRecognizer(FailClosed, UsSsnRecognizer):  # type: ignore[misc]  # presidio is untyped
    """Presidio's US social security numbers: bare digits only count beside a context word."""
