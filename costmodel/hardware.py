"""What a cost model knows of a piece of hardware: quantities with their origin, memory levels, engines and targets.

Everything is in SI units: seconds, hertz, bytes, bytes per second, joules, watts, kelvin. One multiply-accumulate is two operations.
Element types are named by their short names (``f32``, ``f16``, ``bf16``, ``i8``, ``i4`` …, see `edgec.ir.dtypes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Tag = Literal["datasheet", "measured", "computed", "estimate"]
Kind = Literal["cpu", "gpu", "npu", "dsp", "mcu"]
Scope = Literal["unit", "engine", "target"]
TAGS: tuple[str, ...] = ("datasheet", "measured", "computed", "estimate")
ENGINE_KINDS: tuple[str, ...] = ("cpu", "gpu", "npu", "dsp", "mcu")
KERNEL_CLASSES: tuple[str, ...] = (
    "gemm",
    "gemv",
    "conv-direct",
    "conv-im2col",
    "conv-depthwise",
    "conv-grouped",
    "attention",
    "normalization",
    "softmax",
    "elementwise",
    "movement",
    "reduction",
    "recurrent",
    "quantize",
    "control",
    "view",
    "unknown",
)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, where it comes from, and the interval in which the truth is believed to lie.

    Attributes:
        value: the number in SI units.
        unit: ``B``, ``B/s``, ``ops/s``, ``Hz``, ``s``, ``J``, ``J/B``, ``W``, ``K/W``, ``J/K``, ``K``, ``V`` or ``1``.
        tag: how it is known.
        source: a citation, or how it was computed or estimated.
        low: the least plausible value.
        high: the greatest plausible value.
    """

    value: float
    unit: str
    tag: Tag
    source: str
    low: float
    high: float

    def scaled(self, factor: float) -> Quantity:
        """The quantity and its interval times a positive factor (another clock, another number of units)."""
        return Quantity(self.value * factor, self.unit, self.tag, self.source, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class MemoryLevel:
    """One level of a memory hierarchy.

    Attributes:
        name: ``L1``, ``L2``, ``L3``, ``shared``, ``VTCM``, ``SRAM``, ``DRAM`` …
        bytes: capacity. Of one unit when the scope is ``unit``.
        bandwidth: bytes per second at peak. Of one unit when the scope is ``unit``; at most this for the engine otherwise.
        energy: joules per byte moved to or from this level; None when not known.
        scope: whether each unit (core, SM) has its own, the engine has one, or all engines of the target share it.
        unit_bandwidth: what a single unit can draw from a shared level; None when one unit can draw all.
        line_bytes: the unit of transfer.
    """

    name: str
    bytes: Quantity
    bandwidth: Quantity
    energy: Quantity | None = None
    scope: Scope = "engine"
    unit_bandwidth: Quantity | None = None
    line_bytes: int = 64


@dataclass(frozen=True)
class OperatingPoint:
    """One step of a clock.

    Attributes:
        clock_hz: the frequency.
        volts: the supply voltage, None when not public.
        mode: the power mode that sets it, empty when there is none.
        tag: how the frequency is known.
        source: where it comes from.
    """

    clock_hz: float
    volts: Quantity | None = None
    mode: str = ""
    tag: Tag = "estimate"
    source: str = ""


@dataclass(frozen=True)
class Engine:
    """A processor that runs kernels: a CPU cluster, a GPU, an NPU, a DSP or a microcontroller core.

    Attributes:
        name: unique in its target.
        kind: what it is.
        units: cores, SMs or the like; `peak` is that of all of them.
        clock_hz: the clock to which the peaks refer.
        peak: dense operations per second of contractions by element type. Element types that are absent do not run natively.
        vector_peak: the same for everything else (elementwise, reductions); absent types use `peak` of float32 or the greatest there is.
        memory: the hierarchy from the nearest level to the farthest; the last is `Target.dram` unless the engine has its own.
        vector_bytes: width of a SIMD register, 0 for none.
        array: rows and columns of a matrix unit to which operands are padded; None for none.
        tile: rows and columns of a result that one unit computes at a time: wave quantisation; None for none.
        dispatch_s: time to launch one kernel.
        run_s: time to start one inference.
        core_points: operating points of the engine's clock, the slowest first.
        memory_points: operating points of the memory's clock, the slowest first.
        mac_energy: joules per multiply-accumulate by element type, arithmetic only.
        op_energy: joules per elementwise operation by element type, arithmetic only.
        energy_overhead: factor for what surrounds arithmetic (instructions, registers, clock tree).
        leakage_w: static power of the engine while it is on.
        efficiency: by kernel class, the attained share of the peak when operands are near; ``default`` for all others.
        memory_efficiency: the attained share of the last level's bandwidth.
        overlap: exponent p of (Tc^p + Tm^p)^(1/p): 1 adds, infinity takes the maximum.
        overlap_range: the same exponent with its interval and origin; None when it is the default.
        note: what else a reader should know.
        source: where the counts come from that carry no citation of their own (units, widths, arrays, tiles).
        switch_s: how long a change of the core clock takes until it is effective; None when not known.
        memory_switch_s: the same for the memory's clock.
    """

    name: str
    kind: Kind
    units: int
    clock_hz: Quantity
    peak: Mapping[str, Quantity]
    memory: tuple[MemoryLevel, ...]
    dispatch_s: Quantity
    run_s: Quantity
    vector_peak: Mapping[str, Quantity] = field(default_factory=dict)
    vector_bytes: int = 0
    array: tuple[int, int] | None = None
    tile: tuple[int, int] | None = None
    core_points: tuple[OperatingPoint, ...] = ()
    memory_points: tuple[OperatingPoint, ...] = ()
    mac_energy: Mapping[str, Quantity] = field(default_factory=dict)
    op_energy: Mapping[str, Quantity] = field(default_factory=dict)
    energy_overhead: Quantity | None = None
    leakage_w: Quantity | None = None
    efficiency: Mapping[str, Quantity] = field(default_factory=dict)
    memory_efficiency: Quantity | None = None
    overlap: float = math.inf
    overlap_range: Quantity | None = None
    note: str = ""
    source: str = ""
    switch_s: Quantity | None = None
    memory_switch_s: Quantity | None = None


@dataclass(frozen=True)
class Power:
    """Power of the whole device.

    Attributes:
        idle_w: drawn while nothing runs.
        floor_w: drawn by everything but the engine while it runs (regulators, memory refresh, board).
        limit_w: the budget or thermal design power; None when not known.
    """

    idle_w: Quantity
    floor_w: Quantity
    limit_w: Quantity | None = None


@dataclass(frozen=True)
class Thermal:
    """A thermal RC ladder.

    Attributes:
        resistance: kelvin per watt of every stage.
        capacity: joules per kelvin of every stage.
        limit_k: the temperature at which the device throttles, kelvin.
        ambient_k: the surroundings, kelvin.
    """

    resistance: tuple[Quantity, ...]
    capacity: tuple[Quantity, ...]
    limit_k: Quantity
    ambient_k: float = 298.15


@dataclass(frozen=True)
class Target:
    """A device with its engines.

    Attributes:
        name: as users type it: ``orin-nano``, ``raspberry-pi-5`` …
        title: as people call it.
        kind: ``board``, ``phone``, ``laptop``, ``server``, ``accelerator`` or ``microcontroller``.
        engines: what can run kernels.
        default_engine: the name of the engine that runs a model unless another is asked for.
        dram: the memory that all engines share; its capacity limits models.
        power: None when nothing is known.
        thermal: None when nothing is known.
        path: the file it came from.
        notes: conflicts between sources, what was left out.
    """

    name: str
    title: str
    kind: str
    engines: tuple[Engine, ...]
    default_engine: str
    dram: MemoryLevel
    power: Power | None = None
    thermal: Thermal | None = None
    path: str = ""
    notes: tuple[str, ...] = ()
