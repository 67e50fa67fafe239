"""The reference, the default file and the examples say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.loader import load, load_settings
from config.reference import render_default_yaml, render_markdown
from config.rendering import plain, to_yaml
from config.settings import ClearspanSettings

_ROOT = Path(__file__).parents[2]
_EXAMPLES = sorted((_ROOT / "config" / "examples").glob("*.yaml"))
_ENVIRON = {"CLEARSPAN_HMAC_KEY": "0123456789abcdef"}


def test_the_page_is_what_the_settings_say() -> None:
    """Scenario: an option was added, changed or removed. Guarantee: the page is made anew."""
    page = (_ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == render_markdown(), "run: python -m config.reference > docs/configuration.md"


def test_default_yaml_is_the_defaults() -> None:
    """Scenario: likewise. Guarantee: the file is in step and loads to exactly the defaults."""
    file = _ROOT / "config" / "default.yaml"
    remedy = "run: python -m config.reference default.yaml > config/default.yaml"
    assert file.read_text(encoding="utf-8") == render_default_yaml(), remedy
    assert load_settings([file], [], {}) == ClearspanSettings()


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(example: Path) -> None:
    """Scenario: each example with what it needs in the environment. Guarantee: it is valid."""
    assert (
        load_settings([example], [], _ENVIRON) != ClearspanSettings() or example.stem == "minimal"
    )


def test_there_are_the_examples_the_docs_promise() -> None:
    """Scenario: the glob above finds nothing. Guarantee: noticed here."""
    names = {path.name for path in _EXAMPLES}
    assert {"minimal.yaml", "production.yaml", "custom-processor.yaml"} <= names


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.name)
def test_what_is_printed_loads_to_the_same(example: Path, tmp_path: Path) -> None:
    """Scenario: print-config's output is used as a file. Guarantee: same settings, but secrets."""
    overrides = [] if example.stem != "production" else ["processors.redaction.hmac_key="]
    loaded = load([example], [*overrides, "exporters.lake.path='a$${env:X}$$'"], _ENVIRON)
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(plain(loaded.settings, loaded.outside)), encoding="utf-8")
    assert load_settings([printed], [], {}) == loaded.settings
