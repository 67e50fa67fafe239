"""Keys decide in JSON that is cut off, repeated or written inside JSON as they do in whole JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from config.settings import RedactionSettings
from processors.redaction import Redactor
from processors.redaction.operators import TOO_DEEP

if TYPE_CHECKING:
    from collections.abc import Callable

# No token that redaction writes has a Q in it.
DOCUMENT: Final = {
    "id": 17,
    "user_name": "QQ QQ",
    "ok": None,
    "auth": {"pwd": 'QQ\\Q"Q\n{Q', "token": ["QQ", {"x": "QQ", "n": "Q"}], "api_key": "Q"},
    "attributes": [{"key": "db.password", "value": {"stringValue": "QQQ"}}],
    "arguments": json.dumps({"cookie": "a, Q: {Q}", "n": json.dumps({"surname": "Q é Q"})}),
    "last_name": "Q",
}
QUOTED: Final[dict[str, Callable[[str], str]]] = {
    "once": str,
    "twice": json.dumps,
    "thrice": lambda text: json.dumps(json.dumps(text)),
}


def redacted(redactor: Redactor, unscreened: Redactor, text: str) -> str:
    """Return the redacted text, the same with and without a screen and the same again."""
    once = redactor.redact_text(text)
    assert once == unscreened.redact_text(text)
    assert redactor.redact_text(once.text).text == once.text
    return once.text


@pytest.mark.parametrize("form", QUOTED)
@pytest.mark.parametrize("indent", [None, 2])
def test_cut_off_anywhere(
    redactor: Redactor, unscreened: Redactor, form: str, indent: int | None
) -> None:
    """Scenario: a document cut behind every character of it, as SDKs cut at a length.

    Guarantees: no letter of a value whose key decides stays, also where the value is cut itself.
    """
    text = QUOTED[form](json.dumps(DOCUMENT, indent=indent, ensure_ascii=indent is None))
    for end in range(1, len(text) + 1):
        assert "Q" not in redactor.redact_text(text[:end]).text
    for end in range(1, len(text) + 1, 11):
        redacted(redactor, unscreened, text[:end])


@pytest.mark.parametrize("between", ["\n", "", " ", "\r\n", ", ", "\n\n", "... "])
@pytest.mark.parametrize("form", QUOTED)
def test_one_behind_the_other(
    redactor: Redactor, unscreened: Redactor, form: str, between: str
) -> None:
    """Scenario: several documents in one text, the last one cut. Guarantees: as in each alone."""
    quoted = QUOTED[form](json.dumps(DOCUMENT))
    text = between.join([quoted, QUOTED[form]('{"a": 1}'), quoted, quoted])
    got = redacted(redactor, unscreened, text[:-30])
    assert "Q" not in got
    assert got.count("id") == quoted.count("id") * 3


def test_what_stands_around_the_values_stays(redactor: Redactor) -> None:
    """Scenario: keys that decide, names, context and ordinary values. Guarantees: no more goes."""
    for text, expected in (
        ('{"a": 1.50,  "pwd":"hunt', '{"a": 1.50,  "pwd":"<CREDENTIAL>'),
        ('{"pwd": 12, "b": "c", "d', '{"pwd": "<CREDENTIAL>", "b": "c", "d'),
        ('{"pwd": null, "b": tru', '{"pwd": null, "b": tru'),
        ('{"pwd": "hunt\\', '{"pwd": "<CREDENTIAL>'),
        ('{"pwd": "hun\\x41"}', '{"pwd": "<CREDENTIAL>"}'),
        ('{"pwd": {"a": "b"}, "c": ["d", ', '{"pwd": {"a": "<CREDENTIAL>"}, "c": ["d", '),
        ('{"a": "cut\n{"pwd": "b"}\n{"c": "d"}', '{"a": "cut\n{"pwd": "<CREDENTIAL>"}\n{"c": "d"}'),
        ('{"customerSsn": 123456788, "b', '{"customerSsn": "<US_SSN>", "b'),
        ('{"b": 123456788, "c', '{"b": 123456788, "c'),
        ('{"pwd": "x"} of j@x.com: "y', '{"pwd": "<CREDENTIAL>"} of <EMAIL_ADDRESS>: "y'),
        ('[{"name": "user a@x.com", "value": 1', '[{"name": "user <EMAIL_ADDRESS>", "value": '),
        ('[INFO] handled "a": 1, totalTokens 5', '[INFO] handled "a": 1, totalTokens 5'),
        ('"{\\"pwd\\": \\"x\\", \\"b\\": 1}"', '"{\\"pwd\\": \\"<CREDENTIAL>\\", \\"b\\": 1}"'),
        ('"[a] is \\"quoted\\""', '"[a] is \\"quoted\\""'),
    ):
        assert redactor.redact_text(text).text.startswith(expected)


def test_kept_values_and_depth(unscreened: Redactor) -> None:
    """Scenario: an entity that is kept; brackets without an end. Guarantees: kept; cut whole."""
    keeping = Redactor(RedactionSettings(operators={"IDENTITY": "keep"}))
    text = '{"user_id": "abc", "m": "j@x.com'
    assert keeping.redact_text(text).text == '{"user_id": "abc", "m": "<EMAIL_ADDRESS>'
    assert unscreened.redact_text('{"pwd": [' + "[" * 70).text == TOO_DEEP
    assert unscreened.redact_text('{"a": ' * 5_000 + '"pwd"').text == TOO_DEEP


def test_long_and_hostile_texts_take_linear_time(redactor: Redactor) -> None:
    """Scenario: long texts of what is searched for values.

    Guarantees: not looked through from each piece, for which a test is given too little time.
    """
    for piece in ('"a', '\\"', '"a":', '{"a":1}', '\n{"', "\\", '"pwd":1,', '"k" ', "]"):
        text = '{"pwd": "x' + piece * (200_000 // len(piece))
        assert '"x' not in redactor.redact_text(text).text


def _in_quotes(text: str) -> str:
    return json.dumps(text)


def _with_bare_lines(text: str) -> str:
    return json.dumps(text)[1:-1].replace("\\n", "\n")


@pytest.mark.parametrize(("form", "between"), [(_in_quotes, "1,"), (_with_bare_lines, "\n")])
def test_many_levels_do_not_make_it_long(
    redactor: Redactor, unscreened: Redactor, form: Callable[[str], str], between: str
) -> None:
    """Scenario: JSON written in strings of JSON again and again; what is cut takes escapes in each.

    Guarantees: the text that is stored is not hundreds of times as long as the one received.
    """
    text = f'{{"last_name": [{between * 4000}"QQ"], "pwd": 1}}'
    for level in range(1, 13):
        text = form(text)
        got = redacted(redactor, unscreened, text)
        assert "Q" not in got
        assert len(got) < 100 * len(text)
        assert level > 3 or "too_deep" not in got
