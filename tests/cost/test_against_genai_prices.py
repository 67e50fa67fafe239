"""The columnar arithmetic against genai-prices' own, over its whole catalogue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from config.settings import CostSettings
from processors.cost import CostProcessor
from tests.cost.llm_batches import Counters, batch_of, llm_call, nanos

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

NANO = Decimal("1e-9")
MODELS = [(provider, model) for provider in providers for model in provider.models]
PROCESSOR = CostProcessor(CostSettings(), Counters())

tokens = st.one_of(st.integers(0, 3000), st.integers(0, 1_000_000))


@st.composite
def calls(draw: st.DrawFn) -> dict[str, object]:
    """Draw a call with consistent usage to a model of the catalogue."""
    provider, model = draw(st.sampled_from(MODELS))
    cache_read, cache_write, rest = draw(st.tuples(tokens, tokens, tokens))
    reasoning, answer = draw(st.tuples(tokens, tokens))
    days = draw(st.integers(0, 1200))
    seconds = draw(st.sampled_from([0, 1799, 1800, 3600, 21600, 59399, 59400, 86399]))
    return llm_call(
        provider=provider.id,
        request=None,
        response=model.id,
        input=cache_read + cache_write + rest,
        output=reasoning + answer,
        cache_read=cache_read,
        cache_write=cache_write,
        reasoning=reasoning,
        start_ns=nanos(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)),
    )


def reference(call: dict[str, object]) -> tuple[Decimal, Decimal, Decimal]:
    """Return input, output and total by genai-prices; a fee per request is part of input."""
    calculated = calc_price(
        Usage(
            input_tokens=call["input"],
            output_tokens=call["output"],
            cache_read_tokens=call["cache_read"],
            cache_write_tokens=call["cache_write"],
            output_reasoning_tokens=call["reasoning"],
        ),
        str(call["response"]),
        provider_id=str(call["provider"]),
        genai_request_timestamp=datetime.fromtimestamp(int(str(call["start_ns"])) // 10**9, UTC),
    )
    total = calculated.total_price
    return total - calculated.output_price, calculated.output_price, total


def total_or_zero(call: dict[str, object]) -> Decimal:
    """Return the total by genai-prices, 0 for a model that it does not find by its own id."""
    try:
        return reference(call)[2]
    except LookupError:
        return Decimal(0)


@settings(max_examples=60, deadline=None)
@given(st.lists(calls(), min_size=1, max_size=20))
def test_costs_agree_with_genai_prices_to_the_nano_dollar(rows: list[dict[str, object]]) -> None:
    """Any model, date, time of day, size and cache use: within 1e-9 USD, and the parts add up."""
    priced = PROCESSOR.process(batch_of(rows)).table.select(
        [s.COST_INPUT_USD, s.COST_OUTPUT_USD, s.COST_USD, s.COST_STATUS],
    )
    for call, row in zip(rows, priced.to_pylist(), strict=True):
        *amounts, status = row.values()
        if status == "unpriced":
            assert amounts == [None, None, None]
            continue
        assert amounts[0] + amounts[1] == amounts[2]
        expected = reference(call)
        # Rates finer than 1e-9 USD per million tokens are float noise in the data and rounded.
        noise = Decimal("2e-9")
        for amount, exact in zip(amounts, expected, strict=True):
            assert abs(amount - exact) <= NANO + noise


def test_every_model_with_a_token_price_is_priced() -> None:
    """Nothing in the catalogue that has rates for both directions is left unpriced."""
    now = datetime(2026, 9, 21, 12, tzinfo=UTC)
    rows = [plain_call(provider.id, model.id, now) for provider, model in MODELS]
    batch = PROCESSOR.process(batch_of(rows))
    statuses = batch.column(s.COST_STATUS).to_pylist()
    costs = batch.column(s.COST_USD).to_pylist()
    for call, status, cost in zip(rows, statuses, costs, strict=True):
        if status in {"priced", "approximate"}:
            assert abs(cost - reference(call)[2]) <= NANO
        else:
            assert total_or_zero(call) == 0
    assert statuses.count("priced") > 2000


@pytest.mark.parametrize("provider_id", ["deepseek", "google", "anthropic", "mistral"])
def test_price_changes_exactly_at_its_start_date(provider_id: str) -> None:
    """One second before and at every start date in the data, each model costs what it then did."""
    rows = [
        plain_call(provider_id, model.id, start + timedelta(seconds=shift))
        for provider, model in MODELS
        if provider.id == provider_id
        for start in start_dates(model)
        for shift in (-1, 0)
    ]
    costs = PROCESSOR.process(batch_of(rows)).column(s.COST_USD).to_pylist()
    assert rows
    for call, cost in zip(rows, costs, strict=True):
        assert cost is None or abs(cost - reference(call)[2]) <= NANO


def plain_call(provider_id: str, model_id: str, moment: datetime) -> dict[str, object]:
    """Return a call at that time with uncached input only."""
    return llm_call(
        provider=provider_id,
        request=None,
        response=model_id,
        output=0,
        cache_read=0,
        cache_write=0,
        reasoning=0,
        start_ns=nanos(moment),
    )


def start_dates(model: ModelInfo) -> list[datetime]:
    """Return when the model's prices begin."""
    conditions = model.prices if isinstance(model.prices, list) else []
    starts = [getattr(condition.constraint, "start_date", None) for condition in conditions]
    return [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in starts if day]
