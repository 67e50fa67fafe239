"""Prices LLM calls from bundled price data, a column at a time."""

from processors.cost.processor import CostProcessor

__all__ = ["CostProcessor"]
