# ruff: noqa: E501 - sample attributes
"""CPU per span of RedactionProcessor.process on batches as an LLM service sends them.

Run: python tests/bench/redaction_micro.py [--profile] [--json]
Batches of 512 spans; 30 % are LLM spans with a unique 60-word prompt (``--json``: as chat messages
in JSON); about 12 attributes a span, mostly repeated values, a unique id in 30 % of spans.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import random
import time
import uuid

import numpy as np
import pyarrow as pa

from collector.model import schema as s
from collector.model.batch import SpanBatch
from config.settings import RedactionSettings

ROWS = 512
WORDS = [
    "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=3 + seed % 8))
    for seed in range(4000)
]
RESOURCE = [
    ("service.name", "checkout"), ("service.version", "1.14.2"), ("k8s.pod.name", "checkout-7d9f"),
    ("telemetry.sdk.language", "python"), ("telemetry.sdk.version", "1.45.0"),
    ("deployment.environment.name", "prod"),
]  # fmt: skip


class NoTelemetry:
    """Counts nothing."""

    def add(self, *_: object) -> None:
        """Ignore."""

    set = add


def prompt(rng: random.Random, *, as_json: bool) -> str:
    """Return 60 words, one in twenty with an e-mail address."""
    words = rng.choices(WORDS, k=60)
    if rng.random() < 0.05:
        words[30] = f"{words[0]}@example.com"
    text = " ".join(words)
    return json.dumps([{"role": "user", "content": text}]) if as_json else text


def attributes(rng: random.Random, *, as_json: bool) -> list[tuple[str, str]]:
    """Return one span's attributes."""
    if rng.random() < 0.3:
        pairs = [
            ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o-mini"), ("gen_ai.response.model", "gpt-4o-mini"),
            ("gen_ai.usage.input_tokens", str(rng.randint(50, 250))),
            ("gen_ai.usage.output_tokens", str(rng.randint(50, 250))),
            ("gen_ai.request.temperature", "0.7"), ("gen_ai.response.finish_reasons", '["stop"]'),
            ("server.address", "api.openai.com"), ("server.port", "443"),
            ("gen_ai.conversation.id", f"conv-{rng.randint(1, 200)}"),
            ("gen_ai.input.messages", prompt(rng, as_json=as_json)),
        ]  # fmt: skip
    else:
        pairs = [
            ("http.request.method", "GET"), ("http.route", f"/orders/{rng.randint(1, 40)}"),
            ("http.response.status_code", "200"), ("url.scheme", "https"),
            ("server.address", "shop.example.org"), ("server.port", "8080"),
            ("network.protocol.version", "1.1"), ("user_agent.original", f"curl/8.{rng.randint(1, 9)}"),
            ("client.address", f"10.0.0.{rng.randint(1, 90)}"), ("thread.id", str(rng.randint(1, 32))),
            ("code.function.name", f"handler_{rng.randint(1, 30)}"),
        ]  # fmt: skip
        if rng.random() < 0.43:
            pairs.append(("request.id", str(uuid.UUID(int=rng.getrandbits(128)))))
    return pairs


def batch(rng: random.Random, *, as_json: bool) -> SpanBatch:
    """Return one batch."""
    rows = [attributes(rng, as_json=as_json) for _ in range(ROWS)]
    tags = [[(k, "int") for k, _ in row if k.endswith(("tokens", "port"))] for row in rows]
    zeros = pa.array(np.zeros(ROWS, np.int32))
    columns = {
        s.TRACE_ID: pa.array([rng.randbytes(16) for _ in range(ROWS)], pa.binary(16)),
        s.TRACE_STATE: pa.array([""] * ROWS),
        s.NAME: pa.array([f"GET /orders/{rng.randint(1, 40)}" for _ in range(ROWS)]),
        s.KIND: pa.array(["SERVER"] * ROWS),
        s.STATUS_MESSAGE: pa.array([""] * ROWS),
        s.SCOPE_NAME: pa.array(["opentelemetry.instrumentation.asgi"] * ROWS),
        s.SCOPE_VERSION: pa.array(["0.50b0"] * ROWS),
        s.RESOURCE_SCHEMA_URL: pa.array([""] * ROWS),
        s.SCOPE_SCHEMA_URL: pa.array([""] * ROWS),
        s.ATTRIBUTES: pa.array(rows, s.STRING_MAP),
        s.NON_STRING_TYPES: pa.array(tags, s.STRING_MAP),
        s.RESOURCE_ATTRIBUTES: pa.array([RESOURCE], s.STRING_MAP).take(zeros),
        s.RESOURCE_NON_STRING_TYPES: pa.array([[]] * ROWS, s.STRING_MAP),
        s.SCOPE_ATTRIBUTES: pa.array([[]] * ROWS, s.STRING_MAP),
        s.SCOPE_NON_STRING_TYPES: pa.array([[]] * ROWS, s.STRING_MAP),
        s.EVENTS: pa.array([[]] * ROWS, pa.list_(s.EVENT)),
        s.LINKS: pa.array([[]] * ROWS, pa.list_(s.LINK)),
    }
    return SpanBatch.from_columns(columns, ROWS)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--profile", action="store_true")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    started = time.perf_counter()
    from processors.redaction import RedactionProcessor  # noqa: PLC0415 - its time is measured

    processor = RedactionProcessor(RedactionSettings(), NoTelemetry())  # type: ignore[arg-type]
    print(f"ready after {time.perf_counter() - started:.2f} s (Presidio's import included)")
    rng = random.Random(7)
    warm = [batch(rng, as_json=chosen.json) for _ in range(40)]
    timed = [batch(rng, as_json=chosen.json) for _ in range(100)]
    for one in warm:
        processor.process(one)
    profiler = cProfile.Profile()
    if chosen.profile:
        profiler.enable()
    spent = []
    for one in timed:
        before = time.process_time_ns()
        processor.process(one)
        spent.append((time.process_time_ns() - before) / 1000 / ROWS)
    if chosen.profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    # the tenth percentile is what a core to itself gives when others share it
    print(f"CPU us per span: median {np.median(spent):.2f}, 10 % {np.quantile(spent, 0.1):.2f}")
    one = timed[-1]
    before = time.process_time_ns()
    for _ in range(100):
        processor.process(one)
    again = (time.process_time_ns() - before) / 100 / 1000 / ROWS
    print(f"the same batch again (all cached): {again:.2f}")


if __name__ == "__main__":
    main()
