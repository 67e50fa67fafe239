"""Named entities in prompts, by a real spaCy pipeline in worker processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import spacy
from pydantic import ValidationError

from collector.model.errors import ConfigError
from config.settings import RedactionSettings
from processors.redaction import Redactor
from tests.redaction.sample_batches import KEY, MAIL, batch_of, made, rows_of

ROOT = Path(__file__).parents[2]
MOODY = "tests.redaction.ner_recognizers:Moody"
PROMPT = "gen_ai.input.messages"
SAID = "Ann Person of Acme Corp moved to Springfield"
CUT = "<PERSON> of <ORGANIZATION> moved to <LOCATION>"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a spaCy pipeline whose entities are rules: a model without a download."""
    nlp = spacy.blank("en")
    ruler: Any = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": "PERSON", "pattern": "Ann Person"},
            {"label": "ORG", "pattern": "Acme Corp"},
            {"label": "GPE", "pattern": "Springfield"},
        ]
    )
    path = tmp_path_factory.mktemp("model") / "en_rules"
    nlp.to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def with_spacy(model: str) -> Redactor:
    """Redact with that pipeline."""
    ner = {"engine": "spacy", "model": model, "keys": ["shop.note"], "workers": 2}
    return Redactor(RedactionSettings(hmac_key=KEY, ner=ner))  # type: ignore[arg-type]


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> Redactor:
    """Redact with a recognizer that misbehaves."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ner = {"engine": MOODY, "timeout": "3s", "entities": ["PERSON"]}
    return Redactor(RedactionSettings(hmac_key=KEY, ner=ner))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        (PROMPT, SAID, CUT),
        ("shop.note", f"{SAID}, mail {MAIL}", f"{CUT}, mail <EMAIL_ADDRESS>"),
        ("gen_ai.completion.0.content", f"é\U0001f600 {SAID}", f"é\U0001f600 {CUT}"),
        (
            PROMPT,
            json.dumps([{"role": "user", "parts": [{"content": SAID}, {"n": 17}]}]),
            json.dumps([{"role": "user", "parts": [{"content": CUT}, {"n": 17}]}]),
        ),
        (PROMPT, "x " * 15_000 + SAID, "x " * 15_000 + CUT),
        ("http.route", SAID, SAID),
        (None, SAID, SAID),
        (PROMPT, "nobody is here", "nobody is here"),
    ],
)
def test_names_go_from_content_and_stay_elsewhere(
    with_spacy: Redactor, key: str | None, text: str, expected: str
) -> None:
    """Scenario: names under content keys, listed ones and others, long, nested, beside Unicode.

    Guarantees: cut exactly where they are; the rest is as it was; again changes nothing.
    """
    assert with_spacy.redact_text(text, key).text == expected
    assert with_spacy.redact_text(expected, key).text == expected


def test_batches_ask_all_workers_and_get_the_same(model: str) -> None:
    """Scenario: 60 prompts in one batch and one by one. Guarantees: the same results, counted."""
    ner = {"engine": "spacy", "model": model, "workers": 2}
    processor, recorded = made(ner=ner)
    rows = [[(PROMPT, f"{number}: {SAID}" if number % 2 else f"{number}")] for number in range(60)]
    together = rows_of(processor.process(batch_of(*rows)))
    other, _ = made(ner={**ner, "workers": 1})
    assert together == [rows_of(other.process(batch_of(row)))[0] for row in rows]
    assert together[1] == {PROMPT: f"1: {CUT}"}
    assert recorded.values["clearspan_redactions_total", "PERSON"] == 30
    rule = ("clearspan_redaction_findings_total", "PERSON", "ner, spacy", "attributes.value")
    assert recorded.values[rule] == 30


@pytest.mark.parametrize("trouble", ["raise", "hang", "die"])
def test_a_text_that_breaks_the_model_is_cut_whole(
    moody: Redactor, trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Scenario: the model raises, hangs or dies on a text. Guarantees: that text is cut whole, the
    next ones are judged as ever, and nobody's output has the text.
    """  # noqa: D205 - the scenario needs two lines
    secret = f"please {trouble}, dear Ann"
    assert moody.redact_text(secret, PROMPT).text == "<REDACTED>"
    for _ in range(2):
        assert moody.redact_text("dear Ann!", PROMPT).text == "dear <PERSON>!"
    said = capfd.readouterr()
    assert secret not in said.out + said.err


@pytest.mark.parametrize(
    ("ner", "says"),
    [
        ({"engine": "spacy", "model": "en_core_no_such"}, "spaCy has no model en_core_no_such"),
        ({"engine": "gliner", "model": "/nowhere"}, "the package gliner is not installed"),
        ({"engine": "transformers", "model": "/x"}, "the package transformers is not installed"),
        ({"engine": "no_such_module:X"}, "no_such_module:X cannot be imported"),
        ({"engine": "pathlib:Path"}, "has no method analyze"),
    ],
)
def test_what_is_missing_is_said_at_start(ner: dict[str, Any], says: str) -> None:
    """Scenario: no such model, package, module. Guarantees: an error at start names it."""
    with pytest.raises(ConfigError, match=f"processors.redaction.ner: .*{says}"):
        Redactor(RedactionSettings(ner=ner))  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="needs a model"):
        RedactionSettings(ner={"engine": "spacy"})  # type: ignore[arg-type]


def test_a_worker_does_not_outlive_its_sidecar(model: str) -> None:
    """Scenario: the process that asks is killed with -9. Guarantees: its worker ends as well."""
    code = (
        "from config.redaction_ner import NerSettings\n"
        "from processors.redaction.ner import NamedEntities\n"
        f"names = NamedEntities(NerSettings(engine='spacy', model={model!r}))\n"
        "print(names._idle.get()._process.pid, flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        worker = int(asking.stdout.readline())
        asking.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 20
    while _is_alive(worker):
        assert time.monotonic() < limit
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
