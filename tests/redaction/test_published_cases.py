"""Presidio's recognizers, all of them, on cases like those that Presidio publishes for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from config.settings import RedactionSettings
from processors.redaction.redactor import Redactor
from processors.redaction.registry import predefined
from tests.redaction.conftest import KEY, without_screen
from tests.redaction.published_cases import CASES, EVERY_ENTITY, SPELLINGS

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

EVERY: Final = tuple(sorted(predefined()))
THRESHOLD: Final = RedactionSettings().score_threshold


def _settings(*entities: str) -> RedactionSettings:
    return RedactionSettings(hmac_key=KEY, entities=entities)  # type: ignore[arg-type]


def _keys(recognizers: list[EntityRecognizer]) -> list[str | None]:
    """Return no key, one that says nothing, and one for each word or phrase of the context."""
    phrases = {phrase.strip().lower() for one in recognizers for phrase in one.context or ()}
    return [None, "note", *(f"app.{re.sub(r'[^a-z]+', '_', one)}" for one in sorted(phrases)[:3])]


def test_every_entity_has_cases() -> None:
    """Scenario: what Presidio has today. Guarantees: three texts to find, two that are nothing."""
    assert set(CASES) == set(EVERY)
    assert len(EVERY) >= 90
    for entity, cases in CASES.items():
        assert len(cases.found) >= 3, entity
        assert len(cases.clean) >= 2, entity
        assert len(set(cases.all)) == len(cases.all), entity


@pytest.mark.parametrize("entity", EVERY)
def test_cases_of_an_entity_alone(entity: str) -> None:
    """Scenario: only this entity is on; each text with and without a key that is context.

    Guarantees: the screen changes nothing; what is to be found is cut, also whatever the stock
    recognizer would find; every rule finds some case; the rest comes back as the very object.
    """
    unscreened = without_screen(_settings(entity))
    screened = Redactor(_settings(entity))
    stock = [kind() for kind in predefined()[entity]]
    cases = CASES[entity]
    for text in cases.all:
        for key in _keys(stock):
            expected = unscreened.redact_text(text, key)
            assert screened.redact_text(text, key) == expected, (text, key)
            assert unscreened.redact_text(expected.text, key).text == expected.text, (text, key)
        redacted = screened.redact_text(text)
        if text in cases.clean:
            assert redacted.text is text
            continue
        assert {one.entity for one in redacted.findings} == {entity}, text
        for recognizer in stock:
            for found in recognizer.analyze(text, [entity], None) or ():
                if found.score >= THRESHOLD:
                    assert text[found.start : found.end] not in redacted.text, text
    for rule in unscreened._detectors.rules:
        assert any(rule.find(text) for text in cases.found), rule.pattern.name


def test_cases_with_every_entity_on() -> None:
    """Scenario: all entities at once, each text plain and in every spelling, with and without key.

    Guarantees: the screen changes nothing, nothing to be found survives, twice is as once.
    """
    settings = _settings(*EVERY_ENTITY)
    unscreened = without_screen(settings)
    screened = Redactor(settings)
    assert screened._screen is not None
    for entity, cases in CASES.items():
        key = _keys([kind() for kind in predefined()[entity]])[-1]
        for text in cases.all:
            for where in (None, key):
                expected = unscreened.redact_text(text, where)
                assert screened.redact_text(text, where) == expected, (entity, text)
                again = screened.redact_text(expected.text, where)
                assert again.text == expected.text, (entity, text)
            assert expected.text != text or text in cases.clean, (entity, text)
        for spelling in SPELLINGS.values():
            text = spelling.spell(cases.found[0])
            expected = unscreened.redact_text(text)
            assert screened.redact_text(text) == expected, (entity, text)
            assert expected.text != text, (entity, text)


def test_a_find_that_takes_anothers_context_away() -> None:
    """Scenario: in the raw reading an entity is found inside the encoded word that is the context
    of another one. Guarantees: the other one is cut as well.
    """  # noqa: D205 - a scenario of two lines
    redactor = Redactor(_settings("KR_PASSPORT", "US_DRIVER_LICENSE", "UK_VEHICLE_REGISTRATION"))
    for spelling in SPELLINGS.values():
        text = f"see abc {spelling.spell('여권 M408H5353')} there"
        assert "M408H5353" not in redactor.redact_text(text).text
    kept = "line\\n mail C1234567 to 100%25"
    assert redactor.redact_text(f"driver {kept}").text == (
        "driver line\\n mail <US_DRIVER_LICENSE> to 100%25"
    )
