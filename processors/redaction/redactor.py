"""Judges one string: what is in it that must not be stored, and what to write instead."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from config.redaction_keys import KeyPolicySettings
from processors.redaction import json_text, nested, views
from processors.redaction.content import replace_content
from processors.redaction.detectors import Detectors
from processors.redaction.finder import Finder
from processors.redaction.findings import Finding, RedactionFailedError
from processors.redaction.fragments import redact_fragments
from processors.redaction.keys import SCAN, KeyClass, KeyClassifier, KeyKind
from processors.redaction.ner import NamedEntities
from processors.redaction.operators import (
    BLOCKED,
    CONTENT,
    CREDENTIAL,
    IDENTITY,
    REDACTED,
    REDACTED_WHOLE,
    TOO_DEEP,
    Operators,
)
from processors.redaction.pairs import redact_pairs
from processors.redaction.registry import build_registry
from processors.redaction.sanitize import SANITIZERS
from processors.redaction.screen import LOOK_CLOSER, PAIRS, UNSCREENED, Screen
from processors.redaction.verdict import BY_KEY, Found, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.settings import RedactionSettings

# Replacing can bring a new match about; a string that is not at rest after this many is cut whole.
_MAX_PASSES: Final = 6
_SEGMENT: Final = re.compile(r"[^\s&;=?,\"'<>()\[\]{}|/:]+")
_RULES_VERSION: Final = 7
_SHORT: Final = 64
_MAX_REMEMBERED: Final = 4096
_ENTITY_OF: Final = {
    KeyKind.IDENTITY: IDENTITY,
    KeyKind.CREDENTIAL: CREDENTIAL,
    KeyKind.BLOCKED: BLOCKED,
    KeyKind.CONTENT: CONTENT,
}


@dataclass(frozen=True, slots=True)
class RedactedText:
    """A string and what was done to it; ``text`` is the input itself when nothing was found.

    Offsets of ``findings`` are characters of the input. What was found in another reading of it
    (percent-encoded, inside JSON, …) or decided by the key has the offsets of the whole input.
    """

    text: str
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Trail:
    """What was found on the way to a verdict.

    ``is_at_rest``: what the last pass wrote consists of parts that were each judged to their end.
    """

    found: list[Found] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    is_at_rest: bool = False

    def note(self, findings: Iterable[Finding]) -> None:
        """Add what rules found."""
        self.found.extend(Found(one.entity, one.rule) for one in findings)


def findable_entities(settings: RedactionSettings) -> frozenset[str]:
    """Return the entities that the settings look for; raises ConfigError as ``Redactor`` does."""
    recognizers = build_registry(settings).recognizers
    return _named(settings).union(*(one.supported_entities for one in recognizers))


def _named(settings: RedactionSettings) -> frozenset[str]:
    return frozenset(settings.ner.entities if settings.ner.is_on else ())


class Redactor:
    """Finds and replaces; of what it saw it keeps short clean leaves of JSON only.

    One thread at a time.
    """

    def __init__(self, settings: RedactionSettings, *, screened: bool = True) -> None:
        """Load the recognizers and build the screen; without one every rule runs on every string.

        Raises:
            ConfigError: An entity is not known.
        """
        self._detectors = Detectors.of(build_registry(settings))
        self._names = NamedEntities(settings.ner) if settings.ner.is_on else None
        self.operators = Operators(settings, self._detectors.entities | _named(settings))
        self._finder = Finder(self._detectors, self.operators, settings)
        context = self._detectors.context_words(settings.score_threshold)
        self.keys = KeyClassifier(
            settings,
            context,
            self.operators.token,
            settings.ner.keys if settings.ner.is_on else None,
            frozenset(kind for kind, entity in _ENTITY_OF.items() if self.operators.keeps(entity)),
        )
        self.strings_only = not settings.redact_all_types
        self._replace = self._hashed if settings.content == "hash" else self._dropped
        self._screen = Screen(self._detectors.rules, self.keys) if screened else None
        self._unsuspicious: set[str] = set()
        self._all_marks = [*range(len(self._detectors.rules)), LOOK_CLOSER, PAIRS]
        self.version = self._version(settings)

    def redact_text(self, text: str, key: str | None = None) -> RedactedText:
        """Redact one string as the value of the attribute ``key`` (None: no attribute's value)."""
        trail = _Trail()
        verdict = self._judge(text, SCAN if key is None else self.keys.classify(key), 0, trail)
        if verdict is None:
            return RedactedText(text, ())
        found = trail.findings or [
            Finding(entity, 0, len(text), 1.0, rule) for entity, rule in verdict.found
        ]
        return RedactedText(verdict.text, tuple(found))

    def screened(self, texts: list[str]) -> list[list[int]]:
        """Return for each text what ``judge`` needs to know; empty: there is nothing to find."""
        if self._screen is None:
            return [self._all_marks] * len(texts)
        if self._detectors.blind:
            return [[*self._screen.marks(text), UNSCREENED] for text in texts]
        return self._screen.screened(texts)

    def prepare(self, texts: list[str], key_class: KeyClass) -> None:
        """Get ready to judge these under one class: what takes long is asked for together."""
        if self._names is not None and key_class.has_names:
            self._names.prepare(leaf for text in texts for leaf in json_text.leaves(text))

    def judge(
        self, text: str, key_class: KeyClass = SCAN, marks: list[int] | None = None
    ) -> Verdict | None:
        """Return what to write instead of the text, None to leave it as it is.

        ``marks`` are what ``screened`` returned for it, None if it was not asked.
        """
        return self._judge(text, key_class, 0, _Trail(), marks)

    def _judge(
        self,
        text: str,
        key_class: KeyClass,
        depth: int,
        trail: _Trail,
        marks: list[int] | None = None,
    ) -> Verdict | None:
        if not text or key_class.kind is KeyKind.IGNORED or self.operators.is_token(text):
            return None
        if key_class.is_whole:
            return self._whole(text, key_class.kind, depth)
        if key_class.is_kept:  # what else is in it is cut all the same
            trail.found.append(Found(_ENTITY_OF[key_class.kind], BY_KEY))
        try:
            current = self._settle(text, key_class, depth, trail, marks)
        except RedactionFailedError:
            current = REDACTED_WHOLE
            trail.found.append(Found(REDACTED, "failed"))
        if current == text and not trail.found:
            return None
        return Verdict(current, tuple(dict.fromkeys(trail.found)), is_cut=current != text)

    def _whole(self, text: str, kind: KeyKind, depth: int) -> Verdict | None:
        """Return the verdict on a value whose key decides."""
        entity = _ENTITY_OF[kind]
        if kind is KeyKind.CONTENT:
            replaced = replace_content(text, self._replace, lambda key: self._clean(key, depth))
        elif kind is KeyKind.IDENTITY:
            replaced = self.operators.replacement(entity, text)
        else:
            replaced = self.operators.whole(entity, text)
        return None if replaced == text else Verdict(replaced, (Found(entity, BY_KEY),))

    def _dropped(self, text: str) -> str:
        return text if self.operators.is_token(text) else f"<{CONTENT}:{len(text)}>"

    def _hashed(self, text: str) -> str:
        return text if self.operators.is_token(text) else self.operators.hmac(CONTENT, text)

    def _clean(self, key: str, depth: int) -> str:
        verdict = self._judge(key, SCAN, depth + 1, _Trail())
        return key if verdict is None else verdict.text

    def _settle(
        self,
        text: str,
        key_class: KeyClass,
        depth: int,
        trail: _Trail,
        marks: list[int] | None,
    ) -> str:
        """Redact until nothing more is found, so that redacting the result changes nothing."""
        current = text
        if self._finder.is_allowed(text):
            return text
        sanitize = SANITIZERS.get(key_class.sanitizer)
        for attempt in range(_MAX_PASSES):
            trail.is_at_rest = False
            if attempt or marks is None:
                marks = self._marks(current)
            following = self._pass(current, marks, key_class, depth, trail, original=not attempt)
            if following is None and sanitize is not None:
                following = sanitize(current)
            if following is None or following == current:
                return current
            if json_text.has_outgrown(following, text):
                trail.found.append(Found(REDACTED, "too deep"))
                return TOO_DEEP
            current = following
            if (trail.is_at_rest and sanitize is None) or self.operators.is_token(current):
                return current
        trail.found.append(Found(REDACTED, "not at rest"))
        return REDACTED_WHOLE

    def _pass(  # noqa: PLR0913 - the state of one walk
        self,
        text: str,
        marks: list[int],
        key_class: KeyClass,
        depth: int,
        trail: _Trail,
        *,
        original: bool,
    ) -> str | None:
        """Return the text with everything found replaced, None if nothing was found."""
        if key_class.binary:
            inside = self._in_bytes(text, key_class)
            if inside is not None:
                trail.found.append(inside)
                return self.operators.replacement(inside.entity, text, is_exact=False)
        if not marks and not self._detectors.blind and not key_class.has_names:
            return None
        if json_text.holds_json(text) or json_text.has_json_within(text):
            try:
                return self._in_json(text, key_class, depth, trail, self._walk(trail))
            except ValueError:  # cut off, several, behind other text, or none at all
                without = redact_fragments(text, self._walk(trail), depth)
            if without is not None:
                return without
        cut = self._by_rules(text, marks, key_class, trail, original=original)
        if cut is None and PAIRS in marks:
            blank = self.operators.blanked(text)
            if blank is text or PAIRS in self._marks(blank):
                cut = redact_pairs(text, blank, self._walk(trail), self.keys, depth)
        if cut is None and LOOK_CLOSER in marks:
            cut = self._other_readings(text, key_class, trail)
        return cut

    def _walk(self, trail: _Trail) -> nested.JsonRedactor:
        return nested.JsonRedactor(
            self._judge_leaf, self.keys.classify_nested, self._unsuspicious, trail.found
        )

    def _by_rules(
        self, text: str, marks: list[int], key_class: KeyClass, trail: _Trail, *, original: bool
    ) -> str | None:
        named = self._names.find(text) if self._names and key_class.has_names else []
        found, kept = self._finder.find(text, marks, key_class, named)
        trail.note(found)
        trail.note(kept)
        if original:
            trail.findings.extend([*found, *kept])
        if not found:
            return None
        cut = self._cut(text, found)
        if LOOK_CLOSER in marks and self._is_left(text, cut, key_class):
            cut = self.operators.replacement(found[0].entity, text, is_exact=False)
        return cut

    @staticmethod
    def _in_json(
        text: str, key_class: KeyClass, depth: int, trail: _Trail, walk: nested.JsonRedactor
    ) -> str | None:
        """Return redacted JSON, None if nothing was found; raises ValueError if it is no JSON."""
        if not json_text.holds_json(text):
            raise ValueError("no JSON")
        try:
            if depth <= nested.MAX_DEPTH:
                redacted = walk.redact(text, key_class, depth)
                trail.is_at_rest = walk.is_at_rest
                return redacted
        except RecursionError:
            pass  # deeper than the parser goes
        trail.found.append(Found(REDACTED, "too deep"))
        return TOO_DEEP

    def _judge_leaf(self, text: str, key_class: KeyClass, depth: int) -> Verdict | None:
        if key_class is not SCAN:
            return self._judge(text, key_class, depth, _Trail())
        marks = self._marks(text)
        if marks or self._detectors.blind:
            return self._judge(text, key_class, depth, _Trail(), marks)
        if len(text) <= _SHORT:  # roles, keys and types
            if len(self._unsuspicious) >= _MAX_REMEMBERED:
                self._unsuspicious.clear()
            self._unsuspicious.add(text)
        return None

    def _marks(self, text: str) -> list[int]:
        return self._all_marks if self._screen is None else self._screen.marks(text)

    def _cut(self, text: str, found: list[Finding]) -> str:
        parts: list[str] = []
        position = 0
        for one in found:
            value = text[one.start : one.end]
            new = self.operators.replacement(one.entity, value, is_exact=not one.is_union)
            parts += text[position : one.start], new
            position = one.end
        return "".join([*parts, text[position:]])

    def _other_readings(self, text: str, key_class: KeyClass, trail: _Trail) -> str | None:
        """Replace the parts whose decoded form holds something, or the whole text."""
        found = self._in_readings(text, key_class)
        if not found:
            return None
        trail.note(found)

        def replaced(match: re.Match[str]) -> str:
            inside = self._in_readings(match[0], key_class)
            if not inside:
                return match[0]
            decoded = views.readings(match[0])[-1]
            return self.operators.replacement(inside[0].entity, decoded, is_exact=False)

        cut = _SEGMENT.sub(replaced, text)
        if cut != text and not self._in_readings(cut, key_class):
            return cut
        return self.operators.replacement(found[0].entity, text, is_exact=False)

    def _is_left(self, text: str, cut: str, key_class: KeyClass) -> bool:
        """Tell whether what other readings of the text show is still in what was made of it.

        What was cut may have been, in another reading, the word that tells what stands beside it.
        """
        values = {
            reading[one.start : one.end]
            for reading in views.readings(text)
            for one in self._finder.find(reading, self._marks(reading), key_class)[0]
        }
        return any(value in left for left in (cut, *views.readings(cut)) for value in values)

    def _in_readings(self, text: str, key_class: KeyClass) -> list[Finding]:
        for reading in views.readings(text):
            found, _ = self._finder.find(reading, self._marks(reading), key_class)
            if found:
                return found
        return []

    def _in_bytes(self, text: str, key_class: KeyClass) -> Found | None:
        """Return the first find to cut in base64 of bytes, read as UTF-8, Latin-1 and UTF-16."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=None, validate=True)
        except (ValueError, binascii.Error):
            return None
        plain = KeyClass(context=key_class.context)
        readings = [raw.decode("utf-8", "replace"), raw.decode("latin-1")]
        if b"\0" in raw:  # every second byte of ASCII in UTF-16, whichever comes first
            readings.append(raw.replace(b"\0", b"").decode("latin-1"))
        for reading in readings:
            verdict = self._judge(reading, plain, 1, _Trail())
            if verdict is not None and verdict.is_cut:
                return next(one for one in verdict.found if not self.operators.keeps(one.entity))
        return None

    def _version(self, settings: RedactionSettings) -> str:
        """Name what decides the outcome: rules, settings and which key made the tokens."""
        parts = [
            _RULES_VERSION,
            [(rule.pattern.name, rule.pattern.regex) for rule in self._detectors.rules],
            (settings.rules, settings.recognizers, settings.phone_recognizer),
            sorted(settings.entities),
            settings.score_threshold,
            sorted((entity, repr(one)) for entity, one in settings.operators.items()),
            settings.hmac_namespace,
            settings.hash_function,
            (settings.ner.engine, settings.ner.model, settings.ner.entities, settings.ner.keys),
            [getattr(settings, name) for name in KeyPolicySettings.model_fields],
        ]
        rules = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
        trial = "dry-run." if settings.dry_run.enabled else ""
        return f"{trial}{_RULES_VERSION}.{rules}.{self.operators.key_id}"
