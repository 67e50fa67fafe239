# ruff: noqa: E501 - tables of samples
"""A labelled corpus: values made by their issuers' published formats, in texts as spans hold them.

Everything is made from one seed, nothing is downloaded. It is written from the formats, not from
the rules, so that it measures them.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED: Final = 20_261
LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM: Final = string.ascii_letters + DIGITS
HEX: Final = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with one planted value, or none: ``entity`` is empty then."""

    text: str
    entity: str
    value: str
    kind: str = ""


Make = "Callable[[random.Random], str]"


def _pick(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


def _digits(rng: random.Random, count: int) -> str:
    return _pick(rng, DIGITS, count)


def email(rng: random.Random) -> str:
    """Return an address."""
    first, last = rng.choice(FIRST), rng.choice(LAST)
    local = rng.choice(
        [
            f"{first}.{last}",
            f"{first[0]}{last}{rng.randrange(99)}",
            f"{first}_{last}",
            f"{first}+shop",
            f"{first}-{last}",
            first,
        ]
    )
    host = rng.choice(
        [
            "example.com",
            "example.co.uk",
            "mail.example.org",
            "uni-bonn.de",
            "post.example.io",
            "corp.internal",
            "x-y.museum",
            "example.technology",
        ]
    )
    text = f"{local}@{host}"
    return text if rng.random() < 0.8 else text.upper()


def card(rng: random.Random) -> str:
    """Return a card number of a random brand that passes Luhn."""
    prefix, length = rng.choice(
        [
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2223", 16),
            ("2720", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("65", 16),
            ("3528", 16),
            ("36", 14),
        ]
    )
    body = prefix + _digits(rng, length - len(prefix) - 1)
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body))]
    check = -sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10
    number = f"{body}{check}"
    if length == 16 and rng.random() < 0.5:
        return rng.choice([" ", "-"]).join(number[at : at + 4] for at in range(0, 16, 4))
    return number


def iban(rng: random.Random) -> str:
    """Return an IBAN with right check digits, sometimes in groups of four."""
    country, shape = rng.choice(
        [
            ("DE", "18n"),
            ("FR", "10n11c2n"),
            ("GB", "4a14n"),
            ("NL", "4a10n"),
            ("ES", "20n"),
            ("IT", "1a10n12c"),
            ("BE", "12n"),
            ("AT", "16n"),
            ("CH", "5n12c"),
            ("PL", "24n"),
            ("SE", "20n"),
            ("NO", "11n"),
        ]
    )
    body, count = "", ""
    for character in shape:
        if character.isdigit():
            count += character
        else:
            body += _pick(
                rng, {"n": DIGITS, "a": UPPER, "c": UPPER + DIGITS}[character], int(count)
            )
            count = ""
    number = int("".join(str(int(character, 36)) for character in f"{body}{country}00"))
    text = f"{country}{98 - number % 97:02d}{body}"
    if rng.random() < 0.4:
        return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
    return text


def ssn(rng: random.Random) -> str:
    """Return a US social security number of an area that is given out."""
    area = rng.choice([*range(1, 123), *range(124, 666), *range(667, 900)])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10_000):04d}"


def phone(rng: random.Random) -> str:
    """Return a number of one of nine countries, as people write them."""
    us = (
        f"{rng.choice(['212', '415', '646', '312', '206', '303'])}",
        f"{rng.randrange(200, 999)}",
        f"{rng.randrange(10_000):04d}",
    )
    return rng.choice(
        [
            f"({us[0]}) {us[1]}-{us[2]}", f"{us[0]}-{us[1]}-{us[2]}", f"+1 {us[0]} {us[1]} {us[2]}", f"+1{''.join(us)}", f"{us[0]}.{us[1]}.{us[2]}",
            f"+44 20 7{_digits(rng, 3)} {_digits(rng, 4)}", f"020 7{_digits(rng, 3)} {_digits(rng, 4)}", f"+447{rng.choice('45789')}00{_digits(rng, 6)}",
            f"+49 30 {rng.randrange(2, 9)}{_digits(rng, 6)}", f"030 {rng.randrange(2, 9)}{_digits(rng, 6)}", f"+49 151 {_digits(rng, 8)}", f"0151 {_digits(rng, 8)}",
            f"+33 6 {' '.join(_digits(rng, 2) for _ in range(4))}", f"06 {' '.join(_digits(rng, 2) for _ in range(4))}", f"+34 612 {_digits(rng, 3)} {_digits(rng, 3)}",
            f"+39 06 {rng.randrange(4, 9)}{_digits(rng, 7)}", f"+31 20 {rng.randrange(2, 8)}{_digits(rng, 6)}", f"+91 98{_digits(rng, 3)} {_digits(rng, 5)}", f"0049 30 {rng.randrange(2, 9)}{_digits(rng, 6)}",
        ]
    )  # fmt: skip


_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def crypto(rng: random.Random) -> str:
    """Return a Bitcoin address of one of the three forms."""
    if rng.random() < 0.4:
        return _segwit(rng.randbytes(20))
    payload = rng.choice([b"\0", b"\5"]) + rng.randbytes(20)
    raw = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def _segwit(program: bytes) -> str:
    number, bits = int.from_bytes(program), len(program) * 8
    words = [0, *((number >> (bits - 5 * at - 5)) & 31 for at in range(bits // 5))]
    expanded = [ord(c) >> 5 for c in "bc"] + [0] + [ord(c) & 31 for c in "bc"]
    check = _polymod([*expanded, *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [(check >> 5 * (5 - at)) & 31 for at in range(6)]
    return "bc1" + "".join(_BECH32[word] for word in words)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for at, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator if (top >> at) & 1 else 0
    return check


def ip_address(rng: random.Random) -> str:
    """Return an IPv4 or IPv6 address."""
    if rng.random() < 0.3:
        return ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8))
    return ".".join(str(rng.randrange(1, 255)) for _ in range(4))


def mac_address(rng: random.Random) -> str:
    """Return a MAC address."""
    return rng.choice(":-").join(_pick(rng, HEX, 2).upper() for _ in range(6))


def es_nif(rng: random.Random) -> str:
    """Return a Spanish tax number with its letter."""
    number = rng.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def pl_pesel(rng: random.Random) -> str:
    """Return a Polish PESEL with its check digit."""
    body = f"{rng.randrange(50, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 28):02d}{_digits(rng, 4)}"
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    return f"{body}{-sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 10}"


def uk_nhs(rng: random.Random) -> str:
    """Return an NHS number with its check digit."""
    while True:
        body = _digits(rng, 9)
        check = -sum(int(digit) * (10 - at) for at, digit in enumerate(body)) % 11
        if check < 10:
            text = f"{body}{check}"
            return rng.choice(
                [text, f"{text[:3]} {text[3:6]} {text[6:]}", f"{text[:3]}-{text[3:6]}-{text[6:]}"]
            )


def medical_license(rng: random.Random) -> str:
    """Return a DEA number with its check digit."""
    body = _digits(rng, 6)
    check = (sum(map(int, body[::2])) + 2 * sum(map(int, body[1::2]))) % 10
    return f"{rng.choice('ABFM')}{rng.choice(UPPER)}{body}{check}"


FIRST: Final = ("ann", "omar", "lena", "kofi", "nora", "jose", "mei", "ivan", "priya", "tom")
LAST: Final = (
    "smith",
    "haddad",
    "fischer",
    "mensah",
    "lindqvist",
    "garcia",
    "chen",
    "petrov",
    "rao",
    "ek",
)

# entity -> maker and the words it is written beside
ENTITIES: Final[dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]]] = {
    "EMAIL_ADDRESS": (email, ("mail", "contact", "write to", "user", "")),
    "CREDIT_CARD": (card, ("card", "pan", "charge", "paid with", "")),
    "IBAN_CODE": (iban, ("iban", "account", "transfer to", "refund", "")),
    "US_SSN": (ssn, ("ssn", "social security number", "applicant", "id", "")),
    "PHONE_NUMBER": (phone, ("phone", "call", "tel", "mobile", "sms to")),
    "CRYPTO": (crypto, ("wallet", "btc", "send to", "address", "")),
    "IP_ADDRESS": (ip_address, ("ip", "client", "from", "host", "peer")),
    "MAC_ADDRESS": (mac_address, ("mac", "mac address", "device mac", "hardware address", "nic")),
    "ES_NIF": (es_nif, ("nif", "dni", "documento nacional", "identificación", "nif")),
    "PL_PESEL": (pl_pesel, ("pesel", "PESEL", "pesel", "PESEL", "pesel")),
    "UK_NHS": (uk_nhs, ("nhs", "national health service", "health services authority", "nhs", "nhs")),
    "MEDICAL_LICENSE": (medical_license, ("medical certificate", "license", "dea", "medical", "certificate")),
}  # fmt: skip
DEFAULTS: Final = ("EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "PHONE_NUMBER", "CRYPTO")
_TEXTS: Final = (
    "{word} {value}", "{word}: {value}", "please use {word} {value} for this order, thanks",
    "2026-03-01T10:00:00Z INFO request done {word}={value} status=200", '{{"{word}": "{value}", "ok": true}}',
    "customer said: my {word} is {value}.", "failed for {word} ({value}), retrying", "[{value}] {word}", "{word}\t{value}\tEUR 17.50",
)  # fmt: skip
_URL_TEXT: Final = "https://shop.test/find?{word}={value}&page=2"


def personal(per_entity: int = 220) -> Iterator[Labelled]:
    """Yield texts with one personal value each."""
    rng = random.Random(SEED)
    for entity, (make, words) in ENTITIES.items():
        for number in range(per_entity):
            value, word = make(rng), rng.choice(words)
            shape = _TEXTS[number % len(_TEXTS)]
            if number % 10 == 9 and " " not in value and "+" not in value:
                shape, word = _URL_TEXT, word.replace(" ", "_") or "q"
            yield Labelled(shape.format(word=word or "value", value=value), entity, value)


def _token(
    prefix: str, alphabet: str, count: int, tail: str = ""
) -> Callable[[random.Random], str]:
    return lambda rng: prefix + _pick(rng, alphabet, count) + tail


def _jwt(rng: random.Random) -> str:
    parts = [
        b'{"alg":"HS256","typ":"JWT"}',
        b'{"sub":"%d","iat":1700000000}' % rng.randrange(10**9),
        rng.randbytes(32),
    ]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


_B64: Final = ALNUM + "+/"
_URL64: Final = ALNUM + "-_"
SECRETS: Final[dict[str, Callable[[random.Random], str]]] = {
    "OpenAI project": _token("sk-proj-", _URL64, 64), "OpenAI legacy": _token("sk-", ALNUM, 48), "OpenAI service": _token("sk-svcacct-", _URL64, 60),
    "Anthropic": _token("sk-ant-api03-", _URL64, 93, "AA"), "Groq": _token("gsk_", ALNUM, 52), "xAI": _token("xai-", ALNUM, 80),
    "Hugging Face": _token("hf_", string.ascii_letters, 34), "Replicate": _token("r8_", ALNUM, 37), "Perplexity": _token("pplx-", HEX, 48), "OpenRouter": _token("sk-or-v1-", HEX, 64),
    "AWS key id": _token("AKIA", UPPER + "234567", 16), "AWS session id": _token("ASIA", UPPER + "234567", 16), "Google API": _token("AIza", _URL64, 35), "Google OAuth": _token("ya29.", _URL64, 100),
    "Google client": _token("GOCSPX-", _URL64, 28), "Azure storage": lambda rng: base64.b64encode(rng.randbytes(64)).decode(), "DigitalOcean": _token("dop_v1_", HEX, 64),
    "GitHub personal": _token("ghp_", ALNUM, 36), "GitHub OAuth": _token("gho_", ALNUM, 36), "GitHub app": _token("ghs_", ALNUM, 36), "GitHub fine-grained": lambda rng: f"github_pat_{_pick(rng, ALNUM, 22)}_{_pick(rng, ALNUM, 59)}",
    "GitLab": _token("glpat-", _URL64, 20), "Bitbucket": _token("ATBB", ALNUM, 32), "npm": _token("npm_", ALNUM, 36), "PyPI": _token("pypi-AgEIcHlwaS5vcmc", _URL64, 80), "Docker": _token("dckr_pat_", _URL64, 27),
    "Slack bot": lambda rng: f"xoxb-{_digits(rng, 12)}-{_digits(rng, 12)}-{_pick(rng, ALNUM, 24)}", "Slack app": lambda rng: f"xapp-1-A{_pick(rng, UPPER + DIGITS, 10)}-{_digits(rng, 13)}-{_pick(rng, HEX, 64)}",
    "Telegram": lambda rng: f"{_digits(rng, 10)}:AA{_pick(rng, _URL64, 33)}", "SendGrid": lambda rng: f"SG.{_pick(rng, _URL64, 22)}.{_pick(rng, _URL64, 43)}", "Mailgun": _token("key-", HEX, 32), "Twilio": _token("SK", HEX, 32),
    "Stripe live": _token("sk_live_", ALNUM, 24), "Stripe restricted": _token("rk_live_", ALNUM, 24), "Square": _token("sq0atp-", _URL64, 22), "Shopify": _token("shpat_", HEX, 32), "PayPal": _token("access_token$production$", LOWER + DIGITS, 16, "$0123456789abcdef0123456789abcdef"),
    "Databricks": _token("dapi", HEX, 32), "Vault": _token("hvs.", _URL64, 90), "Grafana": _token("glsa_", ALNUM, 32, "_0a1b2c3d"), "New Relic": _token("NRAK-", UPPER + DIGITS, 27), "Linear": _token("lin_api_", ALNUM, 40),
    "Notion": _token("ntn_", ALNUM, 46), "Figma": _token("figd_", _URL64, 40), "JWT": _jwt, "age key": _token("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
}  # fmt: skip
# The provider's key where its name does not tell: only beside a word.
_NEEDS_A_WORD: Final = frozenset({"Azure storage"})
_CONTEXTS: Final[dict[str, str]] = {
    "JSON": '{{"level": "info", "api_key": "{value}", "n": 3}}',
    "header": "Authorization: Bearer {value}",
    "URL query": "https://api.test/v1/items?limit=5&access_token={value}&page=2",
    "environment": "export SERVICE_API_KEY={value}",
    "prose": "they pasted {value} into the chat, please rotate it",
    "log line": '2026-03-01 10:00:00,123 ERROR client failed token="{value}" attempt=2',
}


def secrets(each: int = 3) -> Iterator[Labelled]:
    """Yield texts with one secret each: every type in every context."""
    rng = random.Random(SEED + 1)
    for kind, make in SECRETS.items():
        for context, shape in _CONTEXTS.items():
            if context == "prose" and kind in _NEEDS_A_WORD:
                shape = "they pasted AccountKey={value} into the chat"  # noqa: PLW2901
            for _ in range(each):
                value = make(rng)
                yield Labelled(shape.format(value=value), "SECRET", value, f"{kind}, {context}")


def ordinary() -> list[str]:
    """Return values as span attributes have them, with nothing to find in them."""
    rng = random.Random(SEED + 2)
    hexes = [_pick(rng, HEX, count) for count in (16, 32, 40, 64) for _ in range(5)]
    uuids = [
        f"{_pick(rng, HEX, 8)}-{_pick(rng, HEX, 4)}-4{_pick(rng, HEX, 3)}-a{_pick(rng, HEX, 3)}-{_pick(rng, HEX, 12)}"
        for _ in range(12)
    ]
    times = [
        f"2026-0{rng.randrange(1, 9)}-1{rng.randrange(9)}T0{rng.randrange(9)}:1{rng.randrange(9)}:2{rng.randrange(9)}.{_digits(rng, 6)}Z"
        for _ in range(6)
    ]
    times += [str(1_700_000_000 + rng.randrange(10**8)) for _ in range(6)] + [
        str(1_700_000_000_000 + rng.randrange(10**10)) for _ in range(6)
    ]
    times += [str(1_700_000_000_000_000_000 + rng.randrange(10**16)) for _ in range(6)] + [
        str(1_700_000_000_000_000 + rng.randrange(10**13)) for _ in range(6)
    ]
    pods = [
        f"checkout-{_pick(rng, 'bcdfghjklmnpqrstvwxz2456789', 10)}-{_pick(rng, 'bcdfghjklmnpqrstvwxz2456789', 5)}"
        for _ in range(8)
    ]
    numbers = [str(rng.randrange(10**count)) for count in range(1, 13) for _ in range(2)]
    return [*hexes, *uuids, *times, *pods, *numbers, *_FIXED]


_FIXED: Final = (
    "1.14.2", "v2.3.0-rc.1", "0.66b0", "3.11.7+abc123", "2026.03.1", "1.0.0-alpha+001", "go1.26.8", "openjdk 17.0.15 2025-04-15",
    "gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "claude-sonnet-4-20250514", "claude-3-5-haiku-20241022", "gemini-2.5-pro-preview-06-05", "mistral-large-2411", "text-embedding-3-large", "anthropic.claude-3-sonnet-20240229-v1:0", "llama-3.3-70b-versatile", "o3-mini-2025-01-31",
    "SELECT id, state, total FROM orders WHERE customer_id = $1 LIMIT 50", "INSERT INTO audit_log (actor, action, at) VALUES ($1, $2, now())", "UPDATE carts SET items = $2 WHERE id = 4711", "SELECT * FROM products WHERE sku = ANY($1) AND price < 19.99", "DELETE FROM sessions WHERE expires_at < '2026-01-01 00:00:00'", "BEGIN; SELECT pg_advisory_xact_lock(8675309); COMMIT",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.118 Safari/537.36", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15", "python-requests/2.32.3", "OTel-OTLP-Exporter-Python/1.45.0", "grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)", "curl/8.5.0", "kube-probe/1.31",
    "/api/orders/{id}", "/v1/chat/completions", "/static/js/app.3f2a9c1b.js", "/health", "GET /api/users/:id/cart", "/opt/app/src/handlers/checkout.py", "C:\\Program Files\\App\\bin\\svc.exe", "s3://bucket/path/part-00017-of-00100.snappy.parquet", "redis://cache:6379/0", "postgresql://db.internal:5432/orders", "amqp://mq:5672/", "jdbc:mysql://db:3306/shop?useSSL=true",
    "checkout.orders.v2", "orders-consumer-group-7", "partition=3 offset=1482390", "us-east-1a", "eu-central-1", "arn:aws:lambda:us-east-1:123456789012:function:checkout", "projects/shop-prod/locations/europe-west1", "ip-10-0-3-17.ec2.internal", "i-0abcd1234efgh5678", "sha256:" + "ab12" * 16, "registry.test/shop/checkout:1.14.2", "docker-pullable://nginx@sha256", "namespace/default pod/web-0 container/app",
    "application/json; charset=utf-8", "gzip, deflate, br, zstd", "en-US,en;q=0.9,de;q=0.8", "max-age=31536000; includeSubDomains", 'W/"5f3e-18c2a9b0"', "bytes=0-1023", "no-cache, no-store", "text/event-stream", "HTTP/1.1", "TLSv1.3", "TLS_AES_256_GCM_SHA384",
    "NullPointerException at com.shop.Checkout.pay(Checkout.java:214)", "ValueError: invalid literal for int() with base 10: 'abc'", "Traceback (most recent call last):", "context deadline exceeded", "connection refused: 111", "HTTP 503 Service Unavailable", "retry 3/5 in 1.5s", "java.lang.OutOfMemoryError: Java heap space", "exit status 137", "signal: killed",
    "12.5ms", "1h30m", "3.14159265358979", "1.5e-07", "99.95%", "-1", "0x7ffee3b0", "1,234,567.89", "EUR 17.50", "4 items", "10:00-18:00", "2026-W10", "Q3 2026", "12/24/2026", "24.12.2026", "00:00:17.482",
    "true", "null", "OK", "ERROR", "SPAN_KIND_SERVER", "chat", "stop", "tool_calls", "user", "assistant", "temperature=0.7", "max_tokens=4096", "top_p: 0.95", "max_completion_tokens", "token count 1532", "key=value", "cache key orders:v3:page:2", "primary key (id)", "feature_flag.new_checkout=on", "session.id", "author: platform team", "secretary of state", "basic plan", "bearer of bad news", "passport control",
    "resp_67ccd2bed1ec8190b14f964abc054267", "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "call_abc123def456", "run_V1StGXR8Z5jdHi6B", "msg_01XFDUDYJgAACzvnptvVoYEL", "toolu_01A09q90qw90lq917835lq9", "order ORD-2026-000417", "invoice INV/2026/03/0017", "ticket JIRA-48213", "build #20260301.4", "commit 9fceb02d0ae598e95dc970b74767f19372d6 1af8", "rev 1482390", "x-request-id: f47ac10b58cc4372a5670e02b2c3d479", "traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)  # fmt: skip
