"""MACs as expressions, against counts by hand and by enumeration."""

import math

import numpy as np
import pytest

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.costmodel.work import graph_work, node_macs
from edgec.ir.dims import substitute, symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Node, constant, int64s
from edgec.ir.op import OPS, Opaque
from edgec.ir.types import TensorType

B, S = symbol("batch"), symbol("seq")


def apply(name: str, *shapes: tuple, domain: str = "", outputs: int | None = None, **attributes: object) -> Node:
    """One node on float inputs of these shapes."""
    graph = Graph()
    operands = [graph.add_input(f"x{i}", TensorType(DType.FLOAT, s)) for i, s in enumerate(shapes)]
    return graph.insert(OPS[domain, name](**attributes), operands, outputs=outputs)


@pytest.mark.parametrize(
    "node, expected",
    [
        (lambda: apply("Conv", (B, 8, 16, 16), (12, 8, 3, 3), pads=(1, 1, 1, 1)), B * 12 * 16 * 16 * 8 * 9),
        (lambda: apply("Conv", (B, 8, 16, 16), (8, 1, 3, 3), group=8, strides=(2, 2), pads=(1, 1, 1, 1)), B * 8 * 8 * 8 * 9),
        (lambda: apply("ConvTranspose", (B, 8, 4, 4), (8, 6, 2, 2), strides=(2, 2)), B * 8 * 16 * 6 * 4),
        (lambda: apply("Gemm", (B, 10), (10, 7)), B * 70),
        (lambda: apply("Gemm", (10, B), (7, 10), transA=1, transB=1), B * 70),
        (lambda: apply("MatMul", (B, 4, S, 32), (B, 4, 32, S)), B * 4 * 32 * S * S),
        (lambda: apply("MatMul", (B, S, 32), (32, 9)), B * S * 32 * 9),
        (lambda: apply("MatMul", (5,), (5,)), 5),
        (lambda: apply("Einsum", (B, S, 8), (B, 3, 8), equation="bsd,btd->bst"), B * S * 8 * 3),
        (lambda: apply("Einsum", (B, 2, S, 4), (B, 2, 4, 6), equation="...ij,...jk->...ik"), B * 2 * S * 4 * 6),
        (lambda: apply("Einsum", (B, S), equation="bs->sb"), 0),
        (lambda: apply("LSTM", (S, B, 6), (2, 16, 6), (2, 16, 4), outputs=3, hidden_size=4, direction="bidirectional"),
         S * B * (2 * 16 * 6 + 2 * 16 * 4)),
        (lambda: apply("GRU", (S, B, 6), (1, 12, 6), (1, 12, 4), outputs=2, hidden_size=4), S * B * (12 * 6 + 12 * 4)),
        (lambda: apply("Attention", (B, 4, S, 16), (B, 2, S + 3, 16), (B, 2, S + 3, 8)), B * 4 * S * (S + 3) * 24),
        (lambda: apply("Attention", (B, S, 64), (B, S, 32), (B, S, 32), q_num_heads=4, kv_num_heads=2), B * S * S * 128),
        (lambda: apply("Relu", (B, S)), 0),
    ],
)  # fmt: skip
def test_formulas(node, expected) -> None:
    assert node_macs(node()) == expected


def test_convolutions_equal_a_count_by_enumeration() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        group = int(rng.integers(1, 4))
        channels, filters = group * int(rng.integers(1, 4)), group * int(rng.integers(1, 4))
        size, kernel, stride = int(rng.integers(5, 12)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
        node = apply("Conv", (2, channels, size), (filters, channels // group, kernel), group=group, strides=(stride,))
        places = len(range(0, size - kernel + 1, stride))
        assert node_macs(node) == sum(channels // group * kernel for _ in range(2 * filters * places))


def test_unknown_work_is_not_zero() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, None))
    assert node_macs(graph.insert(OPS["", "MatMul"](), [x, x])) is None
    assert node_macs(graph.insert(Opaque("my.domain", "Op", 1), [x], outputs=1)) is None
    y = graph.add_input("y", TensorType(DType.FLOAT, (B, 4)))
    graph.insert(OPS["", "MatMul"](), [y, constant(np.ones((4, 2), np.float32))])
    work = graph_work(graph)
    assert work.macs == 8 * B and [n.op.op_name for n in work.unknown] == ["MatMul", "Op"]


def product_body(shape: tuple) -> Graph:
    body = Graph("body")
    weight = constant(np.ones((4, 4), np.float32), "w")
    body.add_input("i", TensorType(DType.INT64, ()))
    body.add_input("c", TensorType(DType.BOOL, ()))
    state = body.add_input("s", TensorType(DType.FLOAT, shape))
    body.set_outputs([body.inputs[1], body.add(OPS["", "MatMul"](), state, weight)], ["c_out", "s_out"])
    return body


@pytest.mark.parametrize("trips, expected", [([5], 5 * 16 * B), (None, 16 * B * symbol("loop.trips"))])
def test_loops_multiply_their_body(trips, expected) -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 4)))
    count = int64s(trips, "n") if trips else graph.add_input("n", TensorType(DType.INT64, ()))
    true = constant(np.array(True), "t")
    node = graph.insert(OPS["", "Loop"](), [count, true, x], regions=[product_body((B, 4))], outputs=1, name="loop")
    assert node_macs(node) == expected


def test_if_costs_its_dearer_branch() -> None:
    graph = Graph()
    condition = graph.add_input("c", TensorType(DType.BOOL, ()))
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 4)))
    branches = []
    for width in (4, 8):
        branch = Graph(f"b{width}")
        product = branch.add(OPS["", "MatMul"](), x, constant(np.ones((4, width), np.float32), f"w{width}"))
        branch.set_outputs([branch.add(OPS["", "ReduceSum"](), product)], ["o"])
        branches.append(branch)
    node = graph.insert(OPS["", "If"](), [condition], regions=branches, outputs=1)
    assert node_macs(node) == 32 * B


def test_expressions_agree_with_bound_shapes() -> None:
    symbolic = node_macs(apply("Conv", (B, 3, S, S), (8, 3, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1)))
    for size in (7, 8, 31):
        bound = node_macs(apply("Conv", (2, 3, size, size), (8, 3, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1)))
        assert substitute(symbolic, {"batch": 2, "seq": size}) == bound == 2 * 8 * math.ceil(size / 2) ** 2 * 27
