"""Which recognizers look for the configured entities: ours, Presidio's of any country, the user's.

They live in a Presidio registry with no NLP engine: no model is loaded.
"""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import tldextract
from presidio_analyzer import (
    EntityRecognizer,
    Pattern,
    PatternRecognizer,
    RecognizerRegistry,
    predefined_recognizers,
)

from collector.model.errors import ConfigError
from config.tree import nearest
from processors.redaction.checks import CHECKS
from processors.redaction.phone_numbers import PhoneNumberRecognizer
from processors.redaction.recognizers import (
    BitcoinRecognizer,
    CardRecognizer,
    ExactIbanRecognizer,
    FailClosedRecognizer,
    LaxEmailRecognizer,
    SsnRecognizer,
)
from processors.redaction.secret_rules import SecretRecognizer
from processors.redaction.user_values import blocked_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.redaction import RedactionSettings, RuleSettings

OWN: Final[dict[str, Callable[[], EntityRecognizer]]] = {
    "EMAIL_ADDRESS": LaxEmailRecognizer,
    "CREDIT_CARD": CardRecognizer,
    "IBAN_CODE": ExactIbanRecognizer,
    "US_SSN": SsnRecognizer,
    "PHONE_NUMBER": PhoneNumberRecognizer,
    "CRYPTO": BitcoinRecognizer,
    "SECRET": SecretRecognizer,
}
_LANGUAGE: Final = "en"
# Need no model, but are no pattern recognizers: they run on every string.
_WITHOUT_PATTERNS: Final = (
    "PhoneRecognizer",
    "ZaMobileNumberRecognizer",
    "ZaTelephoneNumberRecognizer",
)
_OPTION: Final = "processors.redaction"


def build_registry(settings: RedactionSettings) -> RecognizerRegistry:
    """Return a registry of all that the settings ask for.

    Raises:
        ConfigError: No recognizer knows an entity, or one of the user's cannot be made.
    """
    # Presidio's URL recognizer asks tldextract, which would fetch a list and write a cache file.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    registry = RecognizerRegistry(supported_languages=[_LANGUAGE])
    own = dict(OWN)
    if settings.phone_recognizer == "presidio":
        del own["PHONE_NUMBER"]
    users: list[EntityRecognizer] = [_user_recognizer(name) for name in settings.recognizers]
    users += [UserRule(rule) for rule in settings.rules]
    of_users = {entity for one in users for entity in one.supported_entities}
    for entity in dict.fromkeys(settings.entities):
        if entity in own:
            registry.add_recognizer(own[entity]())
        elif entity in predefined():
            for made in predefined()[entity]:
                registry.add_recognizer(made())
        elif entity not in of_users:
            hint = nearest(entity, own.keys() | predefined().keys(), what="there are")
            raise ConfigError(f"{_OPTION}.entities: nothing recognizes {entity}, {hint}")
    for recognizer in users:
        registry.add_recognizer(recognizer)
    if settings.blocked_values:
        registry.add_recognizer(blocked_values(settings.blocked_values))
    return registry


@cache
def predefined() -> Mapping[str, tuple[type[EntityRecognizer], ...]]:
    """Return Presidio's own recognizers that need no model, by entity, of all countries."""
    found: dict[str, tuple[type[EntityRecognizer], ...]] = {}
    kinds: list[tuple[str, Any]] = inspect.getmembers(predefined_recognizers, inspect.isclass)
    for name, kind in kinds:
        is_pattern = issubclass(kind, PatternRecognizer) and kind is not PatternRecognizer
        if is_pattern or name in _WITHOUT_PATTERNS:
            for entity in kind().supported_entities:
                found[entity] = (*found.get(entity, ()), kind)
    return found


class UserRule(FailClosedRecognizer):
    """A rule of the configuration.

    With keywords a match counts only if one of them stands near it or in the attribute's key.
    """

    def __init__(self, rule: RuleSettings) -> None:
        """Raises ConfigError when the validator cannot be imported."""
        self.is_gated = bool(rule.keywords)
        self._check = _validator(rule)
        super().__init__(
            rule.entity,
            name=rule.name,
            patterns=[Pattern(rule.name, rule.regex, rule.score)],
            context=[word.lower() for word in rule.keywords],
        )

    def validate_result(self, pattern_text: str) -> bool | None:
        """Return what the validator says; None when there is none, so that the score counts."""
        return None if self._check is None else bool(self._check(pattern_text))


def _validator(rule: RuleSettings) -> Callable[[str], bool] | None:
    if rule.validator == "none":
        return None
    if rule.validator in CHECKS:
        return CHECKS[rule.validator]
    where = f"{_OPTION}.rules: {rule.name}: validator {rule.validator}"
    found = _imported(rule.validator, where)
    if not callable(found):
        raise ConfigError(f"{where} is no function")
    check: Callable[[str], bool] = found
    return check


def _user_recognizer(reference: str) -> EntityRecognizer:
    where = f"{_OPTION}.recognizers: {reference}"
    kind = _imported(reference, where)
    try:
        made = kind()
    except Exception as error:  # noqa: BLE001 - the user's words may repeat a value
        raise ConfigError(f"{where} cannot be made: it raised {type(error).__name__}") from None
    if not isinstance(made, EntityRecognizer):
        raise ConfigError(f"{where} is no presidio_analyzer.EntityRecognizer")
    return made


def _imported(reference: str, where: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:  # Python's words: names, no values
        raise ConfigError(f"{where} cannot be imported: {error}") from error
