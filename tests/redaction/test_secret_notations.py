# ruff: noqa: E501 - tables of samples
"""Secrets under a name that tells it, in notations that are neither JSON nor an assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from processors.redaction import Redactor

# {} is a made-up value
NOTATIONS = [
    "<cfg><db-password>{}</db-password></cfg>", '<ns1:Password xsi:type="xsd:string">{}</ns1:Password>',
    "<client_secret><![CDATA[{}]]></client_secret>", "&lt;password&gt;{}&lt;/password&gt;",
    "<SecretAccessKey>{}</SecretAccessKey>", "<wsse:token>{}</wsse:token>", '<Header name="X-Api-Key">{}</Header>',
    '<add key="DbPassword" value="{}"/>', '<input name="csrf_token" value="{}">',
    "- name: DB_PASSWORD\n  value: {}\n- name: B", '- name: API_TOKEN\n  value: "{}"', "{{'name': 'x-api-key', 'value': '{}'}}",
    "[(b'host', b'x'), (b'x-api-key', b'{}')]", "('GITHUB_TOKEN', '{}')", "[('client_secret', '{}'), ('a', 'b')]",
    "(b'authorization-token', b'Token {}')", "run --password {} --verbose", 'run --api-key "{}"', "['run', '--auth-token', '{}', '-v']",
    '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{}\r\n--b--',
    '--b\r\nContent-Disposition: form-data; name="api_token"\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b--',
    "CREATE USER bob WITH PASSWORD '{}'", "ALTER USER bob IDENTIFIED BY '{}'", "SET PASSWORD FOR 'b'@'h' = PASSWORD('{}')",
    "CREATE USER 'b'@'%' IDENTIFIED WITH mysql_native_password BY '{}'", "SELECT 1 FROM u WHERE token LIKE '{}'",
    "SELECT 1 FROM u WHERE api_key IN ('{}')", "CREATE SECRET (TYPE s3, KEY_ID 'k', SECRET '{}')",
    "AUTH {}", "AUTH default {}", "CONFIG SET requirepass {}", "machine api.x.com login jane password {}",
    "curl -s -u bob:{} https://x", "mysql -uroot -p{} db", "sshpass -p {} ssh x", "docker login -u b -p {} r.io",
    "redis-cli -h r -a {} ping", "openssl rsa -passin pass:{}",
    "DB_PASS={}", "smtp_pass: {}", "export AZURE_STORAGE_KEY={}", "SECRET_KEY_BASE: {}", '{{:token=>"{}"}}',
    "Config(password='{}')", "Client(api_key=b'{}')", "Settings(api_key=SecretStr('{}'))", 'Config {{ password: Some("{}") }}',
    'http.Header{{"X-Api-Key":[]string{{"{}"}}}}', "password = crypt('{}', salt)", 'mutation {{ login(password: "{}") {{ id }} }}',
    "Your verification code is {}", 'device_code="{}"', "2fa-code: {}",
    "Authorization: Splunk {}", "Proxy-Authorization: NTLM {}", "(b'authorization', b'Token {}')",
]  # fmt: skip

# what begins as a placeholder does and goes on
BEGUN = [
    "none-of-1t",
    "include-Xy12",
    "string77x",
    "null!9abcd",
    "true.Blue1",
    "$2b$12$k7Qm2vXw9LpR",
    "$1Ab9zzQQ",
]

ORDINARY = [
    "<password>required</password>", '<label for="password">Password</label>', "<th>Password</th><td>x</td>",
    "<token>hello</token>", "<password/>", "<secret></secret>", '<option name="password">Password grant</option>',
    "- name: tls-secret\n  secretName: b", "- name: DB_PASSWORD\n  valueFrom: x", "('username', 'password')",
    "['password', 'email', 'phone']", "('api_key', 'base')", "run --max-tokens 4096 --token-count 12",
    "--password is required", "--password --user jane", "pass --token to log in", 'name="password"; x',
    "AUTH ?", "AUTH failed", "SELECT 'password', 'b'", "SELECT password FROM users WHERE name = 'Jane'",
    "INSERT INTO t (id, password) VALUES (?, ?)", "mysql -u root -p db", "mysql -P3306 -h x", "docker run -p 8080:80 x",
    "user bob identified by mail", "docker run -u 1000:1000 x", "KeyError: 'password'",
    "fetch(u, {credentials: 'include'})", "Unexpected token '<', not valid JSON", "first_pass=3", "api_key: Optional[str] = None",
    "otp_release=26.2.5", "const otp = await read(x)", "--otp=...", "2fa code is invalid", "the OTP is required", "recovery codes: see below",
    'password: "required"', "bypass=true9", "storage: keys", "Authorization: required for this",
]  # fmt: skip


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("value", ["k7Qm2vXw9LpR", "hunter2+xyz"])
def test_a_secret_in_a_notation(redactor: Redactor, notation: str, value: str) -> None:
    """Scenario: one secret in one notation. Guarantees: exactly it goes; again changes nothing."""
    redacted = redactor.redact_text(notation.format(value)).text
    assert redacted == notation.format("<SECRET>")
    assert redactor.redact_text(redacted).text == redacted


@pytest.mark.parametrize("value", BEGUN)
@pytest.mark.parametrize(
    "notation",
    [
        "password={}",
        "api_key: '{}'",
        "<password>{}</password>",
        "Authorization: Token {}",
        "a?token={}&b=c",
    ],
)
def test_a_secret_may_begin_as_a_placeholder(redactor: Redactor, notation: str, value: str) -> None:
    """Scenario: passwords that begin with null, string, $1, …. Guarantees: they go, all of each."""
    assert redactor.redact_text(notation.format(value)).text == notation.format("<SECRET>")


@pytest.mark.parametrize(
    "value", ["null", "None,", "string|null", "undefined.", "$1", "$12)", "include;"]
)
def test_placeholders_stay(redactor: Redactor, value: str) -> None:
    """Scenario: a placeholder with what code and prose put behind it. Guarantees: unchanged."""
    text = f"password={value} x"
    assert redactor.redact_text(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "client_id=a&code_verifier=correcthorse9876", "client_assertion=correcthorse9876", "key=correcthorse9876543210",
        'Password: "correcthorse"', "password: 'correcthorse'", 'Cookie: theme="dark"; sid=correcthorse',
        "cookie => sid=correcthorse", 'Authorization: Digest username="m", response="correcthorse"',
        "Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=correcthorse",
        'Authorization: OAuth a="b", oauth_signature="correcthorse"',
    ],
)  # fmt: skip
def test_a_secret_of_letters(redactor: Redactor, text: str) -> None:
    """Scenario: quoted values and headers of several parts. Guarantees: no part stays."""
    redacted = redactor.redact_text(text).text
    assert "correcthorse" not in redacted
    assert redactor.redact_text(redacted).text == redacted


@pytest.mark.parametrize("text", ["otp={}&x=1", "x-totp: {}", "Your OTP is {}", 'otp="{}"'])
def test_a_one_time_password(redactor: Redactor, text: str) -> None:
    """Scenario: digits behind what they are called. Guarantees: they go, and nothing else."""
    assert redactor.redact_text(text.format("482913")).text == text.format("<SECRET>")


@pytest.mark.parametrize("text", ORDINARY)
def test_a_name_without_a_secret(redactor: Redactor, text: str) -> None:
    """Scenario: what a secret is called, and none behind it. Guarantees: the text stays."""
    assert redactor.redact_text(text).text == text


@pytest.mark.parametrize(
    "piece", ["password>", ":token a ", '<a name="token" ', "--password ", "('token', '"]
)
def test_names_without_end(unscreened: Redactor, piece: str) -> None:
    """Scenario: 100 kB of what such a notation begins with. Guarantees: time in proportion."""
    redacted = unscreened.redact_text(f"{piece * (100_000 // len(piece))} j@x.com").text
    assert redacted.endswith(" <EMAIL_ADDRESS>")
