"""Repetition and mirrors without the operators of LiteRT that compute an index per element."""

import numpy as np
import pytest

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.concat import Pad
from edgec.ir.ops.reshape import Expand
from edgec.ir.types import TensorType

pytest.importorskip("ai_edge_litert")

import edgec  # noqa: E402


def operators_and_result(folder, shape, target, dtype=DType.FLOAT, declared=None):
    from ai_edge_litert.interpreter import Interpreter

    graph = Graph()
    x = graph.add_input("x", TensorType(dtype, declared or shape))
    graph.set_outputs([graph.add(Expand(), x, int64s(target))], ["y"])
    bundle = edgec.compile(Model(graph), target="tflite", output=folder / "bundle")
    feed = np.random.default_rng(4).standard_normal(shape)
    feed.flat[:3] = np.nan, np.inf, -0.0
    feed = feed.astype(np.float32) if dtype is DType.FLOAT else np.arange(feed.size, dtype=np.int32).reshape(shape)
    names = [op["op_name"] for op in Interpreter(str(folder / "bundle" / "model.tflite"))._get_ops_details()]
    found, expected = bundle.run({"x": feed})["y"], np.broadcast_to(feed, np.broadcast_shapes(shape, tuple(target)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    return names


@pytest.mark.parametrize(
    ("shape", "target"),
    [((2, 3, 1, 4), (2, 3, 5, 4)), ((1, 6, 1, 7), (3, 1, 2, 1)), ((5, 1), (4, 5, 6)), ((2, 3, 1, 4, 2), (2, 3, 3, 4, 2)), ((4,), (4,))],
)
def test_floats_are_multiplied_with_ones(shape, target, tmp_path) -> None:
    assert "BROADCAST_TO" not in operators_and_result(tmp_path, shape, target)


def test_what_ones_cannot_do_is_left_to_broadcast_to(tmp_path) -> None:
    assert "BROADCAST_TO" in operators_and_result(tmp_path / "a", (2, 1, 4), (2, 3, 4), DType.INT32)
    assert "BROADCAST_TO" in operators_and_result(tmp_path / "b", (3, 1), (3, 5000))
    assert "BROADCAST_TO" in operators_and_result(tmp_path / "c", (2, 1, 4), (2, 3, 4), declared=(symbol("n"), 1, 4))


@pytest.mark.parametrize("pads", [(0, 1, 2, 0, 0, 3, 0, 0), (0, 0, 0, 2, 0, 0, 0, 3), (0, 0, 4, 0, 0, 0, 4, 0), (1, -1, 0, 0, 0, 2, -1, 0)])
def test_mirrors_are_slices_backwards(pads, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (2, 5, 6, 7)))
    graph.set_outputs([graph.add(Pad(mode="reflect"), x, int64s(pads))], ["y"])
    bundle = edgec.compile(Model(graph), target="tflite", output=tmp_path / "bundle")
    names = [op["op_name"] for op in Interpreter(str(tmp_path / "bundle" / "model.tflite"))._get_ops_details()]
    feed = np.random.default_rng(5).standard_normal((2, 5, 6, 7)).astype(np.float32)
    assert "MIRROR_PAD" not in names
    np.testing.assert_array_equal(bundle.run({"x": feed})["y"], interpret(graph, {"x": feed})["y"])
