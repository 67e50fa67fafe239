"""Sends planted values through the real decoder and the configured redaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.metrics.telemetry import PrometheusTelemetry
from collector.otlp.decode import Decoder
from config.settings import OtlpLimits
from processors.registry import PROCESSORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import ProcessorsSettings

# Documentation values, valid by their check digits, that belong to nobody.
_SAMPLES: Final[Mapping[str, str]] = {
    "EMAIL_ADDRESS": "doctor.canary@example.com",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89370400440532013000",
    "PHONE_NUMBER": "+44 20 7946 0958",
    "CRYPTO": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Which planted entities were removed and which came through, and how long it took."""

    found: tuple[str, ...]
    missed: tuple[str, ...]
    seconds: float


def redaction_self_test(settings: ProcessorsSettings) -> SelfTest:
    """Redact one span a configured entity that there is a sample of.

    Raises:
        ClearspanError: Redaction cannot be made or refuses the batch.
    """
    started = time.monotonic()
    planted = {name: _SAMPLES[name] for name in settings.redaction.entities if name in _SAMPLES}
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, sample in enumerate(planted.values(), 1):
        span = spans.add(name=f"self-test {sample}")
        span.trace_id = number.to_bytes(16, "big")
        span.span_id = number.to_bytes(8, "big")
        span.attributes.add(key="text").value.string_value = f"reach me at {sample}."
    batch = Decoder(OtlpLimits(), time.time_ns).decode([request.SerializeToString()]).batch
    redaction = next(kind for kind in PROCESSORS if kind.name == "redaction")
    clean = redaction.build(settings, PrometheusTelemetry()).process(batch)
    text = str(clean.table.to_pylist())
    missed = tuple(name for name, sample in planted.items() if sample in text)
    found = tuple(name for name in planted if name not in missed)
    return SelfTest(found, missed, time.monotonic() - started)
