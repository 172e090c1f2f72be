"""Counters of a runtime in calibration: what layers of one graph take tells their classes apart."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgec.costmodel.calibration.assemble import observe, sized_of
from edgec.costmodel.calibration.fitting import Observation, fit
from edgec.costmodel.calibration.recipe import Recipe
from edgec.costmodel.calibration.store import Store
from edgec.costmodel.features import FeatureRow
from edgec.costmodel.kernels import KERNELS, features
from edgec.costmodel.roofline import roofs_of
from edgec.driver.calibrate import load_model
from edgec.runtime.measure_layers import Layer, Operand, geometry_of
from edgec.runtime.measure_openvino import _in_memory
from edgec.runtime.measure_recipes import collect
from tests.costmodel.samples import target

SETTING = {"backend": "ort", "threads": 1}
LEVELS = {"L2": 1e-11, "DRAM": 1e-10}
RATES = {"elementwise": 2e-10, "movement": 5e-10}


def row_of(kernel: str, elements: float, pieces: float = 0.0, variant: str = "v") -> FeatureRow:
    values = {**dict.fromkeys(KERNELS[kernel].features, 0.0), "elements": elements, "pieces": pieces}
    return FeatureRow(kernel, kernel, variant, "f32", values, {"L2": 0.0, "DRAM": 0.0}, True)


def pairs(counted: bool) -> list[Observation]:
    """Graphs of two kernels that are always equally large, so that only their sum shows in the time of the graph."""
    found = []
    for elements in np.geomspace(1e4, 1e7, 24):
        rows = tuple(row_of(kernel, float(elements)) for kernel in RATES)
        times = [elements * rate for rate in RATES.values()]
        parts = tuple(Observation(t, (r,), 0, "pair", whole=False) for t, r in zip(times, rows, strict=True)) if counted else ()
        found.append(Observation(3e-6 + sum(times), rows, 2, "pair", parts=parts))
    return found


def test_counters_tell_layers_apart() -> None:
    alone, told = (fit(pairs(counted), LEVELS) for counted in (False, True))
    for kernel, rate in RATES.items():
        row = row_of(kernel, 1e6)
        assert told.kernel_seconds(row) == pytest.approx(1e6 * rate, rel=0.05)
    assert max(abs(alone.kernel_seconds(row_of(k, 1e6)) / (1e6 * r) - 1) for k, r in RATES.items()) > 0.2
    assert told.seconds(pairs(False)[-1]) == pytest.approx(pairs(False)[-1].seconds, rel=0.03)


def test_what_no_graph_of_a_variant_has_costs_what_it_costs_in_others() -> None:
    """One function is measured with and without pieces, another without only: its pieces take as long."""
    found = []
    for elements in np.geomspace(1e3, 1e6, 12):
        plain = row_of("elementwise", float(elements), variant="plain")
        found.append(Observation(1e-6 + elements * 1e-10, (plain,), 1, "elementwise"))
        for pieces in (elements / 10, elements / 100):
            row = row_of("elementwise", float(elements), float(pieces), "spread")
            found.append(Observation(1e-6 + elements * 1e-10 + pieces * 4e-9, (row,), 1, "elementwise"))
    fitted = fit(found, LEVELS)
    extra = fitted.kernel_seconds(row_of("elementwise", 1e5, 1e4, "plain")) - fitted.kernel_seconds(
        row_of("elementwise", 1e5, 0.0, "plain")
    )
    assert extra == pytest.approx(4e-5, rel=0.25)


def test_parts_are_grouped_scaled_and_only_taken_where_they_are_precise(tmp_path: Path) -> None:
    recipe = Recipe("binary", {"op": "Add", "rows": 64, "columns": 512}, 2, focus="elementwise")
    store = Store(tmp_path / "m", SETTING)
    load = lambda m, t, level: load_model("ort", m.model, m.feeds, t, level)  # noqa: E731
    sample = collect([recipe], load, store, rounds=1, budget_s=0.01).samples[0]
    sized, roofs = sized_of(sample.schedule, sample.bindings), roofs_of(target().engines[0])
    names = [kernel.name for kernel in sample.schedule.kernels]
    one = observe(sized, roofs, 1e-4, 3, "elementwise", parts=dict.fromkeys(names, 4e-5))
    assert one.parts == ()  # a single class: the graph says as much

    chain = Recipe("normalized-chain", {"c": 16, "f": 16, "size": 20, "repeat": 2}, 1, focus="conv")
    sample = collect([chain], load, store, rounds=1, budget_s=0.01).samples[0]
    sized = sized_of(sample.schedule, sample.bindings)
    names = [kernel.name for kernel in sample.schedule.kernels]
    slower = observe(sized, roofs, 1e-4, 3, "conv", parts=dict.fromkeys(names, 2e-4 / len(names)))
    assert len(slower.parts) > 1 and sum(p.seconds for p in slower.parts) == pytest.approx(1e-4)
    assert not any(p.whole for p in slower.parts) and {r.name for p in slower.parts for r in p.rows} == set(names)
    assert observe(sized, roofs, 1e-4, 3, "conv", parts=dict.fromkeys(names, 1e-6)).parts == ()


def test_counters_are_taken_once_and_kept(tmp_path: Path) -> None:
    counted: list[bytes] = []

    def count(material):
        counted.append(material.model)
        return {"some kernel": 7e-6}

    recipe = Recipe("unary", {"op": "Relu", "elements": 500}, focus="elementwise")
    load = lambda m, t, level: load_model("ort", m.model, m.feeds, t, level)  # noqa: E731
    first = collect([recipe], load, Store(tmp_path / "m", SETTING), rounds=2, budget_s=0.01, count=count)
    again = collect([recipe], load, Store(tmp_path / "m", SETTING), rounds=2, budget_s=0.01, count=count)
    assert len(counted) == 1 and first.samples[0].parts == again.samples[0].parts == {"some kernel": 7e-6}
    assert first.samples[0].seconds == again.samples[0].seconds > 0


# -- layouts -----------------------------------------------------------------------------------------------------------
def test_axes_are_taken_in_the_order_of_memory() -> None:
    operands = [Operand("x", (1, 24, 5, 7)), Operand("axes", (2,))]
    assert [o.shape for o in _in_memory(operands, "acdb,a")] == [(1, 5, 7, 24), (2,)]
    assert _in_memory(operands, "aBcd16b") == operands and _in_memory(operands, "") == operands


@pytest.mark.parametrize(
    ("shapes", "result", "run"),
    [
        (((1, 5, 7, 24), (1, 5, 7, 8)), (1, 5, 7, 32), 16),  # along the last axis: pieces of 24 and of 8
        (((1, 24, 5, 7), (1, 8, 5, 7)), (1, 32, 5, 7), 16 * 35),
        (((4, 6), (4, 6)), (8, 6), 24),
    ],
)
def test_pieces_of_concatenations(shapes, result, run) -> None:
    operands = tuple(Operand(f"x{i}", shape) for i, shape in enumerate(shapes))
    found = geometry_of(Layer("c", "Concatenation", operands, (Operand("y", result),), variant="concatenation"))
    assert found.sizes["run"] == run
    parts = tuple(Operand(f"y{i}", shape) for i, shape in enumerate(shapes))
    assert geometry_of(Layer("s", "Split", (Operand("x", result),), parts)).sizes["run"] == run


def test_the_first_piece_is_the_launch_itself() -> None:
    assert features("elementwise", {"elements": 100, "run": 100, "flops": 0})["pieces"] == 0
    assert features("movement", {"elements": 100, "run": 4, "flops": 0})["pieces"] == 24
