"""The page on the command line says what the commands take."""

from __future__ import annotations

from pathlib import Path

import typer.main

from collector.cli import app
from collector.cli.reference import render_markdown

_PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_what_the_commands_say() -> None:
    """Scenario: a verb or option changed. Guarantee: the page is made anew."""
    remedy = "run: python -m collector.cli.reference > docs/cli.md"
    assert _PAGE.read_text(encoding="utf-8") == render_markdown(), remedy


def test_every_verb_and_option_is_on_the_page() -> None:
    """Scenario: the generator forgets something. Guarantee: the commands themselves tell."""
    page = _PAGE.read_text(encoding="utf-8")
    group = typer.main.get_command(app)
    verbs = group.commands  # type: ignore[attr-defined]
    assert set(verbs) >= {
        "verify",
        "backup",
        "repair",
        "run",
        "validate",
        "print-config",
        "components",
        "query",
        "demo",
        "doctor",
    }
    for verb, command in verbs.items():
        section = page.partition(f"## clearspan {verb}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else []:
                assert f"`{name}`" in section or name in {"--help", "-h"}
