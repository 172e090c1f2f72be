"""When an error counts as rounding: the tolerance of a layer or output from what is known of it."""

from __future__ import annotations

from ..ir.dtypes import DType
from .compare import Difference
from .layers import Layer, coarsest
from .report import ErrorFigures
from .tolerance import tolerance

# both sides round to the same coarse type: only the rare result that rounds the other way differs
SHARED = 0.25
TIES = 0.001  # share of integer or bool elements that may change where a comparison of floats decides
TIES_ACCUMULATED = 0.01
QUANTISED_TIES = 0.1  # share of quantised elements that may move by one step


class Judge:
    """Tolerances for one comparison.

    Args:
        coarse: element types coarser than float32 that the reference computes in.
        scale: the user's factor on every tolerance.
    """

    def __init__(self, coarse: frozenset[DType], scale: float) -> None:
        self.coarse = coarse
        self.scale = scale

    def isolated(self, layer: Layer, own: DType, worst: Difference) -> float:
        """The tolerance of a layer's own error."""
        if worst.kind == "exact":
            return self._exact(own, worst, TIES if layer.floats else 0.0, QUANTISED_TIES)
        return self._float(layer.dtypes, own, layer.length, 1)

    def accumulated(self, layer: Layer, own: DType, worst: Difference) -> float:
        """The tolerance of the error that has built up from the inputs."""
        if worst.kind == "exact":
            return self._exact(own, worst, TIES_ACCUMULATED if layer.total_floats else 0.0, 1.0)
        return self._float(layer.total_dtypes, own, layer.total_length, layer.depth)

    def unknown(self, own: DType | None, precision: DType | None, worst: Difference) -> float:
        """The tolerance of an output when nothing is known of how it is computed."""
        if worst.kind == "exact" or own is None:
            return TIES_ACCUMULATED
        return self._float(frozenset(() if precision is None else (precision,)), own, 1024, 64)

    def _float(self, dtypes: frozenset[DType], own: DType, length: int, depth: int) -> float:
        decisive = coarsest(dtypes, own)
        shared = SHARED if decisive in self.coarse else 1.0
        return tolerance(decisive, length=length, depth=depth, scale=self.scale * shared)

    def _exact(self, own: DType, worst: Difference, ties: float, steps: float) -> float:
        if own.is_integer and own.bits <= 8 and worst.max_abs <= 1:
            return max(ties, steps)
        return min(1.0, ties * self.scale)


def worst_of(parts: list[Difference]) -> Difference:
    """The sample with the largest error."""
    return max(parts, key=lambda part: part.relative)


def figures(parts: list[Difference], pooled: Difference, allowed: float) -> ErrorFigures:
    """The figures of several samples against a tolerance."""
    return ErrorFigures.of(parts, pooled, allowed)
