"""What an attribute's key decides about its value, before any pattern is looked for."""

from __future__ import annotations

from typing import Literal

import regex
from pydantic import Field, field_validator

from config.base import Settings

ContentPolicy = Literal["scan", "hash", "drop"]


class UrlSanitizerSettings(Settings):
    """Makes URLs of the same shape the same: ids in the path become `*`, the query goes."""

    enabled: bool = Field(default=False, description="Whether URLs are sanitized.")
    attributes: tuple[str, ...] = Field(
        ("url.full", "url.path", "url.query", "http.url", "http.target"),
        description="Attribute keys whose values are URLs or paths.",
    )
    sanitize_span_name: bool = Field(
        default=True,
        description="Also sanitize span names that hold a path (`GET /orders/17`).",
    )


class QuerySanitizerSettings(Settings):
    """Sanitizing of one query language."""

    enabled: bool = Field(default=False, description="Whether its statements are sanitized.")
    attributes: tuple[str, ...] = Field(
        ("db.query.text", "db.statement"),
        description="Attribute keys whose values are statements.",
    )


class DbSanitizerSettings(Settings):
    """Takes the literals out of database statements; their shape stays."""

    sql: QuerySanitizerSettings = Field(
        default_factory=QuerySanitizerSettings,
        description="SQL: strings and numbers become `?`, a list of them one `?`.",
    )
    redis: QuerySanitizerSettings = Field(
        default_factory=QuerySanitizerSettings,
        description="Redis, Valkey and Memcached: what follows the command becomes `?`.",
    )
    mongo: QuerySanitizerSettings = Field(
        default_factory=QuerySanitizerSettings,
        description="MongoDB, OpenSearch and Elasticsearch: every value in the JSON becomes `?`.",
    )
    sanitize_span_name: bool = Field(
        default=True,
        description="Also sanitize span names that begin with a statement, if `sql` is enabled.",
    )


class KeyPolicySettings(Settings):
    """The part of redaction's settings that goes by keys."""

    identity_keys: tuple[str, ...] = Field(
        (),
        description="More attribute keys (globs, case ignored) whose whole value is an identity "
        "and is replaced by its token.",
    )
    credential_keys: tuple[str, ...] = Field(
        (),
        description="More attribute keys (globs, case ignored) whose whole value is removed.",
    )
    content: ContentPolicy = Field(
        "scan",
        description="What to do with prompts, completions, tool arguments and results: `scan` "
        "them like all text, `hash` each text in them to a token that still joins, or `drop` them "
        "(role and length are kept: `<CONTENT:412>`).",
    )
    content_keys: tuple[str, ...] = Field(
        (),
        description="More attribute keys (globs, case ignored) whose values are such content.",
    )
    allow_all_keys: bool = Field(
        default=True,
        description="Keep attributes whatever their key. If false, only `allowed_keys` and "
        "`ignored_keys` are kept, of resources (`service.name` too), scopes, spans, events, "
        "links and log records.",
    )
    allowed_keys: tuple[str, ...] = Field(
        (),
        description="Attribute keys (exact) that are kept, and redacted, without `allow_all_keys`.",
    )
    ignored_keys: tuple[str, ...] = Field(
        (),
        description="Attribute keys (exact) whose values are left as they are.",
    )
    ignored_key_patterns: tuple[str, ...] = Field(
        (),
        description="Regular expressions: a key that one matches is as if in `ignored_keys`.",
    )
    blocked_key_patterns: tuple[str, ...] = Field(
        (),
        description="Regular expressions: the value of a key that one matches is replaced whole.",
    )
    blocked_values: tuple[str, ...] = Field(
        (),
        description="Regular expressions: what one matches in a value is replaced by <BLOCKED> "
        "(only its group `secret`, if it has one).",
    )
    allowed_values: tuple[str, ...] = Field(
        (),
        description="Regular expressions: a value, or a part of one that was found, is left as it "
        "is if one of these matches the whole of it.",
    )
    redact_all_types: bool = Field(
        default=True,
        description="Redact numbers and booleans like the text they are written as. If false "
        "only strings, arrays, maps and bytes are looked into.",
    )
    url_sanitizer: UrlSanitizerSettings = Field(
        default_factory=UrlSanitizerSettings,
        description="Fewer distinct URLs.",
    )
    db_sanitizer: DbSanitizerSettings = Field(
        default_factory=DbSanitizerSettings,
        description="No literals in statements.",
    )

    @field_validator(
        "ignored_key_patterns", "blocked_key_patterns", "blocked_values", "allowed_values"
    )
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns
