"""When an error counts as rounding: the tolerance of a layer or output from what is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from ..ir.dtypes import DType
from .compare import Difference, difference, is_float
from .layers import Layer, coarsest
from .report import ErrorFigures
from .subject import Subject
from .tensors import Part
from .tolerance import MARGIN, tolerance

# both sides round to the same coarse type: only the rare result that rounds the other way differs
SHARED = 0.25
TIES = 0.001  # share of integer or bool elements that may change where a comparison of floats decides
TIES_ACCUMULATED = 0.01
QUANTISED_TIES = 0.1  # share of quantised elements that may move by one step
SUSPICIOUS = 0.05  # larger errors are never explained by bad conditioning
CONDITIONING_LIMIT = 0.01
NOISE = 2.0**-24


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


def conditioning(subject: Subject, name: str, cut_types: Mapping[str, tuple[int, int]], feeds: Mapping[str, Any], seed: int) -> float:
    """How much a layer magnifies rounding errors of its inputs, as the tolerance that this justifies.

    The float inputs are disturbed by half a unit in the last place of float32; a layer that subtracts nearly
    equal numbers answers with a much larger change, and honest implementations of it differ by as much.
    """
    generator = np.random.default_rng(seed)
    part = Part(subject, [name], cut_types)
    disturbed: dict[str, Any] = {}
    for key in part.inputs:
        value = feeds[key]
        if isinstance(value, np.ndarray) and is_float(value) and value.dtype.kind == "f":
            signs = generator.integers(0, 2, value.shape) * 2 - 1
            disturbed[key] = (value.astype(np.float64) * (1 + NOISE * signs)).astype(value.dtype)
        else:
            disturbed[key] = value
    try:
        change = difference(part.run(feeds)[name], part.run(disturbed)[name])
    except Diagnostic:
        return 0.0
    if change.kind != "float" or not math.isfinite(change.relative):
        return 0.0
    return min(CONDITIONING_LIMIT, MARGIN * change.relative)


def spread(subject: Subject, feeds: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    """How far the runtime's own optimisations move each output of a model: the tolerance that honest
    reordering justifies.
    """
    try:
        optimised = subject.run_optimised(feeds)
    except Diagnostic:
        return {}
    found: dict[str, float] = {}
    for name, value in (optimised or {}).items():
        change = difference(reference[name], value)
        if change.kind == "float" and math.isfinite(change.relative):
            found[name] = min(CONDITIONING_LIMIT, 4 * change.relative)
    return found
