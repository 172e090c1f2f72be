"""Target files: all of them load, every number is cited, and the numbers agree with each other and with what vendors print."""

from __future__ import annotations

import math

import pytest

from edgec.costmodel.hardware import KERNEL_CLASSES, TAGS, Engine, Target
from edgec.costmodel.targets import load_target, target_names
from edgec.costmodel.targets.listing import entries

NAMES = target_names()
UNITS = {"B", "B/s", "ops/s", "Hz", "s", "J", "J/B", "W", "K/W", "J/K", "K", "V", "1"}
# what vendors print, dense, in 1e12 operations per second: target, engine, element type, figure
PRINTED = [
    ("orin-nano", "gpu", "i8", 40 / 2),
    ("orin-nano", "gpu", "f32", 1.28),
    ("orin-nano-super", "gpu", "i8", 67 / 2),
    ("orin-nx-16gb", "gpu", "i8", 60 / 2),
    ("orin-nx-16gb", "dla", "i8", 40 / 2),
    ("agx-orin-64gb", "gpu", "i8", 170 / 2),
    ("agx-orin-64gb", "gpu", "f32", 5.3),
    ("agx-orin-64gb", "dla", "i8", 105 / 2),
    ("rtx-4090", "gpu", "f32", 82.6),
    ("rtx-4090", "gpu", "f16", 165.2),
    ("rtx-4090", "gpu", "i8", 660.6),
    ("h100-sxm", "gpu", "bf16", 989.4),
    ("h100-sxm", "gpu", "i8", 1978.9),
    ("h200", "gpu", "f16", 989.4),
    ("apple-m1", "gpu", "f32", 2.6),
    ("apple-m2", "gpu", "f32", 3.6),
    ("apple-m2", "ane", "i8", 15.8),
    ("apple-a17-pro", "ane", "i8", 35),
    ("core-ultra-7-155h", "npu", "i8", 11.5),
    ("core-ultra-7-155h", "gpu", "i8", 18.4),
    ("core-ultra-7-258v", "npu", "i8", 47),
    ("core-ultra-7-258v", "gpu", "i8", 64),
    ("coral-edge-tpu", "tpu", "i8", 4),
    ("rk3588", "npu", "i8", 6),
]


def engine_of(target: Target, name: str) -> Engine:
    return next(engine for engine in target.engines if engine.name == name)


def test_there_are_enough_targets():
    assert len(NAMES) >= 16
    for phone in ("snapdragon-8-gen-2", "snapdragon-8-gen-3"):
        kinds = [engine.kind for engine in load_target(phone).engines]
        assert kinds.count("cpu") == 3 and {"gpu", "npu"} <= set(kinds)
    for apple in ("apple-m1", "apple-m2", "apple-a17-pro"):
        assert {"ane", "gpu", "cpu-p", "cpu-e"} == {engine.name for engine in load_target(apple).engines}


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_complete(name):
    target = load_target(name)
    found = entries(target)
    assert len(found) > 20
    assert len({entry.key for entry in found}) == len(found)
    for entry in found:
        quantity = entry.quantity
        assert quantity.unit in UNITS and quantity.tag in TAGS, entry
        assert len(quantity.source) > 8, entry
        assert 0 <= quantity.low <= quantity.value <= quantity.high and math.isfinite(quantity.high), entry
        if quantity.tag == "estimate" and "points" not in entry.key:
            assert quantity.low < quantity.high, f"{entry.key} is an estimate without an interval"


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_can_be_priced(name):
    target = load_target(name)
    assert target.default_engine in {engine.name for engine in target.engines}
    assert target.power is not None
    for engine in target.engines:
        assert engine.source and "default" in engine.efficiency
        assert set(engine.efficiency) <= {*KERNEL_CLASSES, "default"}
        assert engine.memory_efficiency is not None and engine.energy_overhead is not None and engine.leakage_w is not None
        assert engine.memory[-1].bytes == target.dram.bytes
        assert all(level.energy is not None for level in engine.memory)
        assert set(engine.mac_energy) >= set(engine.peak) - {"f64"}, "no price of a multiply-accumulate"


@pytest.mark.parametrize("name", NAMES)
def test_ridge_points_are_plausible(name):
    """From 1 operation per byte (a microcontroller) to some 1000 (an NPU on a phone's memory); the Coral stick hangs on USB."""
    for engine in load_target(name).engines:
        ridge = max(peak.value for peak in engine.peak.values()) / engine.memory[-1].bandwidth.value
        assert 0.5 < ridge < (10000 if name == "coral-edge-tpu" else 1500)
        nearest = engine.memory[0]
        total = nearest.bandwidth.value * (engine.units if nearest.scope == "unit" else 1)
        assert total > 0.9 * engine.memory[-1].bandwidth.value


@pytest.mark.parametrize("name,engine,dtype,printed", PRINTED)
def test_peaks_agree_with_what_vendors_print(name, engine, dtype, printed):
    peak = engine_of(load_target(name), engine).peak[dtype].value / 1e12
    assert peak == pytest.approx(printed, rel=0.025)


def test_memory_bandwidths_follow_from_bus_and_clock():
    """Bits times transfers per second over 8."""
    for name, bits, rate in [
        ("orin-nano", 128, 2 * 2133e6),
        ("orin-nano-super", 128, 2 * 3199e6),
        ("orin-nx-16gb", 128, 2 * 3199e6),
        ("agx-orin-64gb", 256, 2 * 3199e6),
        ("rtx-4090", 384, 21e9),
        ("raspberry-pi-4", 32, 3200e6),
        ("raspberry-pi-5", 32, 4267e6),
        ("rk3588", 64, 4266e6),
        ("apple-m1", 128, 4266e6),
        ("core-ultra-7-155h", 128, 7467e6),
        ("core-ultra-7-258v", 128, 8533e6),
        ("snapdragon-8-gen-2", 64, 8400e6),
        ("snapdragon-8-gen-3", 64, 9600e6),
    ]:
        assert load_target(name).dram.bandwidth.value == pytest.approx(bits / 8 * rate, rel=0.005), name


def test_vector_peaks_follow_from_the_width_of_the_registers():
    """A CPU core cannot do more fp32 operations a cycle than four registers of multiply-adds, nor less than a scalar one."""
    for name in NAMES:
        for engine in load_target(name).engines:
            if engine.kind == "cpu":
                a_cycle = engine.peak["f32"].value / engine.units / engine.clock_hz.value
                lanes = engine.vector_bytes / 4
                assert lanes / 2 <= a_cycle <= 8 * lanes, (name, engine.name)


def test_operating_points_rise_and_contain_the_clock():
    for name in NAMES:
        for engine in load_target(name).engines:
            clocks = [point.clock_hz for point in engine.core_points]
            assert clocks == sorted(clocks)
            if clocks:
                assert min(abs(clock - engine.clock_hz.value) for clock in clocks) < 0.03 * engine.clock_hz.value, (name, engine.name)
    big = engine_of(load_target("rk3588"), "cpu-big")
    volts = [point.volts.value for point in big.core_points if point.volts is not None]
    assert len(volts) == 7 and volts[0] == 0.675 and volts[-1] == 1.0
    assert any(point.mode == "MAXN" for point in engine_of(load_target("agx-orin-64gb"), "gpu").core_points)
    assert engine_of(load_target("agx-orin-64gb"), "gpu").memory_points, "the memory clock is an axis of its own"


def test_an_heir_recomputes_from_its_own_clock():
    nano, fast = (engine_of(load_target(name), "gpu") for name in ("orin-nano", "orin-nano-super"))
    ratio = fast.clock_hz.value / nano.clock_hz.value
    assert fast.peak["f16"].value == pytest.approx(ratio * nano.peak["f16"].value)
    assert fast.memory[0].bandwidth.value == pytest.approx(ratio * nano.memory[0].bandwidth.value)


def test_full_load_stays_near_the_power_limit():
    """Arithmetic at its attainable rate and streaming memory together: the right order of magnitude, for the engines that set the limit."""
    for name, engine_name, dtype in [
        ("h100-sxm", "gpu", "f16"),
        ("rtx-4090", "gpu", "f16"),
        ("agx-orin-64gb", "gpu", "f16"),
        ("orin-nano", "gpu", "f16"),
        ("raspberry-pi-4", "cpu", "f32"),
        ("raspberry-pi-5", "cpu", "f32"),
        ("coral-edge-tpu", "tpu", "i8"),
        ("stm32h7a3", "cpu", "i8"),
        ("snapdragon-8-gen-3", "npu", "i8"),
    ]:
        target = load_target(name)
        engine = engine_of(target, engine_name)
        power, last = target.power, engine.memory[-1]
        assert power and power.limit_w and engine.energy_overhead and engine.leakage_w and engine.memory_efficiency and last.energy
        rate = engine.peak[dtype].value * engine.efficiency["gemm"].value / 2
        low, high = (
            getattr(power.floor_w, end)
            + getattr(engine.leakage_w, end)
            + rate * getattr(engine.mac_energy[dtype], end) * getattr(engine.energy_overhead, end)
            + 0.3 * last.bandwidth.value * getattr(last.energy, end)
            for end in ("low", "high")
        )
        assert low < power.limit_w.value and high > 0.5 * power.limit_w.value, (name, low, high, power.limit_w.value)
