"""Noise floors: ill-conditioned models are not blamed for rounding, broken ones are blamed all the same."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.dtypes import DType
from edgec.ir.serial.reader import read_model
from edgec.runtime.checking import OutputCheck
from edgec.runtime.noise import CAP, FACTOR, allowance, noise_floor, nudged
from edgec.runtime.subject import Subject
from edgec.runtime.tolerance import tolerance
from edgec.runtime.verify import verify

from .conftest import Build, declare

ROWS, WIDTH = 16, 64


def _cancelling(build: Build, name: str, factor: float = 1.0, gain: float = 1.0) -> Path:
    """Rows of a table times nearly equal matrices, subtracted: the products agree to about three digits.

    ``factor`` multiplies both sides before the subtraction and divides afterwards, which changes rounding only; ``gain`` is a fault.
    """
    generator = np.random.default_rng(5)
    left = generator.standard_normal((WIDTH, 8)).astype(np.float32)
    right = (left * (1 + 1e-3 * generator.standard_normal(left.shape))).astype(np.float32)
    constants = {
        "table": generator.standard_normal((ROWS, WIDTH)).astype(np.float32),
        "left": (left * np.float32(factor)).astype(np.float32),
        "right": (right * np.float32(factor)).astype(np.float32),
        "back": np.array(gain / np.float32(factor), np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["x"]),
        node("MatMul", ["x", "left"], [f"l{factor}"]),
        node("MatMul", ["x", "right"], [f"r{factor}"]),
        node("Sub", [f"l{factor}", f"r{factor}"], [f"d{factor}"]),
        node("Mul", [f"d{factor}", "back"], ["y"]),
    ]
    ids = declare("ids", ["n"], TensorProto.INT64)
    return build(name, nodes, [ids], [declare("y", ["n", 8])], constants)


@pytest.fixture
def feeds() -> list[dict[str, np.ndarray]]:
    """Indices into the table."""
    return [{"ids": np.arange(ROWS, dtype=np.int64)}, {"ids": np.array([3, 1, 4, 1], np.int64)}]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_nudged_numbers_are_neighbours(dtype: type) -> None:
    value = (np.arange(1, 41).reshape(4, 10) * np.array([1, -1] * 5)).astype(dtype)
    value[0, 0] = 0
    moved = nudged(value, np.random.default_rng(0))
    assert moved.shape == value.shape and moved.dtype == value.dtype and moved[0, 0] == 0
    up, down = np.nextafter(value, np.array(np.inf, dtype)), np.nextafter(value, np.array(-np.inf, dtype))
    others = np.ones(value.shape, bool)
    others[0, 0] = False
    assert np.all(((moved == up) | (moved == down))[others])
    assert np.any((moved == up)[others]) and np.any((moved == down)[others])


def test_what_is_no_data_stays() -> None:
    generator = np.random.default_rng(0)
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, np.finfo(np.float32).max, 1e-44, -1e-44], np.float32)
    assert np.array_equal(nudged(special, generator), special, equal_nan=True)
    for kept in (np.ones(3, np.float32), np.arange(20), np.ones(20, np.complex64), [np.ones(9)], None):
        assert nudged(kept, generator) is kept


def test_the_floor_is_high_for_cancellation_only(build: Build, feeds: list[dict[str, np.ndarray]]) -> None:
    with Subject(_cancelling(build, "a")) as subject:
        first, second = (noise_floor(subject, feeds[0], seed=3) for _ in range(2))
    assert first == second
    assert 1e-5 < first["y"] < CAP
    plain = build("p", [helper.make_node("MatMul", ["x", "w"], ["y"])], [declare("x", [4, 64])], [declare("y", [4, 8])],
                  {"w": np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)})  # fmt: skip
    with Subject(plain) as subject:
        floor = noise_floor(subject, {"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)})
    assert 0 < floor["y"] < 3 * 2.0**-23
    assert allowance(floor["y"]) < tolerance(DType.FLOAT)


def test_external_and_inner_weights_are_disturbed(build: Build, feeds: list[dict[str, np.ndarray]], tmp_path: Path) -> None:
    path = _cancelling(build, "a")
    with Subject(path) as subject:
        inline = noise_floor(subject, feeds[0])
    model = onnx.load(path)
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    with Subject(tmp_path / "e.onnx") as subject:
        assert all(t.data_location == t.EXTERNAL for t in subject.graph.model.graph.initializer)  # type: ignore[union-attr]
        assert 0.2 < noise_floor(subject, feeds[0])["y"] / inline["y"] < 5
    model = onnx.load(path)
    inner = helper.make_graph(
        list(model.graph.node), "branch", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(model.graph.initializer)
    )
    yes = helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner)
    one = numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph([yes], "g", list(model.graph.input), [declare("z", None)], [one])
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=8), tmp_path / "i.onnx")
    with Subject(tmp_path / "i.onnx") as subject:
        assert 0.2 < noise_floor(subject, feeds[0])["z"] / inline["y"] < 5


def test_other_rounding_passes_and_is_reported(build: Build, feeds: list[dict[str, np.ndarray]]) -> None:
    left, right = _cancelling(build, "a"), _cancelling(build, "b", factor=1.1)
    report = verify(left, right, feeds)
    (output,) = report.outputs
    assert output.passed and report.layers_passed
    floor = output.error.noise_floor
    assert floor is not None and output.error.tolerance == pytest.approx(allowance(floor)) == FACTOR * floor
    assert output.error.worst > tolerance(DType.FLOAT, length=WIDTH, depth=8)
    assert "ill-conditioned" in output.why
    assert report.to_json()["outputs"][0]["error"]["noise_floor"] == floor


@pytest.mark.parametrize("gain", [1.02, 0.9, -1.0])
def test_a_fault_in_an_ill_conditioned_model_is_found(build: Build, feeds: list[dict[str, np.ndarray]], gain: float) -> None:
    left, right = _cancelling(build, "a"), _cancelling(build, "b", gain=gain)
    report = verify(left, right, feeds)
    assert not report.passed and not report.layers_passed
    assert report.first_diverging is not None and report.first_diverging.name == "y"
    assert OutputCheck(read_model(left), feeds).problem(read_model(right).graph) is not None


def test_the_check_of_passes_knows_the_floor(build: Build, feeds: list[dict[str, np.ndarray]]) -> None:
    check = OutputCheck(read_model(_cancelling(build, "a")), feeds)
    assert check.problem(read_model(_cancelling(build, "b", factor=1.1)).graph) is None
    (figures,) = check.to_json()["outputs"]
    assert figures["noise_floor"] > 0 and figures["worst"] <= figures["tolerance"] <= CAP
    text = check.problem(read_model(_cancelling(build, "c", gain=1.005)).graph)
    assert text is not None and "noise floor" in text
