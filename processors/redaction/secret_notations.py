"""Secrets with their name in front, in notations that are neither JSON nor an assignment."""

from __future__ import annotations

from typing import Final

from processors.redaction.secret_names import (
    BARE,
    DIGIT_OR_HUMP,
    DIGIT_OR_SIGN,
    NAME_OF_ONE,
    PLACEHOLDER,
)

# A bare token is too little for a name where a grammar's tokens may stand: <token>the</token>
_NAME: Final = rf"(?:{NAME_OF_ONE}|(?<![A-Za-z])token(?!s)|(?<![A-Za-z])jwt(?![A-Za-z]))"
_REST: Final = r"[\w.\-]{0,12}"
_MARK: Final = r"(?:<|&lt;)"
_TEXT: Final = r"(?:[^<>&]|&(?!lt;))"
# What a command is given between its name and the flag that has the secret
_GIVEN: Final = r"\b[^\r\n]{0,80}?\s"
_QUOTED: Final = r"(?:\"(?P<secret>[^\"\\\r\n]{1,1024})\"|'(?P<secret>[^'\r\n]{1,1024})')"

NOTATED: Final = (
    (
        # <Password xsi:type="xsd:string">…</Password>, also <![CDATA[…]]> and &lt;password&gt;
        "secret in an element",
        (
            rf"{NAME_OF_ONE}{_REST}(?:\s[^<>&\r\n]{{0,120}}+)?(?:>|&gt;)\s{{0,64}}(?:<!\[CDATA\[)?"
            rf"{PLACEHOLDER}(?P<secret>(?![\s<]){_TEXT}{{1,1024}})(?:\]\]>)?{_MARK}/"
        ),
    ),
    (
        "token in an element",
        (
            rf"(?:<|&lt;|:)token(?:\s[^<>&\r\n]{{0,120}}+)?(?:>|&gt;)\s{{0,64}}{DIGIT_OR_HUMP}"
            rf"(?P<secret>{BARE}{{8,1024}})"
        ),
    ),
    (
        # <Header name="X-Api-Key">…</Header>; a form's label or heading has no digit
        "secret in a named element",
        (
            rf"\s(?:key|name)=[\"'][\w.\-]{{0,40}}?{_NAME}{_REST}[\"'][^<>\r\n]{{0,120}}+>\s{{0,64}}"
            rf"{DIGIT_OR_SIGN}(?P<secret>[^\s<>]{{6,1024}})\s{{0,64}}</"
        ),
    ),
    (
        # <add key="Password" value="…"/>; Kubernetes: - name: DB_PASSWORD⏎ value: …
        "secret of a named value",
        (
            rf"{_NAME}{_REST}[\"'\r\n][\s,\"']*value[\"']?\s{{0,3}}[:=]\s{{0,3}}{PLACEHOLDER}"
            rf"(?:{_QUOTED}|(?P<secret>{BARE}{{3,1024}}))"
        ),
    ),
    (
        # [(b'x-api-key', b'…')], ('token', '…'): a pair, and the second no other name
        "secret of a pair",
        (
            rf"[(\[{{]\s{{0,3}}b?[\"'][\w.\-]{{0,40}}?(?:{_NAME}|authorization){_REST}[\"']\s{{0,3}},"
            r"\s{0,3}"
            rf"b?[\"'](?:(?:bearer|basic|token) {{1,3}})?{DIGIT_OR_SIGN}"
            r"(?P<secret>[^\s\"']{6,1024})[\"']\s{0,3},?\s{0,3}[)\]}]"
        ),
    ),
    (
        "secret of a flag",
        (
            rf"(?<![\w\-])--[\w.\-]{{0,40}}?{_NAME}{_REST}(?: {{1,3}}|[\"'],\s{{0,3}})(?!-)"
            rf"{PLACEHOLDER}(?:{_QUOTED}|{DIGIT_OR_SIGN}(?P<secret>{BARE}{{3,}}))"
        ),
    ),
    (
        # multipart/form-data
        "secret of a form's part",
        (
            rf"\bname=\"[^\"\r\n]{{0,40}}?{_NAME}{_REST}\"(?:[^\r\n]{{0,120}}+\r?\n){{1,3}}?\r?\n"
            r"(?P<secret>[^\r\n]{1,1024})"
        ),
    ),
    (
        # CREATE USER x PASSWORD '…', IDENTIFIED BY '…', token LIKE '…', api_key IN ('…')
        "secret in a statement",
        (
            rf"(?:{NAME_OF_ONE}{_REST}(?=[\s(])|\bcrypt|token{_REST}(?= (?:<>|!=|i?like|in)\b)"
            r"|\bidentified(?:\s{1,3}with\s{1,3}\w{1,64})?\s{1,3}by(?:\s{1,3}password)?)\s{0,3}"
            r"(?:(?:<>|!=|\bi?like\b|\bin\b)\s{0,3})?\(?\s{0,3}"
            rf"'{PLACEHOLDER}(?P<secret>[^'\r\n]{{1,256}})'"
        ),
    ),
    (
        "secret of redis",
        (
            r"(?:\A(?-i:AUTH) (?:\S{1,64} )?|\b(?:requirepass|masterauth) {1,3})"
            rf"(?!\?|failed|required){PLACEHOLDER}(?P<secret>[^\s\"']{{3,256}})\s{{0,3}}(?:\Z|(?=\n))"
        ),
    ),
    ("secret of a login", r"\blogin {1,3}\S{1,128} {1,3}password {1,3}(?P<secret>\S{1,256})"),
    (
        "secret of a command line",
        (
            rf"(?:\bcurl{_GIVEN}(?:-u|--user|--proxy-user)[ =]?[\"']?[^\s:'\"]{{1,128}}:"
            rf"|\b(?:mysql|mysqldump|mysqladmin|mariadb){_GIVEN}(?-i:-p)(?=\S)"
            rf"|\b(?:sshpass|(?:docker|podman|az|oc|helm registry) login{_GIVEN}?) ?(?-i:-p) ?"
            rf"|\bredis-cli{_GIVEN}(?-i:-a) {{1,3}}|-pass(?:in|out) pass:)"
            rf"[\"']?{PLACEHOLDER}(?P<secret>[^\s'\"]{{1,256}})"
        ),
    ),
)
