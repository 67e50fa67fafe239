"""Finds the price of (provider, request model, response model), once for each combination."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from genai_prices.data_snapshot import DataSnapshot, get_snapshot

from processors.cost.grid import NO_PRICE, build_grid
from processors.cost.names import PROVIDER_ALIASES, model_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processors.cost.grid import PriceGrid

_MAX_COMBINATIONS: Final = 4096
_MAX_NAME_CHARS: Final = 256  # no model is named longer; matching a megabyte costs milliseconds


class PriceBook:
    """Prices by the names telemetry uses; bounded, and never asks the network."""

    def __init__(self, provider_aliases: Mapping[str, str]) -> None:
        """Load the bundled data; ``provider_aliases`` extends and overrides the built-in ones."""
        own = {name.lower(): provider for name, provider in provider_aliases.items()}
        self._aliases = PROVIDER_ALIASES | own
        self._providers = get_snapshot().providers
        self._known: dict[tuple[str | None, str | None, str | None], PriceGrid] = {}
        self.version = f"genai-prices/{version('genai-prices')}"

    def grid(
        self,
        provider: str | None,
        request_model: str | None,
        response_model: str | None,
    ) -> PriceGrid:
        """Return the prices for one combination of names, ``NO_PRICE`` when there is none.

        The response model counts; the request model stands in when there is no response model,
        and, marked approximate, when the response model has no price. Without a provider the
        model's name tells it, which is approximate too.
        """
        key = (provider, request_model, response_model)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_COMBINATIONS:
                self._known.clear()
            found = self._known[key] = self._find(*key)
        return found

    def _find(
        self,
        provider: str | None,
        request_model: str | None,
        response_model: str | None,
    ) -> PriceGrid:
        found = self._look_up(provider, response_model or request_model)
        if found is None and response_model:
            fallback = self._look_up(provider, request_model)
            found = fallback and fallback.as_approximate()
        if found is None:
            return NO_PRICE
        return found if provider else found.as_approximate()

    def _look_up(self, provider: str | None, model: str | None) -> PriceGrid | None:
        """Return one model's prices; None when model, provider or price is unknown."""
        if not model or max(len(model), len(provider or "")) > _MAX_NAME_CHARS:
            return None
        provider_id = None
        if provider:
            provider_id = self._aliases.get(provider.lower(), provider)
        for name in model_names(model):
            # A snapshot remembers every name it was asked for, without a bound: use it once.
            snapshot = DataSnapshot(self._providers, from_auto_update=False)
            try:
                _, info = snapshot.find_provider_model(name, None, provider_id, None)
            except LookupError:
                continue
            return build_grid(info)
        return None
