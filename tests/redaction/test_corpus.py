"""How much of a labelled corpus is found, and how much wrongly: held to targets."""

from __future__ import annotations

import pytest

from tests.bench.redaction_corpus import DEFAULTS, ENTITIES, SECRETS, ordinary, personal, secrets
from tests.bench.redaction_quality import (
    MOST_FALSE_HITS,
    TARGETS,
    false_hits,
    of_defaults,
    quality,
    redactor,
)


def test_the_corpus_is_large_enough() -> None:
    """Scenario: the corpus as it is made. Guarantees: its size; every value is in its text."""
    texts = [*personal(), *secrets()]
    assert len(texts) >= 3000
    assert len(ENTITIES) >= 12
    assert len(SECRETS) >= 40
    assert len(ordinary()) >= 150
    assert all(one.value in one.text for one in texts)
    assert texts == [*personal(), *secrets()]


def test_recall_and_precision_at_defaults() -> None:
    """Scenario: personal data and secrets. Guarantees: the targets, entity by entity."""
    scores = quality(redactor([*DEFAULTS, "SECRET"]), of_defaults())
    for entity, (recall, precision) in TARGETS.items():
        score = scores[entity]
        assert score.recall >= recall, (entity, score.recall, score.missed[:3])
        assert score.precision >= precision, (entity, score.precision)


def test_ordinary_values_are_left_alone() -> None:
    """Scenario: ids, times, versions, SQL, user agents, … Guarantees: almost no false hit."""
    assert len(false_hits(redactor([*DEFAULTS, "SECRET"]))) <= MOST_FALSE_HITS


@pytest.mark.parametrize("entities", [(*DEFAULTS, "SECRET"), (*ENTITIES, "SECRET")])
def test_again_changes_nothing_and_clean_text_is_the_same_object(entities: tuple[str, ...]) -> None:
    """Scenario: the whole corpus twice. Guarantees: stable; what is clean is not even copied."""
    judge = redactor(entities)
    for text in [*(one.text for one in (*personal(60), *secrets(1))), *ordinary()]:
        once = judge.redact_text(text)
        assert judge.redact_text(once.text).text == once.text
        assert once.findings or once.text is text
