"""What an attribute's key says about its value: identity, credential, ignored, context or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import translate
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from processors.redaction.views import fold

if TYPE_CHECKING:
    from collections.abc import Iterable


class KeyKind(Enum):
    """What happens to a value under a key."""

    SCAN = "scan"
    IDENTITY = "identity"
    CREDENTIAL = "credential"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class KeyClass:
    """A key's kind, the context words in it, and whether its value is base64 of bytes."""

    kind: KeyKind = KeyKind.SCAN
    context: frozenset[str] = frozenset()
    binary: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the key alone decides: the value goes as a whole, whatever is in it."""
        return self.kind is KeyKind.CREDENTIAL or self.kind is KeyKind.IDENTITY


SCAN: Final = KeyClass()
_MAX_REMEMBERED: Final = 20_000
# Longer names are text that landed in a key; they are scanned, not taken apart.
_MAX_KEY: Final = 512
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")

# Parts of a word that make the whole value a credential wherever they stand.
_SECRET_PARTS: Final = ("password", "passwd", "passphrase", "passwort", "secret", "apikey")
_SECRET_WORDS: Final = frozenset(
    {
        "pwd", "passcode", "credential", "credentials", "authorization", "authorisation",
        "cookie", "cookies", "jwt", "bearer", "authtoken", "accesstoken", "refreshtoken",
        "idtoken", "sessiontoken", "accesskey", "privatekey", "secretkey", "setcookie",
        "connectionstring", "connstring",
    },
)  # fmt: skip
_SECRET_PAIRS: Final = frozenset(
    {
        ("pass", "word"), ("pass", "phrase"), ("pass", "wd"), ("pass", "code"),
        ("api", "key"), ("api", "keys"), ("private", "key"), ("access", "key"),
        ("signing", "key"), ("encryption", "key"), ("account", "key"), ("shared", "key"),
        ("master", "key"), ("ssh", "key"), ("auth", "key"), ("connection", "string"),
        ("session", "key"), ("goog", "signature"), ("amz", "signature"), ("hub", "signature"),
    },
)  # fmt: skip
# Said of the thing, not the thing: token.type, api_key_count, authorization.result.
_DESCRIPTIVE: Final = frozenset(
    {
        "type", "types", "count", "counts", "kind", "scheme", "status", "result", "decision",
        "length", "size", "len", "limit", "budget", "usage", "expiry", "expires", "expired",
        "expiration", "ttl", "enabled", "required", "valid", "url", "uri", "endpoint", "rate",
        "cost", "price", "details", "index", "bucket", "per", "latency", "duration", "time",
        "total", "ratio", "verified", "sent", "provider", "method", "domain",
    },
)  # fmt: skip
# A token counted, not a token held: max_tokens, time_to_first_token, cached_token.
_COUNTED: Final = frozenset(
    {
        "max", "min", "total", "num", "per", "first", "last", "input", "output", "prompt",
        "completion", "cached", "cache", "reasoning", "usage", "stop", "eos", "bos", "pad",
        "unk", "special", "each", "every", "audio", "image", "text", "count", "llm",
    },
)  # fmt: skip
_PERSON_NOUNS: Final = frozenset(
    {
        "id", "ids", "name", "names", "email", "mail", "login", "uuid", "guid", "handle",
        "account", "ref", "hash", "fullname", "username", "pseudo",
    },
)  # fmt: skip
_PERSON_WORDS: Final = frozenset(
    {
        "username", "userid", "usermail", "enduserid", "surname", "firstname", "lastname",
        "msisdn", "birthdate", "birthday", "dob",
    },
)  # fmt: skip
_PERSON_PAIRS: Final = frozenset(
    {
        ("first", "name"), ("last", "name"), ("given", "name"), ("family", "name"),
        ("maiden", "name"), ("birth", "date"), ("of", "birth"), ("phone", "number"), ("e", "mail"),
        ("enduser", "id"), ("enduser", "pseudo"),
    },
)  # fmt: skip
_NOT_PHONES: Final = ("headphone", "microphone", "smartphone", "homophone", "saxophone", "iphone")
# Users of an operating system or a database are accounts of machines.
_MACHINE_USERS: Final = frozenset({"process", "db", "host", "os", "container", "k8s", "rpc", "ssh"})
# Words in keys that say too little there: gen_ai.tool.call.id, http.request.header.*-security.
_NO_CONTEXT: Final = frozenset({"call", "text", "security", "mobile", "cell", "dial"})

# Every key that is classed contains one of these (a test holds it to that), so JSON text without
# any of them in a key need not be parsed for its keys.
_HINTS: Final = (
    "pass", "pwd", "secret", "credential", "authori", "cookie", "jwt", "bearer", "token",
    "key", "connection", "connstring", "signature", "user", "mail", "phone", "surname",
    "first", "last", "given", "family", "maiden", "birth", "dob", "msisdn", "tel",
)  # fmt: skip


class KeyClassifier:
    """Classes keys, once each: any case, dotted, snake, kebab or camel."""

    def __init__(
        self,
        *,
        identity: Iterable[str] = (),
        credential: Iterable[str] = (),
        ignored: Iterable[str] = (),
        context: Iterable[str] = (),
        token: re.Pattern[str] | None = None,
    ) -> None:
        """Take the user's globs and exact names, and the recognizers' context words.

        ``token`` matches what redaction wrote in a key, which says nothing about the value.
        """
        self._token = token
        identity, credential = tuple(identity), tuple(credential)
        self._identity = _globs(identity)
        self._credential = _globs(credential)
        self._ignored = frozenset(ignored)
        self._context = frozenset(context) - _NO_CONTEXT
        self._known: dict[str, KeyClass] = {}
        self._numbers: dict[KeyClass, int] = {}
        self.has_globs = bool(identity or credential)

    @property
    def hint(self) -> str:
        """A pattern found in JSON text (without escapes) that may have a classed key."""
        words = "|".join(_HINTS)
        return (
            rf'(?:{words})[^"]*"\s*:'
            rf'|"(?:key|name)"\s*:\s*"[^"]*(?:{words})'
            rf'|"bytesValue"'
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

    def classify_nested(self, key: str) -> KeyClass:
        """Return the class of a key inside a value; ignoring is for attributes only."""
        found = self.classify(key)
        return SCAN if found.kind is KeyKind.IGNORED else found

    def _classify(self, key: str) -> KeyClass:
        if key in self._ignored:
            return KeyClass(KeyKind.IGNORED)
        name = fold(key)[:_MAX_KEY]
        if self._token is not None and "<" in name:
            name = self._token.sub(" ", name)
        if _matches(self._credential, name):
            return KeyClass(KeyKind.CREDENTIAL)
        if _matches(self._identity, name):
            return KeyClass(KeyKind.IDENTITY)
        words = tuple(word.lower() for word in _WORD.findall(name))
        if _is_credential(words):
            return KeyClass(KeyKind.CREDENTIAL)
        if _is_identity(words, name.lower()):
            return KeyClass(KeyKind.IDENTITY)
        context = self._context.intersection(words)
        return KeyClass(context=context) if context else SCAN


def _is_credential(words: tuple[str, ...]) -> bool:
    if any(part in word for word in words for part in _SECRET_PARTS):
        return True
    pairs = set(pairwise(words))
    if ("pass", "word") in pairs:
        return True
    if not words or words[-1] in _DESCRIPTIVE:
        return False
    if not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairs):
        return True
    return _is_token(words)


def _is_token(words: tuple[str, ...]) -> bool:
    """Tell a token held (``token``, ``csrf_token``, ``access_tokens``) from tokens counted."""
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        after = words[position + 1] if position + 1 < len(words) else ""
        if word.endswith("token") and before not in _COUNTED and after not in _DESCRIPTIVE:
            return True
        if word == "tokens" and before in {"access", "auth", "refresh", "session", "api"}:
            return True
    return False


def _is_identity(words: tuple[str, ...], name: str) -> bool:
    if not words or words[-1] in _DESCRIPTIVE:
        return False
    if not _PERSON_WORDS.isdisjoint(words) or any(map(_is_contact, words)):
        return True
    pairs = set(pairwise(words))
    if not _PERSON_PAIRS.isdisjoint(pairs):
        return True
    if words[0] in _MACHINE_USERS or name.startswith("user.agent"):
        return False
    return (
        name.startswith("user.")
        or words[-1] in {"user", "enduser"}
        or any(first == "user" and second in _PERSON_NOUNS for first, second in pairs)
    )


def _is_contact(word: str) -> bool:
    if "email" in word or word in {"mail", "mails", "tel"}:
        return True
    return "phone" in word and not any(other in word for other in _NOT_PHONES)


def _globs(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    if not globs:
        return None
    return re.compile("|".join(translate(glob) for glob in globs), re.IGNORECASE)


def _matches(globs: re.Pattern[str] | None, name: str) -> bool:
    return globs is not None and globs.match(name) is not None
