"""The tail sampler: when it decides, what it remembers, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.model import schema as s
from collector.model.errors import ConfigError
from processors.sampling import TailSampler
from tests.sampling.trace_batches import (
    Clock,
    Counters,
    batch_of,
    both,
    errors,
    names,
    random_traces,
    reasons,
    share,
    span,
    tail_settings,
    weights,
)

if TYPE_CHECKING:
    from collector.model.batch import SpanBatch

WAIT = 30.0
ALL = {"name": "everything", "type": "always_sample"}


def sampler_of(*policies: dict[str, Any], **values: Any) -> tuple[TailSampler, Clock, Counters]:
    """Return a tail sampler with its clock and telemetry."""
    clock, counters = Clock(), Counters()
    return TailSampler(tail_settings(*policies, **values), counters, clock), clock, counters


def test_without_policies_everything_is_kept_at_once() -> None:
    """No policy, no wait: the batch passes with weight 1, and nothing is pending."""
    sampler, _, _ = sampler_of()
    sampled = sampler.offer(batch_of([span(1), span(2)]))
    assert weights(sampled) == [1.0, 1.0]
    assert reasons(sampled) == ["keep_all"] * 2
    assert sampler.pending_spans == 0


def test_trace_is_decided_exactly_when_its_wait_is_over() -> None:
    """A moment before nothing happens; at the boundary all spans of the trace go, together."""
    sampler, clock, _ = sampler_of(ALL)
    assert len(sampler.offer(batch_of([span(1, name="a", seq=5)])).kept) == 0
    clock.now += WAIT - 1
    sampler.offer(batch_of([span(1, name="b", seq=6), span(2, name="c", seq=6)]))
    clock.now += 0.999
    assert len(sampler.due().kept) == 0
    assert (sampler.pending_spans, sampler.oldest_pending_seq) == (3, 5)
    clock.now = 1000.0 + WAIT
    assert names(sampler.due()) == ["a", "b"]
    assert (sampler.pending_spans, sampler.oldest_pending_seq) == (1, 6)
    clock.now = 1000.0 + WAIT - 1 + WAIT
    assert names(sampler.due()) == ["c"]
    assert (sampler.pending_spans, sampler.oldest_pending_seq) == (0, None)


def test_error_anywhere_in_the_trace_keeps_the_whole_trace() -> None:
    """The failing span comes last, in another batch: the spans before it are kept as well."""
    sampler, _, _ = sampler_of(errors())
    sampler.offer(batch_of([span(1, name="a"), span(2, name="b"), span(1, name="c")]))
    sampler.offer(batch_of([span(1, name="d", status="ERROR")]))
    sampled = sampler.drain()
    assert names(sampled) == ["a", "c", "d"]
    assert sampled.dropped == {"not_sampled": 1}


def test_late_spans_follow_the_decision_on_their_trace() -> None:
    """After the decision: spans of kept traces are kept with its weight, the others are late."""
    sampler, clock, counters = sampler_of(errors(), share(25))
    batch = random_traces(400, seed=3)
    sampler.offer(batch)
    clock.now += WAIT
    decided = sampler.due()
    kept_ids = set(decided.kept.column(s.TRACE_ID).to_pylist())
    clock.now += 7
    late = sampler.offer(batch)
    assert set(late.kept.column(s.TRACE_ID).to_pylist()) == kept_ids
    assert set(weights(late)) == {4.0}
    assert set(reasons(late)) == {"share"}
    assert late.dropped == {"late": 400 - len(kept_ids)}
    assert sampler.pending_spans == 0
    assert counters.observed == [7.0] * 400


def test_late_span_of_a_kept_trace_is_kept_beside_new_traces() -> None:
    """One batch with a late span, a pending and a new one: each is treated as its trace."""
    sampler, clock, _ = sampler_of(ALL)
    sampler.offer(batch_of([span(1)]))
    clock.now += WAIT
    sampler.due()
    sampler.offer(batch_of([span(2, name="first")]))
    mixed = [span(3, name="new"), span(1, name="late"), span(2, name="second")]
    assert names(sampler.offer(batch_of(mixed))) == ["late"]
    assert names(sampler.drain()) == ["first", "new", "second"]


def test_forgotten_traces_are_decided_again() -> None:
    """With no decision cache a late span is a new trace: held, then decided on its own."""
    cache = {"sampled_cache_size": 0, "non_sampled_cache_size": 0}
    sampler, clock, _ = sampler_of(errors(), decision_cache=cache)
    sampler.offer(batch_of([span(1, status="ERROR")]))
    clock.now += WAIT
    assert len(sampler.due().kept) == 1
    assert len(sampler.offer(batch_of([span(1)])).kept) == 0
    assert sampler.drain().dropped == {"not_sampled": 1}


def test_decision_cache_remembers_as_many_as_it_promises() -> None:
    """The newest decisions are remembered nearly all; the memory never grows."""
    cache = {"sampled_cache_size": 2000, "non_sampled_cache_size": 8000}
    sampler, _, _ = sampler_of(share(20), decision_cache=cache)
    for seed in range(12):
        sampler.offer(random_traces(1000, seed))
        sampler.drain()
    sampled = sampler.offer(random_traces(1000, 11))
    assert len(sampled.kept) + sampled.dropped["late"] > 980
    assert sampler._decisions._dropped.payload.nbytes == 8000 * 4


def test_too_many_traces_decide_the_oldest_early() -> None:
    """Beyond num_traces the oldest go first, enough of them not to do it at every batch."""
    sampler, _, counters = sampler_of(ALL, num_traces=100)
    sampler.offer(random_traces(100, 1))
    assert sampler.pending_spans == 100
    sampled = sampler.offer(batch_of([span(12345, name="the last")]))
    assert len(sampled.kept) == 21
    assert sampled.kept.table.num_rows + sampler.pending_spans == 101
    too_early = "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total"
    assert counters.counts[(too_early,)] == 21
    assert names(sampler.drain())[-1] == "the last"


def test_a_policy_that_raises_early_leaves_the_batch_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: too many traces wait, and the decision on the oldest raises once.

    Guarantees: the offer does not, since the batch is held: a caller that kept it would have it
    twice. Every span is let go once.
    """
    sampler, _, _ = sampler_of(ALL, num_traces=3)
    judge = sampler._jury.judge

    def fail_once(*_arguments: object) -> None:
        monkeypatch.setattr(sampler._jury, "judge", judge)
        raise MemoryError

    monkeypatch.setattr(sampler._jury, "judge", fail_once)
    assert names(sampler.offer(batch_of([span(n, name=str(n)) for n in range(5)]))) == []
    assert sampler.pending_spans == 5
    assert sorted(names(sampler.drain())) == ["0", "1", "2", "3", "4"]


def test_too_many_bytes_decide_the_oldest_early() -> None:
    """Bytes held stay below the limit, and the spans let go are the oldest."""
    limit = 3_000_000
    sampler, _, _ = sampler_of(ALL, max_pending_bytes=limit)
    released = 0
    for seed in range(40):
        sampled = sampler.offer(random_traces(500, seed, seq=seed, name="n" * 500))
        released += len(sampled.kept)
        assert sampler._held.size_bytes <= limit
        assert released + sampler.pending_spans == 500 * (seed + 1)
        if len(sampled.kept):
            assert max(sampled.kept.column(s.BATCH_SEQ).to_pylist()) <= sampler.oldest_pending_seq
    assert 0 < released < 20_000


def test_one_endless_trace_does_not_hold_memory_for_ever() -> None:
    """A trace that never ends is decided early when it alone exceeds the byte limit."""
    sampler, _, _ = sampler_of(ALL, max_pending_bytes=1_000_000)
    kept = 0
    for seq in range(50):
        kept += len(sampler.offer(batch_of([span(1, seq=seq, name="n" * 500)] * 200)).kept)
    assert kept
    assert sampler._held.size_bytes <= 1_000_000
    assert kept + sampler.pending_spans == 50 * 200


def test_telemetry_tells_which_policy_wanted_what() -> None:
    """Every policy's vote on every decided trace is counted, by policy and decision."""
    sampler, _, counters = sampler_of(errors(), ALL)
    sampler.offer(batch_of([span(1, status="ERROR"), span(2), span(3)]))
    sampler.drain()
    votes = "otelcol_processor_tail_sampling_count_traces_sampled_total"
    assert counters.counts == {
        (votes, "errors", "sampled"): 1,
        (votes, "errors", "not_sampled"): 2,
        (votes, "everything", "sampled"): 3,
        (votes, "everything", "not_sampled"): 0,
    }


def test_two_policies_of_one_name_are_refused() -> None:
    """A name stands in sample_reason and in metrics, so it must be one policy's."""
    with pytest.raises(ConfigError, match="two policies named 'share'"):
        sampler_of(share(10), share(20))


def test_and_of_differently_salted_chances_is_refused() -> None:
    """Two independent chances have no one threshold: the config is refused, not misweighted."""
    with pytest.raises(ConfigError, match="hash_salt"):
        sampler_of(both(share(10, "a"), share(20, "b", salt="pepper")))


def test_blocks_are_freed_when_their_traces_are_decided() -> None:
    """Over many waits nothing is left behind: rows, bytes and traces return to zero."""
    sampler, clock, _ = sampler_of(share(10))
    seen = 0
    for seed in range(60):
        sampled = sampler.offer(random_traces(700, seed, seq=seed))
        settled = sampler.due()
        seen += len(sampled.kept) + len(settled.kept) + sum(settled.dropped.values())
        clock.now += 3
        assert seen + sampler.pending_spans == 700 * (seed + 1)
        assert sampler.pending_spans <= 700 * 11
    sampler.drain()
    assert (sampler.pending_spans, sampler._held.size_bytes, len(sampler._traces)) == (0, 0, 0)
    assert sampler._traces._numbers == {}


spans = st.builds(
    lambda trace, status: span(trace, status=status),
    st.integers(0, 12),
    st.sampled_from(["OK", "OK", "OK", "ERROR"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(spans, min_size=1, max_size=60), st.data())
def test_outcome_depends_on_the_spans_and_not_on_their_batches(
    all_spans: list[dict[str, Any]],
    data: st.DataObject,
) -> None:
    """However spans are cut into batches, the same ones are kept with the same weight and reason.

    That is also what a restart does: it offers the undecided rows again, in other batches.
    """
    policies = (errors(), both(share(50, "a"), share(40, "b")), share(20, salt="x"))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(all_spans) - 1)), max_size=6)))
    whole, _, _ = sampler_of(*policies)
    whole.offer(batch_of(all_spans))
    expected = whole.drain()
    parted, _, _ = sampler_of(*policies)
    for start, end in zip([0, *cuts], [*cuts, len(all_spans)], strict=True):
        if start < end:
            parted.offer(batch_of(all_spans[start:end]))
    got = parted.drain()
    assert got.kept.table.combine_chunks().equals(expected.kept.table.combine_chunks())
    assert got.dropped == expected.dropped


steps = st.lists(
    st.tuples(st.lists(spans, max_size=8), st.sampled_from([0.0, 5.0, 29.0, 31.0])),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_every_offered_span_is_kept_dropped_or_pending(
    script: list[tuple[list[dict[str, Any]], float]],
) -> None:
    """At every moment: offered = kept + dropped + pending, and the oldest sequence is exact."""
    sampler, clock, _ = sampler_of(errors(), share(30), num_traces=6)
    kept: list[SpanBatch] = []
    offered = dropped = 0
    for seq, (content, wait) in enumerate(script):
        numbered = [each | {"seq": seq, "name": f"{seq}/{n}"} for n, each in enumerate(content)]
        for sampled in (sampler.offer(batch_of(numbered)), sampler.due()):
            kept.append(sampled.kept)
            dropped += sum(sampled.dropped.values())
        offered += len(content)
        clock.now += wait
        assert offered == sum(map(len, kept)) + dropped + sampler.pending_spans
        blocks = sampler._held._blocks
        waiting = [
            int(each_seq)
            for block in blocks
            for each_seq, trace in zip(block.seqs, block.traces, strict=True)
            if trace >= sampler._traces.first
        ]
        assert sampler.oldest_pending_seq == min(waiting, default=None)
        assert sampler.pending_spans == len(waiting)
    last = sampler.drain()
    kept_names = [name for part in [*kept, last.kept] for name in part.column(s.NAME).to_pylist()]
    assert len(set(kept_names)) == len(kept_names)
    assert offered == len(kept_names) + dropped + sum(last.dropped.values())
