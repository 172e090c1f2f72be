"""Checks between the numbers of a target: what contradicts another number by orders of magnitude is a slip of the pen."""

from __future__ import annotations

from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ..hardware import Engine, MemoryLevel, Target
from .errors import E_TARGET_ABSURD, problem

GREATEST_GAIN = 16.0  # of a matrix unit that a wider element type lacks, beyond what fewer bits gain
GREATEST_LOSS = 2.0  # how much slower fewer bits may be: they are widened
GREATEST_PER_CYCLE = 1e6  # operations of one unit in one cycle
GREATEST_EFFICIENCY = 3.0  # Winograd and the like do fewer operations than are counted
RIDGE = (0.02, 1e5)  # operations per byte
GREATEST_NEAR_LEVEL = 4.0  # of the capacity of the next one: caches shared by a whole chip may be smaller than those of its cores
SLOWEST_NEAR_LEVEL = 0.4  # of the bandwidth of the next level
BITS = {dtype.short: dtype.bits for dtype in DType}


def check_target(target: Target, file: str) -> None:
    """Refuse a target whose numbers contradict each other.

    Raises:
        Diagnostic: E1005 with the file and the key.
    """
    power = target.power
    if power is not None and power.limit_w is not None and power.idle_w.value > power.limit_w.value:
        message = f"the device idles at {power.idle_w.value:g} W, above its limit of {power.limit_w.value:g} W"
        raise problem(E_TARGET_ABSURD, file, "power.idle", message, "check the unit (mW or W)")
    thermal = target.thermal
    if thermal is not None and thermal.limit_k.value <= thermal.ambient_k:
        message = f"the limit of {thermal.limit_k.value:g} K is not above the surroundings ({thermal.ambient_k:g} K)"
        raise problem(E_TARGET_ABSURD, file, "thermal.limit", message, 'write temperatures in "degC" or "K"')
    for engine in target.engines:
        _peaks(engine, file)
        _memory(engine, file)
        _points(engine, file)
        for name, efficiency in engine.efficiency.items():
            if efficiency.high > GREATEST_EFFICIENCY:
                message = f"an efficiency of {efficiency.high:g} is beyond what any algorithm attains"
                raise _absurd(file, engine, f"efficiency.{name}", message, "efficiencies are shares of the peak, 0 to 1")


def _absurd(file: str, engine: Engine, key: str, message: str, hint: str) -> Diagnostic:
    return problem(E_TARGET_ABSURD, file, f"engines.{engine.name}.{key}", message, hint)


def _peaks(engine: Engine, file: str) -> None:
    for name, peaks in (("peak", engine.peak), ("vector_peak", engine.vector_peak)):
        for dtype, peak in peaks.items():
            per_cycle = peak.value / engine.units / engine.clock_hz.value
            if per_cycle > GREATEST_PER_CYCLE:
                message = f"{peak.value:g} ops/s are {per_cycle:g} operations per cycle in each of {engine.units} units"
                raise _absurd(file, engine, f"{name}.{dtype}", message, "check the prefix, the clock and the number of units")
            for other, reference in peaks.items():
                allowed = GREATEST_GAIN * BITS[other] / BITS[dtype] if BITS[other] >= BITS[dtype] else GREATEST_LOSS
                if peak.value > allowed * reference.value:
                    ratio = peak.value / reference.value
                    message = f"{dtype} runs at {peak.value:g} ops/s, {ratio:.0f} times {other} ({reference.value:g})"
                    raise _absurd(file, engine, f"{name}.{dtype}", message, f"at most {allowed:g} times is plausible: check both prefixes")


def _memory(engine: Engine, file: str) -> None:
    fastest = max(peak.value for peak in engine.peak.values())
    last = engine.memory[-1]
    ridge = fastest / last.bandwidth.value
    if not RIDGE[0] <= ridge <= RIDGE[1]:
        message = f"the ridge point is {ridge:g} operations per byte ({fastest:g} ops/s over {last.bandwidth.value:g} B/s)"
        raise _absurd(file, engine, "peak", message, "check the prefixes of the peak and of dram.bandwidth")
    for near, far in zip(engine.memory, engine.memory[1:], strict=False):
        if near.bytes.value > GREATEST_NEAR_LEVEL * far.bytes.value:
            message = f"{near.name} holds {near.bytes.value:g} B, far more than {far.name} ({far.bytes.value:g} B)"
            raise _absurd(
                file, engine, f"memory.{near.name}.bytes", message, "list levels from the nearest to the farthest; check prefixes"
            )
        shared = far.scope == "target" and far is not last  # an engine may be too slow to draw all of it
        if not shared and _total(near, engine) < SLOWEST_NEAR_LEVEL * _total(far, engine):
            message = f"{near.name} delivers {_total(near, engine):g} B/s, less than {far.name} behind it ({_total(far, engine):g} B/s)"
            raise _absurd(file, engine, f"memory.{near.name}.bandwidth", message, "check the scope ('unit' or 'engine') and the prefix")


def _total(level: MemoryLevel, engine: Engine) -> float:
    return level.bandwidth.value * (engine.units if level.scope == "unit" else 1)


def _points(engine: Engine, file: str) -> None:
    for name, points in (("core_points", engine.core_points), ("memory_points", engine.memory_points)):
        volts = [point.volts.value for point in points if point.volts is not None]
        if volts != sorted(volts):
            raise _absurd(file, engine, f"{name}.volts", "voltages fall while clocks rise", "list both from the slowest to the fastest")
    clocks = [point.clock_hz for point in engine.core_points]
    if clocks and engine.clock_hz.value > 1.02 * clocks[-1]:
        message = f"the peaks refer to {engine.clock_hz.value:g} Hz, above the fastest operating point ({clocks[-1]:g} Hz)"
        raise _absurd(file, engine, "clock", message, "add the operating point, or correct the clock")
