"""How recognizers are run, so that none is skipped and none fails unnoticed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from presidio_analyzer import EntityRecognizer, PatternRecognizer, RecognizerRegistry

from processors.redaction.findings import Finding, RedactionFailedError
from processors.redaction.key_words import joined_words
from processors.redaction.recognizers import (
    FailClosed,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = structlog.get_logger()


@dataclass(slots=True)
class Detectors:
    """All rules, flat, in the order of their marks; ``blind`` are recognizers without patterns.

    ``context`` has what lifts an entity's score, words or phrases as ``joined_words`` writes them,
    ``gated`` the names of rules that count only beside one of them.
    """

    rules: list[Rule]
    blind: list[EntityRecognizer]
    entities: frozenset[str]
    context: dict[str, frozenset[str]]
    gated: frozenset[str]

    @staticmethod
    def of(registry: RecognizerRegistry) -> Detectors:
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
            words = {joined_words(word) for word in recognizer.context or ()} - {""}
            for entity in recognizer.supported_entities:
                context.setdefault(entity, set()).update(words)
        frozen = {entity: frozenset(words) for entity, words in context.items()}
        gated = {rule.pattern.name for rule in rules if getattr(rule.recognizer, "is_gated", False)}
        return Detectors(rules, blind, frozenset(context), frozen, frozenset(gated))

    def context_words(self, threshold: float) -> frozenset[str]:
        """Return the words that can lift a score over the threshold, for use in keys."""
        weak = {
            entity
            for rule in self.rules
            if rule.pattern.score < threshold or rule.pattern.name in self.gated
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
