"""The words in a key that tell a credential, a person or a context."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LETTERS: Final = re.compile(r"[^\W\d_]+")
WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
# Where small letters follow capitals, the last capital may belong to either: APIKey, APIkey.
_WORD_AFTER_CAPITALS: Final = re.compile(r"[A-Z]{2,}|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_IS_UNCLEAR: Final = re.compile("[A-Z]{2}[a-z]")

# Parts of a word that make the whole value a credential wherever they stand.
_SECRET_PARTS: Final = ("password", "passwd", "passphrase", "passwort", "secret", "apikey")
_SECRET_WORDS: Final = frozenset(
    {
        "pwd", "passcode", "credential", "credentials", "authorization", "authorisation",
        "cookie", "cookies", "jwt", "bearer", "authtoken", "accesstoken", "refreshtoken",
        "idtoken", "sessiontoken", "accesskey", "privatekey", "secretkey", "setcookie",
        "connectionstring", "connstring", "cvv", "cvc",
    },
)  # fmt: skip
_SECRET_PAIRS: Final = frozenset(
    {
        ("pass", "word"), ("pass", "phrase"), ("pass", "wd"), ("pass", "code"),
        ("api", "key"), ("api", "keys"), ("private", "key"), ("access", "key"),
        ("signing", "key"), ("encryption", "key"), ("account", "key"), ("shared", "key"),
        ("master", "key"), ("ssh", "key"), ("auth", "key"), ("connection", "string"),
        ("session", "key"), ("goog", "signature"), ("amz", "signature"), ("hub", "signature"),
        ("slack", "signature"), ("stripe", "signature"), ("storage", "key"), ("hmac", "key"),
        ("fernet", "key"), ("license", "key"), ("subscription", "key"), ("functions", "key"),
        ("role", "key"), ("openai", "key"), ("anthropic", "key"), ("db", "pass"),
        ("database", "pass"), ("smtp", "pass"), ("imap", "pass"), ("mail", "pass"),
        ("redis", "pass"), ("mysql", "pass"), ("pg", "pass"), ("postgres", "pass"),
        ("mongo", "pass"), ("rabbitmq", "pass"), ("amqp", "pass"), ("ldap", "pass"),
        ("ftp", "pass"), ("ssh", "pass"), ("http", "pass"), ("proxy", "pass"), ("basic", "pass"),
        ("user", "pass"), ("admin", "pass"), ("root", "pass"), ("auth", "pass"),
        ("login", "pass"), ("verification", "code"), ("mfa", "code"), ("fa", "code"),
        ("security", "code"), ("recovery", "code"), ("recovery", "codes"), ("backup", "codes"),
        ("device", "code"), ("otp", "code"), ("totp", "code"),
    },
)  # fmt: skip
# A one-time password; what is called after Erlang's platform goes on: otp_app, otp_release.
_LAST_WORDS: Final = frozenset({"otp", "totp"})
_NAMES_OF_SECRETS: Final = frozenset({("secret", "name"), ("secret", "arn")})
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
# A token counted or of a page, not a token held: max_tokens, time_to_first_token, next_page_token.
_COUNTED: Final = frozenset(
    {
        "max", "min", "total", "num", "per", "first", "last", "input", "output", "prompt",
        "completion", "cached", "cache", "reasoning", "usage", "stop", "eos", "bos", "pad",
        "unk", "special", "each", "every", "audio", "image", "text", "count", "llm", "page", "next",
        "pagination", "continuation",
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
        "msisdn", "birthdate", "birthday", "dob", "fullname", "middlename", "nickname",
        "cardholder", "streetaddress", "homeaddress",
    },
)  # fmt: skip
_PERSON_PAIRS: Final = frozenset(
    {
        ("first", "name"), ("last", "name"), ("given", "name"), ("family", "name"),
        ("maiden", "name"), ("birth", "date"), ("of", "birth"), ("phone", "number"), ("e", "mail"),
        ("enduser", "id"), ("enduser", "pseudo"), ("full", "name"), ("middle", "name"),
        ("customer", "name"), ("patient", "name"), ("person", "name"), ("holder", "name"),
        ("street", "address"), ("home", "address"), ("postal", "address"), ("mailing", "address"),
        ("billing", "address"), ("shipping", "address"), ("delivery", "address"),
        ("passport", "number"), ("passport", "no"), ("national", "id"), ("license", "number"),
        ("licence", "number"), ("bank", "account"),
    },
)  # fmt: skip
# What a statement was given, by place or by name
_PARAMETERS: Final = ("db.query.parameter.", "db.operation.parameter.")
_NOT_PHONES: Final = ("headphone", "microphone", "smartphone", "homophone", "saxophone", "iphone")
# Users of an operating system or a database are accounts of machines.
_MACHINE_USERS: Final = frozenset({"process", "db", "host", "os", "container", "k8s", "rpc", "ssh"})
# Words in keys that say too little there: gen_ai.tool.call.id, http.request.header.*-security.
NO_CONTEXT: Final = frozenset({"call", "text", "security", "mobile", "cell", "dial"})

# Every key that is classed contains one of these patterns (a test holds it to that), so JSON text
# without any of them in a key need not be parsed for its keys.
PERSON_HINTS: Final = (
    "user", "mail", "phone", "surname", "first", "last", "given", "family", "maiden", "birth",
    "dob", "msisdn", "tel", "nickname", "cardholder",
    r"(?:full|middle|customer|patient|person|holder)[^a-z0-9]*name",
    r"(?:street|home|postal|mailing|billing|shipping|delivery)[^a-z0-9]*address",
    "passport", r"national[^a-z0-9]*id", r"licen[cs]e[^a-z0-9]*number", r"bank[^a-z0-9]*account",
    r"(?:query|operation)\.parameter\.",
)  # fmt: skip
HINTS: Final = (
    "pass", "pwd", "secret", "credential", "authori", "cookie", "jwt", "bearer", "token",
    "key", "connection", "connstring", "signature", "cvv", "cvc", "otp",
    r"(?:verification|mfa|fa|security|recovery|backup|device)[^a-z0-9]*code", *PERSON_HINTS,
)  # fmt: skip


def words_of(name: str) -> list[tuple[str, ...]]:
    """Return the words of a key in lower case, cut as it may be meant: in one way or in two."""
    cuts = (WORD, _WORD_AFTER_CAPITALS) if _IS_UNCLEAR.search(name) else (WORD,)
    return [tuple(word.lower() for word in cut.findall(name)) for cut in cuts]


def joined_words(text: str) -> str:
    """Return the words of a text in lower case, one blank between two: how contexts compare."""
    return " ".join(_LETTERS.findall(text.lower()))


def phrases_in(phrases: Iterable[str], words: str) -> Iterator[str]:
    """Yield the phrases that stand in the words, whole word by whole word; both joined."""
    padded = f" {words} "
    return (phrase for phrase in phrases if f" {phrase} " in padded)


def is_credential(words: tuple[str, ...]) -> bool:
    """Tell whether a key of these words, in lower case, holds a credential."""
    if words[-2:] in _NAMES_OF_SECRETS:
        return False
    if any(part in word for word in words for part in _SECRET_PARTS):
        return True
    pairs = set(pairwise(words))
    if ("pass", "word") in pairs:
        return True
    if not words or words[-1] in _DESCRIPTIVE:
        return False
    if not _SECRET_WORDS.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairs):
        return True
    return words[-1] in _LAST_WORDS or _is_token(words)


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


def is_identity(words: tuple[str, ...], name: str) -> bool:
    """Tell whether a key, in lower case and as its words, holds who somebody is."""
    if not words or words[-1] in _DESCRIPTIVE:
        return False
    if not _PERSON_WORDS.isdisjoint(words) or any(map(_is_contact, words)):
        return True
    pairs = set(pairwise(words))
    if not _PERSON_PAIRS.isdisjoint(pairs):
        return True
    if name.startswith(_PARAMETERS):
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
