"""Every built-in processor by its config name: what it is and how it is made.

Constructors import late: listing components must not load Presidio.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collector.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.model.batch import SpanBatch
    from collector.model.contracts import Processor, Sampler
    from collector.model.telemetry import Telemetry
    from config.settings import ProcessorsSettings
    from processors.redaction import RedactionProcessor
    from processors.redaction.canaries import CanaryWatch


REDACTION: Final = "redaction"


def redaction(settings: ProcessorsSettings, telemetry: Telemetry) -> RedactionProcessor:
    """Make the first processor of every pipeline."""
    from processors.redaction import RedactionProcessor  # noqa: PLC0415 - see module docstring

    return RedactionProcessor(settings.redaction, telemetry)


def _cost(settings: ProcessorsSettings, telemetry: Telemetry) -> Processor[SpanBatch]:
    from processors.cost import CostProcessor  # noqa: PLC0415 - see module docstring

    return CostProcessor(settings.cost, telemetry)


def _probabilistic_sampler(
    settings: ProcessorsSettings, telemetry: Telemetry
) -> Sampler[SpanBatch]:
    from processors.sampling import ProbabilisticSampler  # noqa: PLC0415 - see module docstring

    return ProbabilisticSampler(settings.probabilistic_sampler, telemetry)


def _tail_sampling(settings: ProcessorsSettings, telemetry: Telemetry) -> Sampler[SpanBatch]:
    from processors.sampling import TailSampler  # noqa: PLC0415 - see module docstring

    return TailSampler(settings.tail_sampling, telemetry)


@dataclass(frozen=True, slots=True)
class ProcessorKind:
    """A built-in processor that works before the journal."""

    name: str
    description: str
    build: Callable[[ProcessorsSettings, Telemetry], Processor[SpanBatch]]


@dataclass(frozen=True, slots=True)
class SamplerKind:
    """A built-in sampler; samplers work behind the journal."""

    name: str
    description: str
    build: Callable[[ProcessorsSettings, Telemetry], Sampler[SpanBatch]]


PROCESSORS: Final = (
    ProcessorKind(REDACTION, "Removes PII and secrets; always first.", redaction),
    ProcessorKind("cost", "Prices LLM calls from bundled genai-prices data.", _cost),
)
SAMPLERS: Final = (
    SamplerKind(
        "probabilistic_sampler",
        "Keeps a consistent share of traces by their id.",
        _probabilistic_sampler,
    ),
    SamplerKind(
        "tail_sampling",
        "Keeps whole traces by what happened in them.",
        _tail_sampling,
    ),
)


def canary_watch(settings: ProcessorsSettings, telemetry: Telemetry) -> CanaryWatch:
    """Make what looks for ``processors.redaction.canaries`` behind all other processors."""
    from processors.redaction.canaries import CanaryWatch  # noqa: PLC0415 - see module docstring

    redaction = settings.redaction
    return CanaryWatch(redaction.canaries, telemetry, is_dry=redaction.dry_run.enabled)


def load_custom(reference: str, options: dict[str, object]) -> Processor[Any]:
    """Make the user's processor ``module:Class`` with its options as keyword arguments.

    Raises:
        ConfigError: The class cannot be imported or made, or has no ``process`` method.
    """
    module_name, _, class_name = reference.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), class_name)(**options)
    except (ImportError, AttributeError, TypeError) as error:  # Python's words: names, no values
        raise ConfigError(f"processor {reference} cannot be made: {error}") from error
    except Exception as error:  # noqa: BLE001 - the user's words may repeat an option's value
        raise ConfigError(
            f"processor {reference} cannot be made: it raised {type(error).__name__}",
        ) from None
    if not callable(getattr(made, "process", None)):
        raise ConfigError(f"processor {reference} has no method process(batch)")
    processor: Processor[Any] = made
    return processor
