"""Settings of the redaction processor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from config.redaction_keys import KeyPolicySettings

Operator = Literal["replace", "hmac"]
Profile = Literal["balanced", "strict", "gdpr", "pci"]
_LEAST_KEY_BYTES = 16  # shorter keys can be guessed by trying


def _default_operators() -> dict[str, Operator]:
    return {"DEFAULT": "replace", "IDENTITY": "hmac"}


class RedactionSettings(KeyPolicySettings):
    """Removes PII and secrets from every string of a span before anything else sees it."""

    profile: Profile = Field(
        "balanced",
        description="A set of options to begin with; what is set beside it lies on top, a list "
        "as a whole. They are YAML files to read: config/profiles/.",
    )
    entities: tuple[str, ...] = Field(
        (
            "EMAIL_ADDRESS",
            "CREDIT_CARD",
            "IBAN_CODE",
            "US_SSN",
            "PHONE_NUMBER",
            "CRYPTO",
            "SECRET",
        ),
        description="What to look for, by entity name (see `clearspan components`).",
    )
    score_threshold: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Least Presidio score that counts as found.",
    )
    operators: dict[str, Operator] = Field(
        default_factory=_default_operators,
        description="What to put in place, by entity: `replace` gives <ENTITY>, `hmac` gives "
        "<ENTITY:token>, the same token for the same value. DEFAULT stands for the rest.",
    )
    hmac_key: SecretStr | None = Field(
        None,
        description="Key of the hmac operator, at least 16 bytes, from ${env:VAR} or "
        "${file:PATH}. Without one a random key is made at each start, so tokens only join "
        "within one run.",
    )
    cache_strings: int = Field(
        50_000,
        ge=0,
        description="Most distinct strings whose verdict is remembered in memory.",
    )

    @field_validator("hmac_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < _LEAST_KEY_BYTES:
            raise ValueError(f"must be at least {_LEAST_KEY_BYTES} bytes long")
        return key
