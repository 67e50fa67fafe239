"""`components` lists what the rest of the code really has."""

from __future__ import annotations

from typing import get_args

from collector.cli.inventory import ENTITIES, OPERATORS, inventory
from config.rules import PROCESSORS as PIPELINE_NAMES
from config.sampling import Policy
from config.settings import Operator, RedactionSettings
from config.shape import kinds, peel
from processors.redaction.registry import OWN, predefined
from processors.registry import PROCESSORS, SAMPLERS


def test_entities_and_operators_are_the_settings_own() -> None:
    """Scenario: an entity or operator is added. Guarantee: it has a line here."""
    assert tuple(ENTITIES) == RedactionSettings().entities
    assert inventory()["redaction entities"].keys() == OWN.keys() | predefined().keys()
    assert set(OPERATORS) == set(get_args(Operator))


def test_a_pipeline_may_name_exactly_what_the_registry_makes() -> None:
    """Scenario: a processor is registered. Guarantee: the configuration knows its name."""
    assert {kind.name for kind in (*PROCESSORS, *SAMPLERS)} == set(PIPELINE_NAMES)


def test_every_component_has_a_line() -> None:
    """Scenario: the whole inventory. Guarantee: no empty kind, no empty description."""
    for names in inventory().values():
        assert names
        assert all(what and "\n" not in what for what in names.values())
    assert set(inventory()["sampling policies"]) == set(kinds(peel(Policy)))
