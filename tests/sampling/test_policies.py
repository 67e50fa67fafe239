"""Each tail sampling policy: which traces it keeps, and what weight and reason it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from processors.sampling import TailSampler
from tests.sampling.trace_batches import (
    SECOND,
    START,
    Clock,
    Counters,
    batch_of,
    both,
    dear,
    errors,
    names,
    outcome,
    random_traces,
    reasons,
    share,
    slow,
    span,
    tail_settings,
    usd,
    weights,
)

if TYPE_CHECKING:
    from collector.model.contracts import Sampled


def decide(policies: list[dict[str, Any]], *spans: dict[str, Any]) -> Sampled:
    """Return what these policies make of these spans."""
    sampler = TailSampler(tail_settings(*policies), Counters(), Clock())
    return outcome(sampler, batch_of(spans))


def test_latency_is_from_the_first_start_to_the_last_end() -> None:
    """No span is long, but together they take two seconds; the order they come in is no matter."""
    spans = [
        span(1, start_ns=START + 2 * SECOND - 1000, duration_ns=1000, name="last"),
        span(1, start_ns=START, duration_ns=1000, name="first"),
        span(2, start_ns=START, duration_ns=1999 * SECOND // 1000, name="other"),
    ]
    assert names(decide([slow(2000)], *spans)) == ["last", "first"]
    assert names(decide([slow(2000.001)], *spans)) == []
    assert names(decide([slow(1999, 1999.5)], *spans)) == ["other"]


def test_latency_survives_impossible_times() -> None:
    """A span at the end of time with a duration beyond it is long, not negative."""
    spans = [span(1, start_ns=2**63 - 10, duration_ns=2**63 - 1), span(1, start_ns=0)]
    assert len(decide([slow(1000)], *spans).kept) == 2


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["ERROR"], ["a", "b"]),
        (["OK"], ["a", "b", "c"]),
        (["UNSET"], ["d", "e"]),
        (["ERROR", "UNSET"], ["a", "b", "d", "e"]),
    ],
)
def test_status_code_of_any_span(codes: list[str], expected: list[str]) -> None:
    """One span with a wanted status keeps the trace; a status that was never set is UNSET."""
    policy = {"type": "status_code", "status_code": {"status_codes": codes}}
    spans = [
        span(1, name="a"),
        span(1, name="b", status="ERROR"),
        span(2, name="c"),
        span(3, name="d", status="UNSET"),
        span(4, name="e", status=None),
    ]
    assert names(decide([policy], *spans)) == expected


def test_cost_adds_up_over_the_trace_and_skips_unknown_prices() -> None:
    """Known costs are summed, unknown ones skipped; a trace of only unknown ones is not dear."""
    spans = [
        span(1, name="a", usd=usd("0.04")),
        span(1, name="b", usd=None),
        span(1, name="c", usd=usd("0.06")),
        span(2, name="d", usd=usd("0.099999999")),
        span(3, name="e"),
    ]
    assert names(decide([dear(0.1)], *spans)) == ["a", "b", "c"]
    assert names(decide([dear(0)], *spans)) == ["a", "b", "c", "d"]


def test_probabilistic_keeps_its_share_with_its_weight() -> None:
    """A quarter of many traces is kept, each standing for four."""
    sampler = TailSampler(tail_settings(share(25)), Counters(), Clock())
    sampled = outcome(sampler, random_traces(20_000))
    assert len(sampled.kept) == pytest.approx(5000, abs=300)
    assert set(weights(sampled)) == {4.0}
    assert sampled.dropped == {"not_sampled": 20_000 - len(sampled.kept)}


@pytest.mark.parametrize("percentage", [0, 100])
def test_probabilistic_at_its_ends(percentage: float) -> None:
    """0 % keeps nothing, 100 % everything with weight 1."""
    sampler = TailSampler(tail_settings(share(percentage)), Counters(), Clock())
    sampled = outcome(sampler, random_traces(1000))
    assert weights(sampled) == [1.0] * 10 * percentage


def test_salts_choose_independently() -> None:
    """Two salts keep different halves; the same salt keeps the same one."""
    batch = random_traces(4000)
    halves = [
        set(outcome(TailSampler(tail_settings(share(50, salt=salt)), Counters(), Clock()), batch)
            .kept.column("trace_id").to_pylist())
        for salt in ("", "a", "b", "a")
    ]  # fmt: skip
    assert halves[1] == halves[3]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert len(halves[one] & halves[other]) == pytest.approx(1000, abs=200)


def test_explicit_randomness_decides_in_place_of_the_id() -> None:
    """The tracestate's rv counts, on whichever span of the trace it stands."""
    low = bytes(16)
    spans = [
        span(low[:15] + b"\1", name="a"),
        span(low[:15] + b"\1", name="b", state="x=y,ot=rv:ffffffffffffff"),
        span(b"\xff" * 16, name="c", state="ot=rv:00000000000000"),
        span(b"\xff" * 16, name="d"),
    ]
    assert names(decide([share(50)], *spans)) == ["a", "b"]


def test_certain_policy_gives_weight_one_and_the_reason() -> None:
    """A trace that would have been kept anyway stands for itself, also if its luck was good."""
    batch = random_traces(2000, status="ERROR")
    sampler = TailSampler(tail_settings(share(50), errors()), Counters(), Clock())
    sampled = outcome(sampler, batch)
    assert weights(sampled) == [1.0] * 2000
    assert set(reasons(sampled)) == {"errors"}


def test_best_chance_decides_then_the_first() -> None:
    """The policy with the highest probability is the reason, of equals the first."""
    batch = random_traces(2000)
    policies = [share(10, "tenth"), share(40, "first"), share(40, "second")]
    sampled = outcome(TailSampler(tail_settings(*policies), Counters(), Clock()), batch)
    assert set(reasons(sampled)) == {"first"}
    assert set(weights(sampled)) == {2.5}


def test_and_keeps_what_all_keep_with_their_chance() -> None:
    """A quarter of the traces with errors, weight 4; successful ones go."""
    policies = [both(errors(), share(25), name="some errors")]
    for status, expected in (("ERROR", 500), ("OK", 0)):
        sampler = TailSampler(tail_settings(*policies), Counters(), Clock())
        sampled = outcome(sampler, random_traces(2000, status=status))
        assert len(sampled.kept) == pytest.approx(expected, abs=100 if expected else 0)
        assert set(weights(sampled)) <= {4.0}
        assert set(reasons(sampled)) <= {"some errors"}
