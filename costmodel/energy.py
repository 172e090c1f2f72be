"""Energy: counts of actions times energy per action, and static power times time.

The *component* variant is what the engine and the memories draw: arithmetic, bytes through every level, leakage. The *wall* variant adds
the floor of the device (regulators, board, everything that is on while the engine runs) for the time of the inference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .compiled import Sized
from .evaluation import Array
from .hardware import Engine, Quantity, Target
from .model import Estimate
from .roofline import Roofs

HOROWITZ = "M. Horowitz, Computing's Energy Problem, ISSCC 2014, 45 nm"
# picojoules at 45 nm: multiplication, addition; for integers the addition is that of a 32 bit accumulator
OPERATIONS: dict[str, tuple[float, float]] = {"f32": (3.7, 0.9), "f16": (1.1, 0.4), "bf16": (1.1, 0.4), "i32": (3.1, 0.1), "i8": (0.2, 0.1)}
GENERIC_OVERHEAD: dict[str, tuple[float, float, float]] = {  # what surrounds arithmetic, as a factor
    "cpu": (5.0, 15.0, 50.0),
    "gpu": (1.5, 5.0, 20.0),
    "npu": (1.2, 2.5, 8.0),
    "dsp": (1.5, 4.0, 15.0),
    "mcu": (5.0, 20.0, 60.0),
}
GENERIC_SCALE = (0.1, 0.25, 1.0)  # of 45 nm energies on a chip of unknown process
GENERIC_NEAR = (0.3e-12, 1.5e-12, 6e-12)  # joules per byte of on-chip memory
GENERIC_FAR = (15e-12, 60e-12, 160e-12)  # joules per byte of DRAM
UNKNOWN_FLOOR = (0.0, 0.0, 0.0)

Range = tuple[float, float, float]


@dataclass(frozen=True)
class Energy:
    """Joules of one inference, each as (low, expected, high) arrays ``[n]``.

    Attributes:
        arithmetic: by element type.
        memory: by memory level.
        static: leakage of the engine.
        floor: what the rest of the device draws meanwhile.
        component: arithmetic, memory and leakage.
        wall: component and floor, not above the device's power limit.
    """

    arithmetic: Mapping[str, tuple[Array, Array, Array]]
    memory: Mapping[str, tuple[Array, Array, Array]]
    static: tuple[Array, Array, Array]
    floor: tuple[Array, Array, Array]
    component: tuple[Array, Array, Array]
    wall: tuple[Array, Array, Array]


def mac_energy(multiply: float, add: float) -> float:
    """Energy of a multiply-accumulate: a multiplication and an addition.

    >>> round(mac_energy(*OPERATIONS["f32"]) / mac_energy(*OPERATIONS["i8"]), 1)
    15.3
    """
    return multiply + add


def graph_energy(sized: Sized, estimate: Estimate, roofs: Roofs, target: Target, seconds: tuple[Array, Array, Array]) -> Energy:
    """The energy of a whole inference.

    Args:
        sized: sizes of all kernels.
        estimate: the traffic of every kernel.
        roofs: the engine in its setting.
        target: the device.
        seconds: its time (low, expected, high).
    """
    engine = roofs.engine
    kernels = sized.compiled.schedule.kernels
    arithmetic: dict[str, tuple[Array, Array, Array]] = {}
    overhead = _range(engine.energy_overhead, GENERIC_OVERHEAD[engine.kind])
    macs, rest = sized.macs * sized.count, np.maximum(sized.flops - 2.0 * sized.macs, 0.0) * sized.count
    for dtype in dict.fromkeys(k.dtype for k in kernels):
        members = np.array([k.dtype == dtype for k in kernels])
        per_mac, per_operation = _mac(engine, dtype), _operation(engine, dtype)
        total_macs, total_rest = macs[members].sum(axis=0), rest[members].sum(axis=0)
        spread = _product_spread((per_mac, overhead))
        found = [total_macs * per_mac[1] * overhead[1] * f + total_rest * per_operation[1] * overhead[1] * f for f in spread]
        arithmetic[dtype] = (found[0], found[1], found[2])
    memory: dict[str, tuple[Array, Array, Array]] = {}
    for position, level in enumerate(roofs.levels):
        last = position == len(roofs.levels) - 1
        moved = (estimate.traffic[position] * sized.count).sum(axis=0)
        low, expected, high = _range(level.energy, GENERIC_FAR if last else GENERIC_NEAR)
        memory[level.name] = (moved * low, moved * expected, moved * high)
    leakage = _range(engine.leakage_w, UNKNOWN_FLOOR)
    idle = _range(target.power.floor_w if target.power is not None else None, UNKNOWN_FLOOR)
    static = _triple([s * w for s, w in zip(seconds, leakage, strict=True)])
    floor = _triple([s * w for s, w in zip(seconds, idle, strict=True)])
    parts = [*arithmetic.values(), *memory.values(), static]
    component = _sum(parts)
    wall = _sum([*parts, floor])
    limit = target.power.limit_w if target.power is not None else None
    if limit is not None:
        wall = _triple([np.minimum(w, limit.high * s) for w, s in zip(wall, seconds, strict=True)])
    return Energy(arithmetic, memory, static, floor, component, wall)


def kernel_energy(sized: Sized, estimate: Estimate, roofs: Roofs, target: Target) -> Array:
    """Expected joules at the wall of every kernel, all its runs together ``[kernels, n]``.

    With leakage and floor for the overhead of a run, the kernels add up to `Energy.wall` where the device's power limit does not bind.
    """
    engine = roofs.engine
    overhead = _range(engine.energy_overhead, GENERIC_OVERHEAD[engine.kind])[1]
    dtypes = [kernel.dtype for kernel in sized.compiled.schedule.kernels]
    rates = {dtype: (_mac(engine, dtype)[1] * overhead, _operation(engine, dtype)[1] * overhead) for dtype in dict.fromkeys(dtypes)}
    per_mac, per_operation = (np.array([rates[dtype][i] for dtype in dtypes]).reshape(-1, 1) for i in range(2))
    joules = sized.macs * per_mac + np.maximum(sized.flops - 2.0 * sized.macs, 0.0) * per_operation
    for position, level in enumerate(roofs.levels):
        generic = GENERIC_FAR if position == len(roofs.levels) - 1 else GENERIC_NEAR
        joules = joules + estimate.traffic[position] * _range(level.energy, generic)[1]
    idle = _range(target.power.floor_w if target.power is not None else None, UNKNOWN_FLOOR)[1]
    watts = _range(engine.leakage_w, UNKNOWN_FLOOR)[1] + idle
    return (joules + estimate.expected * watts) * sized.count


def _triple(values: list[Array]) -> tuple[Array, Array, Array]:
    return values[0], values[1], values[2]


def _sum(parts: list[tuple[Array, Array, Array]]) -> tuple[Array, Array, Array]:
    """Expected values add; independent deviations add in squares."""
    expected = sum((p[1] for p in parts), np.zeros_like(parts[0][1]))
    low = expected - np.sqrt(sum((np.square(p[1] - p[0]) for p in parts), np.zeros_like(expected)))
    high = expected + np.sqrt(sum((np.square(p[2] - p[1]) for p in parts), np.zeros_like(expected)))
    return np.maximum(low, 0.0), expected, high


def _product_spread(ranges: tuple[Range, Range]) -> Range:
    """Factors around the expected value of a product of independent quantities."""
    fast = math.hypot(*(math.log(r[1] / max(r[0], 1e-30)) for r in ranges))
    slow = math.hypot(*(math.log(r[2] / r[1]) for r in ranges))
    return math.exp(-fast), 1.0, math.exp(slow)


def _range(quantity: Quantity | None, generic: Range) -> Range:
    return generic if quantity is None else (quantity.low, quantity.value, quantity.high)


def _generic(dtype: str) -> tuple[float, float]:
    wide = "f32" if dtype.startswith("f") and dtype not in ("f16", "f8e4m3fn") else dtype
    return OPERATIONS.get(wide) or OPERATIONS["i8" if "8" in dtype or "4" in dtype else "f32"]


def _mac(engine: Engine, dtype: str) -> Range:
    found = engine.mac_energy.get(dtype)
    if found is not None:
        return found.low, found.value, found.high
    base = mac_energy(*_generic(dtype)) * 1e-12
    return base * GENERIC_SCALE[0], base * GENERIC_SCALE[1], base * GENERIC_SCALE[2]


def _operation(engine: Engine, dtype: str) -> Range:
    found = engine.op_energy.get(dtype)
    if found is not None:
        return found.low, found.value, found.high
    base = sum(_generic(dtype)) / 2 * 1e-12
    return base * GENERIC_SCALE[0], base * GENERIC_SCALE[1], base * GENERIC_SCALE[2]
