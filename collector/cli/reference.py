"""Renders ``docs/cli.md`` from the commands themselves: ``python -m collector.cli.reference``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

import typer.main

from collector.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INTRO: Final = """\
# The command line

<!-- Made by `python -m collector.cli.reference` from the commands; a test holds it to them. -->

| exit code | means |
|---|---|
| 0 | done |
| 1 | a query failed, `doctor` or `verify` found something, `backup` or `repair` could not do all, \
`redact` was given what it cannot read, or not all was drained in time |
| 2 | it could not start: configuration, port, directory or usage; the reason is on stderr |
| 130 | ended by Ctrl-C (`run` drains on Ctrl-C and exits 0) |

Answers go to stdout, everything else to stderr. The verbs that take `--config` and `--set` read
the configuration as described in [configuration.md](configuration.md).
"""
_EXAMPLES: Final[Mapping[str, str]] = {
    "run": "clearspan run --config config/examples/production.yaml --set exporters.lake.path=/data",
    "validate": "clearspan validate --config base.yaml --config production.yaml",
    "print-config": "clearspan print-config --set exporters.lake.flush_interval=500ms",
    "components": "clearspan components --format json",
    "query": 'clearspan query "SELECT name, count(*) FROM spans GROUP BY ALL"\n'
    """clearspan query --data '/pods/*/clearspan' "SELECT count(*) FROM traces"\n"""
    'clearspan query "SELECT * FROM traces" --output traces.parquet\n'
    "clearspan query --print-setup > setup.sql && duckdb -init setup.sql",
    "shell": "clearspan shell --data /var/lib/clearspan",
    "verify": "clearspan verify --data /data\nclearspan verify --data /data --json | jq .findings",
    "backup": "clearspan backup /backups/today --data /data\n"
    "clearspan backup /backups/latest --data /data --update",
    "repair": "clearspan repair --data /data --dry-run",
    "reredact": "clearspan reredact --config clearspan.yaml --dry-run",
    "erase": "clearspan erase --user ann@example.com --config clearspan.yaml\n"
    "clearspan erase --where \"service_name = 'shop' AND http_route = '/x'\" --yes",
    "redact": "clearspan redact app.log\n"
    "clearspan redact --config production.yaml < spans.json > clean.json\n"
    """echo '{"text": "123456788", "key": "ssn"}' | clearspan redact --json""",
    "demo": "clearspan demo --keep",
    "doctor": "clearspan doctor --config production.yaml",
}


def render_markdown() -> str:
    """Return ``docs/cli.md``."""
    commands = cast("Any", typer.main.get_command(app))
    parts = [_INTRO, *_parameters(commands)]
    for name, command in commands.commands.items():
        parts.append(f"\n## clearspan {name}\n\n{command.help}\n\n```sh\n{_EXAMPLES[name]}\n```\n")
        parts += _parameters(command)
    return "".join(parts)


def _parameters(command: Any) -> Iterator[str]:
    shown = [one for one in command.params if one.name != "help"]
    if shown:
        yield "\n| option | what it does |\n|---|---|\n"
    for one in shown:
        names = ", ".join(f"`{name}`" for name in one.opts)
        is_option = one.param_type_name == "option"
        value = f" `{one.metavar}`" if one.metavar and is_option else ""
        names = names if is_option else f"`{one.metavar}`"
        preset = " ".join(one.default) if isinstance(one.default, list) else one.default
        default = f" Default: `{preset}`." if _tells(preset) else ""
        named = (names + value).replace("|", "\\|")  # else a table's column ends there
        yield f"| {named} | {one.help}{default} |\n"


def _tells(default: object) -> bool:
    return default is not None and not isinstance(default, bool) and default != ""


if __name__ == "__main__":
    sys.stdout.write(render_markdown())
