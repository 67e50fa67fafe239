"""The head sampler: thresholds, tracestate and weights as the OTel specification has them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.sampling import ProbabilisticSamplerSettings
from processors.sampling import ProbabilisticSampler
from processors.sampling.randomness import (
    RANGE,
    probability_of,
    threshold_for,
    threshold_text,
)
from processors.sampling.tracestate import TraceStates, with_threshold
from tests.sampling.trace_batches import Counters, batch_of, random_traces, span, weights


def sampler_of(percentage: float, precision: int = 4) -> ProbabilisticSampler:
    """Return a head sampler."""
    return ProbabilisticSampler(
        ProbabilisticSamplerSettings(
            sampling_percentage=percentage,
            sampling_precision=precision,
        ),
        Counters(),
    )


def states(batch: SpanBatch) -> list[str]:
    """Return the tracestates of a batch."""
    return list(batch.column(s.TRACE_STATE).to_pylist())


@pytest.mark.parametrize(
    ("percentage", "text"),
    [(100, "0"), (50, "8"), (25, "c"), (75, "4"), (10, "e666"), (1, "fd70a"), (0.1, "ffbe77")],
)
def test_thresholds_are_those_of_the_specification(percentage: float, text: str) -> None:
    """Known shares have the thresholds other OTel samplers write, at four digits."""
    assert threshold_text(threshold_for(percentage, 4)) == text


@given(st.floats(0.0001, 99.9999), st.integers(1, 14))
def test_threshold_says_the_share_to_its_precision(percentage: float, precision: int) -> None:
    """Any share is met with a relative error that falls with every digit."""
    kept = probability_of(threshold_for(percentage, precision))
    assert abs(kept - percentage / 100) <= max(percentage / 100 * 8 * 16**-precision, 1 / RANGE)


def test_whole_share_passes_everything_unchanged_but_for_weight_and_reason() -> None:
    """100 %: same rows, same tracestate, weight 1."""
    batch = random_traces(50)
    sampled = sampler_of(100).offer(batch)
    assert weights(sampled) == [1.0] * 50
    assert sampled.kept.column(s.TRACE_STATE).null_count == 50
    assert set(sampled.kept.column(s.SAMPLE_REASON).to_pylist()) == {"probabilistic_sampler"}


def test_no_share_drops_everything() -> None:
    """0 %: nothing is kept, everything is counted."""
    sampled = sampler_of(0).offer(random_traces(50))
    assert len(sampled.kept) == 0
    assert sampled.dropped == {"probabilistic_sampler": 50}


def test_kept_spans_carry_weight_and_threshold() -> None:
    """A quarter: each kept span stands for four and says so to the next sampler."""
    sampled = sampler_of(25).offer(random_traces(8000))
    assert len(sampled.kept) == pytest.approx(2000, abs=200)
    assert set(weights(sampled)) == {4.0}
    assert set(states(sampled.kept)) == {"ot=th:c"}
    assert len(sampled.kept) + sampled.dropped["probabilistic_sampler"] == 8000


def test_decision_is_by_the_last_seven_bytes_and_inclusive() -> None:
    """Randomness equal to the threshold is kept, one less is not; the first nine bytes are free."""
    at = b"\0" * 9 + bytes.fromhex("80000000000000")
    below = b"\xff" * 9 + bytes.fromhex("7fffffffffffff")
    sampled = sampler_of(50).offer(batch_of([span(at), span(below)]))
    assert sampled.kept.column(s.TRACE_ID).to_pylist() == [at]


def test_sliced_batch_is_decided_by_its_own_ids() -> None:
    """A window on a bigger table is read at its own offset."""
    high, low = b"\xff" * 16, b"\0" * 15 + b"\1"
    whole = batch_of([span(high), span(low), span(high)])
    window = SpanBatch(whole.table.slice(1, 2))
    assert sampler_of(50).offer(window).kept.column(s.TRACE_ID).to_pylist() == [high]


@pytest.mark.parametrize(
    ("state", "percentage", "weight", "expected"),
    [
        ("ot=th:8", 100, 2.0, "ot=th:8"),
        ("ot=th:8", 25, 4.0, "ot=th:c"),
        ("ot=th:c", 50, 4.0, "ot=th:c"),
        ("a=1,ot=th:8;rv:ffffffffffffff,b=2", 25, 4.0, "ot=th:c;rv:ffffffffffffff,a=1,b=2"),
        ("a=1,b=2", 50, 2.0, "ot=th:8,a=1,b=2"),
        ("ot=th:nonsense;x:y", 50, 2.0, "ot=th:8;x:y"),
        ("", 50, 2.0, "ot=th:8"),
        ("ot=", 50, 2.0, "ot=th:8"),
    ],
)
def test_threshold_is_only_raised_and_the_rest_of_tracestate_stays(
    state: str,
    percentage: float,
    weight: float,
    expected: str,
) -> None:
    """The final weight includes the sender's sampling; nothing of others' state is lost."""
    sampled = sampler_of(percentage).offer(batch_of([span(b"\xff" * 16, state=state)]))
    assert weights(sampled) == [weight]
    assert states(sampled.kept) == [expected]


def test_explicit_randomness_stands_in_for_the_id() -> None:
    """With rv in the tracestate, the id has no say."""
    spans = [
        span(b"\xff" * 16, state="ot=rv:00000000000001", name="unlucky"),
        span(b"\0" * 15 + b"\1", state="ot=rv:ffffffffffffff", name="lucky"),
        span(b"\xff" * 16, state="ot=rv:123", name="malformed"),
    ]
    kept = sampler_of(50).offer(batch_of(spans)).kept
    assert kept.column(s.NAME).to_pylist() == ["lucky", "malformed"]


def test_impossible_threshold_does_not_count() -> None:
    """A th above the span's own randomness was not applied by anybody: it is replaced."""
    sampled = sampler_of(50).offer(batch_of([span(b"\x90" * 16, state="ot=th:f")]))
    assert weights(sampled) == [2.0]
    assert states(sampled.kept) == ["ot=th:8"]


@settings(max_examples=40)
@given(st.floats(1, 99), st.floats(1, 99))
def test_what_a_smaller_share_keeps_a_bigger_one_keeps(one: float, other: float) -> None:
    """Consistency: decisions at two shares are nested, in whatever batches the spans come."""
    batch = random_traces(500, seed=5)
    few, many = sorted((one, other))
    kept_few = set(sampler_of(few).offer(batch).kept.column(s.TRACE_ID).to_pylist())
    kept_many = sampler_of(many).offer(SpanBatch(batch.table.slice(0, 250))).kept
    rest = sampler_of(many).offer(SpanBatch(batch.table.slice(250))).kept
    both = {*kept_many.column(s.TRACE_ID).to_pylist(), *rest.column(s.TRACE_ID).to_pylist()}
    assert kept_few <= both


def test_tracestate_never_exceeds_32_members() -> None:
    """Adding ours to a full list drops the last, as W3C says; changing ours drops nothing."""
    full = ",".join(f"k{n}=v" for n in range(32))
    assert with_threshold(full, RANGE // 2).split(",") == ["ot=th:8", *full.split(",")[:31]]
    ours = ",".join(["ot=th:4", *full.split(",")[:31]])
    assert len(with_threshold(ours, RANGE // 2).split(",")) == 32


def test_memory_of_tracestates_is_bounded() -> None:
    """A sender with a new tracestate on every span does not grow the process."""
    known = TraceStates()
    for start in range(0, 40_000, 4000):
        spans = [span(1, state=f"v={n}") for n in range(start, start + 4000)]
        known.read(batch_of(spans).column(s.TRACE_STATE))
    assert len(known._known) < 13_000
