"""What the cost processor says about a call, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.settings import CostSettings
from processors.cost import CostProcessor
from tests.cost.llm_batches import NOON, Counters, batch_of, llm_call, nanos

COST_COLUMNS = (
    s.COST_USD,
    s.COST_INPUT_USD,
    s.COST_OUTPUT_USD,
    s.COST_STATUS,
    s.PRICE_VERSION,
)
PROCESSOR = CostProcessor(CostSettings(), Counters())


def price(processor: CostProcessor = PROCESSOR, **values: Any) -> dict[str, Any]:
    """Return the row of one call after pricing."""
    rows = processor.process(batch_of([llm_call(**values)])).table.to_pylist()
    return dict(rows[0])


def test_priced_call_has_exact_amounts_and_says_by_which_data() -> None:
    """A plain call: cost as published (0.15 and 0.60 USD per million), exact to the nano-USD."""
    row = price(input=1001, output=101)
    assert row[s.COST_INPUT_USD] == Decimal("0.000150150")
    assert row[s.COST_OUTPUT_USD] == Decimal("0.000060600")
    assert row[s.COST_USD] == Decimal("0.000210750")
    assert row[s.COST_STATUS] == "priced"
    assert row[s.PRICE_VERSION].startswith("genai-prices/")


@pytest.mark.parametrize(
    "changed",
    [
        {"provider": "someone-else"},
        {"response": None, "request": None},
        {"response": "no-such-model", "request": "neither-this"},
        {"input": None, "output": None},
        {"provider": "google", "request": None, "response": "gemma-3"},
        {"provider": "openai", "request": None, "response": "whisper-1"},
        {"provider": "voyageai", "request": None, "response": "voyage-3", "output": 5},
        {"response": "x" * 100_000, "request": None},
        {"provider": "p" * 100_000},
        {"operation": "answer_everything"},
        {"provider": "ibm.watsonx.ai"},
        {"input": -5, "output": None},
        {"input": 2**62, "output": -(2**62)},
    ],
    ids=[
        "provider",
        "no model",
        "model",
        "no usage",
        "empty price",
        "price per audio hour",
        "no output price",
        "long model",
        "long provider",
        "operation of its own",
        "provider without prices",
        "negative",
        "impossible",
    ],
)
def test_unknown_price_is_null_and_counted(changed: dict[str, Any]) -> None:
    """Whatever the reason a price is unknown, the cost is null (never 0) and the call counts."""
    counters = Counters()
    row = price(CostProcessor(CostSettings(), counters), **changed)
    assert [row[name] for name in COST_COLUMNS[:3]] == [None, None, None]
    assert row[s.COST_STATUS] == "unpriced"
    assert counters.counts == {("clearspan_cost_spans_total", "unpriced"): 1}


@pytest.mark.parametrize(
    "operation",
    [
        "invoke_agent",
        "create_agent",
        "invoke_workflow",
        "execute_tool",
        "fetch_response",
        "plan",
        "search_memory",
        "delete_memory_store",
        "Invoke_Agent",
    ],
)
def test_spans_that_repeat_other_spans_usage_are_no_calls(operation: str) -> None:
    """Agents and tools carry totals: pricing them would count twice, so all columns stay null."""
    counters = Counters()
    row = price(CostProcessor(CostSettings(), counters), operation=operation)
    assert [row[name] for name in COST_COLUMNS] == [None] * 5
    assert not counters.counts


def test_batch_without_calls_is_returned_as_it_is() -> None:
    """No LLM row: no work at all, the very same batch comes back."""
    batch = batch_of([{"start_ns": NOON}, {"operation": "invoke_agent", "input": 5}])
    assert PROCESSOR.process(batch) is batch
    assert PROCESSOR.process(SpanBatch.empty()) == SpanBatch.empty()


def test_rows_of_other_spans_stay_null_between_calls() -> None:
    """Only the calls of a mixed batch are touched, in their places; the input is not mutated."""
    batch = batch_of([{}, llm_call(), {"operation": "execute_tool"}, llm_call(provider="?"), {}])
    priced = PROCESSOR.process(batch)
    statuses = priced.column(s.COST_STATUS).to_pylist()
    assert statuses == [None, "priced", None, "unpriced", None]
    assert [value is None for value in priced.column(s.COST_USD).to_pylist()] == [1, 0, 1, 1, 1]
    assert batch.column(s.COST_STATUS).null_count == 5
    others = [name for name in s.SPAN_SCHEMA.names if name not in COST_COLUMNS]
    assert priced.table.select(others).equals(batch.table.select(others))


def test_sliced_batch_is_priced_by_its_own_rows() -> None:
    """A batch that is a window on a bigger table is read at its own offset."""
    whole = batch_of([llm_call(provider="?"), llm_call(input=10, output=0), llm_call(input=20)])
    window = SpanBatch(whole.table.slice(1, 1))
    assert PROCESSOR.process(window).column(s.COST_USD).to_pylist() == [Decimal("0.0000015")]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"response": "no-such-model", "request": "gpt-4o-mini"}, "approximate"),
        ({"response": None, "request": "gpt-4o-mini"}, "priced"),
        ({"provider": None}, "approximate"),
        ({"operation": None}, "priced"),
        ({"operation": "CHAT"}, "priced"),
        (
            {"operation": "embeddings", "response": "text-embedding-3-small", "output": None},
            "priced",
        ),
        ({"input": None}, "approximate"),
        ({"output": None}, "approximate"),
        ({"cache_read": 1500}, "approximate"),
        ({"reasoning": 5000}, "approximate"),
        ({"input": 0, "output": 0}, "priced"),
        ({"provider": "openrouter", "response": "deepseek/deepseek-r1:free"}, "zero_rated"),
    ],
)
def test_status_says_how_far_the_cost_can_be_trusted(changed: dict[str, Any], status: str) -> None:
    """Every fallback is told by the status; only a price that is explicitly zero costs zero."""
    row = price(**changed)
    assert row[s.COST_STATUS] == status
    assert row[s.COST_USD] is not None
    if status == "zero_rated":
        assert row[s.COST_USD] == 0


@pytest.mark.parametrize(
    ("provider", "model", "known_as"),
    [
        ("x_ai", "grok-4", "x-ai"),
        ("gcp.gen_ai", "gemini-2.5-flash", "google"),
        ("gcp.vertex_ai", "gemini-2.5-flash", "google"),
        ("gcp.gemini", "models/gemini-2.5-flash", "google"),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash", "google"),
        ("azure.ai.openai", "gpt-4o", "azure"),
        ("azure.ai.inference", "gpt-4o", "azure"),
        ("az.ai.openai", "gpt-4o", "azure"),
        ("aws.bedrock", "amazon.nova-pro-v1:0", "aws"),
        ("mistral_ai", "mistral-large-latest", "mistral"),
        ("MistralAI", "mistral-large-latest", "mistral"),
        ("Anthropic", "claude-sonnet-4-5", "anthropic"),
        ("openai.chat", "gpt-4o", "openai"),
        ("moonshot_ai", "kimi-k2-0905-preview", "moonshotai"),
    ],
)
def test_semconv_names_of_providers_find_their_prices(
    provider: str,
    model: str,
    known_as: str,
) -> None:
    """The names telemetry uses lead to the provider that genai-prices knows by another name."""
    row = price(provider=provider, request=None, response=model)
    expected = calc_price(
        Usage(input_tokens=1000, output_tokens=100),
        model.rpartition("/")[2],
        provider_id=known_as,
        genai_request_timestamp=datetime.fromtimestamp(NOON / 1e9, UTC),
    )
    assert row[s.COST_STATUS] == "priced"
    assert row[s.COST_USD] == round(expected.total_price, 9)


def test_bedrock_inference_profile_arn_finds_its_model() -> None:
    """Bedrock reports ARNs: the model is their last part."""
    arn = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0"
    assert price(provider="aws.bedrock", request=arn, response=None)[s.COST_STATUS] == "priced"


def test_configured_alias_extends_and_overrides_the_built_in_ones() -> None:
    """A gateway's own name, in any case, is priced as the provider the config says."""
    settings = CostSettings(provider_aliases={"Our-Gateway": "openai", "x_ai": "openai"})
    processor = CostProcessor(settings, Counters())
    assert price(processor, provider="our-gateway")[s.COST_STATUS] == "priced"
    assert price(processor, provider="x_ai")[s.COST_STATUS] == "priced"
    assert price(provider="our-gateway")[s.COST_STATUS] == "unpriced"


def test_cached_tokens_are_part_of_input_unless_there_are_more_of_them() -> None:
    """Inclusive input: cached tokens at their rate, the rest at input's. Exclusive: both added."""
    inclusive = price(input=1000, output=0, cache_read=400)
    assert inclusive[s.COST_USD] == Decimal("0.000120000")  # 600 x 0.15 + 400 x 0.075, per million
    exclusive = price(input=100, output=0, cache_read=400)
    assert exclusive[s.COST_USD] == Decimal("0.000045000")  # 100 x 0.15 + 400 x 0.075
    assert exclusive[s.COST_STATUS] == "approximate"


def test_tier_is_chosen_by_each_requests_own_input() -> None:
    """Two requests of one batch on both sides of a threshold are billed by different rates."""
    model = {"provider": "google", "request": None, "response": "gemini-2.5-pro", "output": 0}
    batch = batch_of([llm_call(**model, input=200_000), llm_call(**model, input=200_001)])
    below, above = PROCESSOR.process(batch).column(s.COST_USD).to_pylist()
    assert below == Decimal("0.25")
    assert above == Decimal("0.5000025")


def test_price_is_the_one_in_force_when_the_call_started() -> None:
    """DeepSeek was cheaper off-peak: calls of one batch at two times of day cost differently."""
    model = {"provider": "deepseek", "request": None, "response": "deepseek-chat", "output": 0}
    moments = [datetime(2025, 8, 1, hour, 29, 59, tzinfo=UTC) for hour in (0, 1, 16, 17)]
    batch = batch_of([llm_call(**model, input=10**6, start_ns=nanos(m)) for m in moments])
    costs = PROCESSOR.process(batch).column(s.COST_USD).to_pylist()
    expected = [
        calc_price(
            Usage(input_tokens=10**6),
            "deepseek-chat",
            provider_id="deepseek",
            genai_request_timestamp=moment,
        ).total_price
        for moment in moments
    ]
    assert costs == expected
    assert len(set(costs)) == 2


def test_reported_cost_is_never_touched() -> None:
    """What an emitter says it paid stays beside our price, also where we have none."""
    batch = batch_of([llm_call(reported_usd=0.5), llm_call(provider="?", reported_usd=0.25)])
    assert PROCESSOR.process(batch).column(s.COST_REPORTED_USD).to_pylist() == [0.5, 0.25]


def test_more_combinations_than_are_remembered_are_still_priced() -> None:
    """Endless new model names neither grow the price memory without bound nor change a price."""
    processor = CostProcessor(CostSettings(), Counters())
    for start in range(0, 4608, 512):
        rows = [llm_call(provider="?", response=f"m{n}") for n in range(start, start + 512)]
        processor.process(batch_of(rows))
    assert len(processor._book._known) <= 4096
    assert price(processor)[s.COST_STATUS] == "priced"
