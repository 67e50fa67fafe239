"""What the load generator sends is what the benchmark says it sends."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench.payloads import CARDS, KEYS, Template, build_templates, masks
from tests.bench.rotel_processor import redact

SPANS = 512


@pytest.fixture(scope="module")
def templates() -> list[Template]:
    """Give a few LLM templates."""
    return build_templates("llm", spans=SPANS, count=3, seed=5)


def spans_of(payload: bytes) -> list:
    """Return all spans of a serialised request."""
    request = ExportTraceServiceRequest.FromString(payload)
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def prompts(spans: list) -> list[str]:
    """Return the prompts of LLM spans."""
    return [
        attribute.value.string_value
        for span in spans
        for attribute in span.attributes
        if attribute.key == "gen_ai.input.messages"
    ]


def test_no_id_and_no_prompt_is_ever_sent_twice(templates: list[Template]) -> None:
    """Scenario: every template is rendered with several masks.

    Guarantee: span ids and prompts differ over all of it, so sent = stored can be checked by id
    and no prompt is a cache hit; children still point at spans of their own request.
    """
    sent = [
        spans_of(template.render(mask))
        for mask, template in itertools.islice(
            zip(masks(9), itertools.cycle(templates), strict=False), 9
        )
    ]
    everything = list(itertools.chain.from_iterable(sent))
    assert len({span.span_id for span in everything}) == len(everything) == 9 * SPANS
    texts = prompts(everything)
    assert len(set(texts)) == len(texts) > 0
    for spans in sent:
        ids = {(span.trace_id, span.span_id) for span in spans}
        assert all(
            (span.trace_id, span.parent_span_id) in ids for span in spans if span.parent_span_id
        )


def test_the_llm_profile_has_the_shape_it_claims(templates: list[Template]) -> None:
    """Scenario: one LLM request.

    Guarantee: 512 spans, 30 % of them LLM calls with 60 words of prompt, 650 bytes a span (±5 %).
    """
    size = sum(len(template.payload) for template in templates) / len(templates) / SPANS
    assert size == pytest.approx(650, rel=0.05)
    texts = prompts(spans_of(templates[0].render(next(masks(1)))))
    assert len(texts) / SPANS == pytest.approx(0.3, abs=0.01)
    assert all(58 <= len(text.split()) <= 72 for text in texts)


def test_the_web_profile_has_no_llm_calls() -> None:
    """Scenario: one web request. Guarantee: no GenAI attribute in it."""
    (template,) = build_templates("web", spans=100, count=1, seed=5)
    keys = {a.key for span in spans_of(template.payload.tobytes()) for a in span.attributes}
    assert "http.route" in keys
    assert not [key for key in keys if key.startswith("gen_ai")]


@pytest.mark.parametrize(
    "value",
    [
        *CARDS,
        *KEYS,
        "jane@example.com",
        "wuvw%40example.com",
        "DE89 3704 0044 0532 0130 00",
        "078-05-1120",
        "+1 415-555-2671",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "password=correct-horse",
    ],
)
def test_the_peers_patterns_find_what_is_sent(value: str) -> None:
    """Scenario: a value of each kind within a sentence. Guarantee: the peer really redacts it."""
    assert value not in redact(f"please use {value} for this")
