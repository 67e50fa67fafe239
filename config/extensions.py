"""Settings of what stands beside the data's way: health, admission limits, the SQL endpoint."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, SecretStr, field_validator

from config.base import Settings
from config.types import ByteSize, Duration, Endpoint

_LEAST_TOKEN_CHARS: Final = 16
# RFC 6750, 2.1: what an Authorization header can carry
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class HealthCheckSettings(Settings):
    """`/live` and `/ready` for probes."""

    endpoint: Endpoint = Field("127.0.0.1:13133", description="Where to listen, host:port.")


class MemoryLimiterSettings(Settings):
    """What may be in flight at once."""

    max_in_flight_bytes: ByteSize = Field(
        64 * 2**20,
        description="Most bytes of requests admitted and not yet answered; over it senders get "
        "a retryable error.",
    )


class SqlSettings(Settings):
    """Read-only SQL over HTTP (`POST /v1/sql`), off by default.

    Queries run in processes of their own, at a low priority, that can write nothing. Each may
    take about 150 MiB and twice `memory_limit` at worst: count them into a container's limit.
    """

    enabled: bool = Field(False, description="Whether to listen; needs a `token`.")
    endpoint: Endpoint = Field("127.0.0.1:13134", description="Where to listen, host:port.")
    token: SecretStr | None = Field(
        None,
        description="What a request has to bring as `Authorization: Bearer …`: at least 16 "
        "letters, digits or `-._~+/`, from ${env:VAR} or ${file:PATH}.",
    )
    timeout: Duration = Field(
        30.0,
        gt=0,
        description="Longest time of a query; over it the client gets 504. Reading the answer may "
        "take as long again.",
    )
    memory_limit: ByteSize = Field(
        256 * 2**20,
        ge=32 * 2**20,
        description="Most memory of DuckDB in one query; nothing is spilled to disk. What DuckDB "
        "does not count ends at twice this: then the query's process ends.",
    )
    threads: int = Field(1, ge=1, description="Threads of one query.")
    max_concurrent_queries: int = Field(
        2,
        ge=1,
        description="Most queries at once, each in a process of its own; more get 503 with "
        "Retry-After.",
    )
    max_request_body_size: ByteSize = Field(
        64 * 2**10,
        description="Largest request; a larger one gets 413.",
    )
    max_result_rows: int = Field(100_000, ge=1, description="Most rows of an answer.")
    max_result_bytes: ByteSize = Field(
        16 * 2**20,
        description="Most bytes of an answer, which the sidecar holds while it is sent.",
    )

    @field_validator("token")
    @classmethod
    def _usable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None:
            return None
        text = token.get_secret_value()
        if len(text) < _LEAST_TOKEN_CHARS:
            raise ValueError(f"must be at least {_LEAST_TOKEN_CHARS} characters long")
        if _TOKEN.fullmatch(text) is None:
            raise ValueError("may only hold letters, digits, '-._~+/' and '=' at the end")
        return token


class ExtensionsSettings(Settings):
    """Beside the data's way."""

    health_check: HealthCheckSettings = Field(
        default_factory=HealthCheckSettings,
        description="The health endpoint.",
    )
    memory_limiter: MemoryLimiterSettings = Field(
        default_factory=MemoryLimiterSettings,
        description="Admission limits.",
    )
    sql: SqlSettings = Field(default_factory=SqlSettings, description="The SQL endpoint.")
