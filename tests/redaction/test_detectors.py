# ruff: noqa: E501, RUF001, ARG002 - tables of samples, foreign letters among them; fakes
"""What is found in one string, in which spelling, and what ordinary values are left alone."""

from __future__ import annotations

import json
import random
import re

import pytest
from presidio_analyzer import EntityRecognizer, Pattern
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, CryptoRecognizer

from collector.model.errors import ConfigError
from config.settings import RedactionSettings
from processors.redaction import Redactor
from processors.redaction.checks import luhn
from processors.redaction.recognizers import (
    BitcoinRecognizer,
    CardRecognizer,
    FailClosedRecognizer,
    Rule,
)

FOUND = [
    ("write to john.doe@example.com.", "write to <EMAIL_ADDRESS>."),
    ("john@corp.internal", "<EMAIL_ADDRESS>"),
    ("john@localhost", "<EMAIL_ADDRESS>"),
    ("/users/jane+x@mail.example.co.uk/orders", "/users/<EMAIL_ADDRESS>/orders"),
    ("to=john@example.com&x=1", "to=<EMAIL_ADDRESS>&x=1"),
    ("jürgen@müller.de", "<EMAIL_ADDRESS>"),
    ("<john@example.com>", "<<EMAIL_ADDRESS>>"),
    ("4111111111111111", "<CREDIT_CARD>"),
    ("card 5555-5555-5555-4444 ok", "card <CREDIT_CARD> ok"),
    ("2223003122003222", "<CREDIT_CARD>"),
    ("378282246310005", "<CREDIT_CARD>"),
    ("4.111111111111111e+15", "<CREDIT_CARD>"),
    ("GB29NWBK60161331926819 from account", "<IBAN_CODE> from account"),
    ("BE68 5390 0754 7034 from account", "<IBAN_CODE> from account"),
    ("de89370400440532013000", "<IBAN_CODE>"),
    ("AB12 DE89370400440532013000", "AB12 <IBAN_CODE>"),
    ("DE12 3456 DE89 3704 0044 0532 0130 00.", "DE12 3456 <IBAN_CODE>."),
    ("ssn 219-09-9998", "ssn <US_SSN>"),
    ("call +1 415 555 2671 now", "call <PHONE_NUMBER> now"),
    ("(415) 555-2671", "<PHONE_NUMBER>"),
    ("+44 20 7946 0958", "<PHONE_NUMBER>"),
    ("Tel. 030 12345678", "Tel. <PHONE_NUMBER>"),
    ("phone 4155552671", "phone <PHONE_NUMBER>"),
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "<CRYPTO>"),
    ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "<CRYPTO>"),
    ("https://bob:hunter2@db.example.com/x", "https://bob:<SECRET>@db.example.com/x"),
    ("postgres://app:p@ss@db:5432/x", "postgres://app:<SECRET>@db:5432/x"),
    ("/cb?token=abcdef123&x=1", "/cb?token=<SECRET>&x=1"),
    ("/f?X-Amz-Signature=deadbeef01&a=b", "/f?X-Amz-Signature=<SECRET>&a=b"),
    ("password=hunter2; x", "password=<SECRET>; x"),
    ('password="correct horse"', 'password="<SECRET>"'),
    ("Authorization: Bearer abc.def-123456", "Authorization: Bearer <SECRET>"),
    ("basic dXNlcjpwYXNzd29yZA==", "basic <SECRET>"),
    ('{"a": "truncated", "password": "hunter2", "b', '{"a": "truncated", "password": "<CREDENTIAL>", "b'),
    ("AccountKey=Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9v==;E", "AccountKey=<SECRET>;E"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x", "<SECRET> x"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEcut", "<SECRET>"),
    ("a%40b.com", "<EMAIL_ADDRESS>"),
    ("/find?q=john%2540example.com&page=2", "/find?q=<EMAIL_ADDRESS>&page=2"),
    ("x%20Basic%20dXNlcjpwYXNzd29yZA== y", "<SECRET>== y"),
    ("x%2520Basic%2520dXNlcjpwYXNzd29yZA", "<SECRET>"),
    ("/x?h=Basic\\u0020dXNlcjpwYXNzd29yZA&y=1", "/x?h=<SECRET>&y=1"),
    ("eCUyMEJhc2ljJTIwZFhObGNqcHdZWE56ZDI5eVpB", "<SECRET>"),
    ("ｊohn＠example．com", "<EMAIL_ADDRESS>"),
    ("4111\u200b1111\u200b1111\u200b1111", "<CREDIT_CARD>"),
    ("4111\u20111111\u20111111\u20111111", "<CREDIT_CARD>"),
    ("٤١١١١١١١١١١١١١١١", "<CREDIT_CARD>"),
    ('{"a": "truncated \\u006aohn\\u0040example.com', '{"a": "truncated <EMAIL_ADDRESS>'),
    ("line one\\n4111111111111111", "line <CREDIT_CARD>"),
]  # fmt: skip

KEYS = [
    "sk-proj-" + "aB3" * 8, "sk-ant-api03-" + "xY9_" * 6, "sk-" + "a1B2" * 12, "AKIA" + "IOSF" * 4,
    "ghp_" + "a1B2" * 9, "github_pat_" + "a1_B" * 12, "glpat-" + "a1B2" * 5, "xoxb-1234-5678-abcd",
    "AIza" + "Sy-_1" * 7, "ya29." + "a0Af_" * 5, "gsk_" + "a1B2" * 8, "xai-" + "a1B2" * 8,
    "hf_" + "aBcD" * 8, "sk_live_" + "a1B2" * 5, "rk_test_" + "a1B2" * 5, "npm_" + "a1B2" * 9,
    "SG." + "a1_B" * 5 + "." + "c2-D" * 8, "dapi" + "0af1" * 8, "whsec_" + "a1B2" * 8,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "shpat_" + "0af1" * 8,
    "lsv2_pt_" + "0af1" * 8, "hvs." + "CAES" * 6, "dckr_pat_" + "a-1B" * 6,
]  # fmt: skip

ORDINARY = [
    "GET /api/v1/users/12345", "GET", "200", "https", "checkout", "1.14.2", "v2.0.0-rc.1+build.7",
    "550e8400-e29b-41d4-a716-446655440000", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "2024-05-11T09:30:00.123456Z",
    "2024-05-11 09:30:00", "11/05/2024 10:22", "05-11-2024 10:00", "1700000000", "1700000000000",
    "1700000000000000", "1700000000000000000", "20240511093000", "192.168.1.10", "10.0.0.1:8080",
    "2001:db8::8a2e:370:7334", "fe80::1ff:fe23:4567:890a", "00:1B:44:11:3A:B7", "127.0.0.1",
    "checkout-7d9f8b6c5-abcde", "ip-10-0-12-34.ec2.internal", "nginx:1.25.3", "redis:7-alpine",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "arn:aws:s3:::my-bucket/path/key", "arn:aws:lambda:us-east-1:123456789012:function:orders",
    "s3://bucket/2024/05/11/part-00000.parquet", "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022",
    "text-embedding-3-large", "gemini-1.5-pro-002", "chatcmpl-9fXyZabcDEF123456789", "call_abc123",
    "SELECT * FROM users WHERE id = $1", "SELECT password FROM users WHERE email = ?",
    "UPDATE accounts SET password = $1 WHERE id = $2", "INSERT INTO t (a, b) VALUES (?, ?)",
    "select count(*) from orders where created_at > '2024-01-01'", "BEGIN", "COMMIT",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0",
    "curl/8.5.0", "python-requests/2.31.0", "okhttp/4.12.0", "grpc-python/1.62.0 grpc-c/39.0.0",
    "application/json; charset=utf-8", "text/event-stream", "gzip, deflate, br", "en-US,en;q=0.9",
    "https://api.example.com/v1/orders?page=2&limit=50&sort=created_at", "http://localhost:8080/health",
    "https://example.com/a/b/c.html#section-2", "redis://localhost:6379/0", "/orders/{orderId}/items",
    "postgresql://db:5432/app", "kafka://broker-1:9092,broker-2:9092", "amqp://rabbit:5672",
    "opentelemetry.instrumentation.asgi", "io.opentelemetry.tomcat-10.0", "@opentelemetry/instrumentation-http",
    "lodash@4.17.21", "react@18.2.0", "actions/checkout@v4", "pkg:npm/%40angular/core@16.0.0",
    "ValueError: invalid literal for int() with base 10: 'abc'", "Connection refused (os error 111)",
    "Traceback (most recent call last):\n  File \"app.py\", line 10, in main\n    run()\nKeyError: 'x'",
    "java.lang.NullPointerException at com.acme.Foo.bar(Foo.java:42)", "context deadline exceeded",
    "token limit exceeded: 8192 tokens", "max_tokens=4096 temperature=0.7", "invalid token",
    "The password must be at least 12 characters", "Basic authentication required", "Bearer",
    "password: required", "Please reset your password", "secret santa", "api key missing",
    "user 42 logged in", "order 1234567890 shipped", "retry 3 of 5", "0.7", "3.14159", "1e-09",
    "99.95%", "1,234,567.89", "$1,299.00", "12:34:56.789", "P3DT4H", "PT0.5S", "true", "null",
    "us-east-1a", "eu-central-1", "i-0abcd1234ef567890", "subnet-0bb1c79de3EXAMPLE", "prod", "canary",
    'W/"33a64df551425fcc55e4d42a148795d9f25f89d4"', "max-age=31536000; includeSubDomains",
    "HTTP/1.1 404 Not Found", "ok=true;dur=12.5", "cfuid=1", '["stop"]', "[1, 2, 3]",
    '{"type": "function", "function": {"name": "get_weather"}}', '{"temperature": 0.2}',
    "0x7ffd5e8a3c10", "0xdeadbeef", "b64:aGVsbG8gd29ybGQ", "ot=th:8;rv:abcdef01234567", "rojo=00f067aa0ba902b7",
    "The quick brown fox jumps over the lazy dog 13 times.", "What is the capital of France?", "Zürich, 12 °C",
    "日本語のテキスト", "naïve café – résumé", "C:\\Program Files\\App\\app.exe", "/usr/lib/python3.11/site.py",
    "node-v20.11.1-linux-x64", "ubuntu-22.04.3", "Linux 5.15.0-105-generic #115-Ubuntu SMP", "4.18.0-513.el8",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_found_and_cut(redactor: Redactor, text: str, expected: str) -> None:
    """Scenario: one value in one spelling. Guarantees: exactly it is replaced."""
    assert redactor.redact_text(text).text == expected


@pytest.mark.parametrize("secret", KEYS)
@pytest.mark.parametrize(
    "context", ["{}", "key is {}, thanks", "/x?a={}&b=1", "f({})", '"{}"', "[{}]"]
)
def test_issued_keys_in_context(redactor: Redactor, secret: str, context: str) -> None:
    """Scenario: a provider's key between delimiters. Guarantees: none of it stays."""
    redacted = redactor.redact_text(context.format(secret)).text
    assert secret not in redacted
    assert redacted == context.format("<SECRET>") or "<SECRET>" in redacted


def test_ordinary_values_are_left_alone(redactor: Redactor) -> None:
    """Scenario: 100 and more values as spans have them. Guarantees: at most three false hits."""
    assert len(ORDINARY) >= 100
    wrong = [text for text in ORDINARY if redactor.redact_text(text).text != text]
    assert len(wrong) <= 3, wrong


@pytest.mark.parametrize("text", [*(text for text, _ in FOUND), *KEYS, *ORDINARY])
def test_redacting_twice_changes_nothing(redactor: Redactor, text: str) -> None:
    """Scenario: every sample, bare and as JSON. Guarantees: redact(redact(x)) == redact(x)."""
    for one in (text, json.dumps({"password": text, "a": [text, {"user_id": text}]})):
        once = redactor.redact_text(one).text
        assert redactor.redact_text(once).text == once


def test_tokens_join_over_spellings_and_rest_on_the_key() -> None:
    """Scenario: HMAC for mails and cards. Guarantees: one token a value, another a key."""
    operators = {"DEFAULT": "hmac"}
    one, two = (
        Redactor(RedactionSettings(operators=operators, hmac_key=key))  # type: ignore[arg-type]
        for key in ("0123456789abcdef", "fedcba9876543210")
    )
    assert one.redact_text("A@B.com").text == one.redact_text("a@b.com").text
    assert one.redact_text("4111 1111 1111 1111").text == one.redact_text("4111111111111111").text
    assert one.redact_text("a@b.com").text != two.redact_text("a@b.com").text
    assert one.version != two.version
    token = one.redact_text("a@b.com").text
    assert one.redact_text(token).text == token
    assert one.redact_text(token, key="user.id").text == token


def test_json_stays_json_and_untouched_json_stays_as_it_is(redactor: Redactor) -> None:
    """Scenario: odd but valid JSON. Guarantees: leaves, keys, numbers and repeats are covered."""
    text = '{"a" :1.10,"a":"j@x.com", "j@y.com":[4111111111111111, 1.0], "s":"\\ud800\\n"}'
    redacted = redactor.redact_text(text).text
    assert redacted == (
        '{"a": 1.10, "a": "<EMAIL_ADDRESS>", "<EMAIL_ADDRESS>": ["<CREDIT_CARD>", 1.0], '
        '"s": "\\ud800\\n"}'
    )
    clean = '{ "path" : "C:\\\\x", "n":1.50 , "l":[ ] }'
    assert redactor.redact_text(clean).text == clean
    inner = json.dumps({"arguments": json.dumps({"api_key": "abc", "q": "hi"})})
    assert "abc" not in redactor.redact_text(inner).text


@pytest.mark.parametrize("depth", [60, 70, 500, 200_000])
def test_deep_json_is_cut_where_it_is_too_deep(redactor: Redactor, depth: int) -> None:
    """Scenario: a mail far down. Guarantees: it is gone, and nothing overflows."""
    text = "[" * depth + '"j@x.com"' + "]" * depth
    redacted = redactor.redact_text(text).text
    assert "j@x.com" not in redacted
    if depth <= 500:
        json.loads(redacted) if redacted.startswith("[") else None
        assert ("too_deep" in redacted) == (depth > 64)


class _Broken(EntityRecognizer):
    """Fails on every string, with the string in its message."""

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> object:
        """Fail."""
        raise ValueError(text)


def test_a_recognizer_that_fails_costs_the_value_not_the_secret(
    settings: RedactionSettings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Scenario: a recognizer raises. Guarantees: value replaced whole; its text in no log."""
    redactor = Redactor(settings)
    redactor._detectors.blind.append(_Broken(["EMAIL_ADDRESS"], name="broken"))
    redacted = redactor.redact_text("a-secret-to-watch")
    assert redacted.text == "<REDACTED>"
    assert "a-secret-to-watch" not in caplog.text + "".join(capfd.readouterr())


def test_a_pattern_that_times_out_costs_the_value(settings: RedactionSettings) -> None:
    """Scenario: a regex raises TimeoutError, which Presidio would skip. Guarantees: cut whole."""
    redactor = Redactor(settings, screened=False)

    class Slow(FailClosedRecognizer):
        """Times out at once."""

        def search(self, rule: Rule, text: str) -> list[object]:
            """Time out."""
            raise TimeoutError

    slow = Slow("X", patterns=[Pattern("slow", "a", 0.5)])
    redactor._detectors.rules.append(Rule.of(slow, slow.patterns[0]))
    redactor._all_marks = [*range(len(redactor._detectors.rules))]
    assert redactor.redact_text("harmless").text == "<REDACTED>"


def test_a_string_of_ten_megabytes(redactor: Redactor) -> None:
    """Scenario: long texts, one without a blank. Guarantees: found at the end, in linear time."""
    for filler in ("word and more ", "x", "a-", "1.", "@"):
        text = filler * (10_000_000 // len(filler) // (20 if filler == "@" else 1))
        redacted = redactor.redact_text(f"{text} j@x.com").text
        assert redacted.endswith("<EMAIL_ADDRESS>")


@pytest.mark.parametrize("piece", ["bearer+", "token=", "secret:", "pwd:", "eyJ-", "eyJhbGciOi_"])
def test_heads_of_secrets_without_end(unscreened: Redactor, piece: str) -> None:
    """Scenario: 100 kB of what a secret begins with.

    Guarantees: each is not followed to the end; else rules time out and the string goes whole.
    """
    redacted = unscreened.redact_text(f"{piece * (100_000 // len(piece))} j@x.com").text
    assert redacted.endswith(" <EMAIL_ADDRESS>")


def test_many_secrets_in_one_text(redactor: Redactor) -> None:
    """Scenario: 60,000 passwords. Guarantees: each is not held against every replacement, which
    would take more time than a test is given.
    """  # noqa: D205 - the guarantee needs two lines
    redacted = redactor.redact_text('password="x1" ' * 60_000).text
    assert redacted == 'password="<SECRET>" ' * 60_000


def test_a_token_behind_others_that_are_none(redactor: Redactor) -> None:
    """Scenario: beginnings of tokens before one. Guarantees: it is found all the same."""
    assert redactor.redact_text("bearer+bearer abcdef12").text == "bearer+bearer <SECRET>"
    token = "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln"  # noqa: S105 - a sample
    assert redactor.redact_text(f"eyJ-eyJ_aaaaaaaa {token}").text == "eyJ-eyJ_aaaaaaaa <SECRET>"
    assert redactor.redact_text("token=" + "x" * 300).text == "token=<SECRET>"


def test_configuration_errors() -> None:
    """Scenario: an unknown entity. Guarantees: a clear error at the start."""
    with pytest.raises(ConfigError, match="NO_SUCH"):
        Redactor(RedactionSettings(entities=("EMAIL_ADDRESS", "NO_SUCH")))


def test_entities_of_presidio_can_be_chosen() -> None:
    """Scenario: an entity we have no recognizer for. Guarantees: Presidio's own is used."""
    redactor = Redactor(RedactionSettings(entities=("IP_ADDRESS",)))
    assert redactor.redact_text("from 192.168.7.9").text == "from <IP_ADDRESS>"
    assert redactor.redact_text("j@x.com").text == "j@x.com"


@pytest.mark.parametrize("head", ["1", "3", "bc1", "x1", "2", "bc2", "11"])
def test_bitcoin_addresses_are_looked_for_as_by_presidio(head: str) -> None:
    """Scenario: runs of every length around the shortest and longest, with other text behind.

    Guarantee: our pattern, put otherwise for Hyperscan, matches what Presidio's does.
    """
    [ours], [theirs] = BitcoinRecognizer.PATTERNS, CryptoRecognizer.PATTERNS
    assert ours.regex != theirs.regex
    for length in range(20, 130):
        for text in (head + "Zb3" * length, head + "7" * length, f"{head}{'k' * length}0l {head}"):
            cut = text[:length]
            found = [one.span() for one in re.finditer(theirs.regex, cut)]
            assert [one.span() for one in re.finditer(ours.regex, cut)] == found


def test_an_id_of_a_thread_is_no_card(redactor: Redactor) -> None:
    """Scenario: addresses as Python's thread ids, one in ten with Luhn's digit; cards beside them.

    Guarantee: ids stay; fifteen digits that no thread has are a card as before.
    """
    threads = [str(0x7F8D_1C00_0000 + step * 64) for step in range(200)]
    assert sum(map(luhn, threads)) > 10
    assert [one for one in threads if redactor.redact_text(f"thread {one}").text[7:] != one] == []
    odd = [str(int(one) + 1) for one in threads]
    assert any("<CREDIT_CARD>" in redactor.redact_text(one).text for one in odd)


def test_luhn_is_that_of_presidio() -> None:
    """Scenario: random numbers of each length, with separators and in other scripts' digits.

    Guarantee: the same are cards as by Presidio's own check.
    """
    rng = random.Random(1)
    ours, theirs = CardRecognizer(), CreditCardRecognizer()
    numbers = ["".join(rng.choices("0123456789", k=rng.randint(12, 19))) for _ in range(3000)]
    numbers = [number for number in numbers if number[0] != "1"]
    numbers += [f"{number[:4]}-{number[4:8]} {number[8:]}" for number in numbers[::3]]
    numbers += [
        number.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")) for number in numbers[::9]
    ]
    told = [ours.validate_result(number) for number in numbers]
    assert told == [theirs.validate_result(number) for number in numbers]
    assert 200 < sum(told) < 600
