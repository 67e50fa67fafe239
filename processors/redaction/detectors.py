"""Which recognizers look for the configured entities, and how they are run so that none is skipped.

Recognizers live in a Presidio registry with Presidio's no-op NLP engine: no model is loaded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import tldextract
from presidio_analyzer import EntityRecognizer, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NoOpNlpEngine

from collector.model.errors import ConfigError
from processors.redaction.findings import Finding, RedactionFailedError
from processors.redaction.recognizers import (
    BitcoinRecognizer,
    CardRecognizer,
    ExactIbanRecognizer,
    FailClosed,
    FastPhoneRecognizer,
    LaxEmailRecognizer,
    Rule,
    SsnRecognizer,
)
from processors.redaction.secret_rules import SecretRecognizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OWN: Final[dict[str, Callable[[], EntityRecognizer]]] = {
    "EMAIL_ADDRESS": LaxEmailRecognizer,
    "CREDIT_CARD": CardRecognizer,
    "IBAN_CODE": ExactIbanRecognizer,
    "US_SSN": SsnRecognizer,
    "PHONE_NUMBER": FastPhoneRecognizer,
    "CRYPTO": BitcoinRecognizer,
    "SECRET": SecretRecognizer,
}
_LANGUAGE: Final = "en"
_log = structlog.get_logger()


def build_registry(entities: Iterable[str]) -> RecognizerRegistry:
    """Return a registry with a recognizer for each entity: ours if there is one, or Presidio's.

    Raises:
        ConfigError: No recognizer knows an entity.
    """
    registry = RecognizerRegistry(supported_languages=[_LANGUAGE])
    foreign = set()
    for entity in dict.fromkeys(entities):
        if entity in OWN:
            registry.add_recognizer(OWN[entity]())
        else:
            foreign.add(entity)
    if foreign:
        _add_predefined(registry, foreign)
    return registry


def _add_predefined(registry: RecognizerRegistry, entities: set[str]) -> None:
    # Presidio's URL recognizer asks tldextract, which would fetch a list and write a cache file.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = NoOpNlpEngine([{"lang_code": _LANGUAGE, "model_name": "none"}])
    engine.load()
    predefined = RecognizerRegistry(supported_languages=[_LANGUAGE])
    predefined.load_predefined_recognizers(languages=[_LANGUAGE], nlp_engine=engine)
    found = set()
    for recognizer in predefined.recognizers:
        wanted = entities.intersection(recognizer.supported_entities)
        if wanted:
            registry.add_recognizer(recognizer)
            found |= wanted
    if found != entities:
        names = ", ".join(sorted(entities - found))
        raise ConfigError(f"processors.redaction.entities: nothing recognizes {names}")


@dataclass(slots=True)
class Detectors:
    """All rules, flat, in the order of their marks; ``blind`` are recognizers without patterns."""

    rules: list[Rule]
    blind: list[EntityRecognizer]
    entities: frozenset[str]
    context: dict[str, frozenset[str]]

    @staticmethod
    def of(registry: RecognizerRegistry, entities: Iterable[str]) -> Detectors:
        """Take the registry apart."""
        # Presidio logs the analysed text on some errors.
        logging.getLogger("presidio-analyzer").propagate = False
        rules: list[Rule] = []
        blind: list[EntityRecognizer] = []
        context: dict[str, set[str]] = {}
        for recognizer in registry.recognizers:
            if _is_driven(recognizer):
                rules.extend(Rule.of(recognizer, pattern) for pattern in recognizer.patterns)
            else:
                blind.append(recognizer)
                _log.warning("recognizer runs on every string", recognizer=recognizer.name)
            words = {word.strip().lower() for word in recognizer.context or ()}
            for entity in recognizer.supported_entities:
                context.setdefault(entity, set()).update(words)
        frozen = {entity: frozenset(words) for entity, words in context.items()}
        return Detectors(rules, blind, frozenset(entities), frozen)

    def context_words(self, threshold: float) -> frozenset[str]:
        """Return the words that can lift a score over the threshold, for use in keys."""
        weak = {
            entity
            for rule in self.rules
            if rule.pattern.score < threshold
            for entity in rule.recognizer.supported_entities
        }
        weak.update(entity for blind in self.blind for entity in blind.supported_entities)
        return frozenset().union(*(self.context.get(entity, frozenset()) for entity in weak))

    def find(self, text: str, marks: Iterable[int]) -> list[Finding]:
        """Run the marked rules and all blind recognizers.

        Raises:
            RedactionFailedError: One of them failed; nothing of its message is kept.
        """
        found: list[Finding] = []
        failed = ""
        for mark in marks:
            if mark >= len(self.rules):
                continue
            rule = self.rules[mark]
            try:
                found.extend(rule.find(text))
            except Exception:  # noqa: BLE001 - a recognizer's fault, whatever it is, cuts the value
                failed = rule.recognizer.name
        for recognizer in self.blind:
            try:
                found.extend(_analyze(recognizer, text, self.entities))
            except Exception:  # noqa: BLE001 - as above
                failed = recognizer.name
        if failed:
            raise RedactionFailedError(failed)
        return found


def _is_driven(recognizer: EntityRecognizer) -> bool:
    """Tell whether running the patterns ourselves does what the recognizer's analyze would."""
    return isinstance(recognizer, PatternRecognizer) and (
        isinstance(recognizer, FailClosed) or type(recognizer).analyze is PatternRecognizer.analyze
    )


class _TimeoutWatch(logging.Handler):
    """Notices that Presidio skipped a pattern: it says so in its log only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.noticed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.noticed = record.levelno >= logging.WARNING or self.noticed


def _analyze(recognizer: EntityRecognizer, text: str, entities: frozenset[str]) -> list[Finding]:
    watch = _TimeoutWatch()
    logger = logging.getLogger("presidio-analyzer")
    logger.addHandler(watch)
    try:
        results = recognizer.analyze(text, sorted(entities), None) or []
    finally:
        logger.removeHandler(watch)
    if watch.noticed:
        raise TimeoutError
    return [
        Finding(result.entity_type, result.start, result.end, result.score, recognizer.name)
        for result in results
        if result.entity_type in entities
    ]
