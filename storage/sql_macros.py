"""The lake's scalar and aggregate macros: maps, and counts and percentiles that sampling distorts.

A macro cannot name a column of the query it is used in, so the weight is an argument.
"""

from __future__ import annotations

from typing import Final

_HAS_WEIGHT: Final = "value IS NOT NULL AND weight > 0"

# A share that is none fails in a cast: DuckDB takes error() for a side effect and then lets no
# HAVING name the column.
_SHARE: Final = """CASE WHEN q BETWEEN 0 AND 1 THEN q
    ELSE ('weighted_quantile: the share must be from 0 to 1, not ' || q)::DOUBLE END"""
# One walk over a group's values in order, starting at minus the weight to reach: the first at which
# the sum is no longer negative is the answer. 2.2 µs a row in the largest group; a cumulative
# window would be faster there but is not allowed in an aggregate. The factor below 1 keeps a sum
# of rounded weights from missing its own total; a.w for a['w'] would not bind in HAVING.
_WEIGHTED_QUANTILE: Final = f"""CASE WHEN q IS NOT NULL THEN list_reduce(
  list_concat(
    [struct_pack(
      v := min(value) FILTER ({_HAS_WEIGHT}),
      w := -{_SHARE}
        * (1 - 1e-12) * sum(weight::DOUBLE) FILTER ({_HAS_WEIGHT}))],
    list(struct_pack(v := value, w := weight::DOUBLE) ORDER BY value) FILTER ({_HAS_WEIGHT})),
  lambda a, x: CASE
    WHEN a['w'] >= 0 THEN a ELSE struct_pack(v := x['v'], w := a['w'] + x['w']) END)['v'] END"""
_ADJUSTED_COUNT: Final = (
    "(weight) AS coalesce(sum(weight), 0),"
    " (weight, condition) AS coalesce(sum(weight) FILTER (condition), 0)"
)


def scalar_macros() -> dict[str, str]:
    """Return what stands after each macro's name: ``(parameters) AS expression``, overloads too."""
    return {
        "attr": "(attributes, name) AS attributes[name]",
        "adjusted_count": _ADJUSTED_COUNT,
        "weighted_quantile": f"(value, weight, q) AS {_WEIGHTED_QUANTILE}",
    }
