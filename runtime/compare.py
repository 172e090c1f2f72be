"""Measures of how far two arrays differ; pure numpy, safe for zero norms, NaN, infinities and empty arrays."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
QUANTILES = (0.0, 0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9, 100.0)
RESERVOIR = 65536  # the most elements per tensor that the quantile table is made from


@dataclass(frozen=True)
class Difference:
    """How an array differs from a reference.

    Attributes:
        kind: ``float``, ``exact`` (integers, bools, strings) or ``shape`` when the shapes differ.
        relative: ||a-b|| / ||a|| in the Euclidean norm; for a zero reference 0 when b is zero too, else
            infinity. For exact kinds the share of unequal elements.
        max_abs: the largest absolute difference; 0 for strings.
        reference_norm: ||a||, for pooling over samples.
        difference_norm: ||a-b||.
        mismatch: share of unequal elements (for floats: NaN, infinities and their signs only).
        elements: number of elements compared.
    """

    kind: str
    relative: float
    max_abs: float = 0.0
    reference_norm: float = 0.0
    difference_norm: float = 0.0
    mismatch: float = 0.0
    elements: int = 0

    @property
    def sqnr(self) -> float:
        """Signal to noise ratio in dB; infinity for equal arrays."""
        return sqnr_db(self.relative) if self.kind == "float" else math.inf if self.relative == 0 else 0.0


def sqnr_db(relative: float) -> float:
    """The signal to noise ratio in dB that a relative error means.

    >>> sqnr_db(0.01)
    40.0
    """
    if relative == 0:
        return math.inf
    return -math.inf if math.isinf(relative) else -20 * math.log10(relative)


def difference(reference: Any, other: Any) -> Difference:
    """Compare an array (or a list of arrays) with its reference.

    Elements that are NaN in both, or the same infinity in both, count as equal and are left out of the norms;
    a NaN or an infinity on one side only makes the relative error infinite.
    """
    if isinstance(reference, list | tuple) or isinstance(other, list | tuple):
        return _sequence_difference(reference, other)
    if reference is None or other is None:
        same = reference is None and other is None
        return Difference("exact", 0.0 if same else math.inf, mismatch=0.0 if same else 1.0, elements=1)
    a, b = np.asarray(reference), np.asarray(other)
    if a.shape != b.shape:
        return Difference("shape", math.inf, math.inf, mismatch=1.0, elements=int(a.size))
    if is_float(a) or is_float(b):
        return _float_difference(a, b)
    return _exact_difference(a, b)


def is_float(array: Array) -> bool:
    """Whether the elements are real or complex floating-point numbers, ml_dtypes included."""
    if array.dtype.kind in "fc":
        return True
    return array.dtype.kind == "V" and "float" in array.dtype.name


def as_float(array: Array) -> Array:
    """The array as float64 or, for complex elements, as pairs of float64."""
    if array.dtype.kind == "c":
        array = np.stack((np.real(array), np.imag(array)), axis=-1)
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64)


def comparable(value: Any) -> bool:
    """Whether an output holds anything that a comparison could find different: an element that is neither NaN nor infinite."""
    if isinstance(value, list | tuple):
        return any(comparable(item) for item in value)
    if value is None or isinstance(value, dict):
        return bool(value)
    array = np.asarray(value)
    return bool(np.isfinite(as_float(array)).any()) if is_float(array) else array.size > 0


def _float_difference(reference: Array, other: Array) -> Difference:
    if reference.dtype.kind in "OSU" or other.dtype.kind in "OSU":
        return Difference("exact", 1.0, mismatch=1.0, elements=int(reference.size))
    a, b = as_float(reference).reshape(-1), as_float(other).reshape(-1)
    finite = np.isfinite(a) & np.isfinite(b)
    mismatch = 0.0
    if not finite.all():
        special = ~finite
        left, right = a[special], b[special]
        with np.errstate(invalid="ignore"):
            equal = (left == right) | (np.isnan(left) & np.isnan(right))
        mismatch = float(np.count_nonzero(~equal)) / max(a.size, 1)
        a, b = a[finite], b[finite]
    delta = a - b
    reference_norm, difference_norm = _norm(a), _norm(delta)
    relative = relative_error(reference_norm, difference_norm) if mismatch == 0 else math.inf
    largest = float(np.abs(delta).max()) if delta.size else 0.0
    return Difference("float", relative, largest, reference_norm, difference_norm, mismatch, int(reference.size))


def _norm(flat: Array) -> float:
    """The Euclidean norm without overflow for elements near the end of the range."""
    largest = float(np.abs(flat).max()) if flat.size else 0.0
    if largest == 0.0 or 1e-140 < largest < 1e140:
        return float(np.sqrt(np.square(flat).sum()))
    return largest * float(np.linalg.norm(flat / largest))


def relative_error(reference_norm: float, difference_norm: float) -> float:
    """Difference over reference, 0 for two zeros, infinity when only the reference is zero.

    >>> relative_error(0.0, 0.0), relative_error(0.0, 1.0), relative_error(4.0, 1.0)
    (0.0, inf, 0.25)
    """
    if reference_norm == 0:
        return 0.0 if difference_norm == 0 else math.inf
    return difference_norm / reference_norm


def _exact_difference(reference: Array, other: Array) -> Difference:
    unequal = reference != other
    rate = float(np.count_nonzero(unequal)) / max(reference.size, 1)
    largest = 0.0
    if rate and reference.dtype.kind not in "OSU" and other.dtype.kind not in "OSU":
        a, b = reference[unequal], other[unequal]
        if a.dtype.kind in "iub" and b.dtype.kind in "iub":
            largest = float(max(abs(int(x) - int(y)) for x, y in zip(_extremes(a, b), _extremes(b, a), strict=True)))
        else:
            largest = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
    return Difference("exact", rate, largest, mismatch=rate, elements=int(reference.size))


def _extremes(a: Array, b: Array) -> list[Any]:
    """The elements of ``a`` where the two are farthest apart (found in float, so that the exact difference
    needs two elements only).
    """
    gap = a.astype(np.float64) - b.astype(np.float64)
    return [a[int(np.argmax(gap))], a[int(np.argmin(gap))]]


def _sequence_difference(reference: Any, other: Any) -> Difference:
    a = list(reference) if isinstance(reference, list | tuple) else [reference]
    b = list(other) if isinstance(other, list | tuple) else [other]
    if len(a) != len(b):
        return Difference("shape", math.inf, math.inf, mismatch=1.0, elements=len(a))
    if a and all(isinstance(item, dict) for item in (*a, *b)):
        a = [np.array([item[key] for key in sorted(item)]) for item in a]
        b = [np.array([item[key] for key in sorted(item)]) for item in b]
    parts = [difference(x, y) for x, y in zip(a, b, strict=True)]
    return pooled(parts) if parts else Difference("exact", 0.0)


def pooled(parts: list[Difference]) -> Difference:
    """The difference of all parts together, as if their elements were in one array."""
    if len(parts) == 1:
        return parts[0]
    kind = "shape" if any(p.kind == "shape" for p in parts) else "float" if any(p.kind == "float" for p in parts) else "exact"
    elements = sum(p.elements for p in parts)
    mismatch = sum(p.mismatch * p.elements for p in parts) / max(elements, 1)
    reference = math.sqrt(sum(p.reference_norm**2 for p in parts))
    delta = math.sqrt(sum(p.difference_norm**2 for p in parts))
    if kind == "exact":
        relative = mismatch
    else:
        relative = math.inf if any(math.isinf(p.relative) and p.mismatch for p in parts) else relative_error(reference, delta)
    return Difference(kind, relative, max(p.max_abs for p in parts), reference, delta, mismatch, elements)


@dataclass
class Moments:
    """Count, mean and variance of the finite elements, minimum and maximum, gathered over any number of
    arrays.

    Attributes:
        at_minimum: elements equal to the minimum; with `at_maximum` the saturation at both ends.
    """

    count: int = 0
    mean: float = 0.0
    square: float = 0.0  # sum of squared deviations
    minimum: float = math.inf
    maximum: float = -math.inf
    at_minimum: int = 0
    at_maximum: int = 0
    stride: int = 1  # every how many elements one is kept for the quantiles
    reservoir: Array = field(default_factory=lambda: np.empty(0, np.float32), repr=False)

    def add(self, array: Array) -> None:
        """Take in the elements of one more array."""
        flat = as_float(np.asarray(array)).reshape(-1)
        if not np.isfinite(flat).all():
            flat = flat[np.isfinite(flat)]
        if not flat.size:
            return
        count = self.count + flat.size
        self._keep(flat)
        mean = float(flat.mean())
        shift = mean - self.mean
        deviation = flat - mean
        self.square += float(np.square(deviation).sum()) + shift * shift * self.count * flat.size / count
        self.mean += shift * flat.size / count
        self.count = count
        low, high = float(flat.min()), float(flat.max())
        if low <= self.minimum:
            self.at_minimum = int(np.count_nonzero(flat == low)) + (self.at_minimum if low == self.minimum else 0)
            self.minimum = low
        if high >= self.maximum:
            self.at_maximum = int(np.count_nonzero(flat == high)) + (self.at_maximum if high == self.maximum else 0)
            self.maximum = high

    def _keep(self, flat: Array) -> None:
        """Keep every `stride`-th of all elements so far, whatever the arrays are that they came in."""
        while (self.count + flat.size) > self.stride * RESERVOIR:
            self.stride *= 2
            self.reservoir = self.reservoir[::2]
        self.reservoir = np.concatenate((self.reservoir, flat[-self.count % self.stride :: self.stride].astype(np.float32)))

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.square / self.count) if self.count else 0.0

    def saturation(self) -> tuple[float, float]:
        """The shares of elements that sit exactly at the minimum and at the maximum."""
        if not self.count or self.minimum == self.maximum:
            return 0.0, 0.0
        return self.at_minimum / self.count, self.at_maximum / self.count

    def quantiles(self) -> list[float]:
        """The values at `QUANTILES` percent; the two ends are exact, the rest come from an evenly spaced
        subset of all samples where there are more than `RESERVOIR` elements.
        """
        if not self.count:
            return [math.nan] * len(QUANTILES)
        table = [float(q) for q in np.percentile(self.reservoir, QUANTILES)]
        table[0], table[-1] = self.minimum, self.maximum
        return table


@dataclass(frozen=True)
class Drift:
    """How the distribution of a tensor moved.

    Attributes:
        mean_shift: |mu1-mu2| / (sigma1 + eps): in standard deviations, so that a mean near zero does no harm.
        variance_ratio: sigma2**2 / sigma1**2; `variance_shift` is |sigma1**2 - sigma2**2| / sigma1**2.
        saturation_low: share of elements at the minimum, reference and other.
        saturation_high: share of elements at the maximum, reference and other.
    """

    mean_shift: float
    variance_ratio: float
    saturation_low: tuple[float, float]
    saturation_high: tuple[float, float]

    @property
    def variance_shift(self) -> float:
        """|sigma1**2 - sigma2**2| / sigma1**2."""
        return abs(1 - self.variance_ratio)

    def flags(self, limit: float = 0.02) -> list[str]:
        """What looks wrong: ``bias``, ``gain``, ``saturation-low``, ``saturation-high``; ``limit`` is in
        relative terms.
        """
        found = []
        if self.mean_shift > limit:
            found.append("bias")
        if not 1 / (1 + 2 * limit) <= self.variance_ratio <= 1 + 2 * limit:
            found.append("gain")
        for name, (reference, other) in (("low", self.saturation_low), ("high", self.saturation_high)):
            if other - reference > SATURATION_EXCESS:
                found.append(f"saturation-{name}")
        return found

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {**asdict(self), "variance_shift": self.variance_shift}


SATURATION_EXCESS = 0.002  # of all elements beyond the reference's own share at that end


def drift(reference: Moments, other: Moments) -> Drift:
    """The drift between the distributions of a tensor in two models."""
    sigma = reference.deviation
    scale = max(abs(reference.minimum), abs(reference.maximum)) if reference.count else 0.0
    # a constant tensor has no spread to measure by: its rounding error must not count as drift
    floor = 1e-12 + 1e-7 * scale
    shift = abs(reference.mean - other.mean) / (sigma + floor)
    ratio = (other.deviation**2 + floor**2) / (sigma**2 + floor**2)
    (low1, high1), (low2, high2) = reference.saturation(), other.saturation()
    return Drift(shift, ratio, (low1, low2), (high1, high2))
