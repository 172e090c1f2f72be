"""What bounds every node, with the evidence; and the roofs of an engine as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..kernels import CONTRACTIONS
from ..prediction import GraphPrediction, Prediction
from ..roofline import Roofs


def ridge_point(peak: float, bandwidth: float) -> float:
    """Operations per byte at which arithmetic and memory take equally long.

    >>> ridge_point(1e12, 25.6e9)
    39.0625
    """
    return peak / bandwidth


@dataclass(frozen=True)
class Bottleneck:
    """What bounds a node.

    Attributes:
        name: the node.
        kind: ``compute``, ``memory``, ``dispatch`` or ``none`` (views).
        level: the memory level whose bytes take longest.
        intensity: operations per byte that pass through that level; None when none pass.
        ridge: the intensity at which the node's own kind of arithmetic, as its class attains it, balances that level.
        share: of the time of the model.
        evidence: the reason in one line.
    """

    name: str
    kind: str
    level: str
    intensity: float | None
    ridge: float
    share: float
    evidence: str


def bottlenecks(prediction: GraphPrediction, roofs: Roofs) -> list[Bottleneck]:
    """What bounds every node of a prediction, in its order.

    Args:
        prediction: made with the same engine and setting.
        roofs: the engine's roofs.
    """
    total = sum(node.seconds[1] for node in prediction.nodes) or 1.0
    return [_bottleneck(node, roofs, node.seconds[1] / total) for node in prediction.nodes]


def attained_peak(roofs: Roofs, node: Prediction) -> float:
    """Operations per second that the node's class attains in its element type when operands are near."""
    contracts = node.macs > 0 or node.kernel in CONTRACTIONS
    dtype = node.dtype if contracts or node.dtype[0] != "i" else "f32"
    return roofs.peak(dtype, not contracts)[0].value * roofs.efficiency(node.kernel if contracts else "elementwise")[1]


def memory_seconds(roofs: Roofs, node: Prediction) -> list[float]:
    """Seconds that the bytes through every level take."""
    return [node.traffic.get(level.name, 0.0) / level.bandwidth.value for level in roofs.levels]


def _bottleneck(node: Prediction, roofs: Roofs, share: float) -> Bottleneck:
    times = memory_seconds(roofs, node)
    slowest = max(range(len(times)), key=times.__getitem__)
    level = roofs.levels[slowest]
    moved = node.traffic.get(level.name, 0.0)
    peak = attained_peak(roofs, node)
    ridge = ridge_point(peak, level.bandwidth.value)
    intensity = node.flops / moved if moved else None
    kind = node.bound if node.bound in ("compute", "dispatch") else "memory"
    if node.seconds[1] == 0.0:
        return Bottleneck(node.name, "none", level.name, intensity, ridge, 0.0, "free: the result shares the operand's memory")
    evidence = _evidence(node, kind, level.name, intensity, ridge, max(node.flops / peak, *times))
    return Bottleneck(node.name, kind, level.name, intensity, ridge, share, evidence)


def _evidence(node: Prediction, kind: str, level: str, intensity: float | None, ridge: float, work: float) -> str:
    if kind == "dispatch":
        return f"launch-bound: {node.seconds[1] * 1e6:.3g} us for work that needs {work * 1e6:.3g} us"
    ai = "no bytes" if intensity is None else f"AI {intensity:.3g} FLOP/B"
    if kind == "memory":
        if intensity is not None and intensity >= ridge:
            return f"memory-bound: {level} measured slower than its roof; {ai} at a ridge of {ridge:.3g}"
        return f"memory-bound: {ai} below the ridge {ridge:.3g} of {level}"
    if intensity is not None and intensity < ridge:
        return f"compute-bound: {ai} below the ridge {ridge:.3g} of {level}, but padding, idle units or slow operations take the time"
    return f"compute-bound: {ai} above the ridge {ridge:.3g} of {level}"


def bound_shares(prediction: GraphPrediction) -> dict[str, float]:
    """Shares of the time by what bounds it; ``run`` is the overhead of an inference. They add up to 1."""
    found: dict[str, float] = {}
    for node in prediction.nodes:
        found[node.bound] = found.get(node.bound, 0.0) + node.seconds[1]
    found["run"] = prediction.run_seconds[1]
    total = sum(found.values())
    return {name: seconds / total if total else 0.0 for name, seconds in found.items() if seconds}


def roofline_facts(roofs: Roofs) -> dict[str, Any]:
    """Peaks by element type, bandwidths and ridge points of an engine, as plain data."""
    peaks = {dtype: roofs.peak(dtype)[0].value for dtype in roofs.engine.peak}
    levels = [
        {
            "name": level.name,
            "bytes": level.capacity,
            "bandwidth": level.bandwidth.value,
            "ridge": {dtype: ridge_point(peak, level.bandwidth.value) for dtype, peak in peaks.items()},
        }
        for level in roofs.levels
    ]
    return {"engine": roofs.engine.name, "kind": roofs.engine.kind, "units": roofs.units, "peaks": peaks, "levels": levels}


def bottleneck_facts(found: Sequence[Bottleneck]) -> list[dict[str, Any]]:
    """Bottlenecks as plain data."""
    return [asdict(one) for one in found]
