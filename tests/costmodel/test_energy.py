"""Energy by counts of actions, variants and limits."""

import pytest

from edgec.costmodel.energy import OPERATIONS, mac_energy
from edgec.costmodel.hardware import Power
from edgec.costmodel.predict import predict
from tests.costmodel.samples import engine, memory, mlp, quantity, single, target


def _device(**changes: object):
    fields = {
        "mac_energy": {"f32": quantity(4e-12, "J"), "i8": quantity(3e-13, "J")},
        "op_energy": {"f32": quantity(1e-12, "J"), "i8": quantity(1e-13, "J")},
        "energy_overhead": quantity(2.0),
        "leakage_w": quantity(0.5, "W"),
        "memory": (memory("DRAM", 4e9, 25.6e9, energy=quantity(40e-12, "J/B")),),
    }
    return target(engine(**{**fields, **changes}), power=Power(quantity(1.0, "W"), quantity(3.0, "W"), quantity(15.0, "W")))


def test_energy_is_counts_times_energy_and_static_power_times_time() -> None:
    found = predict(single("MatMul", (256, 256), (256, 256), constants=(1,)), _device())
    macs, moved, seconds = 256**3, 3 * 256 * 256 * 4, found.seconds[1]
    arithmetic, traffic, leakage, floor = macs * 4e-12 * 2, moved * 40e-12, 0.5 * seconds, 3.0 * seconds
    assert found.energy["arithmetic.f32"][1] == pytest.approx(arithmetic)
    assert found.energy["memory.DRAM"][1] == pytest.approx(traffic)
    assert found.energy["component"][1] == pytest.approx(arithmetic + traffic + leakage)
    assert found.energy["wall"][1] == pytest.approx(arithmetic + traffic + leakage + floor) == found.joules[1]


def test_eight_bits_save_arithmetic_and_traffic() -> None:
    graph = single("MatMul", (256, 256), (256, 256), constants=(1,))
    wide, narrow = predict(graph, _device()), predict(graph, _device(), precision="i8")
    assert wide.energy["arithmetic.f32"][1] / narrow.energy["arithmetic.i8"][1] == pytest.approx(4 / 0.3)
    assert wide.energy["memory.DRAM"][1] / narrow.energy["memory.DRAM"][1] == pytest.approx(4)


def test_four_bit_weights_save_less_than_eight_times() -> None:
    graph = single("MatMul", (1, 4096), (4096, 4096), constants=(1,))
    wide, narrow = predict(graph, _device()), predict(graph, _device(), precision="w4")
    ratio = wide.energy["memory.DRAM"][1] / narrow.energy["memory.DRAM"][1]
    assert 7.5 < ratio < 7.8


def test_published_ratios() -> None:
    assert OPERATIONS["f32"][0] / OPERATIONS["i8"][0] == pytest.approx(18.5)
    assert OPERATIONS["f16"][0] / OPERATIONS["i8"][0] == pytest.approx(5.5)
    assert mac_energy(*OPERATIONS["f32"]) / mac_energy(*OPERATIONS["i8"]) == pytest.approx(15.3, abs=0.1)


def test_power_stays_below_the_limit() -> None:
    """Arithmetic that would draw 8 kW is bounded by the device's 15 W."""
    found = predict(mlp(batch=4096, width=1024), _device(mac_energy={"f32": quantity(8e-9, "J")}))
    assert found.joules[1] == pytest.approx(15.0 * found.seconds[1])
    assert found.energy["component"][1] > found.joules[1]


def test_without_figures_the_interval_is_wide() -> None:
    found = predict(mlp(batch=64, width=512), target(engine()))
    assert 0 < found.joules[0] < found.joules[1] / 2 and found.joules[2] > 2 * found.joules[1]


def test_energies_of_kernels_add_up_to_that_of_the_model() -> None:
    found = predict(mlp(8), _device())
    run = found.run_seconds[1] * (0.5 + 3.0)
    assert len(found.nodes) > 1
    assert sum(node.joules for node in found.nodes) + run == pytest.approx(found.joules[1])
    assert all(node.to_json()["joules"] == node.joules > 0 for node in found.nodes if node.flops)
