"""Every entity in every spelling in every field: none comes out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.leak_search import find_any
from tests.e2e.otlp_client import GrpcClient
from tests.e2e.planting import Canary, fields_with_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.sidecar import Sidecar

ENTITIES: Final = {
    "EMAIL_ADDRESS": "canary.qwertz@example.com",
    "CREDIT_CARD": "4539148803436467",
    "CREDIT_CARD in groups": "4539 1488 0343 6467",
    "IBAN_CODE": "DE89370400440532013000",
    "US_SSN": "219-09-9998",
    "PHONE_NUMBER": "+14155552671",
    "CRYPTO": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "SECRET, provider's": "sk-proj-Zx81mQpT4vLw9RkNc2Yb7HsD",
    "SECRET, cloud": "AKIA" + "IOSFODNN7EXAMPLE",
}


def _full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _behind(text: str) -> Callable[[str], str]:
    return lambda body: f"{body} {text}"


# How a value may be spelled, and what of the spelling must not be found afterwards.
SPELLINGS: Final[dict[str, tuple[Callable[[str], str], Callable[[str], str]]]] = {
    "plain": (str, str),
    "JSON value": (lambda text: json.dumps({"a": [{"b": text}]}), str),
    "JSON key": (lambda text: json.dumps({text: 1}), str),
    "JSON in JSON": (lambda text: json.dumps({"a": json.dumps({"b": text})}), str),
    "percent": (_percent, _percent),
    "percent, reserved only": (
        lambda text: quote(text, safe=""),
        _quoted,
    ),
    "percent twice": (lambda text: _quoted(_percent(text)),) * 2,
    "in a URL's query": (
        lambda text: f"https://shop.test/find?q={_quoted(text)}&page=1",
        _quoted,
    ),
    "base64": (lambda text: base64.b64encode(text.encode()).decode(),) * 2,
    "base64 for URLs": (
        lambda text: base64.urlsafe_b64encode(f"~{text}".encode()).decode().rstrip("="),
    )
    * 2,
    "escapes": (lambda text: "".join(f"\\u{ord(c):04x}" for c in text),) * 2,
    "full width": (_full_width, _full_width),
    "zero width": ("\u200b".join, "\u200b".join),
    "other blanks and hyphens": (lambda text: text.replace("-", "\u2011").replace(" ", "\u00a0"),)
    * 2,
}


def test_no_entity_in_any_spelling_in_any_field(
    sidecar: Callable[..., Sidecar],
    tmp_path: Path,
) -> None:
    """Scenario: nine values, fourteen spellings, every string and bytes field of OTLP.

    SIGKILL while all is in the journal, replay, a clean end, SQL over all of it.
    Guarantees: 0 of the 126 are in a file (raw, decompressed, decoded), log, metric, reply or
    answer; the same search finds every one of them in what was sent.
    """
    canary = Canary()
    needles: dict[str, bytes] = {}
    sent: dict[str, bytes] = {}
    running = sidecar("exporters.lake.flush_interval=1h")
    texts: dict[str, bytes] = {}
    with GrpcClient(running.grpc_endpoint) as client:
        for entity, value in ENTITIES.items():
            for spelling, (spell, trace) in SPELLINGS.items():
                name = f"{entity}, {spelling}"
                needles[name] = trace(value).encode()
                # the body makes every string one that no cache knows
                sent[name] = canary.request(_behind(spell(value)), "control")
                reply = client.export(sent[name])
                assert reply.ok, (name, reply)
                texts[name] = reply.raw
    assert canary.fields == fields_with_text(ExportTraceServiceRequest.DESCRIPTOR)
    assert find_any(needles, tmp_path / "nothing", sent) == set(needles)
    texts["metrics"] = running.scrape().encode()
    running.sigkill()
    assert find_any(needles, tmp_path, texts) == set()
    running.start()
    assert running.metric("clearspan_spans_replayed_total") == len(sent)
    texts["metrics again"] = running.scrape("application/openmetrics-text").encode()
    assert running.sigterm() == 0, running.log[-4000:]
    answers = {
        view: json.dumps(running.query(f"FROM {view}"), ensure_ascii=False).encode()
        for view in ("spans", "span_events", "traces")
    }
    assert find_any({"control": b"control"}, tmp_path, answers) == {"control"}
    assert find_any(needles, tmp_path, texts | answers) == set()
