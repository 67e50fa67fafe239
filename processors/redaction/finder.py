"""What rules and models find in one string: scored, without allowed values, and disjoint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from processors.redaction.findings import Finding, merge, outside_tokens
from processors.redaction.key_words import joined_words, phrases_in
from processors.redaction.user_values import whole_match

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.settings import RedactionSettings
    from processors.redaction.detectors import Detectors
    from processors.redaction.keys import KeyClass
    from processors.redaction.operators import Operators

_CONTEXT_BEFORE: Final = 60
_CONTEXT_AFTER: Final = 30
_LIFT: Final = 0.35
_LIFTED_AT_LEAST: Final = 0.4


class Finder:
    """Runs the rules that a string's marks name, and weighs what they find."""

    def __init__(
        self, detectors: Detectors, operators: Operators, settings: RedactionSettings
    ) -> None:
        """Borrow the rules, and the operators that say what is kept."""
        self._detectors = detectors
        self._operators = operators
        self._allowed = whole_match(settings.allowed_values)
        self._threshold = settings.score_threshold

    def find(
        self,
        text: str,
        marks: Iterable[int],
        key_class: KeyClass,
        named: Iterable[Finding] = (),
    ) -> tuple[list[Finding], list[Finding]]:
        """Return disjoint findings over the threshold, leaving earlier replacements alone.

        Those to cut and those to keep apart: a kept one must not stand in for a cut one.
        """
        found = [
            scored
            for one in (*named, *self._detectors.find(text, dict.fromkeys(marks)))
            if (scored := self._scored(one, text, key_class)) is not None
            and not self.is_allowed(text[one.start : one.end])
        ]
        kept = [one for one in found if self._operators.keeps(one.entity)]
        if kept:
            found = [one for one in found if not self._operators.keeps(one.entity)]
        token = self._operators.token
        return merge(outside_tokens(text, found, token)), merge(outside_tokens(text, kept, token))

    def is_allowed(self, text: str) -> bool:
        """Tell whether the user wants this value as it is."""
        return self._allowed is not None and self._allowed(text)

    def _scored(self, found: Finding, text: str, key_class: KeyClass) -> Finding | None:
        """Return the finding if its score is enough, lifted if it takes a word near it."""
        if found.score >= self._threshold and found.rule not in self._detectors.gated:
            return found
        lifted = min(1.0, max(found.score + _LIFT, _LIFTED_AT_LEAST))
        if lifted < self._threshold or not self._has_context(found, text, key_class):
            return None
        return replace(found, score=lifted)

    def _has_context(self, found: Finding, text: str, key_class: KeyClass) -> bool:
        """Tell whether words of the entity's context stand near the finding, or in the key."""
        words = self._detectors.context.get(found.entity, frozenset())
        if not words.isdisjoint(key_class.context):
            return True
        before = text[max(0, found.start - _CONTEXT_BEFORE) : found.start]
        after = text[found.end : found.end + _CONTEXT_AFTER]
        return any(phrases_in(words, joined_words(f"{before} {after}")))
