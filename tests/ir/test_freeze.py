"""Inputs frozen to constants."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.freeze import freeze_inputs
from edgec.ir.inference import infer_graph
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.verifier import verify
from tests.serial_models import info, proto


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """y = If(rate > 8000, x + rate, x), with a rate of int64."""
    then = helper.make_graph([helper.make_node("Add", ["x", "f"], ["a"])], "t", [], [info("a", None)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "e", [], [info("b", None)])
    nodes = [
        helper.make_node("Cast", ["rate"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Greater", ["rate", "limit"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    limit = helper.make_tensor("limit", TensorProto.INT64, [], [8000])
    made = proto(nodes, [info("x", (2,)), info("rate", (), TensorProto.INT64)], [info("y", (2,))], [limit])
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    return edgec.load(tmp_path / "m.onnx")


def test_a_frozen_input_decides_a_branch(model: Model) -> None:
    x = np.array([1, 2], np.float32)
    expected = interpret(model, {"x": x, "rate": np.int64(16000)})
    frozen = freeze_inputs(model.copy(), {"rate": 16000})
    infer_graph(frozen.graph)
    verify(frozen.graph)
    assert [v.name for v in frozen.graph.inputs] == ["x"] and frozen.frozen == {"rate": 16000} and model.frozen == {}
    optimised = edgec.optimize(frozen)
    assert {node.op.op_name for node in optimised.graph.walk()} == {"Add"}
    np.testing.assert_array_equal(interpret(optimised, {"x": x})["y"], expected["y"])


@pytest.mark.parametrize(
    ("values", "code"),
    [({"rat": 1}, "E0201"), ({"rate": 1.5}, "E0202"), ({"rate": [1, 2]}, "E0201"), ({"rate": 2**63}, "E0202"), ({"rate": "high"}, "E0202")],
)
def test_values_that_do_not_fit(model: Model, values: dict[str, object], code: str) -> None:
    with pytest.raises(Diagnostic) as caught:
        freeze_inputs(model, values)
    assert "rate" in str(caught.value) and caught.value.code == code


def test_one_number_fills_a_tensor(model: Model) -> None:
    frozen = freeze_inputs(model, {"x": 3})
    assert frozen.frozen == {"x": [3.0, 3.0]}


def test_a_dead_branch_need_not_fit_the_sizes(tmp_path: Path) -> None:
    """A branch for another rate that the given sizes would break: it never runs, so nothing in it is looked at."""
    shape = helper.make_tensor("seven", TensorProto.INT64, [1], [7])
    length = helper.make_tensor("six", TensorProto.INT64, [], [6])
    inner = helper.make_graph([helper.make_node("Reshape", ["x", "seven"], ["s"])], "s", [], [info("s", None)])
    same = helper.make_graph([helper.make_node("Identity", ["x"], ["r"])], "r", [], [info("r", None)])
    body = [
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Equal", ["n", "six"], ["k"]),
        helper.make_node("If", ["k"], ["a"], then_branch=inner, else_branch=same),
    ]
    then = helper.make_graph(body, "t", [], [info("a", None)])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "e", [], [info("b", None)])
    nodes = [
        helper.make_node("Cast", ["flag"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [info("x", ("N",)), info("flag", (), TensorProto.INT64)]
    (tmp_path / "m.onnx").write_bytes(proto(nodes, inputs, [info("y", None)], [shape, length]).SerializeToString())
    model = edgec.optimize(tmp_path / "m.onnx", freeze={"flag": 0}, dims={"N": 6})
    assert [node.op.op_name for node in model.graph.walk()] == ["Neg"]
