"""Keys decide in JSON that stands in other text as they do in JSON alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from config.settings import RedactionSettings
from processors.redaction import Redactor
from tests.redaction.conftest import KEY
from tests.redaction.test_fragments import DOCUMENT, QUOTED, redacted

if TYPE_CHECKING:
    from processors.redaction import RedactedText

BEFORE = (
    "data: ",
    "event: delta\nid: 7\ndata:",
    "\ufeff",
    "INFO request body: ",
    '[12:07] said 5" and: ',
    'dict "a" {b}, "c" {"d"} and {"e": f()} ',
    "{x} body=",
    "é ",
)


# written as a JSON string, and the quotes around it left out
BARE = {
    "escaped": lambda text: json.dumps(text)[1:-1],
    "escaped twice": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
}
FORMS = {**QUOTED, **BARE}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("form", FORMS)
def test_behind_other_text(
    redactor: Redactor, unscreened: Redactor, before: str, form: str
) -> None:
    """Scenario: a document behind other text, alone, repeated, and cut off.

    Guarantees: no letter of a value whose key decides stays; what is around the document does.
    """
    document = FORMS[form](json.dumps(DOCUMENT))
    for after in ("", " -- done.", f"\n\n{before}{document}\n\n{before}[DONE]"):
        got = redacted(redactor, unscreened, before + document + after)
        assert "Q" not in got
        assert got.startswith(before)
        assert got.endswith(after[-9:])
        assert got.count(before) == (before + after).count(before)
    for end in range(1, len(document), 29):
        assert "Q" not in redacted(redactor, unscreened, before + document[:end])
        twice = f"{before}{document[:end]}\n{before}{document}"
        assert form != "once" or "Q" not in redacted(redactor, unscreened, twice)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a {\n  "pwd" : "b",  "c": 1.50 } d', 'a {\n  "pwd" : "<CREDENTIAL>",  "c": 1.50 } d'),
        ('a {"pwd": -1.5e3} {"pwd": null}', 'a {"pwd": "<CREDENTIAL>"} {"pwd": null}'),
        ('a [{"x": {"key": "pwd", "value": "b"}}]',
         'a [{"x": {"key": "pwd", "value": "<CREDENTIAL>"}}]'),
        ('a {"customerSsn": 123456788, "b', 'a {"customerSsn": "<US_SSN>", "b'),
        ('a {"b": "data: {\\"pwd\\": \\"c\\"}", "d',
         'a {"b": "data: {\\"pwd\\": \\"<CREDENTIAL>\\"}", "d'),
        ('{"b": "data: {\\"pwd\\": \\"c\\"}"}', '{"b": "data: {\\"pwd\\": \\"<CREDENTIAL>\\"}"}'),
        ('of j@x.com: {"pwd": "b"} j@x.com', 'of <EMAIL_ADDRESS>: {"pwd": "<CREDENTIAL>"} '),
        ('a {"b": ' + "[" * 70 + '{"pwd": 1', "a <REDACTED:too_deep>"),
    ],
)  # fmt: skip
def test_what_stands_around_the_values_stays(
    redactor: Redactor, unscreened: Redactor, text: str, expected: str
) -> None:
    """Scenario: spaces, context, JSON within, addresses around. Guarantees: no more goes."""
    assert redacted(redactor, unscreened, text).startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        """expected '{"' but found {"last_name": "QQ"}""",
        'use {" as opener and then {"last_name": "QQ"}',
        'INFO a {"x": "cut off\nINFO b { "last_name": "QQ"}',
        'INFO a {"x": "cut off\nINFO b {\n  "last_name": "QQ"\n}',
        'data: {"score": NaN, "least": -Infinity, "last_name": "QQ"}',
        'body="[{\\"last_name\\": \\"QQ\\"}]"',
        'level=info msg="a\\n\\tbody: {\\"last_name\\": \\"QQ\\", \\"x\\": 1}" other="y"',
        'data: {"value": "QQ", "name": "last_name"}',
        'data: {"value": {"stringValue": "QQ"}, "key": "last_name"}',
        '{"Value": "QQ", "Key": "surname"}\n{"Value": "QQ", "Key": "surname"}',
        '{"value": "QQ", "name": "last_name", "cut": "he',
        'level="info" payload={\\"id\\": 1} body={"last_name": "QQ"}',
        'level="info" payload={\\"id\\": 1} body="{\\"last_name\\": \\"QQ\\"}"',
        '5" x=[\\"a\\"] {"user_name": "QQ"}',
        '{"code": "a\nfunction f() {\n", "last_name": "QQ"}',
        'x {"code": "a\nif (y) { ", "last_name": "QQ"}',
        'msg="[INFO] body {\\"last_name\\": \\"QQ\\"}"',
        'body="[1, {\\"last_name\\": \\"QQ\\"}]"',
        'msg="a [b] {c} \\f {\\"last_name\\": \\"QQ\\"}"',
    ],
)
def test_openings_spellings_and_orders(redactor: Redactor, unscreened: Redactor, text: str) -> None:
    """Scenario: openings that are none before the document, numbers that Python writes, JSON in a
    quoted value of a log line, values before their names.

    Guarantees: no letter of a value whose key decides stays; all else does.
    """  # noqa: D205 - the scenario needs three lines
    got = redacted(redactor, unscreened, text)
    assert "Q" not in got
    assert re.sub(r"<IDENTITY:[\w-]+>", "QQ", got) == text


def test_a_document_behind_escapes_in_a_string(redactor: Redactor, unscreened: Redactor) -> None:
    """Scenario: a quoted document that begins with several escapes, its quote behind a letter.

    Guarantee: no letter of a value whose key decides stays.
    """
    got = redacted(redactor, unscreened, 'x"\\n\\t{\\"last_name\\": \\"QQ\\"}"')
    assert got.startswith('x"')
    assert "Q" not in got


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("indent", [None, 2])
def test_escaped_without_quotes_around(
    redactor: Redactor, unscreened: Redactor, levels: int, indent: int | None
) -> None:
    r"""Scenario: ``{\"a\": 1}`` as such, before other text, in a quoted value, and cut anywhere.

    Guarantees: no letter of a value whose key decides stays; what is around the document does, and
    the document reads as before.
    """
    plain = json.dumps(DOCUMENT, indent=indent)
    document = plain
    for _ in range(levels):
        document = json.dumps(document)[1:-1]
    for before, after in (("", ""), ("body=", r" -- in C:\path\to \d"), ('a="', '" b="c"')):
        got = redacted(redactor, unscreened, before + document + after)
        assert "Q" not in got
        assert got.startswith(before + document[:10])
        assert got.endswith(after)
        inside = got.removeprefix(before).removesuffix(after)
        for _ in range(levels):
            inside = json.loads(f'"{inside}"')
        assert list(json.loads(inside)) == list(DOCUMENT)
    for end in range(1, len(document), 17):
        assert "Q" not in redactor.redact_text(f"body={document[:end]}").text


@pytest.mark.parametrize("key", ["café", "C:\\dir", "line\nend", 'a "b"', "\\"])
@pytest.mark.parametrize("levels", [1, 2])
def test_escapes_in_the_first_key(
    redactor: Redactor, unscreened: Redactor, key: str, levels: int
) -> None:
    """Scenario: the first key of an escaped object has escapes. Guarantees: the others decide."""
    document = json.dumps({key: 1, "last_name": "QQ"})
    for _ in range(levels):
        document = json.dumps(document)[1:-1]
    got = redacted(redactor, unscreened, f"body={document} done")
    assert "Q" not in got
    assert got.startswith(f"body={document[:10]}")
    assert got.endswith("} done")


def test_a_value_is_named_in_its_own_object_only(redactor: Redactor, unscreened: Redactor) -> None:
    """Scenario: names and values of several objects. Guarantees: each is for its own."""
    text = (
        'a [{"value": "b", "name": "x"}, {"value": "Q", "key": "pwd"}, {"value": "c"}] {"value": 1}'
    )
    assert redacted(redactor, unscreened, text) == text.replace("Q", "<CREDENTIAL>")


@pytest.mark.parametrize(
    "text",
    [
        'if (ok) {"use strict"; const pwd = f("a", {b}); g({"pwd": get(c), "token": token});}',
        'we set {"pwd": undefined, "token": pwd ?? x} and {"api_key": 12ab} and {"pwd": True}',
        'the "password": a field; {"user_name"} too, "user_name": none, {user_name: x}',
        'f"{a}" {{"pwd"}} {% if "token" %} {"pwd": {{pwd}}} {"pwd": <str>} {"pwd" : ...}',
        'a "{\\"b\\": 1}" "{\\n" \\"{" {"',
        'if (x) {\n  print("a")\n} {\\"b\\": 1}\n\tmore\nlines "quoted" {"pwd": f()}',
    ],
)
def test_code_and_prose_are_left_alone(redactor: Redactor, unscreened: Redactor, text: str) -> None:
    """Scenario: braces, quotes and words of keys, but no JSON. Guarantees: nothing is changed."""
    assert redacted(redactor, unscreened, text) == text


PAIRED = {
    "a": [["username", "Qa"], ["n", 1.50], ["last_name", "Q"], [1, "x"], ["email"]],
    "rawHeaders": ["Host", "x", "Cookie", "sid=Q", "X-Api-Key", "Q"],
    "schema": {"required": ["email", "age"], "headers": ["cookie", "x-id"]},
}


@pytest.mark.parametrize("form", FORMS)
def test_names_in_turn_with_their_values(
    redactor: Redactor, unscreened: Redactor, form: str
) -> None:
    """Scenario: pairs in a list, headers as Node lists them, lists of names; whole, within, cut.

    Guarantees: the values go in the first two, lists of names stay.
    """
    whole = redacted(redactor, unscreened, json.dumps(PAIRED))
    plain = re.sub(r"<[A-Z]+(:[0-9a-f\-]+)?>", "<>", whole)
    assert json.loads(plain) == {
        "a": [["username", "<>"], ["n", 1.5], ["last_name", "<>"], [1, "x"], ["email"]],
        "rawHeaders": ["Host", "x", "Cookie", "<>", "X-Api-Key", "<>"],
        "schema": PAIRED["schema"],
    }
    document = FORMS[form](json.dumps(PAIRED))
    for before in ("", "data: "):
        for end in range(1, len(document) + 1):
            assert "Q" not in redacted(redactor, unscreened, before + document[:end])


@pytest.mark.parametrize(
    "text",
    [
        '[["user\'s email", "QQ"]]',
        '{"a": "b", "c": [\n ["e-mail, work", "QQ"]]}',
        '{"RawHeaders": ["Host", "x", "X-User-Email", "QQ", "more"]}',
        '[["user", "Hello, you"], ["user", [{"type": "text"}]], ["last_name", "QQ"]]',
        '{"a": "last name: QQ"}',
    ],
)
def test_names_as_people_write_them(redactor: Redactor, unscreened: Redactor, text: str) -> None:
    """Scenario: pairs named with signs, an odd list, a talk, a label. Guarantees: only Q goes."""
    got = redacted(redactor, unscreened, text)
    assert json.loads(re.sub(r"<IDENTITY:[\w-]+>", "QQ", got)) == json.loads(text)
    assert "Q" not in got


def test_keys_of_the_users_own() -> None:
    """Scenario: a key that only a setting names. Guarantees: the screen lets no such text pass."""
    settings = RedactionSettings(hmac_key=KEY, identity_keys=("patient*",))  # type: ignore[arg-type]
    redactor = Redactor(settings)

    def judged(text: str) -> RedactedText | None:
        (marks,) = redactor.screened([text])
        return redactor.judge(text, marks=marks) if marks else None

    for before in ("data: ", "\ufeff", "x {\n\n"):
        verdict = judged(before + '{ "patient_name": "Jane Roe"}')
        assert verdict is not None
        assert "Jane" not in verdict.text
    assert judged("no {x} here") is None


@pytest.mark.timeout(60)
def test_long_and_hostile_texts_take_linear_time(redactor: Redactor) -> None:
    """Scenario: long texts of beginnings of JSON.

    Guarantees: not looked through from each, for which a test is given too little time.
    """
    for piece in (
        '{\\"',
        '{\\"a\\":',
        '{\\"a\\":\\"\\\\',
        '{\\"a\\\\\\"',
        '{"',
        '{"a":',
        '{"a":1}b ',
        "{ ",
        '"{\\"',
        '"\\"',
        '\n{"',
        '{"a":[',
        '"\n',
        "1",
        '"{ ',
        '{"a',
        '{"a\\"',
        '"\\n',
        "\n{ ",
        "\nx{y",
        '{"name": "',
        '{"value":1,',
    ):
        text = 'a {"pwd": "x"} ' + piece * (200_000 // len(piece))
        assert '"x' not in redactor.redact_text(text).text
