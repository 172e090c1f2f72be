"""Asking for an opset: newer operators are not formed, those that are there are decomposed."""

import numpy as np
import pytest

import edgec
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Gelu
from edgec.ir.ops.binary import Add, Div, Mul
from edgec.ir.ops.unary import Erf
from edgec.ir.types import TensorType


def _spelled_gelu() -> Model:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4, 8)))
    scaled = graph.add(Div(), x, constant(np.float32(2**0.5)))
    gate = graph.add(Add(), graph.add(Erf(), scaled), constant(np.float32(1)))
    graph.set_outputs([graph.add(Mul(), graph.add(Mul(), x, gate), constant(np.float32(0.5)))], ["y"])
    return Model(graph, {"": 13})


def _typed_gelu() -> Model:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4, 8)))
    graph.set_outputs([graph.add(Gelu(), x)], ["y"])
    return Model(graph, {"": 20})


@pytest.mark.parametrize("source", [_spelled_gelu, _typed_gelu])
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_result_is_said_at_the_opset_and_keeps_its_meaning(source, opset: int, tmp_path) -> None:
    import onnx

    model = source()
    result = edgec.optimize(model, opset=opset)
    names = [node.op.op_name for node in result.graph]
    assert ("Gelu" in names) == (opset >= 20), names
    result.save(tmp_path / "out.onnx")
    written = onnx.load(tmp_path / "out.onnx")
    assert [o.version for o in written.opset_import if o.domain == ""] == [opset]
    onnx.checker.check_model(written, full_check=True)
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    expected, got = interpret(model, {"x": x})["y"], interpret(edgec.load(tmp_path / "out.onnx"), {"x": x})["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
