"""What pricing costs: `python tests/bench/cost_micro.py` prints µs a span and the price of loading.

Load figures hold for compiled bytecode; without it the interpreter compiles 1.6 MB of price data
at every start (about 0.25 s and 60 MB of peak memory more).
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def peak_mb() -> float:
    """Return the highest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure loading, then 512-span batches with and without LLM calls."""
    import pyarrow.compute  # noqa: F401, PLC0415 - loaded anyway, so not to be counted

    from collector.model import batch  # noqa: F401, PLC0415 - likewise
    from config.settings import CostSettings  # noqa: PLC0415 - likewise

    before_mb, before_s = peak_mb(), time.process_time()
    from processors.cost import CostProcessor  # noqa: PLC0415 - this is measured
    from tests.cost.llm_batches import Counters, many_rows  # noqa: PLC0415 - needs sys.path

    processor = CostProcessor(CostSettings(), Counters())
    print(f"load: {time.process_time() - before_s:.2f} s CPU, {peak_mb() - before_mb:.0f} MB peak")
    for share in (0.0, 0.3, 1.0):
        batches = [many_rows(512, share, seed) for seed in range(20)]
        best = float("inf")
        for _ in range(30):
            start = time.process_time()
            for each in batches:
                processor.process(each)
            best = min(best, time.process_time() - start)
        print(f"{share:.0%} LLM: {best / 20 / 512 * 1e6:.2f} µs a span, 512-span batches")


if __name__ == "__main__":
    main()
