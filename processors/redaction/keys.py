"""What an attribute's key says about its value: identity, credential, ignored, context or none."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import translate
from typing import TYPE_CHECKING, Final

import regex

from processors.redaction.bound_values import HINT as BOUND_HINT
from processors.redaction.content import content_keys
from processors.redaction.key_words import (
    HINTS,
    NO_CONTEXT,
    PERSON_HINTS,
    WORD,
    is_credential,
    is_identity,
    phrases_in,
    words_of,
)
from processors.redaction.views import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.redaction_keys import (
        KeyPolicySettings,
        QuerySanitizerSettings,
        UrlSanitizerSettings,
    )


class KeyKind(Enum):
    """What happens to a value under a key."""

    SCAN = "scan"
    IDENTITY = "identity"
    CREDENTIAL = "credential"
    CONTENT = "content"
    BLOCKED = "blocked"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class KeyClass:
    """A key's kind, the context words in it, and whether its value is base64 of bytes.

    ``sanitizer`` names the one of ``sanitize.SANITIZERS`` that a scanned value goes through;
    ``has_names`` tells that named entities are looked for in it; ``is_kept`` that the user keeps
    what goes by its kind, so that the value is scanned.
    """

    kind: KeyKind = KeyKind.SCAN
    context: frozenset[str] = frozenset()
    binary: bool = False
    sanitizer: str = ""
    has_names: bool = False
    is_kept: bool = False

    @property
    def is_scanned(self) -> bool:
        """Whether what is in the value decides."""
        return self.kind is KeyKind.SCAN or self.is_kept

    @property
    def is_whole(self) -> bool:
        """Whether the key alone decides: the value goes as a whole, whatever is in it."""
        return not self.is_scanned and self.kind is not KeyKind.IGNORED


SCAN: Final = KeyClass()
_HINTED: Final = re.compile("|".join(HINTS), re.IGNORECASE)
_MAX_REMEMBERED: Final = 20_000
# Longer names are text that landed in a key; they are scanned, not taken apart.
_MAX_KEY: Final = 512
# What the bodies of log records are judged as: values of these keys.
_BODY_KEY: Final = "body"
_GEN_AI_BODY_KEY: Final = "gen_ai.input.messages"


class KeyClassifier:
    """Classes keys, once each: any case, dotted, snake, kebab or camel."""

    def __init__(
        self,
        settings: KeyPolicySettings,
        context: Iterable[str] = (),
        token: re.Pattern[str] | None = None,
        named: tuple[str, ...] | None = None,
        kept: frozenset[KeyKind] = frozenset(),
    ) -> None:
        """Take the user's policies, and the recognizers' context words.

        ``token`` matches what redaction wrote in a key, which says nothing about the value. Named
        entities are looked for in values of content keys and of ``named`` (globs; None: nowhere).
        ``kept`` are the kinds whose values the user keeps.
        """
        self._kept = kept
        self._token = token
        self._identity = _globs(settings.identity_keys)
        self._credential = _globs(settings.credential_keys)
        self._ignored = frozenset(settings.ignored_keys)
        self._ignored_patterns = _compiled(settings.ignored_key_patterns)
        self._blocked = _compiled(settings.blocked_key_patterns)
        self._content = content_keys(settings.content_keys) if settings.content != "scan" else None
        self._sanitizers = _sanitizers(settings)
        self._named = content_keys(named) if named is not None else None
        # a key's words are cut differently from a text's: at capitals, too
        self._context = {
            " ".join(WORD.findall(phrase)): phrase for phrase in frozenset(context) - NO_CONTEXT
        }
        self._known: dict[str, KeyClass] = {}
        self._numbers: dict[KeyClass, int] = {}
        self.has_globs = bool(
            settings.identity_keys or settings.credential_keys or settings.blocked_key_patterns,
        )
        self.span_name = KeyClass(sanitizer=_span_name_sanitizer(settings))
        # A log record's body is never ignored, whatever attribute of that name is.
        self.body = self._never_ignored(_BODY_KEY)
        self.gen_ai_body = self._never_ignored(_GEN_AI_BODY_KEY)

    @property
    def hint(self) -> str:
        """A pattern found in JSON text (without escapes) that may have a classed key."""
        words = "|".join(HINTS)
        name = rf'"[^"]*(?:{words})[^"]*"\s*,'
        return (
            rf'(?:{words})[^"]*"\s*:'
            rf'|"(?:key|name|stringValue)"\s*:\s*"[^"]*(?:{words})'
            rf"|\[{name}|\[\s+{name}"  # of \[\s* Hyperscan misses some
            rf'|"bytesValue"'
        )

    @property
    def pair_hint(self) -> str:
        """A pattern found in other text with a name that may decide on what is behind it."""
        if self.has_globs:
            return (
                r"""[\w.\-][*"'`\\\])]*\s*(?:[:=]|<?>|&gt;|(?:not )?(?:i?like|in)\s*\(?['\d])"""
                r"""|name=["']|for (?:key|column) ['`]|["'`]\s*,|(?:insert|replace)[\s\\]"""
                rf"|{BOUND_HINT}"
            )
        keys, names = "|".join(HINTS), "|".join(PERSON_HINTS)
        label = rf"[\w.\-]*(?:user[_.\- ]*\w|[\w.\-]user|{'|'.join(PERSON_HINTS[1:])})[\w.\-]*"
        return (
            rf"""(?:{keys})[\w.\-]*["'`\\]+\]?\s*[:=]"""
            rf"""|(?:{names})[\w.\-]*\s*(?:=|:\S|:\s*[\\"'`\w.+\-\[({{]*[\\"'`\[({{\d])"""
            rf"""|(?:{names})[\w.\-]*[ \t]*:[ \t](?:[^"`,;:&<>()\[\]{{}}|=\r\n])+(?:[,;)\]}}"]|$)"""
            rf"""|(?:{names})[\w.\-]*(?:>|&gt;|\s[^<>]*=[^<>]*(?:>|&gt;))"""
            rf"""|(?:{names})[\w.\-:]*["'`\\\]]*\s*(?:<>|=>|(?:not )?(?:i?like|in)\s*\(?['\d])"""
            rf"""|\)=\(|(?:name=["']|for (?:key|column) ['`])[\w.\-`]*(?:{names})"""
            rf"|(?:insert|replace)[\s\\][^()]*\([^()]*(?:{keys})[^()]*\)[^()]*value|{BOUND_HINT}"
            rf"""|[\[({{]\s*[bu]?\\*["'`][\w.\-:]*(?:{keys})[\w.\-:]*\\*["'`]\s*,"""
            rf"""|(?:name|key)[\\"'`\s]*[=:][>\s]*[bu]?[\\"'`]*[\w.\-:]*(?:{keys})"""
            r"""[\w.\-:]*[\\"'`\s,;][\\"'`\s,;:bu]*value"""
            r"""|raw_?headers[\\"'`]*\s*[:=]\s*\[\s*[bu]?[\\"'`]"""
            rf"""|(?:^|")[ \t\-*>\d.)]*(?:[\w.\-]+ ){{0,3}}{label}(?: [a-z]+){{0,3}}"""
            r"""\**[ \t]*(?:=|:\**[ \t])"""
        )

    def number(self, key_class: KeyClass) -> int:
        """Return a small number that stands for the class (hashing one takes a microsecond)."""
        return self._numbers.setdefault(key_class, len(self._numbers))

    def classify(self, key: str) -> KeyClass:
        """Return the class of an attribute's key."""
        known = self._known.get(key)
        if known is None:
            known = self._classify(key)
            if len(self._known) < _MAX_REMEMBERED:
                self._known[key] = known
        return known

    def _never_ignored(self, key: str) -> KeyClass:
        found = self.classify(key)
        return SCAN if found.kind is KeyKind.IGNORED else found

    def classify_nested(self, key: str) -> KeyClass:
        """Return the class of a key inside a value.

        Ignoring, content, names and sanitizing are for attributes only.
        """
        found = self.classify(key)
        if found.kind is KeyKind.IGNORED or found.kind is KeyKind.CONTENT:
            return SCAN
        if found.is_kept:
            return replace(found, sanitizer="", has_names=False)
        if found.sanitizer or found.has_names:
            return KeyClass(context=found.context) if found.context else SCAN
        return found

    def classify_name(self, name: str) -> KeyClass:
        """Return the class of an ASCII name in text; most are no key's, and not remembered."""
        if name not in self._known and not self.has_globs and not _HINTED.search(name):
            return SCAN
        return self.classify_nested(name)

    def is_chosen_credential(self, key: str) -> bool:
        """Tell whether the user says that values of the key are credentials."""
        return _matches(self._credential, fold(key)[:_MAX_KEY])

    def is_ignored(self, key: str) -> bool:
        """Tell whether the user wants the key's value as it is."""
        return key in self._ignored or _found(self._ignored_patterns, key)

    def _classify(self, key: str) -> KeyClass:
        name = fold(key)[:_MAX_KEY]
        if self._token is not None and "<" in name:
            name = self._token.sub(" ", name)
        cuts = words_of(name)
        by_trust = (
            (KeyKind.IGNORED, self.is_ignored(key)),
            (KeyKind.BLOCKED, _found(self._blocked, key)),
            (KeyKind.CREDENTIAL, _matches(self._credential, name)),
            (KeyKind.IDENTITY, _matches(self._identity, name)),
            (KeyKind.CREDENTIAL, any(map(is_credential, cuts))),
            (KeyKind.IDENTITY, any(is_identity(words, name.lower()) for words in cuts)),
            (KeyKind.CONTENT, _matches(self._content, name)),
        )
        kinds = [kind for kind, applies in by_trust if applies]
        decides = next((kind for kind in kinds if kind not in self._kept), None)
        if decides is not None:
            return KeyClass(decides)
        context = frozenset(
            self._context[phrase]
            for words in cuts
            for phrase in phrases_in(self._context, " ".join(words))
        )
        sanitizer = self._sanitizers.get(key, "")
        has_names = _matches(self._named, name)
        if not context and not sanitizer and not has_names and not kinds:
            return SCAN
        kind = kinds[0] if kinds else KeyKind.SCAN
        return KeyClass(kind, context, False, sanitizer, has_names, is_kept=bool(kinds))


def _globs(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    if not globs:
        return None
    return re.compile("|".join(translate(glob) for glob in globs), re.IGNORECASE)


def _compiled(patterns: tuple[str, ...]) -> tuple[regex.Pattern[str], ...]:
    return tuple(map(regex.compile, patterns))


def _found(patterns: tuple[regex.Pattern[str], ...], key: str) -> bool:
    return any(pattern.search(key) for pattern in patterns)


def _sanitizers(settings: KeyPolicySettings) -> dict[str, str]:
    """Return the sanitizer's name by attribute key; the first one that claims a key has it."""
    database = settings.db_sanitizer
    sections: dict[str, UrlSanitizerSettings | QuerySanitizerSettings] = {
        "url": settings.url_sanitizer,
        "sql": database.sql,
        "redis": database.redis,
        "mongo": database.mongo,
    }
    chosen: dict[str, str] = {}
    for name, section in sections.items():
        for key in section.attributes if section.enabled else ():
            chosen.setdefault(key, name)
    return chosen


def _span_name_sanitizer(settings: KeyPolicySettings) -> str:
    url, database = settings.url_sanitizer, settings.db_sanitizer
    urls = url.enabled and url.sanitize_span_name
    statements = database.sql.enabled and database.sanitize_span_name
    if urls and statements:
        return "span name"
    return "span name, url" if urls else "span name, sql" if statements else ""


def _matches(globs: re.Pattern[str] | None, name: str) -> bool:
    return globs is not None and globs.match(name) is not None
