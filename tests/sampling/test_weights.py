"""That weights are right: sums of them estimate what came in, whatever the samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from collector.model import schema as s
from config.sampling import ProbabilisticSamplerSettings
from processors.sampling import ProbabilisticSampler, SamplerChain, TailSampler
from processors.sampling.randomness import RANGE, trace_randomness
from tests.sampling.trace_batches import (
    Clock,
    Counters,
    both,
    errors,
    random_traces,
    reasons,
    share,
    slow,
    tail_settings,
    weights,
)

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch

TRACES = 60_000


def chain(head: float | None, *policies: dict[str, Any]) -> SamplerChain:
    """Return a head sampler at that percentage, if any, before a tail sampler."""
    samplers: list[Any] = []
    if head is not None:
        settings = ProbabilisticSamplerSettings(sampling_percentage=head, sampling_precision=14)
        samplers.append(ProbabilisticSampler(settings, Counters()))
    samplers.append(TailSampler(tail_settings(*policies, num_traces=TRACES), Counters(), Clock()))
    return SamplerChain(samplers)


def population() -> SpanBatch:
    """Return many traces of one span: a tenth failed, a fifth took 2 s, independently."""
    batch = random_traces(TRACES, seed=42)
    rng = np.random.default_rng(1)
    status = np.where(rng.random(TRACES) < 0.1, "ERROR", "OK")
    duration = np.where(rng.random(TRACES) < 0.2, 2 * 10**9, 10**6)
    return batch.replace({s.STATUS_CODE: pa.array(status), s.DURATION_NS: pa.array(duration)})


@pytest.mark.parametrize("head", [None, 50, 5])
@pytest.mark.parametrize(
    "policies",
    [
        [share(10)],
        [errors(), share(10)],
        [share(30, "a"), share(10, "b")],
        [share(30, "a", salt="x"), share(10, "b", salt="y")],
        [share(30, "a"), share(20, "b", salt="y"), errors()],
        [both(errors(), share(50)), slow(1000), share(10, "rest")],
        [
            both(errors(), share(50, salt="z"), name="c"),
            both(slow(1000), share(40)),
            share(10, "d"),
        ],
    ],
    ids=["one", "certain", "nested", "salted", "salted and not", "and", "salted and"],
)
def test_sum_of_weights_estimates_the_population(
    policies: list[dict[str, Any]],
    head: float | None,
) -> None:
    """Whole and by class, the sum of weights is within five standard errors of the true count."""
    batch = population()
    sampler = chain(head, *policies)
    sampler.offer(batch)
    kept = sampler.drain().kept
    weight = np.asarray(kept.column(s.SAMPLE_WEIGHT))
    for column, value in ((s.STATUS_CODE, "ERROR"), (s.STATUS_CODE, "OK"), (s.DURATION_NS, 10**6)):
        wanted = np.asarray(kept.column(column)) == value
        truth = int((np.asarray(batch.column(column)) == value).sum())
        error = np.sqrt(max((weight[wanted] * (weight[wanted] - 1)).sum(), 1))
        assert abs(weight[wanted].sum() - truth) <= 5 * error


@pytest.mark.parametrize(("head", "tail", "expected"), [(50, 10, 10.0), (10, 50, 10.0)])
def test_head_and_tail_share_their_randomness(head: float, tail: float, expected: float) -> None:
    """Consistent chances are nested: behind a 50 % head a 10 % tail keeps 10 %, not 5 %."""
    sampler = chain(head, share(tail))
    sampler.offer(random_traces(TRACES))
    sampled = sampler.drain()
    assert len(sampled.kept) == pytest.approx(TRACES * 0.1, rel=0.06)
    assert np.allclose(weights(sampled), expected)


def test_certain_policy_keeps_the_heads_weight() -> None:
    """What the head sampler let through stands for what it left out, and the tail says why."""
    sampler = chain(25, errors())
    sampler.offer(random_traces(1000, status="ERROR"))
    sampled = sampler.drain()
    assert set(weights(sampled)) == {4.0}
    assert set(reasons(sampled)) == {"errors"}


def test_weight_says_what_the_sender_left_out() -> None:
    """Spans sampled by their SDK (ot=th) stand for the others, with a tail sampler alone too."""
    batch = random_traces(2000, seed=9, state="ot=th:c")
    passed = batch.keep(trace_randomness(batch) >= RANGE * 3 // 4)
    sampler = chain(None, errors(), share(100, "rest"))
    sampler.offer(passed)
    assert set(weights(sampler.drain())) == {4.0}


def test_chain_conserves_and_names_what_each_sampler_dropped() -> None:
    """Offered = kept + dropped + pending through both samplers, each drop under its own reason."""
    sampler = chain(50, share(20))
    assert len(sampler.offer(random_traces(1000)).kept) == 0
    head_kept = sampler.pending_spans
    assert sampler.oldest_pending_seq == 1
    sampled = sampler.drain()
    assert set(sampled.dropped) == {"not_sampled"}
    assert len(sampled.kept) + sampled.dropped["not_sampled"] == head_kept
    assert sampler.oldest_pending_seq is None


def test_empty_chain_keeps_everything() -> None:
    """No sampler configured: every span, weight 1."""
    sampled = SamplerChain([]).offer(random_traces(10))
    assert weights(sampled) == [1.0] * 10
    assert SamplerChain([]).due().kept.table.num_rows == 0
    assert SamplerChain([]).oldest_pending_seq is None


@pytest.mark.parametrize("broken", ["offer", "drain"])
def test_a_sampler_that_raises_loses_nothing_of_those_before_it(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Scenario: a tail sampler lets its spans go, and the sampler behind it raises.

    Guarantees: they are kept, with the weights they have: the first sampler has them no more.
    """
    first = TailSampler(tail_settings(share(50)), Counters(), Clock())
    second = TailSampler(tail_settings(errors()), Counters(), Clock())

    def fail(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(second, broken, fail)
    both_samplers = SamplerChain([first, second])
    both_samplers.offer(random_traces(100))
    assert first.pending_spans == 100
    kept = both_samplers.drain()
    rows = len(kept.kept) + second.pending_spans
    assert rows + sum(kept.dropped.values()) == 100
    assert 20 < rows < 80
    assert set(weights(kept)) <= {2.0}
