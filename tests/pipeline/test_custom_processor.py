"""A user's own processor, as docs/processors.md tells it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from collector.model.batch import SpanBatch
from collector.model.errors import ConfigError
from collector.otlp.decode import Decoder
from collector.otlp.promotion import Promoter
from config.settings import OtlpLimits
from processors.registry import load_custom
from tests.otlp.messages import attribute, plain_span, small_request

DOCS = Path(__file__).parents[2] / "docs" / "processors.md"


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> str:
    """Import the code block of the docs as a module; return the reference a config would have."""
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("shop_plugins")
    exec(code, module.__dict__)  # noqa: S102 - our own documentation
    monkeypatch.setitem(sys.modules, "shop_plugins", module)
    return "shop_plugins:DropHealthChecks"


def batch_with_routes(*routes: str) -> SpanBatch:
    """Decode one span a route."""
    spans = [
        plain_span(
            number, attributes=[attribute("http.route", string_value=route)] if route else []
        )
        for number, route in enumerate(routes, 1)
    ]
    return Promoter(SpanBatch).process(
        Decoder(OtlpLimits(), lambda: 0).decode([small_request(*spans)]).batch,
    )


def test_the_documented_processor_works(documented: str) -> None:
    """Scenario: the docs' class with its option. Guarantees: drops that route and nothing else."""
    processor = load_custom(documented, {"route": "/live"})
    kept = processor.process(batch_with_routes("/live", "/cart", "", "/live"))
    assert kept.column("http_route").to_pylist() == ["/cart", None]


@pytest.mark.parametrize(
    ("reference", "options", "says"),
    [
        ("no_such_module:X", {}, "No module named 'no_such_module'"),
        ("pathlib:NoSuchClass", {}, "NoSuchClass"),
        ("pathlib:PurePath", {}, "has no method process(batch)"),
        ("collector.otlp.promotion:Promoter", {"colour": "red"}, "colour"),
    ],
)
def test_a_processor_that_cannot_be_made_is_named(
    reference: str,
    options: dict[str, object],
    says: str,
) -> None:
    """Scenario: wrong module, class, shape, option. Guarantees: one error with name and reason."""
    with pytest.raises(ConfigError) as refused:
        load_custom(reference, options)
    assert reference in str(refused.value)
    assert says in str(refused.value)
