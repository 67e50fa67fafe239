"""`make bench-redaction`: how much is found, how much is found wrongly, and what it costs.

Quality on the labelled corpus of ``redaction_corpus``; speed against Presidio's own AnalyzerEngine
(no model, its default recognizers for English) in the same run. CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from config.settings import RedactionSettings
from processors.redaction import Redactor
from processors.redaction.cache import VerdictCache
from tests.bench.redaction_corpus import (
    DEFAULTS,
    ENTITIES,
    SEED,
    Labelled,
    ordinary,
    personal,
    secrets,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# entity -> least recall, least precision
TARGETS: Final = {
    "EMAIL_ADDRESS": (0.99, 0.99),
    "CREDIT_CARD": (0.99, 0.99),
    "IBAN_CODE": (0.99, 0.99),
    "US_SSN": (0.99, 0.99),
    "PHONE_NUMBER": (0.85, 0.85),
    "SECRET": (0.95, 0.98),
}
MOST_FALSE_HITS: Final = 3


@dataclass(slots=True)
class Score:
    """Planted values of an entity, how many were cut, and what its findings were."""

    planted: int = 0
    cut: int = 0
    right: int = 0
    wrong: int = 0
    missed: list[Labelled] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of planted values of which nothing is left."""
        return self.cut / max(1, self.planted)

    @property
    def precision(self) -> float:
        """Share of the entity's findings that overlap a planted value of that entity."""
        return self.right / max(1, self.right + self.wrong)


def redactor(entities: Sequence[str]) -> Redactor:
    """Return a redactor of these entities."""
    key = "a key of the benchmark's own, 32 b"
    return Redactor(RedactionSettings(entities=tuple(entities), hmac_key=key))  # type: ignore[arg-type]


def quality(judge: Redactor, corpus: Iterable[Labelled]) -> dict[str, Score]:
    """Score every entity over the corpus."""
    scores: dict[str, Score] = {}
    for one in corpus:
        done = judge.redact_text(one.text)
        own = scores.setdefault(one.entity, Score())
        own.planted += 1
        if one.value in done.text:
            own.missed.append(one)
        else:
            own.cut += 1
        start = one.text.index(one.value)
        for found in done.findings:
            hit = found.start < start + len(one.value) and found.end > start
            score = scores.setdefault(found.entity, Score())
            if hit and found.entity == one.entity:
                score.right += 1
            else:
                score.wrong += 1
    return scores


def false_hits(judge: Redactor) -> list[str]:
    """Return the ordinary values in which something was found."""
    return [text for text in ordinary() if judge.redact_text(text).text != text]


def cpu_us(work: Callable[[str], object], texts: Sequence[str], rounds: int = 1) -> float:
    """Return CPU µs a text."""
    started = time.process_time()
    for _ in range(rounds):
        for text in texts:
            work(text)
    return (time.process_time() - started) / len(texts) / rounds * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true", help="list what was missed")
    arguments = parser.parse_args()
    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)
    console = Console(width=110)
    everything = redactor([*ENTITIES, "SECRET"])
    scores = quality(redactor([*DEFAULTS, "SECRET"]), of_defaults())
    scores |= {
        entity: score
        for entity, score in quality(everything, personal()).items()
        if entity not in TARGETS and entity in ENTITIES
    }
    table = Table("entity", "texts", "recall", "precision", "target", title="defaults, then others")
    for entity, score in scores.items():
        if not score.planted:
            continue  # what a key in JSON decided
        target = "/".join(map(str, TARGETS.get(entity, ("-",))))
        row = f"{score.recall:.3f}", f"{score.precision:.3f}", target
        table.add_row(entity, str(score.planted), *row)
    console.print(table)
    if arguments.misses:
        for score in scores.values():
            for kind, count in Counter(one.kind or one.entity for one in score.missed).items():
                sample = next(one.text for one in score.missed if (one.kind or one.entity) == kind)
                console.print(f"missed {count}: {kind}: {sample}", markup=False, soft_wrap=True)
    wrong = false_hits(redactor([*DEFAULTS, "SECRET"]))
    console.print(f"ordinary values: {len(ordinary())}, with a false hit: {len(wrong)} {wrong}")
    _speed(console)


def of_defaults() -> list[Labelled]:
    """Return the texts whose values the default settings look for."""
    return [*(one for one in personal() if one.entity in DEFAULTS), *secrets()]


def _speed(console: Console) -> None:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NoOpNlpEngine  # noqa: PLC0415

    ours = redactor([*DEFAULTS, "SECRET"])
    nlp = NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}])
    nlp.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
    stock = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])
    rng = random.Random(SEED)
    short = [
        rng.choice(
            [f"order-{rng.getrandbits(64):x}", f"mail user{rng.randrange(10**6)}@example.com"]
        )
        if rng.random() < 0.5
        else f"/api/items/{rng.randrange(10**8)}"
        for _ in range(4000)
    ]
    words = " ".join(one.text for one in personal(3) if one.entity == "PHONE_NUMBER").split()
    prompt = [
        " ".join(rng.choices([*words, "please", "the", "answer"], k=800))[:5000] for _ in range(200)
    ]
    clean = ["".join(c for c in text if not c.isdigit() and c != "@") for text in prompt]

    def screened(text: str) -> object:
        marks = ours.screened([text])[0]
        return marks and ours.judge(text, marks=marks)

    own = cpu_us(screened, short)
    stock_us = cpu_us(lambda text: stock.analyze(text, "en"), short[:400])
    prompts = 5000 / cpu_us(screened, clean)
    console.print(
        f"distinct short string: {own:.1f} µs; Presidio's AnalyzerEngine: {stock_us:.0f} µs "
        f"({stock_us / own:.0f} times as much)"
    )
    cache = VerdictCache(50_000)
    known = sorted(set(short))
    cache.remember_clean(known)
    repeat = cpu_us(lambda _: cache.look_up([*known]), [""] * 50) / len(known)
    console.print(f"a string seen before: {repeat:.2f} µs")
    console.print(f"5 kB prompts without a finding: {prompts:.0f} MB/s")


if __name__ == "__main__":
    main()
