"""What sampling costs: `python tests/bench/sampling_micro.py` prints µs a span and memory.

Simulates 10,000 spans/s in batches of 250 with 10 spans a trace spread over 2 s and a wait of
30 s, on a turned clock: CPU is what the machine needs, memory is what the load holds.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from collector.model import schema as s
from config.sampling import ProbabilisticSamplerSettings
from processors.sampling import ProbabilisticSampler, TailSampler
from tests.sampling.trace_batches import Clock, Counters, errors, share, slow, tail_settings
from tests.storage.batches import make_batch

RATE, BATCH, SPANS_A_TRACE, SPREAD_S = 10_000, 256, 10, 2
FILLED_S, SIMULATED_S = 45, 105


def rss_mb() -> float:
    """Return resident memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def head() -> None:
    """Measure the head sampler."""
    batches = [make_batch(512, seed) for seed in range(10)]
    for percentage in (100, 10):
        settings = ProbabilisticSamplerSettings(sampling_percentage=percentage)
        sampler = ProbabilisticSampler(settings, Counters())
        start = time.process_time()
        for _ in range(10):
            for batch in batches:
                sampler.offer(batch)
        spent = (time.process_time() - start) / 100 / 512
        print(f"head sampler at {percentage} %: {spent * 1e6:.2f} µs a span")


def tail() -> None:
    """Measure the tail sampler."""
    base = [make_batch(BATCH, seed) for seed in range(40)]
    rng = np.random.default_rng(0)
    traces = RATE * (SIMULATED_S + SPREAD_S) // SPANS_A_TRACE
    ids = np.frombuffer(rng.bytes(16 * traces), "V16")
    clock = Clock()
    settings = tail_settings(
        errors(), slow(6900), share(10), max_pending_bytes=2**30, decision_wait=30,
    )  # fmt: skip
    sampler = TailSampler(settings, Counters(), clock)
    failing = np.where(rng.random(BATCH) < 0.01, "ERROR", "OK")
    before = rss_mb()
    spent = offering = kept = offered = bytes_held = filling = 0.0
    for step in range(RATE * SIMULATED_S // BATCH):
        now_s = step * BATCH / RATE
        begun = (now_s + rng.random(BATCH) * SPREAD_S) * RATE / SPANS_A_TRACE
        raw = ids[begun.astype(np.int64)].tobytes()
        columns = {
            s.TRACE_ID: pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), BATCH, [None, pa.py_buffer(raw)],
            ),
            s.STATUS_CODE: pa.array(failing),
            s.BATCH_SEQ: pa.array(np.full(BATCH, step)),
        }  # fmt: skip
        table = base[step % len(base)].replace(columns).table
        # Buffers of its own, as a decoded batch has them: memory is measured.
        copied = pa.concat_tables([table, table.slice(0, 0)]).combine_chunks()
        batch = type(base[0])(copied)
        clock.now = 1000 + now_s
        start = time.process_time()
        parts = [sampler.offer(batch)]
        offering += time.process_time() - start
        if step % (RATE // BATCH // 2) == 0:
            parts.append(sampler.due())
        if now_s < FILLED_S:
            filling += time.process_time() - start
            offering = 0.0
            continue
        spent += time.process_time() - start
        offered += BATCH
        kept += sum(len(part.kept) for part in parts)
        bytes_held = max(bytes_held, sampler._held.size_bytes)
    print(
        f"tail sampler: {spent / offered * 1e6:.2f} µs a span "
        f"({offering / offered * 1e6:.2f} in offer), {kept / offered:.0%} kept, "
        f"{sampler.pending_spans} pending; {filling / FILLED_S / RATE * 1e6:.2f} µs "
        "while memory first grows",
    )
    print(
        f"held {bytes_held / 2**20:.0f} MB; resident memory grew by {rss_mb() - before:.0f} MB, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before:.0f} MB",
    )


if __name__ == "__main__":
    head()
    tail()
