"""Settings of the redaction processor."""

from __future__ import annotations

import re
from typing import Final, Literal

import regex
from pydantic import Field, SecretStr, field_validator, model_validator

from config.base import Settings
from config.redaction_keys import KeyPolicySettings
from config.redaction_ner import NerSettings
from config.redaction_operators import OperatorSettings, check_operators, default_operators

REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
Summary = Literal["debug", "info", "silent"]
Profile = Literal["balanced", "strict", "gdpr", "pci"]
_LEAST_KEY_BYTES = 16  # shorter keys can be guessed by trying
_LEAST_CANARY = 8  # shorter ones stand in ordinary text
HashFunction = Literal["hmac-sha256", "hmac-sha512", "sha3", "sha1", "md5"]


class DryRunSettings(Settings):
    """Redaction on trial: everything is found and counted, nothing is cut."""

    enabled: bool = Field(
        default=False,
        description="Count what would be cut and store every value as it came.",
    )
    i_understand: bool = Field(
        default=False,
        description="Has to be true as well: personal data and secrets reach disk, metrics and "
        "whoever queries.",
    )

    @model_validator(mode="after")
    def _is_meant(self) -> DryRunSettings:
        if self.enabled and not self.i_understand:
            raise ValueError("stores everything unredacted: set i_understand: true beside enabled")
        return self


class RuleSettings(Settings):
    """A pattern of your own."""

    name: str = Field(min_length=1, description="What findings and errors call it.")
    entity: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]{1,40}$",
        description="What it finds, in capitals; stands in `<ENTITY>`.",
    )
    regex: str = Field(
        min_length=1,
        description="The regular expression, case ignored. With a group named `secret` only that "
        "is cut.",
    )
    keywords: tuple[str, ...] = Field(
        (),
        description="Words, one of which must stand near a match (60 characters before it, 30 "
        "behind) or in the attribute's key.",
    )
    validator: str = Field(
        "none",
        pattern=r"^(none|luhn|mod97|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description="`luhn`, `mod97`, or a function of your own as `module:function`: it is given "
        "the match and says whether it is one.",
    )
    score: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Score of a match; below `score_threshold` it counts only with a keyword.",
    )

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern

    @field_validator("keywords")
    @classmethod
    def _words(cls, keywords: tuple[str, ...]) -> tuple[str, ...]:
        for word in keywords:
            if not word.isalpha():
                raise ValueError(f"{word!r} is not one word of letters")
        return keywords


class RedactionSettings(KeyPolicySettings):
    """Removes PII and secrets from every string of the data before anything else sees it."""

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
    rules: tuple[RuleSettings, ...] = Field((), description="Patterns of your own.")
    recognizers: tuple[str, ...] = Field(
        (),
        description="Presidio recognizers of your own, as `module:Class`.",
    )
    ner: NerSettings = Field(
        default_factory=NerSettings,
        description="Names, places and organisations by a model of yours; off by default.",
    )
    phone_recognizer: Literal["fast", "presidio"] = Field(
        "fast",
        description="`fast` finds phone numbers by shape first; `presidio` is Presidio's own, "
        "which finds a few more, and more that are none, at 50 times the CPU.",
    )
    score_threshold: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Least Presidio score that counts as found.",
    )
    operators: dict[str, OperatorSettings] = Field(
        default_factory=default_operators,
        description="What to put in place, by entity: `replace` gives <ENTITY>, `hmac` "
        "<ENTITY:token>, the same token for the same value, `mask` the last characters "
        "(`{type: mask, keep_last: 4}`; `keep_first`, `character`), never more than half, `remove` "
        "nothing, `keep` the value itself. DEFAULT stands for the rest.",
    )
    hmac_key: SecretStr | None = Field(
        None,
        description="Key of the hmac operator, at least 16 bytes, from ${env:VAR} or "
        "${file:PATH}. Without one a random key is made at each start, so tokens only join "
        "within one run.",
    )
    hmac_previous_keys: tuple[SecretStr, ...] = Field(
        (),
        description="Keys used before: tokens made with them are left as they are.",
    )
    hmac_namespace: Literal["entity", "shared"] = Field(
        "entity",
        description="`entity`: a value's token depends on what it was found as. `shared`: the "
        "digits of the token are the same for one value, found as whatever, so that an e-mail in a "
        "text joins with one under `user.email`.",
    )
    hash_function: HashFunction | None = Field(
        None,
        description="Puts hashes where `DEFAULT: replace` would put <ENTITY>. The two of HMAC are "
        "that of the operator hmac; `sha3` (256 bits), `sha1` and `md5` take no key, so that "
        "whoever guesses a value knows it: cards and phone numbers are quickly guessed.",
    )
    summary: Summary = Field(
        "silent",
        description="Span attributes about what was redacted: `debug` adds "
        "`redaction.masked.keys` (keys of the span's attributes whose values changed, comma "
        "between them) and `redaction.masked.count`, `info` the count only.",
    )
    canaries: tuple[SecretStr, ...] = Field(
        (),
        description="Made-up values, at least 8 characters each, that you plant in your traffic. "
        "A span that still holds one behind all processors is dropped, counted and alerted on.",
    )
    dry_run: DryRunSettings = Field(
        default_factory=DryRunSettings,
        description="Try redaction out on real traffic without cutting anything.",
    )
    cache_strings: int = Field(
        50_000,
        ge=0,
        le=1_000_000,
        description="Most distinct strings whose verdict is remembered in memory.",
    )

    @field_validator("recognizers")
    @classmethod
    def _references(cls, references: tuple[str, ...]) -> tuple[str, ...]:
        for reference in references:
            if REFERENCE.fullmatch(reference) is None:
                raise ValueError(f"{reference!r} is not written module:Class")
        return references

    @field_validator("canaries")
    @classmethod
    def _unlikely(cls, canaries: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, canary in enumerate(canaries):
            if len(canary.get_secret_value()) < _LEAST_CANARY:
                raise ValueError(f"number {number} is shorter than {_LEAST_CANARY} characters")
        return canaries

    @field_validator("operators")
    @classmethod
    def _sensible(cls, operators: dict[str, OperatorSettings]) -> dict[str, OperatorSettings]:
        check_operators(operators)
        return operators

    @field_validator("hmac_key", "hmac_previous_keys")
    @classmethod
    def _long_enough(
        cls, given: SecretStr | tuple[SecretStr, ...] | None
    ) -> SecretStr | tuple[SecretStr, ...] | None:
        keys = given if isinstance(given, tuple) else (given,)
        for key in keys:
            if key is not None and len(key.get_secret_value().encode()) < _LEAST_KEY_BYTES:
                raise ValueError(f"must be at least {_LEAST_KEY_BYTES} bytes long")
        return given
