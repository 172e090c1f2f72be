"""The outcome of a comparison, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .compare import QUANTILES, Difference, Drift, sqnr_db


@dataclass
class ErrorFigures:
    """An error over all samples.

    Attributes:
        relative: pooled over the samples: ||a-b|| / ||a|| (for integers the share of unequal elements).
        worst: the largest of any sample.
        max_abs: the largest absolute difference.
        tolerance: the relative error up to which it counts as rounding.
        noise_floor: how far rounding alone moves the tensor on the worst sample, where that was measured
            because the plain tolerance did not do; ``tolerance`` already takes it into account.
        mismatch: share of unequal elements (floats: NaN and infinities on one side only).
    """

    relative: float
    worst: float
    max_abs: float
    tolerance: float
    mismatch: float = 0.0
    noise_floor: float | None = None

    @property
    def within(self) -> bool:
        """Whether the worst sample stays inside the tolerance."""
        return self.worst <= self.tolerance

    @staticmethod
    def of(parts: list[Difference], pooled: Difference, tolerance: float) -> ErrorFigures:
        """The figures of several samples."""
        worst = max(part.relative for part in parts)
        return ErrorFigures(pooled.relative, worst, pooled.max_abs, tolerance, pooled.mismatch)

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data (infinities as text, which JSON has no numbers for)."""
        return {
            "relative": _number(self.relative),
            "worst": _number(self.worst),
            "sqnr_db": _number(sqnr_db(self.relative)),
            "max_abs": _number(self.max_abs),
            "tolerance": self.tolerance,
            "noise_floor": self.noise_floor,
            "mismatch": self.mismatch,
            "within": self.within,
        }


@dataclass
class LayerReport:
    """One tensor that both models compute.

    Attributes:
        name: the tensor in the second model; ``reference`` in the first.
        nodes: names of the second model's nodes in the layer; ``operators`` their types; ``sources`` the
            source model's nodes.
        dtype: element type in the second model.
        isolated: error of the layer fed with the first model's tensors; None when it could not be fed.
        accumulated: error when both models run from the same inputs.
        random: the tensor depends on random numbers: only its distribution is compared.
        drift: how the distribution moved, of the isolated result where there is one; None for other than
            floats.
        flags: what the distribution shows: ``bias``, ``gain``, ``saturation-low``, ``saturation-high``.
        quantiles: values of both models at `QUANTILES` percent.
    """

    name: str
    reference: str
    nodes: list[str]
    operators: list[str]
    sources: list[str]
    dtype: str
    accumulated: ErrorFigures | None
    isolated: ErrorFigures | None = None
    random: bool = False
    drift: Drift | None = None
    flags: list[str] = field(default_factory=list)
    quantiles: tuple[list[float], list[float]] | None = None

    @property
    def guilty(self) -> bool:
        """Whether the layer itself computes something else: its isolated error, or lacking that its
        accumulated error, is too large.
        """
        if self.isolated is not None:
            return not self.isolated.within
        return self.accumulated is not None and not self.random and not self.accumulated.within

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "name": self.name,
            "reference": self.reference,
            "nodes": self.nodes,
            "operators": self.operators,
            "sources": self.sources,
            "dtype": self.dtype,
            "isolated": None if self.isolated is None else self.isolated.to_json(),
            "accumulated": None if self.accumulated is None else self.accumulated.to_json(),
            "random": self.random,
            **_distribution(self),
        }


@dataclass
class OutputReport:
    """One output of both models, and of the data set where it has expected values.

    Attributes:
        error: the second model against the first.
        expected: the second model against the expected values of the data set, None without such.
        passed: whether ``error`` (for random outputs: the distribution) is acceptable.
        why: what decided, when it is not the plain tolerance.
        drift: how the distribution moved; None for other than floats. ``flags`` and ``quantiles`` as in
            `LayerReport`.
    """

    name: str
    error: ErrorFigures
    passed: bool
    expected: ErrorFigures | None = None
    why: str = ""
    drift: Drift | None = None
    flags: list[str] = field(default_factory=list)
    quantiles: tuple[list[float], list[float]] | None = None

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "name": self.name,
            "error": self.error.to_json(),
            "expected": None if self.expected is None else self.expected.to_json(),
            "passed": self.passed,
            "why": self.why,
            **_distribution(self),
        }


@dataclass
class Report:
    """The comparison of two models.

    Attributes:
        a: the reference; ``b`` what was compared with it.
        samples: names of the samples.
        outputs: the gate.
        layers: in topological order of the second model; empty when one side gives no intermediate tensors.
        unmapped: tensors of the second model without a counterpart in the first.
        notes: what the reader should know.
    """

    a: str
    b: str
    samples: list[str]
    outputs: list[OutputReport]
    layers: list[LayerReport] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance."""
        return all(output.passed for output in self.outputs)

    @property
    def layers_passed(self) -> bool | None:
        """Whether no layer by itself computes something else; None when no layers were compared."""
        return self.first_diverging is None if self.layers else None

    @property
    def first_diverging(self) -> LayerReport | None:
        """The first layer in topological order that itself computes something else; a layer that only
        inherits error is not it.
        """
        return next((layer for layer in self.layers if layer.guilty), None)

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data, ready for `json.dumps`."""
        first = self.first_diverging
        return {
            "a": self.a,
            "b": self.b,
            "passed": self.passed,
            "layers_passed": self.layers_passed,
            "samples": self.samples,
            "outputs": [output.to_json() for output in self.outputs],
            "first_diverging": None if first is None else first.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "unmapped": self.unmapped,
            "notes": self.notes,
        }


def _distribution(item: LayerReport | OutputReport) -> dict[str, Any]:
    table = item.quantiles
    return {
        "drift": None if item.drift is None else _numbers(item.drift.to_json()),
        "flags": item.flags,
        "quantiles": None if table is None else {"percent": list(QUANTILES), "a": _numbers(table[0]), "b": _numbers(table[1])},
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return _number(value) if isinstance(value, float) else value
