"""Bytes of values, and peak memory against a simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.costmodel.memory import peak_memory, type_bytes
from edgec.ir.dims import substitute, symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant, int64s
from edgec.ir.op import OPS
from edgec.ir.types import UNKNOWN, OptionalType, SequenceType, TensorType

B = symbol("batch")


@pytest.mark.parametrize(
    "type_, expected",
    [
        (TensorType(DType.FLOAT, (B, 3)), 12 * B),
        (TensorType(DType.BFLOAT16, ()), 2),
        (TensorType(DType.INT4, (3, 3)), 5),
        (TensorType(DType.BOOL, (0, 3)), 0),
        (OptionalType(TensorType(DType.DOUBLE, (2,))), 16),
        (TensorType(DType.STRING, (2,)), None),
        (TensorType(DType.FLOAT, None), None),
        (SequenceType(TensorType(DType.FLOAT, (2,))), None),
        (UNKNOWN, None),
    ],
)
def test_bytes(type_, expected) -> None:
    assert type_bytes(type_) == expected


def test_packed_symbolic_sizes() -> None:
    size = type_bytes(TensorType(DType.INT4, (B, 3)))
    assert [substitute(size, {"batch": n}) for n in (1, 2, 3)] == [2, 3, 5]


def chain(*shapes: tuple) -> Graph:
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, shapes[0]))
    for shape in shapes[1:]:
        value = graph.add(OPS["", "Expand"](), value, int64s(shape))
    graph.set_outputs([value])
    return graph


def test_a_chain_holds_two_values() -> None:
    assert peak_memory(chain((1,), (10,), (10, 10), (10, 10))).bytes == 4 * 200


def test_alternatives_are_kept_where_the_sizes_decide() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 10)))
    y = graph.add_input("y", TensorType(DType.FLOAT, (100,)))
    left = graph.add(OPS["", "Relu"](), graph.add(OPS["", "Relu"](), x))
    right = graph.add(OPS["", "Exp"](), graph.add(OPS["", "Relu"](), y))
    graph.set_outputs([graph.add(OPS["", "ReduceSum"](), left), right])
    peak = peak_memory(graph)
    for size in (1, 5, 50):
        found = max(substitute(s, {"batch": size}) for s, _ in peak.moments)
        assert found == max(80 * size + 400, 40 * size + 800)
        assert peak.within({"batch": (size, size)}) == (found, found)
    assert peak.within({"batch": (1, 50)}) == (840, 4400)


def test_views_share_their_buffer_and_constants_cost_nothing() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (10, 10)))
    flat = graph.add(OPS["", "Reshape"](), x, int64s([100]))
    weight = constant(np.ones(100, np.float32))
    graph.set_outputs([graph.add(OPS["", "Add"](), flat, weight)])
    assert peak_memory(graph).bytes == 800


def test_regions_add_what_lives_inside() -> None:
    graph = Graph()
    condition = graph.add_input("c", TensorType(DType.BOOL, ()))
    x = graph.add_input("x", TensorType(DType.FLOAT, (10,)))
    branches = []
    for width in (10, 1000):
        branch = Graph()
        wide = branch.add(OPS["", "Expand"](), branch.add(OPS["", "Reshape"](), x, int64s([10, 1])), int64s([10, width]))
        branch.set_outputs([branch.add(OPS["", "ReduceSum"](), wide)], ["o"])
        branches.append(branch)
    graph.set_outputs([graph.insert(OPS["", "If"](), [condition], regions=branches, outputs=1).output])
    # the condition, x, the If's own result, and inside: the reshaped copy of x's bytes is a value of the branch
    assert peak_memory(graph).bytes == 1 + 40 + 4 + (40 + 40000)


def test_unknown_sizes_are_named() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, None))
    graph.set_outputs([graph.insert(OPS["", "Relu"](), [x], names=["y"]).output])
    assert peak_memory(graph).unknown == ("x", "y")


def simulate(graph: Graph) -> int:
    """The peak by stepping through the nodes and releasing what nobody will read."""
    nodes = list(graph)
    last: dict[Value, int] = {v: 0 for v in graph.inputs}
    for index, node in enumerate(nodes):
        last.update({v: index for v in node.outputs})
        last.update({v: index for v in node.inputs if v is not None and v.data is None})
    last.update({v: len(nodes) for v in graph.outputs})
    live, peak = set(graph.inputs), 0
    for index, node in enumerate(nodes):
        live |= set(node.outputs)
        peak = max(peak, sum(4 * int(np.prod(v.shape)) for v in live))
        live = {v for v in live if last[v] > index}
    return peak


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 50)), min_size=1, max_size=25))
def test_peak_equals_a_simulation(steps) -> None:
    graph = Graph()
    values = [graph.add_input("x", TensorType(DType.FLOAT, (1,))), graph.add_input("y", TensorType(DType.FLOAT, (7,)))]
    for first, second, size in steps:
        total = graph.add(OPS["", "Concat"](axis=0), values[first % len(values)], values[second % len(values)])
        values.append(graph.add(OPS["", "Slice"](), total, int64s([0]), int64s([size])))
    graph.set_outputs(values[-2:])
    assert peak_memory(graph).bytes == simulate(graph)


def test_sizes_that_broadcast_for_few_values_are_ordered() -> None:
    """A dimension of n and one of n + 2 meet only where n is such that one of them is 1: an order of sizes must not ask for 64 and 66."""
    graph = Graph()
    n = symbol("n")
    x = graph.add_input("x", TensorType(DType.FLOAT, (n, 8)))
    y = graph.add_input("y", TensorType(DType.FLOAT, (n + 2, 8)))
    graph.set_outputs([graph.add(OPS["", "Relu"](), graph.add(OPS["", "Add"](), x, y))])
    assert peak_memory(graph).moments
