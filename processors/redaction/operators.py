"""What stands in place of a found value: ``<ENTITY>``, or a keyed token that still joins."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr

IDENTITY: Final = "IDENTITY"
CREDENTIAL: Final = "CREDENTIAL"
CONTENT: Final = "CONTENT"
BLOCKED: Final = "BLOCKED"
REDACTED: Final = "REDACTED"
REDACTED_WHOLE: Final = f"<{REDACTED}>"
TOO_DEEP: Final = f"<{REDACTED}:too_deep>"

_TOKEN_HEX: Final = 16
_DIGITS_ONLY: Final = frozenset({"CREDIT_CARD", "US_SSN"})
_NO_SPACES_UPPER: Final = frozenset({"IBAN_CODE"})


class Operators:
    """Makes the replacement of a value, by entity.

    A token is the first 64 bits of HMAC-SHA256 over key id, entity and canonical value, so equal
    values (whatever their spelling) give equal tokens under one key and none under another.
    """

    def __init__(
        self, operators: Mapping[str, str], key: SecretStr | None, entities: Iterable[str]
    ) -> None:
        """Choose the operator of each entity; without a key one is made for this process."""
        secret = secrets.token_bytes(32) if key is None else key.get_secret_value().encode()
        self._key = secret
        self.key_id = hashlib.sha256(b"clearspan key id\0" + secret).hexdigest()[:8]
        self._operators = dict(operators)
        own = {IDENTITY, CREDENTIAL, CONTENT, BLOCKED, REDACTED}
        known = sorted({*entities, *operators, *own} - {"DEFAULT"})
        names = "|".join(map(re.escape, known))
        self.token: Final = re.compile(
            rf"<(?:(?:{names})(?::(?:[0-9a-f]{{{_TOKEN_HEX}}}|too_deep))?|{CONTENT}:[0-9]{{1,9}})>",
        )

    def replacement(self, entity: str, value: str) -> str:
        """Return what to write instead of ``value``."""
        operator = self._operators.get(entity) or self._operators.get("DEFAULT", "replace")
        if operator == "hmac":
            return self.hmac(entity, value)
        return f"<{entity}>"

    def hmac(self, entity: str, value: str) -> str:
        """Return the value's token, whatever operator the entity has."""
        message = f"{self.key_id}\0{entity}\0{_canonical(entity, value)}"
        digest = hmac.digest(self._key, message.encode("utf-8", "surrogatepass"), "sha256")
        return f"<{entity}:{digest.hex()[:_TOKEN_HEX]}>"

    def is_token(self, value: str) -> bool:
        """Tell whether the whole value is something this class wrote."""
        return value.startswith("<") and self.token.fullmatch(value) is not None


def _canonical(entity: str, value: str) -> str:
    """Return the spelling that all spellings of one value share."""
    if entity in _DIGITS_ONLY:
        return "".join(filter(str.isdigit, value))
    if entity == "PHONE_NUMBER":
        # a + is kept: +44 20… and 4420… need not be one number
        return ("+" if value.lstrip().startswith("+") else "") + "".join(
            filter(str.isdigit, value),
        )
    if entity in _NO_SPACES_UPPER:
        return "".join(filter(str.isalnum, value)).upper()
    if entity == "EMAIL_ADDRESS" or (entity == IDENTITY and "@" in value):
        return value.strip().lower()
    return value.strip()
