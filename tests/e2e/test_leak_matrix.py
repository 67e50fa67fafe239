"""Every entity in every spelling in every field: none comes out."""

from __future__ import annotations

import json
import random
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from config.settings import RedactionSettings
from processors.redaction.redactor import Redactor
from tests.e2e.leak_search import find_any
from tests.e2e.otlp_client import GrpcClient
from tests.e2e.planting import Canary, fields_with_text
from tests.redaction.marked_texts import plain
from tests.redaction.published_cases import EVERY_ENTITY, Planted, every_entity_spelled, spelled
from tests.redaction.test_bound_values import BOUND
from tests.redaction.test_pairs import NOTATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.sidecar import Sidecar

ENTITIES: Final = {
    "EMAIL_ADDRESS": "canary.qwertz@example.com",
    "CREDIT_CARD": "4539148803436467",
    "CREDIT_CARD in groups": "4539 1488 0343 6467",
    "IBAN_CODE": "DE89370400440532013000",
    "US_SSN": "219-09-9998",
    "PHONE_NUMBER": "+14155552671",
    "CRYPTO": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "SECRET, provider's": "sk-proj-Zx81mQpT4vLw9RkNc2Yb7HsD",
    "SECRET, cloud": "AKIA" + "IOSFODNN7EXAMPLE",
}


_LETTERS: Final = str.maketrans("0123456789", "abcdefghij")


def _default_entities() -> dict[str, Planted]:
    return {
        f"{entity}, {spelling}": planted
        for entity, value in ENTITIES.items()
        for spelling, planted in spelled(value, value).items()
    }


def _notations() -> dict[str, Planted]:
    """Each notation whose name decides, with a text of its own for the values' letter."""
    planted = {}
    for notation, text in {**NOTATED, **BOUND}.items():
        if "Q" not in text:
            continue
        trace = f"Qzk{len(planted):03}".translate(_LETTERS)
        line = "\n" + plain(text).replace("Q", trace)
        planted[notation] = Planted(line, trace.encode())
    return planted


def _each_in_every_field(canary: Canary, texts: list[str]) -> Iterator[bytes]:
    for text in texts:
        yield canary.request(partial("{1} {0}".format, text), "control")


def _each_in_three_fields(canary: Canary, texts: list[str]) -> Iterator[bytes]:
    taken = [text for _ in range(3) for text in random.sample(texts, len(texts))]
    left = iter(taken)
    # the last request is filled up; what is in a field more often does no harm
    while (text := next(left, None)) is not None:
        following = chain([text], left, repeat(text))
        yield canary.request(lambda body, of=following: f"{body} {next(of)}", "control")


@pytest.fixture(autouse=True)
def _compiled(
    shared_cache: Path, monkeypatch: pytest.MonkeyPatch, entities: tuple[str, ...]
) -> None:
    """Compile the screen: for all entities that takes longer than a start may take."""
    if entities:
        monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
        Redactor(RedactionSettings(entities=entities))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("entities", "planted", "requests"),
    [
        ((), _default_entities, _each_in_every_field),
        ((), _notations, _each_in_every_field),
        (EVERY_ENTITY, every_entity_spelled, _each_in_three_fields),
    ],
    ids=["defaults", "notations", "every entity"],
)
def test_no_entity_in_any_spelling_in_any_field(
    sidecar: Callable[..., Sidecar],
    tmp_path: Path,
    entities: tuple[str, ...],
    planted: Callable[[], dict[str, Planted]],
    requests: Callable[[Canary, list[str]], Iterator[bytes]],
) -> None:
    """Scenario: nine values of the entities that are on by default, in fourteen spellings, each in
    every string and bytes field of OTLP. Or each notation in which a name decides, on lines of its
    own. Or one value of each entity there is, in all spellings, each in three of the fields, by
    chance.

    SIGKILL while all is in the journal, replay, a clean end, SQL over all of it.
    Guarantees: none of the 126, 70 or 1,302 is in a file (raw, decompressed, decoded), log, metric,
    reply or answer; the same search finds every one of them in what was sent.
    """  # noqa: D205 - a scenario of three lines
    canary = Canary()
    texts = planted()
    needles = {name: one.trace for name, one in texts.items()}
    options = [f"processors.redaction.entities=[{','.join(entities)}]"] if entities else []
    running = sidecar("exporters.lake.flush_interval=1h", *options)
    # the body makes every string one that no cache knows
    made = requests(canary, [one.text for one in texts.values()])
    sent = {f"request {number}": request for number, request in enumerate(made)}
    left: dict[str, bytes] = {}
    with GrpcClient(running.grpc_endpoint) as client:
        for name, request in sent.items():
            reply = client.export(request)
            assert reply.ok, (name, reply)
            left[name] = reply.raw
    assert canary.fields == fields_with_text(ExportTraceServiceRequest.DESCRIPTOR)
    assert find_any(needles, tmp_path / "nothing", sent) == set(needles)
    left["metrics"] = running.scrape().encode()
    running.sigkill()
    assert find_any(needles, tmp_path, left) == set()
    running.start()
    assert running.metric("clearspan_spans_replayed_total") == len(sent)
    left["metrics again"] = running.scrape("application/openmetrics-text").encode()
    assert running.sigterm() == 0, running.log[-4000:]
    answers = {
        view: json.dumps(running.query(f"FROM {view}"), ensure_ascii=False).encode()
        for view in ("spans", "span_events", "traces")
    }
    assert find_any({"control": b"control"}, tmp_path, answers) == {"control"}
    assert find_any(needles, tmp_path, left | answers) == set()
