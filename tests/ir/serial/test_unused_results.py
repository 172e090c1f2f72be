"""Results that nobody reads: optional ones are left out of the file, those of variadic operators stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.serial.reader import read_model


def _branch(names: list[str]) -> onnx.GraphProto:
    nodes = [helper.make_node("Neg" if i else "Relu", ["x"], [name]) for i, name in enumerate(names)]
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names])


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("operator", ["Split", "If"])
def test_variadic_results_stay(tmp_path: Path, operator: str, used: int) -> None:
    constants = [numpy_helper.from_array(np.array([1, 2, 3], np.int64), "parts"), numpy_helper.from_array(np.array(True), "yes")]
    if operator == "Split":
        node = helper.make_node("Split", ["x", "parts"], ["a", "b", "c"], axis=0)
    else:
        branches = {"then_branch": _branch(["p", "q", "r"]), "else_branch": _branch(["s", "t", "u"])}
        node = helper.make_node("If", ["yes"], ["a", "b", "c"], **branches)
    reader = helper.make_node("Abs", ["abc"[used]], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])
    graph = helper.make_graph([node, reader], "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants)
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    read_model(source).save(target)
    feeds = {"x": np.arange(-3, 3).astype(np.float32)}
    expected, found = (onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]).run(None, feeds) for p in (source, target))
    assert np.array_equal(expected[0], found[0])
