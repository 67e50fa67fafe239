"""Secrets: by their issuers' prefixes, and by the words and names before them, each cut alone."""

from __future__ import annotations

from typing import Final

from presidio_analyzer import Pattern

from processors.redaction.recognizers import FailClosedRecognizer
from processors.redaction.secret_names import (
    BARE,
    DIGIT_OR_HUMP,
    DIGIT_OR_SIGN,
    NAME_OF_ONE,
    PLACEHOLDER,
    WRAPPED,
)
from processors.redaction.secret_notations import NOTATED
from processors.redaction.secret_prefixes import HEAD, PREFIXED

_PARAMETER: Final = r"[A-Za-z][\w\-]{0,40}=(?:\"[^\"\r\n]+\"|[^\s,\"']+)"
# the value of a cookie may stand in quotes
_IN_QUOTES: Final = r"(?:\"[^\"\r\n]{0,2048}\"(?=[;\s]))?"
_IN_CONTEXT: Final = (
    (
        "private key block",
        (
            r"-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
    ),
    (
        "authorization scheme",
        rf"\b(?:bearer|apikey)[ +]{{1,3}}{DIGIT_OR_HUMP}(?P<secret>{BARE}{{8,}})",
    ),
    ("long bearer", r"\bbearer {1,3}(?P<secret>[A-Za-z0-9+/=._~-]{20,})"),
    (
        "basic scheme",
        (
            rf"\bbasic {{1,3}}{DIGIT_OR_HUMP}(?P<secret>[A-Za-z0-9+/]{{8,}}={{1,2}}"
            r"|[A-Za-z0-9+/]{12,})(?![A-Za-z0-9+/=-])"
        ),
    ),
    ("token scheme", rf"\btoken {{1,3}}{DIGIT_OR_HUMP}(?P<secret>[A-Za-z0-9_.-]{{20,}})"),
    (
        "authorization header",
        (
            r"\bauthori[sz]ation[\"']?\s{0,3}(?:=>|[:=])\s{0,3}\[?[\"']?(?:(?:bearer|basic|token"
            rf"|digest|apikey|negotiate) {{1,3}})?{PLACEHOLDER}(?P<secret>{BARE}{{8,}})"
        ),
    ),
    (
        # of any other scheme: Splunk …, NTLM …, SharedKey account:…
        "authorization of a scheme",
        (
            r"\bauthori[sz]ation[\"']?\s{0,3}(?:=>|[:=])\s{0,3}\[?[\"']?[A-Za-z][\w\-]{1,24} {1,3}"
            rf"{DIGIT_OR_HUMP}(?P<secret>{BARE}{{8,}})"
        ),
    ),
    (
        # Digest username="…", response="…"; AWS4-HMAC-SHA256 Credential=…, Signature=…
        "authorization parameters",
        (
            r"\bauthori[sz]ation[\"']?\s{0,3}(?:=>|[:=])\s{0,3}[\"']?[A-Za-z][\w\-]{1,24} {1,3}"
            rf"(?P<secret>{_PARAMETER}(?:,\s{{0,3}}{_PARAMETER}){{0,16}})"
        ),
    ),
    (
        "cookie header",
        (
            r"\bcookie2?[\"']?\s?(?:=>|:)\s{0,3}\[?[\"']?(?P<secret>[^\s=;\"']{1,64}="
            rf"{_IN_QUOTES}(?:[^\r\n\"'=]|={_IN_QUOTES}){{2,}})"
        ),
    ),
    (
        "url password",
        r"[a-z][a-z0-9+.\-]{1,20}://[^\s:/@?#\"'<>]{0,128}:(?P<secret>[^\s/\"'<>]{1,256})@",
    ),
    ("url key", r"[a-z][a-z0-9+.\-]{1,20}://(?P<secret>[A-Za-z0-9_-]{20,128})@"),
    (
        "query secret",
        (
            r"[?&;#](?:[\w.\-]{0,40}(?:token|secret|passw(?:or)?d|pwd|api_?key|access_?key|signature"
            r"|credential|assertion|jsessionid|phpsessid|jwt|otp)"
            r"|key|sig|auth|sid|code)="
            rf"{PLACEHOLDER}(?P<secret>[^&\s#\"'<>;]{{4,}})"
        ),
    ),
    (
        "form secret",
        (
            r"(?<![\w.\-])(?:client_assertion|code_verifier|samlresponse|device_code)="
            r"(?P<secret>[^&\s#\"'<>;]{16,})"
        ),
    ),
    (
        # url.query has no question mark before its first
        "first query secret",
        (rf"\A(?:key|sig|code)={DIGIT_OR_HUMP}(?P<secret>[\w.~%+/\-]{{20,}}={{0,2}})(?:&|\Z)"),
    ),
    (
        "assigned secret",
        (
            rf"{NAME_OF_ONE}\w{{0,12}}[\"']?\]?\s{{0,3}}(?:=>|:=|={{1,2}})\s{{0,3}}{PLACEHOLDER}"
            rf"{WRAPPED}(?![\"']?\*{{3}})"
            rf"(?:\\?\"(?P<secret>[^\"\\]{{1,256}})|'(?P<secret>[^']{{1,256}})"
            rf"|(?P<secret>{BARE}{{3,}}))"
        ),
    ),
    (
        "quoted secret",
        (
            rf"{NAME_OF_ONE}\w{{0,12}}\\?[\"']\s{{0,3}}:\s{{0,3}}{WRAPPED}"
            r"(?:\\?\"(?P<secret>[^\"\\]{1,256})|'(?P<secret>[^']{1,256}))"
        ),
    ),
    (
        # password: "…", Password:Some("…") of YAML, Go, Rust, Ruby, JavaScript
        "quoted secret after a colon",
        (
            rf"{NAME_OF_ONE}\w{{0,12}}\s{{0,3}}:\s{{0,3}}{WRAPPED}(?:\"{PLACEHOLDER}"
            rf"(?P<secret>[^\"\\\r\n]{{1,256}})\"|'{PLACEHOLDER}(?P<secret>[^'\r\n]{{1,256}})')"
        ),
    ),
    (
        "secret after a colon",
        (
            rf"{NAME_OF_ONE}\s{{0,3}}(?::|\bis\b)\s{{0,3}}{PLACEHOLDER}[\"']?"
            rf"{DIGIT_OR_SIGN}(?P<secret>{BARE}{{6,}})"
        ),
    ),
    (
        "token assigned",
        (
            rf"(?<![A-Za-z])(?:token|jwt)[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}}{WRAPPED}[\"']?"
            rf"{PLACEHOLDER}{DIGIT_OR_HUMP}(?P<secret>{BARE}{{8,}})"
        ),
    ),
    (
        "azure connection key",
        (
            r"(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig)="
            r"(?P<secret>[A-Za-z0-9+/%]{16,}={0,2})"
        ),
    ),
    (
        "aws secret key",
        (
            r"(?:aws|amazon|secret)[\w .\-\"']{0,40}(?:=>|[:=, ])\s{0,3}[\"']?"
            r"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
    ),
    ("slack webhook", r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9+/_-]{20,})"),
    (
        "discord webhook",
        r"discord(?:app)?\.com/api/webhooks/(?P<secret>\d{10,}/[A-Za-z0-9_-]{30,})",
    ),
)


class SecretRecognizer(FailClosedRecognizer):
    """Keys, tokens and passwords, as one Presidio recognizer."""

    def __init__(self) -> None:
        """Set up the rules: unmistakable prefixes score higher than names in front of a value."""
        super().__init__(
            "SECRET",
            patterns=[
                *(Pattern(name, HEAD + text, 0.9) for name, text in PREFIXED),
                *(Pattern(name, text, 0.7) for name, text in (*_IN_CONTEXT, *NOTATED)),
            ],
        )
