"""Which recognizers can be chosen: Presidio's of every country, the user's rules and classes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult
from pydantic import ValidationError

from collector.model.errors import ConfigError
from config.redaction import RuleSettings
from config.settings import RedactionSettings
from processors.redaction import Redactor
from processors.redaction.checks import luhn, mod97
from tests.redaction.conftest import KEY

if TYPE_CHECKING:
    from pathlib import Path


def made(*, screened: bool = True, **options: Any) -> Redactor:
    """Return a redactor with these options."""
    return Redactor(RedactionSettings(hmac_key=KEY, **options), screened=screened)


def test_an_unknown_entity_is_named_with_its_nearest() -> None:
    """Scenario: a typo. Guarantees: the error names option, entity and the likely one."""
    with pytest.raises(ConfigError, match=r"redaction\.entities.*EMAIL_ADRESS.*'EMAIL_ADDRESS'"):
        made(entities=("EMAIL_ADRESS",))


def test_presidios_phone_recognizer() -> None:
    """Scenario: the stock recognizer. Guarantees: it finds what the fast one leaves alone."""
    short = "at 4155552671"
    assert made().redact_text(short).text == short
    assert "<PHONE_NUMBER>" in made(phone_recognizer="presidio").redact_text(short).text


def rule(**options: Any) -> tuple[RuleSettings, ...]:
    """Return one rule of the user's."""
    return (RuleSettings(**{"name": "employee", "entity": "EMPLOYEE_ID", **options}),)


def test_a_rule_of_the_users() -> None:
    """Scenario: a regex with and without a group. Guarantees: found in every reading; stable."""
    redactor = made(rules=rule(regex=r"EMP-\d{6}"))
    for text in ("see EMP-123456", "see emp-123456", '{"id": "EMP-123456"}', "x=EMP%2D123456"):
        once = redactor.redact_text(text).text
        assert "123456" not in once
        assert "<EMPLOYEE_ID>" in once
        assert redactor.redact_text(once).text == once
    redactor = made(rules=rule(regex=r"badge (?P<secret>\d+)"))
    assert redactor.redact_text("badge 17 seen").text == "badge <EMPLOYEE_ID> seen"
    with_flags = made(rules=rule(regex=r"(?i)emp-\d{6}"))
    assert not with_flags._screen._always  # type: ignore[union-attr]
    assert with_flags.redact_text("EMP-123456").text == "<EMPLOYEE_ID>"


def test_the_version_tells_every_part_of_a_rule() -> None:
    """Scenario: one part of one rule is changed. Guarantees: stored rows are redacted anew."""
    own = {"regex": r"EMP-\d{6}"}
    options: list[dict[str, Any]] = [
        {"rules": rule(**own, **part)}
        for part in ({}, {"validator": "luhn"}, {"keywords": ("badge",)}, {"score": 0.1})
    ]
    options += [{"rules": rule(**own | {"entity": "STAFF"})}, {"phone_recognizer": "presidio"}, {}]
    sys.modules.setdefault("users_recognizers", sys.modules[__name__])
    options.append({"recognizers": ("users_recognizers:Shouting",)})
    assert len({made(screened=False, **one).version for one in options}) == len(options)


def test_a_rule_with_keywords() -> None:
    """Scenario: bare digits. Guarantees: cut only beside a keyword or under a key that has one."""
    redactor = made(rules=rule(regex=r"\b\d{6}\b", keywords=("badge", "Staff")))
    assert redactor.redact_text("order 123456").text == "order 123456"
    assert redactor.redact_text("her badge is 123456").text == "her badge is <EMPLOYEE_ID>"
    assert redactor.redact_text("123456", key="acme.staff.number").text == "<EMPLOYEE_ID>"
    assert redactor.redact_text("123456", key="acme.order").text == "123456"
    assert redactor.redact_text("badge " + "." * 99 + "123456").text.endswith("123456")


def test_a_rule_with_a_validator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: Luhn, mod 97, the user's function. Guarantees: what they refuse is left."""
    redactor = made(rules=rule(regex=r"\b\d{8}\b", validator="luhn"))
    assert redactor.redact_text("12345674 12345675").text == "<EMPLOYEE_ID> 12345675"
    (tmp_path / "users_checks.py").write_text(
        "def is_even(text):\n    if text == '666666':\n        raise ValueError(text)\n"
        "    return int(text) % 2 == 0\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    redactor = made(rules=rule(regex=r"\b\d{6}\b", validator="users_checks:is_even"))
    assert redactor.redact_text("123456 123457").text == "<EMPLOYEE_ID> 123457"
    assert redactor.redact_text("it fails on 666666").text == "<REDACTED>"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regex": "("}, "is no regular expression"),
        ({"regex": "x", "keywords": ("two words",)}, "is not one word"),
        ({"regex": "x", "validator": "crc"}, "validator"),
        ({"regex": "x", "entity": "lower"}, "entity"),
    ],
)
def test_a_bad_rule_is_refused(options: dict[str, Any], words: str) -> None:
    """Scenario: what cannot work. Guarantees: an error that says which option and why."""
    with pytest.raises(ValidationError, match=words):
        rule(**options)


def test_a_validator_or_recognizer_that_is_not_there_is_named() -> None:
    """Scenario: names of modules that do not exist or hold something else. Guarantees: the path."""
    with pytest.raises(ConfigError, match=r"rules: employee: validator no_such:f"):
        made(rules=rule(regex="x", validator="no_such:f"))
    with pytest.raises(ConfigError, match="is no function"):
        made(rules=rule(regex="x", validator="sys:version"))
    with pytest.raises(ConfigError, match=r"recognizers: no_such:C"):
        made(recognizers=("no_such:C",))
    with pytest.raises(ConfigError, match=r"is no presidio_analyzer\.EntityRecognizer"):
        made(recognizers=("collections:Counter",))


class Planets(PatternRecognizer):  # type: ignore[misc]
    """A pattern recognizer as Presidio's documentation shows one."""

    def __init__(self) -> None:
        """Set up one pattern."""
        super().__init__("PLANET", patterns=[Pattern("planet", r"\b(?:mars|venus)\b", 0.9)])


class Shouting(EntityRecognizer):  # type: ignore[misc]
    """A recognizer without patterns; raises on one word."""

    def __init__(self) -> None:
        """Name the entity."""
        super().__init__(["SHOUTING"], name="shouting")

    def load(self) -> None:
        """Load nothing."""

    def analyze(self, text: str, entities: list[str], _artifacts: Any) -> list[RecognizerResult]:
        """Find words in capitals."""
        if "BOOM" in text:
            raise ValueError(text)
        assert "SHOUTING" in entities
        return [
            RecognizerResult("SHOUTING", at, at + len(word), 0.9)
            for word in text.split()
            if word.isupper() and (at := text.index(word)) >= 0
        ]


def test_recognizers_of_the_users(caplog: pytest.LogCaptureFixture) -> None:
    """Scenario: one with patterns, one without. Guarantees: both find; a raising one cuts all.

    Nothing of the text is in the log.
    """
    own = sys.modules[__name__].__name__
    sys.modules.setdefault("users_recognizers", sys.modules[own])
    redactor = made(
        entities=("SHOUTING",),
        recognizers=("users_recognizers:Planets", "users_recognizers:Shouting"),
    )
    assert redactor.redact_text("to Mars NOW").text == "to <PLANET> <SHOUTING>"
    assert redactor.redact_text("secret BOOM").text == "<REDACTED>"
    assert "secret" not in caplog.text


def test_checks() -> None:
    """Scenario: numbers with right and wrong check digits. Guarantees: told apart."""
    assert luhn("4111 1111 1111 1111")
    assert not luhn("4111 1111 1111 1112")
    assert not luhn("4")
    assert mod97("GB82 WEST 1234 5698 7654 32")
    assert not mod97("GB82 WEST 1234 5698 7654 33")
    assert not mod97("G")
