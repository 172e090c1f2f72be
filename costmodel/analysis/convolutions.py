"""Arithmetic intensity of convolutions by channels, size and element type, and what the roofs of an engine make of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Graph, constant
from ...ir.ops.conv import Conv
from ...ir.types import TensorType
from ..hardware import Engine, MemoryLevel, Quantity, Target
from ..precision import BITS
from ..roofline import Roofs, roofs_of
from ..traffic import convolution_work, depthwise_work
from .bottleneck import ridge_point


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1 that keeps size and channels.

    Attributes:
        side: k of a k x k kernel.
        depthwise: whether every channel has a kernel of its own.
        channels: C, and K as well.
        size: H and W.
        dtype: short name of the element type of operand, weights and result.
        batch: items.
    """

    side: int
    depthwise: bool
    channels: int
    size: int
    dtype: str = "f32"
    batch: int = 1

    @property
    def kernel(self) -> str:
        """The kernel's form: ``1x1``, ``3x3``, ``dw3x3``."""
        return f"{'dw' if self.depthwise else ''}{self.side}x{self.side}"

    @property
    def flops(self) -> int:
        """Operations, two per multiply-accumulate."""
        return self._work[0]

    @property
    def bytes(self) -> float:
        """Bytes of operand, weights and result, each touched once."""
        return self._work[1] * (BITS.get(self.dtype, 32) or 32) / 8

    @property
    def intensity(self) -> float:
        """Operations per byte: 2 B C K k² HW / (bytes (B C HW + K C k² + B K HW)).

        >>> [round(Convolution(k, False, 64, 56).intensity, 1) for k in (1, 3)], round(Convolution(3, True, 64, 56).intensity, 2)
        ([15.8, 131.9], 2.25)
        """
        return self.flops / self.bytes

    @property
    def _work(self) -> tuple[int, int]:
        taps = self.side * self.side
        if self.depthwise:
            return depthwise_work(self.channels, self.size, taps, self.batch)
        return convolution_work(self.channels, self.size, taps, None, self.batch)


def convolutions(
    kernels: Iterable[tuple[int, bool]], channels: Iterable[int], sizes: Iterable[int], dtypes: Iterable[str], batch: int = 1
) -> list[Convolution]:
    """All combinations, those of one element type, channels and size together."""
    return [
        Convolution(side, depthwise, count, size, dtype, batch)
        for dtype, count, size, (side, depthwise) in product(dtypes, channels, sizes, tuple(kernels))
    ]


def attainable(intensity: float, peak: float, bandwidth: float) -> float:
    """Operations per second under a roof: min(peak, intensity x bandwidth).

    >>> attainable(15.8, 1e12, 25.6e9) / 1e9
    404.48
    """
    return min(peak, intensity * bandwidth)


def stated_target(peaks: Mapping[str, float], bandwidth: float, default: float | None = None) -> Target:
    """A target of two numbers: one engine without overheads that attains its peaks, and one memory.

    Args:
        peaks: operations per second by element type.
        bandwidth: bytes per second of the memory.
        default: the peak of every other type.
    """

    def exact(value: float, unit: str) -> Quantity:
        return Quantity(value, unit, "estimate", "given on the command line", value, value)

    table = {dtype: exact(default, "ops/s") for dtype in BITS} if default is not None else {}
    table |= {dtype: exact(value, "ops/s") for dtype, value in peaks.items()}
    memory = MemoryLevel("memory", exact(math.inf, "B"), exact(bandwidth, "B/s"), scope="target")
    engine = Engine(
        "stated", "gpu", 1, exact(1e9, "Hz"), table, (memory,), exact(0.0, "s"), exact(0.0, "s"),
        efficiency={"default": exact(1.0, "1")}, memory_efficiency=exact(1.0, "1"),
    )  # fmt: skip
    return Target("stated", "two numbers", "board", (engine,), "stated", memory)


def convolution_facts(case: Convolution, roofs: Roofs) -> dict[str, Any]:
    """A row of the table: what the farthest memory and the peak allow, every operand read from there once.

    ``near`` is the nearest level that can keep all operands between kernels; ``attainable_near`` what its roof allows when they are there.
    """
    peak, native = roofs.peak(case.dtype)
    far = roofs.levels[-1]
    near = next((level for level in roofs.levels if case.bytes <= level.retained), far)
    ridge = ridge_point(peak.value, far.bandwidth.value)
    rate = attainable(case.intensity, peak.value, far.bandwidth.value)
    return {
        "kernel": case.kernel,
        "depthwise": case.depthwise,
        "channels": case.channels,
        "size": case.size,
        "batch": case.batch,
        "dtype": case.dtype,
        "native": native,
        "flops": case.flops,
        "bytes": math.ceil(case.bytes),
        "intensity": case.intensity,
        "ridge": ridge,
        "attainable": rate,
        "share": rate / peak.value,
        "bound": "compute" if case.intensity >= ridge else far.name,
        "near": near.name,
        "attainable_near": attainable(case.intensity, peak.value, near.bandwidth.value),
    }


def nominal_bandwidths(roofs: Roofs) -> list[float]:
    """Bandwidths of the levels as specification sheets state them, bytes per second: `Roofs` has what streams attain of them."""
    engine = roofs.engine
    whole = Quantity(1.0, "1", "computed", "the nominal figure", 1.0, 1.0)
    return [level.bandwidth.value for level in roofs_of(replace(engine, memory_efficiency=whole), roofs.setting).levels]


def convolution_graph(cases: Sequence[Convolution]) -> Graph:
    """The convolutions side by side in one graph of float32, for predictions in any precision."""
    graph = Graph()
    results = []
    for case in cases:
        label = f"{case.kernel} {case.channels}ch {case.size}x{case.size}"
        x = graph.add_input(f"x {label}", TensorType(DType.FLOAT, (case.batch, case.channels, case.size, case.size)))
        shape = (case.channels, 1 if case.depthwise else case.channels, case.side, case.side)
        weight = constant(np.broadcast_to(np.zeros((), np.float32), shape), f"w {label}")
        before, after = (case.side - 1) // 2, case.side // 2
        op = Conv(pads=(before, before, after, after), group=case.channels if case.depthwise else 1)
        results.append(graph.insert(op, [x, weight], name=label).output)
    graph.set_outputs(results, [f"y{i}" for i in range(len(results))])
    return graph
