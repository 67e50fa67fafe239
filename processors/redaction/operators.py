"""What stands in place of a found value: ``<ENTITY>``, a mask, nothing, or a token that joins."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from config.redaction_operators import OperatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from config.redaction import RedactionSettings

IDENTITY: Final = "IDENTITY"
CREDENTIAL: Final = "CREDENTIAL"
CONTENT: Final = "CONTENT"
BLOCKED: Final = "BLOCKED"
REDACTED: Final = "REDACTED"
_OWN: Final = (IDENTITY, CREDENTIAL, CONTENT, BLOCKED, REDACTED)
REDACTED_WHOLE: Final = f"<{REDACTED}>"
TOO_DEEP: Final = f"<{REDACTED}:too_deep>"

_TOKEN_HEX: Final = 16
_KEY_ID_HEX: Final = 4
_REPLACE: Final = OperatorSettings(type="replace")
_HASH: Final = OperatorSettings(type="hmac")
# Of hash functions without a key: how many hexadecimal digits they give.
_UNKEYED: Final = {"md5": 32, "sha1": 40, "sha3": 64}
_DIGITS_ONLY: Final = frozenset({"CREDIT_CARD", "US_SSN"})
_NO_SPACES_UPPER: Final = frozenset({"IBAN_CODE"})
# In the shared namespace the value's shape tells its canonical spelling, not what it was found as.
_MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_NUMBER: Final = re.compile(r"\+?[\d\s().\-/]{7,}")
_IBAN: Final = re.compile(r"[A-Za-z]{2}\d{2}[A-Za-z0-9 ]{11,40}")
_END: Final = re.compile(r"</(\w{3})")


class Operators:
    """Makes the replacement of a value, by entity.

    A token is the first 64 bits of HMAC-SHA256 over key id, namespace and canonical value, so equal
    values (whatever their spelling) give equal tokens under one key and none under another. It
    begins with four digits of the key's id. Only tokens of known keys are taken for tokens: else
    sixteen digits in angle brackets could pass as one. No length has nine digits, as a social
    security number has. A hash function without a key gives its name and the whole digest of the
    canonical value, as others compute it.
    """

    def __init__(self, settings: RedactionSettings, entities: Iterable[str]) -> None:
        """Choose the operator of each entity; without a key one is made for this process."""
        self._function = settings.hash_function or "hmac-sha256"
        key = settings.hmac_key
        secret = secrets.token_bytes(32) if key is None else key.get_secret_value().encode()
        self._key = secret
        self.key_id = _key_id(secret)
        self._is_shared = settings.hmac_namespace == "shared"
        self._operators = dict(settings.operators)
        self._default = self._operators.pop("DEFAULT", _REPLACE)
        if settings.hash_function is not None and self._default.type == "replace":
            self._default = _HASH
        names = "|".join(map(re.escape, sorted({*entities, *self._operators, *_OWN})))
        previous = (one.get_secret_value().encode() for one in settings.hmac_previous_keys)
        ids = {self.key_id, *map(_key_id, previous)}
        by_key = "|".join(sorted(one[:_KEY_ID_HEX] for one in ids))
        token = rf"(?:{by_key})-[0-9a-f]{{{_TOKEN_HEX}}}"
        if self._function in _UNKEYED:
            # all of a digest in decimal digits is one in millions, and what a sender would forge
            digits = _UNKEYED[self._function]
            token += rf"|{self._function}-(?![0-9]{{{digits}}}>)[0-9a-f]{{{digits}}}"
        self.token: Final = re.compile(
            rf"<(?:(?:{names})(?::(?:{token}|too_deep))?|{CONTENT}:[0-9]{{1,8}})>",
        )

    def keeps(self, entity: str) -> bool:
        """Tell whether values of the entity are left as they are."""
        chosen = self._operators.get(entity)
        return chosen is not None and chosen.type == "keep"

    def replacement(self, entity: str, value: str, *, is_exact: bool = True) -> str:
        """Return what to write instead of ``value``.

        If that is more than what was found (``is_exact`` is false), a mask shows nothing of it:
        what may be shown of the one could be all of the other.
        """
        return self._written(self._operators.get(entity, self._default), entity, value, is_exact)

    def whole(self, entity: str, value: str) -> str:
        """Return what to write instead of a value that goes by its key, DEFAULT left aside."""
        return self._written(self._operators.get(entity, _REPLACE), entity, value, is_exact=True)

    def hmac(self, entity: str, value: str) -> str:
        """Return the value's token, whatever operator the entity has."""
        space = "shared" if self._is_shared else entity
        canonical = _by_shape(value) if self._is_shared else _canonical(entity, value)
        if self._function in _UNKEYED:
            return f"<{entity}:{self._function}-{_digest(self._function, canonical)}>"
        message = f"{self.key_id}\0{space}\0{canonical}"
        name = self._function.removeprefix("hmac-")
        digest = hmac.digest(self._key, message.encode("utf-8", "surrogatepass"), name)
        return f"<{entity}:{self.key_id[:_KEY_ID_HEX]}-{digest.hex()[:_TOKEN_HEX]}>"

    def blanked(self, text: str) -> str:
        """Return the text, as long, in which nothing that redaction wrote reads as a name.

        What has an end is an element called as a token is: <PHONE_NUMBER>030 …</PHONE_NUMBER>.
        """
        if "<" not in text:
            return text
        ended = set(_END.findall(text))
        return self.token.sub(
            lambda match: match[0] if match[0][1:4] in ended else "<" * len(match[0]), text
        )

    def is_token(self, value: str) -> bool:
        """Tell whether the whole value is something this class wrote."""
        return value.startswith("<") and self.token.fullmatch(value) is not None

    def _written(self, chosen: OperatorSettings, entity: str, value: str, is_exact: bool) -> str:
        if chosen.type == "hmac":
            return self.hmac(entity, value)
        if chosen.type == "mask":
            return _masked(chosen, value, is_exact=is_exact)
        if chosen.type == "remove":
            return ""
        return value if chosen.type == "keep" else f"<{entity}>"


def tokens_of(settings: RedactionSettings, value: str, entities: Iterable[str]) -> set[str]:
    """Return every token that may stand for a value in what was stored under these settings.

    ``entities`` are all that can be found. Without a key there is none: each process has its own.
    """
    found = {*entities, *settings.operators, *_OWN}
    keys = [key for key in (settings.hmac_key, *settings.hmac_previous_keys) if key is not None]
    keyed = [settings.model_copy(update={"hmac_key": key}) for key in keys]
    if settings.hash_function in _UNKEYED:
        keyed = [settings]
    return {
        operators.hmac(entity, value)
        for operators in (Operators(one, found) for one in keyed)
        for entity in found
    }


def forgets_its_key(settings: RedactionSettings) -> bool:
    """Tell whether tokens are written of which nobody can say later what they stand for."""
    writes_tokens = (
        settings.content == "hash"
        or settings.hash_function is not None
        or any(one.type == "hmac" for one in settings.operators.values())
    )
    return writes_tokens and settings.hmac_key is None and settings.hash_function not in _UNKEYED


def _key_id(secret: bytes) -> str:
    return hashlib.sha256(b"clearspan key id\0" + secret).hexdigest()[:8]


def _digest(function: str, value: str) -> str:
    name = "sha3_256" if function == "sha3" else function
    return hashlib.new(
        name, value.encode("utf-8", "surrogatepass"), usedforsecurity=False
    ).hexdigest()


def _masked(chosen: OperatorSettings, value: str, *, is_exact: bool) -> str:
    """Return as many characters as the value has, of which at most half are its own."""
    half = len(value) // 2 if is_exact else 0
    last = min(chosen.keep_last, half)
    first = min(chosen.keep_first, half - last)
    hidden = chosen.character * (len(value) - first - last)
    return value[:first] + hidden + value[len(value) - last :]


def _canonical(entity: str, value: str) -> str:
    """Return the spelling that all spellings of one value share."""
    if entity in _DIGITS_ONLY:
        return "".join(filter(str.isdigit, value))
    if entity == "PHONE_NUMBER":
        return _number(value)
    if entity in _NO_SPACES_UPPER:
        return "".join(filter(str.isalnum, value)).upper()
    if entity == "EMAIL_ADDRESS" or (entity == IDENTITY and "@" in value):
        return value.strip().lower()
    return value.strip()


def _by_shape(value: str) -> str:
    """Return the spelling that all spellings share, of a value found as whatever."""
    value = value.strip()
    if _MAIL.fullmatch(value):
        return value.lower()
    if _NUMBER.fullmatch(value):
        return _number(value)
    if _IBAN.fullmatch(value):
        return value.replace(" ", "").upper()
    return value


def _number(value: str) -> str:
    # a + is kept: +44 20… and 4420… need not be one number
    return ("+" if value.lstrip().startswith("+") else "") + "".join(filter(str.isdigit, value))
