"""Where the worker thread's CPU goes: `python -m tests.bench.profile_pipeline --profile llm`.

Runs the real parts in this process, without sockets: decode, redaction, promotion, cost, journal,
signals, sampling. Prints CPU a span without a profiler first, then cProfile's top by own time
(cProfile makes Python calls look dearer than they are).
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import os
import pstats
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from collector.service import Sidecar
from config.loader import load_settings
from tests.bench.payloads import build_templates, masks

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEED = 1
_WARM_UP = 20
_TOP = 35


def main(arguments: list[str]) -> None:
    """Profile as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=["llm", "web"], default="llm")
    parser.add_argument("--spans", type=int, default=512, help="spans in a micro-batch")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--sort", default="tottime", help="cProfile order: tottime, cumtime")
    options = parser.parse_args(arguments)
    payloads = _payloads(options.profile, options.spans)
    with tempfile.TemporaryDirectory(prefix="clearspan-profile-") as directory:
        sidecar = Sidecar(load_settings([], [f"exporters.lake.path={directory}/data"], os.environ))
        sidecar._traces.storage.lake.start()
        _work(sidecar, payloads, _WARM_UP)
        wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        _work(sidecar, payloads, options.batches)
        spans = options.spans * options.batches
        for name, took in (
            ("wall", time.perf_counter() - wall),
            ("CPU, worker", time.thread_time() - thread),
            ("CPU, process (lake writer and generator included)", time.process_time() - process),
        ):
            print(f"{took / spans * 1e6:6.2f} µs/span  {name}")
        profiler = cProfile.Profile()
        profiler.runcall(_work, sidecar, payloads, options.batches)
        pstats.Stats(profiler).sort_stats(options.sort).print_stats(_TOP)
        sidecar._traces.close()


def _payloads(profile: str, spans: int) -> Iterator[bytes]:
    templates = build_templates(profile, spans=spans, count=40, seed=_SEED)  # type: ignore[arg-type]
    return (t.render(mask) for t, mask in zip(itertools.cycle(templates), masks(_SEED)))


def _work(sidecar: Sidecar, payloads: Iterator[bytes], batches: int) -> None:
    pipeline = sidecar._traces.pipeline
    for payload in itertools.islice(payloads, batches):
        answer = pipeline._intake.put(payload, "grpc")
        pipeline._work(pipeline._intake.take(timeout_s=1.0))
        answer.result(timeout=1.0)


if __name__ == "__main__":
    main(sys.argv[1:])
