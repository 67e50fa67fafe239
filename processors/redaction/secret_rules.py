"""Secrets: what they look like, each rule cutting only the secret.

Prefixes are the issuers' own; lengths are lower bounds, and nothing is asked of what follows,
because in a span a secret is often followed by ``&``, ``,`` or ``)``.
"""

from __future__ import annotations

from typing import Final

from presidio_analyzer import Pattern

from processors.redaction.recognizers import FailClosedRecognizer

_HEAD: Final = r"(?<![A-Za-z0-9])"
_WORD: Final = "[A-Za-z0-9_-]"
# A value that is code or a placeholder, not a secret: null, $1, ${VAR}, {{ x }}, :name, %(x)s, ***
_PLACEHOLDER: Final = (
    r"(?!(?:null|none|nil|true|false|undefined|string|required|optional|empty|redacted)\b"
    r"|\$\{|\{\{|\$\d|%\(|:\w|\*{3})"
)
_RUN: Final = r"[^\s\"',;&<>]"


def _ahead(sign: str) -> str:
    """Ask for a sign of a secret before the run ends.

    A run too long for that counts as one: looking on from every bearer in ``bearer+bearer+…`` takes
    quadratic time.
    """
    return rf"(?={_RUN}{{0,255}}?{sign}|{_RUN}{{256}})"


_DIGIT_OR_HUMP: Final = _ahead(r"(?:\d|(?-i:[a-z][A-Z]))")
_DIGIT_OR_SIGN: Final = _ahead(r"[\d!@#$%^*_+=]")
_BARE: Final = r"[^\s\"',;&<>\\]"
_NAME_OF_ONE: Final = (
    r"(?:pass(?:word|wd|phrase|code|wort)|pwd|secret|api[_.\- ]?key|(?:access|secret|private"
    r"|signing|encryption|account|master)[_.\- ]?key|(?:auth|access|refresh|id|session|bearer"
    r"|security|csrf)[_.\- ]?token|credentials?)"
)

_PREFIXED: Final = (
    ("openai-like key", r"sk-(?:ant|proj|svcacct|admin|or|lf|None)-[A-Za-z0-9_-]{16,}"),
    ("sk- key", r"sk-[A-Za-z0-9]{20,}"),
    ("anthropic session", r"sk-ant-[A-Za-z0-9_-]{8,}"),
    ("aws access key id", r"(?-i:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?![A-Za-z0-9])"),
    ("aws bedrock key", r"(?-i:ABSK)[A-Za-z0-9+/]{60,}={0,2}"),
    ("github token", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    ("github fine-grained token", r"github_pat_[A-Za-z0-9_]{20,}"),
    ("gitlab token", r"gl(?:pat|dt|rt|ptt|soat|cbt|ft|imt|agent|oas)-[A-Za-z0-9_.-]{16,}"),
    ("slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("slack app token", r"xapp-\d-[A-Za-z0-9-]{10,}"),
    ("google api key", r"(?-i:AIza)[A-Za-z0-9_-]{30,}"),
    ("google oauth token", r"ya29\.[A-Za-z0-9_-]{16,}"),
    ("google oauth secret", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("groq key", r"gsk_[A-Za-z0-9]{20,}"),
    ("xai key", r"xai-[A-Za-z0-9]{20,}"),
    ("hugging face token", r"(?:hf|api_org)_[A-Za-z0-9]{20,}"),
    ("replicate token", r"r8_[A-Za-z0-9]{30,}"),
    ("perplexity key", r"pplx-[A-Za-z0-9]{30,}"),
    ("nvidia key", r"nvapi-[A-Za-z0-9_-]{30,}"),
    ("langsmith key", r"lsv2_(?:pt|sk)_[A-Za-z0-9_]{20,}"),
    ("stripe key", r"[rsp]k_(?:live|test|prod)_[A-Za-z0-9]{10,}"),
    ("webhook secret", r"whsec_[A-Za-z0-9+/=]{20,}"),
    ("npm token", r"npm_[A-Za-z0-9]{30,}"),
    ("pypi token", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("sendgrid key", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("twilio key", r"(?-i:SK)[0-9a-f]{32}(?![A-Za-z0-9])"),
    ("mailgun key", r"key-[0-9a-f]{32}(?![A-Za-z0-9])"),
    ("shopify token", r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}"),
    ("square token", r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}"),
    ("digitalocean token", r"do[opr]_v1_[0-9a-f]{64}"),
    ("databricks token", r"dapi[0-9a-f]{32}(?:-\d)?"),
    ("vault token", r"hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    ("docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    ("grafana token", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{30,}"),
    ("new relic key", r"NR(?:AK|JS|AL)-[A-Za-z0-9]{20,}"),
    ("sentry token", r"sntry[su]_[A-Za-z0-9+/=_-]{30,}"),
    ("linear key", r"lin_api_[A-Za-z0-9]{30,}"),
    ("bitbucket token", r"(?-i:ATBB)[A-Za-z0-9]{28,}"),
    ("atlassian token", r"(?-i:ATATT3)[A-Za-z0-9_=-]{60,}"),
    ("notion token", r"(?:ntn_|secret_)[A-Za-z0-9]{40,}"),
    ("figma token", r"fig[dor]_[A-Za-z0-9_-]{30,}"),
    ("age key", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{50,}"),
    ("paypal token", r"access_token\$(?:production|sandbox)\$[0-9a-z]{10,}\$[0-9a-f]{20,}"),
    ("pulumi token", r"pul-[0-9a-f]{40}"),
    ("doppler token", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{30,}"),
    ("tailscale key", r"tskey-[a-z]+-[A-Za-z0-9-]{16,}"),
    ("terraform token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{50,}"),
    ("postman key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("rubygems key", r"rubygems_[0-9a-f]{48}"),
    ("supabase token", r"sb[ps]_[A-Za-z0-9_]{30,}"),
    ("1password token", r"ops_eyJ[A-Za-z0-9_-]{100,}"),
    ("posthog personal key", r"phx_[A-Za-z0-9]{30,}"),
    ("fly token", r"fm[12]_[A-Za-z0-9+/=_-]{60,}"),
    ("cloudinary url", r"cloudinary://\d{10,}:[A-Za-z0-9_-]{20,}"),
    ("telegram token", r"\d{8,10}:AA[A-Za-z0-9_-]{32,}"),
    (
        "json web token",
        # (*SKIP): where no dot follows, none follows from a later eyJ before it either
        rf"(?-i:eyJ){_WORD}{{8,}}+(*SKIP)\.{_WORD}{{8,}}(?:\.{_WORD}*)?(?:\.{_WORD}+){{0,2}}",
    ),
)

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
        rf"\b(?:bearer|apikey)[ +]{{1,3}}{_DIGIT_OR_HUMP}(?P<secret>{_BARE}{{8,}})",
    ),
    ("long bearer", r"\bbearer {1,3}(?P<secret>[A-Za-z0-9+/=._~-]{20,})"),
    (
        "basic scheme",
        (
            rf"\bbasic {{1,3}}{_DIGIT_OR_HUMP}(?P<secret>[A-Za-z0-9+/]{{8,}}={{1,2}}"
            r"|[A-Za-z0-9+/]{12,})(?![A-Za-z0-9+/=-])"
        ),
    ),
    ("token scheme", rf"\btoken {{1,3}}{_DIGIT_OR_HUMP}(?P<secret>[A-Za-z0-9_.-]{{20,}})"),
    (
        "authorization header",
        (
            r"\bauthori[sz]ation[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:(?:bearer|basic|token|digest|apikey"
            rf"|negotiate) {{1,3}})?{_PLACEHOLDER}(?P<secret>{_BARE}{{8,}})"
        ),
    ),
    (
        "cookie header",
        r"\bcookie[\"']?\s?:\s{0,3}[\"']?(?P<secret>[^\s=;\"']{1,64}=[^\r\n\"']{2,})",
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
            r"|credential|jwt|otp)|key|sig|auth|sid|code)="
            rf"{_PLACEHOLDER}(?P<secret>[^&\s#\"'<>;]{{4,}})"
        ),
    ),
    (
        "assigned secret",
        (
            rf"{_NAME_OF_ONE}\w{{0,12}}[\"']?\]?\s{{0,3}}(?:=>|:=|={{1,2}})\s{{0,3}}{_PLACEHOLDER}"
            rf"(?:\\?\"(?P<secret>[^\"\\]{{1,256}})|'(?P<secret>[^']{{1,256}})"
            rf"|(?P<secret>{_BARE}{{3,}}))"
        ),
    ),
    (
        "quoted secret",
        (
            rf"{_NAME_OF_ONE}\w{{0,12}}\\?[\"']\s{{0,3}}:\s{{0,3}}(?:\\?\"(?P<secret>[^\"\\]{{1,256}})"
            r"|'(?P<secret>[^']{1,256}))"
        ),
    ),
    (
        "secret after a colon",
        (
            rf"{_NAME_OF_ONE}\s{{0,3}}(?::|\bis\b)\s{{0,3}}{_PLACEHOLDER}[\"']?"
            rf"{_DIGIT_OR_SIGN}(?P<secret>{_BARE}{{6,}})"
        ),
    ),
    (
        "token assigned",
        (
            rf"(?<![A-Za-z])token[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?{_PLACEHOLDER}{_DIGIT_OR_HUMP}"
            rf"(?P<secret>{_BARE}{{8,}})"
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
                *(Pattern(name, _HEAD + text, 0.9) for name, text in _PREFIXED),
                *(Pattern(name, text, 0.7) for name, text in _IN_CONTEXT),
            ],
        )
