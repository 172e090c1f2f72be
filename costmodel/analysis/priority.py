"""Where work pays: Amdahl's law, and a ranking of nodes by share of the time, potential and ease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..prediction import GraphPrediction
from ..roofline import Roofs
from .bottleneck import memory_seconds

EASE: dict[str, float] = {  # how easily a class gets faster, from 0 to 1: a judgement, replace it by your own
    "movement": 0.9,  # assign layouts, merge or remove
    "elementwise": 0.9,  # fuse
    "quantize": 0.8,
    "normalization": 0.7,
    "softmax": 0.6,
    "reduction": 0.6,
    "control": 0.6,
    "attention": 0.5,
    "gemm": 0.5,  # quantise
    "gemv": 0.5,
    "conv-direct": 0.5,
    "conv-im2col": 0.5,
    "conv-grouped": 0.4,
    "conv-depthwise": 0.4,
    "recurrent": 0.2,
}
DEFAULT_EASE = 0.3


def amdahl(share: float, speedup: float) -> float:
    """The speed-up of the whole when a share of its time becomes faster: 1 / ((1 - p) + p / s).

    >>> amdahl(0.5, 2.0)
    1.3333333333333333
    """
    return 1.0 / ((1.0 - share) + share / speedup)


@dataclass(frozen=True)
class Weights:
    """Exponents of the terms of a priority, and the ease of classes.

    Attributes:
        time: of the share of the time.
        potential: of the share of its own time that a node could lose.
        ease: of the ease of its class.
        eases: by kernel class; `EASE` where absent.
    """

    time: float = 1.0
    potential: float = 1.0
    ease: float = 1.0
    eases: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Priority:
    """One node in the ranking.

    Attributes:
        name: the node.
        kernel: its class.
        time: its share of the time.
        potential: 1 - T_roof / T: what is lost against the full peak and the full bandwidth of the last level, every operand touched once.
        ease: of its class.
        score: time^a potential^b ease^c.
        speedup: of the node when it reaches its roof.
        whole_speedup: of the model then, by Amdahl's law.
    """

    name: str
    kernel: str
    time: float
    potential: float
    ease: float
    score: float
    speedup: float
    whole_speedup: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def priorities(prediction: GraphPrediction, roofs: Roofs, weights: Weights | None = None) -> list[Priority]:
    """All nodes that take time, the most rewarding first."""
    chosen = weights or Weights()
    total = prediction.seconds[1]
    eases = {**EASE, **(chosen.eases or {})}
    found: list[Priority] = []
    for node in prediction.nodes:
        if node.seconds[1] <= 0.0:
            continue
        peak = roofs.peak(node.dtype, vector=node.macs == 0)[0].value
        roof = min(max(node.flops / peak, memory_seconds(roofs, node)[-1]), node.seconds[1])
        share, potential = node.seconds[1] / total, 1.0 - roof / node.seconds[1]
        ease = eases.get(node.kernel, DEFAULT_EASE)
        score = share**chosen.time * potential**chosen.potential * ease**chosen.ease
        speedup = node.seconds[1] / roof if roof > 0 else 1e9
        found.append(Priority(node.name, node.kernel, share, potential, ease, score, speedup, amdahl(share, speedup)))
    return sorted(found, key=lambda p: (-p.score, p.name))
