"""Batching: curves over the batch, the best batch under limits, and the rule of thumb.

Weights are shared by a batch: traffic is W + B A and the working set M + B A_peak, not B times either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation import Array
from ..fusion import batched_traffic, batched_working_set
from ..predict import Predictor

GOOD_EFFICIENCY = 0.8


@dataclass(frozen=True)
class BatchCurve:
    """What a batch costs, for n batches.

    Attributes:
        symbol: the dimension that grows.
        batches: its values ``[n]``.
        seconds: of a whole batch: low, expected and high ``[3, n]``.
        joules: of a whole batch ``[3, n]``.
        traffic: bytes that the kernels of a batch touch, weights once ``[n]``.
        working_set: bytes of weights and of the peak of activations ``[n]``.
        weight_traffic: W of W + B A, bytes.
        item_traffic: A of W + B A, bytes.
        weight_bytes: M of M + B A_peak.
        item_peak: A_peak of M + B A_peak.
        linear: whether both forms hold for all batches.
    """

    symbol: str
    batches: Array
    seconds: Array
    joules: Array
    traffic: Array
    working_set: Array
    weight_traffic: float
    item_traffic: float
    weight_bytes: float
    item_peak: float
    linear: bool

    @property
    def throughput(self) -> Array:
        """Items per second ``[n]``."""
        return self.batches / self.seconds[1]

    @property
    def efficiency(self) -> Array:
        """Thr(B) / (B Thr(1)) relative to the first batch of the curve: 1 when further items cost nothing ``[n]``."""
        return efficiency(self.batches, self.seconds[1])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "symbol": self.symbol,
            "batches": [int(b) for b in self.batches],
            "seconds": [[float(x) for x in column] for column in self.seconds.T],
            "joules": [[float(x) for x in column] for column in self.joules.T],
            "throughput": self.throughput.tolist(),
            "efficiency": self.efficiency.tolist(),
            "traffic": self.traffic.tolist(),
            "working_set": self.working_set.tolist(),
            "bandwidth": (self.traffic / self.seconds[1]).tolist(),
            "weight_traffic": self.weight_traffic,
            "item_traffic": self.item_traffic,
            "weight_bytes": self.weight_bytes,
            "item_peak": self.item_peak,
            "linear": self.linear,
        }


def efficiency(batches: Sequence[float] | Array, seconds: Sequence[float] | Array) -> Array:
    """Thr(B) / (B Thr(b0)) times b0, for the first batch b0: T(b0) / T(B) when it is 1. Of predicted or measured times.

    >>> efficiency([1, 2, 4], [1.0, 1.25, 2.0]).tolist()
    [1.0, 0.8, 0.5]
    """
    sizes, times = np.asarray(batches, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    return (sizes / times) / (sizes / sizes[0] * (sizes[0] / times[0]))


def batch_curve(predictor: Predictor, symbol: str, batches: Sequence[int], bindings: Mapping[str, int] | None = None) -> BatchCurve:
    """The curve of a model over one of its symbols.

    Raises:
        Diagnostic: E1010 to E1012 as `Predictor.sweep`.
    """
    points: dict[str, Any] = {**(bindings or {}), symbol: list(batches)}
    swept = predictor.sweep(points)
    sizes = np.asarray(batches, dtype=np.float64)
    traffic = touched_bytes(predictor, points)
    probe = {**points, symbol: [1, 2]}
    first, second = touched_bytes(predictor, probe)
    peak_first, peak_second = predictor.sweep(probe).peak_bytes
    item, item_peak = float(second - first), float(peak_second - peak_first)
    shared, weights = float(first - item), float(swept.weight_bytes[0])
    straight = [batched_traffic(shared, item, int(b)) for b in batches]
    peaks = [batched_working_set(weights + float(peak_first) - item_peak, item_peak, int(b)) for b in batches]
    working_set = swept.weight_bytes + swept.peak_bytes
    linear = bool(np.allclose(straight, traffic, rtol=1e-6) and np.allclose(peaks, working_set, rtol=1e-6))
    return BatchCurve(symbol, sizes, swept.seconds, swept.joules, traffic, working_set, shared, item, weights, item_peak, linear)


def touched_bytes(predictor: Predictor, points: Mapping[str, Any]) -> Array:
    """Bytes that all kernels of an inference touch, every operand once ``[n]``."""
    sized = predictor.compiled.at(points)
    return (sized.bytes * sized.count).sum(axis=0)


@dataclass(frozen=True)
class BestBatch:
    """The best batch.

    Attributes:
        batch: its size; None when none meets the limits.
        price: latency in seconds times `latency_price` plus `item_price` times seconds per item.
        limited_by: ``memory``, ``latency`` or empty: which limit excluded the next better batch.
    """

    batch: int | None
    price: float
    limited_by: str = ""


def best_batch(
    curve: BatchCurve, *, memory: float = math.inf, latency: float = math.inf, latency_price: float = 0.0, item_price: float = 1.0
) -> BestBatch:
    """argmin over B of L(B) cL + cT / Thr(B), among batches that fit.

    Args:
        curve: what batches cost.
        memory: bytes that weights and activations may take.
        latency: seconds that a batch may take (expected).
        latency_price: cL, price of a second of latency.
        item_price: cT, price of a second of the machine's time, per item.
    """
    seconds = curve.seconds[1]
    price = seconds * latency_price + item_price / curve.throughput
    fits, fast = curve.working_set <= memory, seconds <= latency
    allowed = fits & fast
    if not allowed.any():
        return BestBatch(None, math.inf, "memory" if not fits.any() else "latency")
    chosen = int(np.argmin(np.where(allowed, price, np.inf)))
    better = price < price[chosen]
    limit = "memory" if np.any(better & ~fits) else "latency" if np.any(better & ~fast) else ""
    return BestBatch(int(curve.batches[chosen]), float(price[chosen]), limit)


def grown_batch(curve: BatchCurve, memory: float = math.inf, least: float = GOOD_EFFICIENCY) -> int:
    """The rule of thumb: grow the batch while its efficiency stays at `least` and its working set, weights once, fits the memory."""
    chosen = int(curve.batches[0])
    for batch, share, size in zip(curve.batches, curve.efficiency, curve.working_set, strict=True):
        if share < least or size > memory:
            break
        chosen = int(batch)
    return chosen
