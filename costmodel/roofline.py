"""The hierarchical roofline: what a specification sheet says about the time of a kernel, and how sure that is.

T = dispatch + (Tc^p + Tm^p)^(1/p). Tc is the time of arithmetic at the attained share of the peak, padding and whole waves included. Tm
is the greatest over the memory levels of the bytes that pass through a level divided by its bandwidth. p is the engine's overlap
exponent: 1 adds the two, infinity takes the greater one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compiled import Sized
from .evaluation import Array
from .hardware import Engine, MemoryLevel, Quantity
from .kernels import CONTRACTIONS, KERNELS, Blocks, matrix_shape, tiles
from .precision import BITS
from .traffic import bounded_traffic

SOFTNESS = 1.0  # octaves over which a cache loses a tensor
GENERIC: dict[str, tuple[float, float, float]] = {  # low, expected and high share of the peak where a target says nothing
    "cpu": (0.08, 0.35, 0.9),
    "gpu": (0.06, 0.3, 0.85),
    "npu": (0.03, 0.25, 0.8),
    "dsp": (0.03, 0.25, 0.8),
    "mcu": (0.1, 0.4, 0.85),
}
GENERIC_MEMORY = (0.4, 0.7, 0.95)
MOST_OVERLAP = 64.0  # exponents beyond this count as infinite
WAVES = ((1, 1.0), (2, 1.25), (4, 1.6))  # smaller tiles that libraries fall back to, and what these cost
_ALIASES = {"u8": "i8", "bool": "i8", "u4": "i4", "u2": "i2", "u16": "i16", "u32": "i32", "u64": "i64", "f8e5m2": "f8e4m3fn"}
_FALLBACKS = {
    "i2": ("i4",), "i4": ("i8",), "i8": ("i16", "f16"), "i16": ("i32", "f16"), "i32": ("f32",), "i64": ("i32", "f32"), "f64": ("f32",),
    "f8e4m3fn": ("f16", "bf16"), "bf16": ("f16", "f32"), "f16": ("bf16", "f32"), "f32": ("tf32", "f16", "bf16"),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """How an engine is run.

    Attributes:
        units: cores that work; None for all.
        core: the core clock relative to the one that the peaks refer to.
        memory: the memory clock relative to the one that the bandwidth refers to.
        overlap: the exponent p in place of the engine's; ``1`` is the sum, ``math.inf`` the maximum.
    """

    units: int | None = None
    core: float = 1.0
    memory: float = 1.0
    overlap: float | None = None


@dataclass(frozen=True)
class Level:
    """A memory level as one run of an engine sees it: capacity of all units that work, what survives between kernels, bandwidth."""

    name: str
    capacity: float
    retained: float
    bandwidth: Quantity
    energy: Quantity | None


@dataclass(frozen=True)
class Roofs:
    """The roofs of an engine in a setting."""

    engine: Engine
    setting: Setting
    levels: tuple[Level, ...]

    @property
    def units(self) -> int:
        """Units that work."""
        return min(self.setting.units or self.engine.units, self.engine.units)

    @property
    def overlap(self) -> float:
        """The exponent p."""
        chosen = self.setting.overlap if self.setting.overlap is not None else self.engine.overlap
        return math.inf if chosen >= MOST_OVERLAP else chosen

    def peak(self, dtype: str, vector: bool = False) -> tuple[Quantity, bool]:
        """Operations per second in an element type, and whether the engine has that type natively."""
        table: Mapping[str, Quantity] = self.engine.peak
        if vector and self.engine.vector_peak:
            table = self.engine.vector_peak
        wanted = _ALIASES.get(dtype, dtype)
        factor = self.setting.core * self.units / self.engine.units
        if wanted in table:
            return table[wanted].scaled(factor), True
        seen = [wanted]
        for name in seen:
            for other in _FALLBACKS.get(name, ("f32",)):
                if other in table:
                    slower = 0.5 if dtype in ("f64", "i64") else 1.0
                    return table[other].scaled(factor * slower), False
                if other not in seen:
                    seen.append(other)
        best = min(table.values(), key=lambda q: q.value)
        return best.scaled(factor), False

    def efficiency(self, kernel: str) -> tuple[float, float, float]:
        """Low, expected and high share of the peak that kernels of a class attain."""
        found = self.engine.efficiency.get(kernel) or self.engine.efficiency.get("default")
        return GENERIC[self.engine.kind] if found is None else (found.low, found.value, found.high)

    def blocks(self, dtype: str) -> Blocks:
        """To what the engine pads matrices of an element type."""
        if self.engine.array is not None:
            return Blocks(1, self.engine.array[1], self.engine.array[0])
        bits = BITS.get(dtype, 32) or 32
        lanes = max(self.engine.vector_bytes * 8 // bits, 1) if self.engine.kind in ("cpu", "dsp") else 1
        return Blocks(1, lanes, 1)


def roofs_of(engine: Engine, setting: Setting | None = None) -> Roofs:
    """The roofs of an engine."""
    setting = setting or Setting()
    units = min(setting.units or engine.units, engine.units)
    last = len(engine.memory) - 1
    levels = tuple(_level(engine, level, units, setting, i == last) for i, level in enumerate(engine.memory))
    return Roofs(engine, setting, levels)


def _level(engine: Engine, level: MemoryLevel, units: int, setting: Setting, last: bool) -> Level:
    own = level.scope == "unit"
    bandwidth = level.bandwidth.scaled(units) if own else level.bandwidth
    if not own and level.unit_bandwidth is not None and level.unit_bandwidth.value * units < bandwidth.value:
        bandwidth = level.unit_bandwidth.scaled(units)
    bandwidth = bandwidth.scaled(setting.memory if last else setting.core)
    share = engine.memory_efficiency
    low, expected, high = (share.low, share.value, share.high) if share is not None else GENERIC_MEMORY
    attained = Quantity(
        bandwidth.value * expected, bandwidth.unit, bandwidth.tag, bandwidth.source, bandwidth.low * low, bandwidth.high * high
    )
    capacity = level.bytes.value * (units if own else 1)
    retained = 0.0 if own and engine.kind == "gpu" else capacity
    return Level(level.name, capacity, retained, attained, level.energy)


@dataclass(frozen=True)
class Times:
    """Parts of the time of one run of every kernel, in seconds ``[kernels, n]``, each as (low, expected, high).

    Attributes:
        compute: time of arithmetic.
        memory: time of the slowest memory level.
        dispatch: time to launch.
        level: the position of that level.
        traffic: bytes through every level ``[levels, kernels, n]``.
    """

    compute: tuple[Array, Array, Array]
    memory: tuple[Array, Array, Array]
    dispatch: tuple[Array, Array, Array]
    level: Any
    traffic: Array


def combine(compute: Array, memory: Array, p: float) -> Array:
    """(Tc^p + Tm^p)^(1/p), without overflow."""
    if math.isinf(p):
        return np.maximum(compute, memory)
    greater = np.maximum(compute, memory)
    lesser = np.minimum(compute, memory)
    ratio = np.divide(lesser, greater, out=np.zeros_like(greater), where=greater > 0)
    return greater * (1.0 + ratio**p) ** (1.0 / p)


def kernel_times(sized: Sized, roofs: Roofs) -> Times:
    """The roofline of every kernel."""
    kernels = sized.compiled.schedule.kernels
    compute = _compute(sized, roofs)
    traffic = level_traffic(sized, roofs)
    rates = [(level.bandwidth.high, level.bandwidth.value, level.bandwidth.low) for level in roofs.levels]
    low, expected, high = (np.stack([traffic[j] / rate[i] for j, rate in enumerate(rates)]) for i in range(3))
    launch = roofs.engine.dispatch_s
    idle = ("view", "control") if roofs.engine.kind in ("gpu", "npu", "dsp") else ("view",)  # the host does shape arithmetic
    running = np.array([0.0 if k.geometry.kernel in idle else 1.0 for k in kernels])[:, None]
    shape = np.ones((1, sized.points))
    dispatch = tuple(running * shape * seconds for seconds in (launch.low, launch.value, launch.high))
    memory = (low.max(axis=0), expected.max(axis=0), high.max(axis=0))
    return Times(compute, memory, (dispatch[0], dispatch[1], dispatch[2]), expected.argmax(axis=0), traffic)


def _compute(sized: Sized, roofs: Roofs) -> tuple[Array, Array, Array]:
    """Time of multiply-accumulates at the contraction peak and of the other operations at the vector peak."""
    kernels = sized.compiled.schedule.kernels
    rest = np.maximum(sized.flops - 2.0 * sized.macs, 0.0)
    growth = _growth(sized, roofs)
    coefficients = np.zeros((len(kernels), 2, 3))
    for index, kernel in enumerate(kernels):
        name = kernel.geometry.kernel
        low, expected, high = roofs.efficiency(name)
        if name in CONTRACTIONS or kernel.macs != 0:
            peak, native = roofs.peak(kernel.dtype)
            worse = 1.0 if native else 4.0
            coefficients[index, 0] = _spread(2.0 / (peak.value * expected), (peak, (low, expected, high)), worse)
        low, expected, high = roofs.efficiency("elementwise")
        peak, native = roofs.peak(kernel.dtype if kernel.macs == 0 or kernel.dtype[0] != "i" else "f32", vector=True)
        coefficients[index, 1] = _spread(1.0 / (peak.value * expected), (peak, (low, expected, high)), 1.0 if native else 4.0)
    macs = sized.macs * growth
    parts = [macs * coefficients[:, 0, i, None] + rest * coefficients[:, 1, i, None] for i in range(3)]
    return parts[0], parts[1], parts[2]


def _spread(expected: float, parts: tuple[Quantity, tuple[float, float, float]], worse: float) -> list[float]:
    """Low, expected and high seconds per operation; the logarithms of independent uncertainties add in squares."""
    peak, (low, middle, high) = parts
    fast = math.hypot(math.log(max(peak.high / peak.value, 1.0)), math.log(max(high / middle, 1.0)))
    slow = math.hypot(math.log(max(peak.value / peak.low, 1.0)), math.log(max(middle / low, 1.0)))
    return [expected * math.exp(-fast), expected, expected * math.exp(slow) * worse]


def _growth(sized: Sized, roofs: Roofs) -> Array:
    """Arithmetic with padding and whole waves relative to the multiply-accumulates that are needed ``[kernels, n]``."""
    result = np.ones((sized.compiled.size, sized.points))
    kernels = sized.compiled.schedule.kernels
    for name, group in sized.compiled.groups.items():
        if name not in CONTRACTIONS:
            continue
        sizes = sized.sizes(name)
        dtypes = [kernels[i].dtype for i in group.kernels]
        for dtype in dict.fromkeys(dtypes):
            chosen = np.array([d == dtype for d in dtypes])
            part = {key: value[chosen] for key, value in sizes.items()}
            values = KERNELS[name].compute(part, roofs.blocks(dtype))
            factor = np.divide(values[1], values[0], out=np.ones_like(values[0]), where=values[0] > 0)
            result[group.kernels[chosen]] = factor * _waves(name, part, roofs, values[0].shape)
    return result


def _waves(kernel: str, sizes: Mapping[str, Array], roofs: Roofs, shape: tuple[int, ...]) -> Array:
    """Time of whole waves of tiles over the time of perfect division, with the best of some tile sizes."""
    tile = roofs.engine.tile
    if tile is None or roofs.units < 2:
        return np.ones(shape)
    found = np.full(shape, np.inf)
    for divisor, price in WAVES:
        rows, columns = max(tile[0] // divisor, 1), max(tile[1] // divisor, 1)
        count = tiles(kernel, sizes, rows, columns)
        if count is None:
            return np.ones(shape)
        waves = np.ceil(count / roofs.units)
        found = np.minimum(found, price * waves * roofs.units / np.maximum(count, 1.0))
    return found


def level_traffic(sized: Sized, roofs: Roofs) -> Array:
    """Bytes that every kernel moves through every level ``[levels, kernels, n]``.

    Operands come from the nearest level that still holds them and pass through all nearer ones. Matrix products that fit no nearer
    level read operands again, block by block; temporary memory lies in the nearest level that holds it.
    """
    capacities = [level.retained for level in roofs.levels[:-1]]
    fused = roofs.engine.kind in ("gpu", "npu", "dsp")
    softness = 0.0 if roofs.engine.kind in ("npu", "dsp") else SOFTNESS  # scratchpads hold what the compiler puts there
    sources = np.stack(sized.sources(capacities, softness, apart=fused))
    through = np.cumsum(sources[::-1], axis=0)[::-1].copy()
    kernels = sized.compiled.schedule.kernels
    for name, group in sized.compiled.groups.items():
        sizes = sized.sizes(name)
        matrix = matrix_shape(name, sizes)
        width = np.array([max(BITS.get(kernels[i].dtype, 32) // 8, 1) for i in group.kernels], dtype=np.float64)[:, None]
        if matrix is not None:
            narrow = name in ("gemm", "gemv")  # convolutions touch an element for several positions
            moved = np.minimum(width, _touched_width(matrix, sized.bytes[group.kernels])) if narrow else width
            for position in range(1, len(roofs.levels)):
                near = roofs.levels[position - 1].capacity / width
                blocked = _blocked(matrix, near) * moved
                through[position, group.kernels] = np.maximum(through[position, group.kernels], blocked)
        scratch = KERNELS[name].scratch
        if scratch is not None and not fused:
            elements, passes = scratch(sizes)
            size = elements * width
            for position in range(len(roofs.levels)):
                outside = size > (roofs.levels[position - 1].capacity if position else 0.0)
                through[position, group.kernels] += np.where(outside, passes * size, 0.0)
    return through


def fetched(sized: Sized, roofs: Roofs) -> tuple[Array, Array]:
    """Bytes that every kernel fetches from each level ``[levels, kernels, n]``: of activations, and of constants."""
    capacities = [level.retained for level in roofs.levels[:-1]]
    activations, constants = (
        np.stack(sized.sources(capacities, SOFTNESS, only=chosen)) for chosen in (sized.compiled.reads, sized.compiled.constants)
    )
    return activations, constants


Matrix = tuple[Array, Array, Array, Array, Array]


def _touched_width(matrix: Matrix, touched: Array) -> Array:
    """Bytes per element that a product touches on average: fewer than its arithmetic has when the weights are narrow."""
    batch, m, n, k, left = matrix
    return touched / np.maximum(batch * (left + k * n + m * n), 1.0)


def _blocked(matrix: Matrix, near: Array) -> Array:
    """Elements that must pass to the level beyond one of this capacity; zero where everything fits."""
    batch, m, n, k, left = matrix
    whole = left + k * n + m * n
    result = np.zeros_like(whole)
    for capacity in np.unique(near):
        rows = near[:, 0] == capacity
        outside = whole[rows] > capacity
        result[rows] = np.where(outside, bounded_traffic(batch[rows], m[rows], n[rows], k[rows], float(capacity), left[rows]), 0.0)
    return result
