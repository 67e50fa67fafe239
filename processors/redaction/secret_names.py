"""Pieces of patterns: what a secret is called, and what is written there that is none."""

from __future__ import annotations

from typing import Final

# A value that is code or a placeholder, not a secret: null, $1, ${VAR}, {{ x }}, :name, %(x)s, ***
# A word or number that more is written behind is none: none-of-1t, $2b$12$…
_ALONE: Final = r"(?![\w\-!@#$%^*+=~/]|[.:]\w)"
PLACEHOLDER: Final = (
    r"(?!(?:null|none|nil|true|false|undefined|string|required|optional|empty|redacted"
    rf"|include|omit|same-origin|\$\d{{1,3}}){_ALONE}"
    r"|\$\{|\{\{|%\(|:\w|\*{3})"
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
# A pass alone is a verb; what a service or an account has is its password.
_OWNED: Final = (
    r"(?:db|database|smtp|imap|mail|redis|mysql|pg|postgres|mongo|rabbitmq|amqp|ldap|ftp|ssh"
    r"|http|proxy|basic|user|admin|root|auth|login)[_.\-]?pass(?![a-z])"
    r"|(?:ssh|storage|hmac|fernet|license|subscription|functions|role|openai|anthropic)[_.\-]key"
)
NAME_OF_ONE: Final = (
    r"(?:pass(?:word|wd|phrase|code|wort)|pwd|secret(?:[_.\-]?key[_.\-]?base)?|api[_.\- ]?key"
    r"|(?:access|secret|private|signing|encryption|account|master)[_.\- ]?key"
    r"|(?:auth|access|refresh|id|session|bearer|security|csrf)[_.\- ]?token|credentials?"
    r"|(?:verification|mfa|2fa|security|recovery|backup|device|otp)[_.\- ]?code"
    r"|(?<![A-Za-z])t?otp(?=[\"'\]\s]{0,4}(?:=>|[:=]|is\b)\s{0,3}[\"']?\d{3})"
    rf"|{_OWNED})"
)
# What an SDK writes around a value: SecretStr('…'), Some("…"), b'…', []string{"…"}
WRAPPED: Final = (
    r"(?:(?:\[\]string\{|(?:secret|(?:secret|byte)?str(?:ing)?|some|just|crypt)\(|[(\[])\s{0,3})?"
    r"(?:[bfru$@]{1,2}(?=[\"']))?"
)
