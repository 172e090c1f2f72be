"""Every other pixel of an image as channels: SpaceToDepth in LiteRT."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.conv import Conv
from edgec.ir.ops.slice import Slice
from edgec.ir.types import TensorType

pytest.importorskip("ai_edge_litert")

import edgec  # noqa: E402


def detector(phases, step: int = 2, chained: bool = True, end: int = 2**31 - 1, size: int = 12) -> Graph:
    generator = np.random.default_rng(3)
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 3, size, size)))
    parts = []
    for row, column in phases:
        if chained:
            value = graph.add(Slice(), x, int64s([row]), int64s([end]), int64s([2]), int64s([step]))
            parts.append(graph.add(Slice(), value, int64s([column]), int64s([end]), int64s([3]), int64s([step])))
        else:
            bounds = [int64s(v) for v in ([row, column], [end, end], [2, 3], [step, step])]
            parts.append(graph.add(Slice(), x, *bounds))
    joined = graph.add(Concat(axis=1), *parts)
    weight = generator.standard_normal((5, 3 * len(phases), 3, 3)).astype(np.float32)
    y = graph.add(Conv(pads=(1, 1, 1, 1)), joined, constant(weight, "w"), constant(generator.standard_normal(5).astype(np.float32), "b"))
    graph.set_outputs([y], ["y"])
    return graph


def compiled(graph: Graph, folder) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The operators of the .tflite file, its result and the expected one."""
    from ai_edge_litert.interpreter import Interpreter

    feed = np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)
    bundle = edgec.compile(Model(graph), target="tflite", output=folder / "bundle")
    operators = [op["op_name"] for op in Interpreter(str(folder / "bundle" / "model.tflite"))._get_ops_details()]
    return operators, bundle.run({"x": feed})["y"], interpret(graph, {"x": feed})["y"]


ORDERS = {
    "rows first": ((0, 0), (0, 1), (1, 0), (1, 1)),
    "columns first": ((0, 0), (1, 0), (0, 1), (1, 1)),
    "mixed": ((1, 1), (0, 0), (1, 0), (0, 1)),
}


@pytest.mark.parametrize("order", list(ORDERS))
@pytest.mark.parametrize("chained", [True, False])
def test_phases_become_space_to_depth(order, chained, tmp_path) -> None:
    operators, found, expected = compiled(detector(ORDERS[order], chained=chained), tmp_path)
    assert "SPACE_TO_DEPTH" in operators and "STRIDED_SLICE" not in operators and "CONCATENATION" not in operators
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_three_by_three_phases(tmp_path) -> None:
    phases = [(r, c) for c in range(3) for r in range(3)]
    operators, found, expected = compiled(detector(phases, step=3), tmp_path)
    assert "SPACE_TO_DEPTH" in operators
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "graph",
    [
        detector(((0, 0), (0, 1), (1, 0))),  # one is missing
        detector(((0, 0), (0, 1), (1, 0), (1, 0))),  # one twice
        detector(((2, 0), (2, 1), (3, 0), (3, 1))),  # the first rows are left out
        detector(ORDERS["mixed"], step=3),  # not all phases of three
    ],
    ids=["missing", "twice", "shifted", "three"],
)
def test_what_is_not_all_phases_stays(graph, tmp_path) -> None:
    operators, found, expected = compiled(graph, tmp_path)
    assert "SPACE_TO_DEPTH" not in operators
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
