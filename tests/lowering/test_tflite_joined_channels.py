"""Convolutions of concatenated channels in LiteRT."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Relu
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.conv import Conv
from edgec.ir.ops.pooling import AveragePool, MaxPool
from edgec.ir.types import TensorType

pytest.importorskip("ai_edge_litert")

import edgec  # noqa: E402


def fire(channels=(32, 24), filters: int = 6, pooling=None, kernel: int = 1, read_twice: bool = False, axis: int = 1) -> Graph:
    """Rectified parts, joined, pooled, and convolved with few filters."""
    generator = np.random.default_rng(4)
    graph = Graph()
    parts = []
    for i, count in enumerate(channels):
        x = graph.add_input(f"x{i}", TensorType(DType.FLOAT, (1, count, 8, 8)))
        parts.append(graph.add(Relu(), x))
    joined = graph.add(Concat(axis=axis), *parts)
    pooled = graph.add(pooling, joined) if pooling is not None else joined
    weight = generator.standard_normal((filters, pooled.shape[1], kernel, kernel)).astype(np.float32)
    bias = generator.standard_normal(filters).astype(np.float32)
    y = graph.add(Conv(pads=(kernel // 2,) * 4), pooled, constant(weight, "w"), constant(bias, "b"))
    y = graph.add(Relu(), y)
    graph.set_outputs([y, joined] if read_twice else [y], ["y", "joined"] if read_twice else ["y"])
    return graph


def operators(graph: Graph, folder) -> dict[str, int]:
    """Compile, compare with the interpreter, and count the operators."""
    generator = np.random.default_rng(1)
    feeds = {v.name: generator.standard_normal(v.tensor.static_shape).astype(np.float32) for v in graph.inputs}
    expected = interpret(graph, feeds)["y"]
    bundle = edgec.compile(Model(graph), target="tflite", output=folder / "bundle")
    np.testing.assert_allclose(bundle.run(feeds)["y"], expected, rtol=1e-4, atol=1e-5)
    return bundle.manifest["lowering"]["operators"]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [(32, 24), (40, 40, 40)], ids=str)
def test_few_filters_read_the_parts(channels, kernel, tmp_path) -> None:
    counts = operators(fire(channels, kernel=kernel), tmp_path)
    assert "CONCATENATION" not in counts
    assert counts["CONV_2D"] == len(channels)
    assert counts["ADD"] == len(channels) - 1


@pytest.mark.parametrize("pooling", [MaxPool((2, 2), strides=(2, 2)), AveragePool((3, 3), strides=(1, 1), pads=(1, 1, 1, 1))], ids=str)
def test_poolings_go_to_the_parts(pooling, tmp_path) -> None:
    counts = operators(fire(pooling=pooling), tmp_path)
    assert "CONCATENATION" not in counts and counts["CONV_2D"] == 2
    assert counts.get("MAX_POOL_2D", 0) + counts.get("AVERAGE_POOL_2D", 0) == 2


@pytest.mark.parametrize(
    "graph",
    [fire(filters=48), fire(read_twice=True), fire(channels=(16, 16), axis=2)],
    ids=["many filters", "read elsewhere", "other axis"],
)
def test_what_does_not_pay_stays(graph, tmp_path) -> None:
    counts = operators(graph, tmp_path)
    assert counts["CONCATENATION"] == 1 and counts["CONV_2D"] == 1
