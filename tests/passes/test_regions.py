"""Grouping nodes into regions and putting them back: the same values, the same graph, boundaries where they are documented."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edgec.ir.clone import clone_graph
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.ops.activation import Clip, Relu, Sigmoid
from edgec.ir.ops.binary import Add, Mul
from edgec.ir.ops.control import If
from edgec.ir.ops.conv import Conv
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.region import Region
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.unary import Exp, Neg, Tanh
from edgec.ir.text import parse_model, print_graph
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.manager import run_passes
from tests.passes.recognition import assert_equal, feeds_of, graph_of, names, tensor, transformed
from tests.strategies import cases


def regions(graph):
    """The kind of every region with the operators inside."""
    return [(node.op.kind, [inner.op.op_name for inner in node.regions[0]]) for node in graph if isinstance(node.op, Region)]


def grouped(build, *shapes, pipeline="group-regions", dtype=DType.FLOAT, sizes=None):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, pipeline)
    assert_equal(graph, found, feeds_of(graph, sizes), tolerance=0)
    return found


def conv(s, x, out=4):
    kernel = s.array(np.random.default_rng(0).standard_normal((out, x.shape[1], 3, 3)), x)
    return s.apply(Conv(pads=(1, 1, 1, 1)), x, kernel)


def test_a_chain_of_elementwise_operators_is_one_region():
    found = grouped(lambda s, x, y: s.apply(Tanh(), s.mul(s.add(x, y), 2.0)), (2, 3), (2, 3))
    assert regions(found) == [("elementwise-chain", ["Add", "Mul", "Tanh"])]
    region = found.first
    assert region is not None and [v.name for v in region.inputs] == ["x", "y"]


def test_conv_with_bias_activation_and_residual():
    found = grouped(lambda s, x: s.apply(Relu(), s.add(conv(s, x), x)), (1, 4, 5, 5))
    assert regions(found) == [("conv-activation", ["Conv", "Add", "Relu"])]


@pytest.mark.parametrize("product", ["gemm", "matmul"])
def test_matrix_products_with_what_follows(product):
    def build(s, x, y):
        return s.mul(s.apply(Gemm() if product == "gemm" else MatMul(), x, y), 0.5)

    assert regions(grouped(build, (2, 3), (3, 4))) == [("matmul-activation", ["Gemm" if product == "gemm" else "MatMul", "Mul"])]


def test_two_products_are_not_in_one_region():
    found = grouped(lambda s, x: s.add(conv(s, x), conv(s, s.apply(Neg(), x))), (1, 4, 5, 5))
    assert names(found).count("Conv") == 2
    assert all(ops.count("Conv") <= 1 for _, ops in regions(found))


def test_a_single_node_is_no_region():
    assert regions(grouped(lambda s, x: s.apply(Softmax(), s.apply(Relu(), x)), (2, 3))) == []


def test_a_value_that_is_read_twice_ends_a_region():
    def build(s, x):
        y = s.apply(Exp(), s.apply(Neg(), x))
        return s.apply(Softmax(), y), s.apply(Relu(), s.apply(Tanh(), y))

    assert regions(grouped(build, (2, 3))) == [("elementwise-chain", ["Neg", "Exp"]), ("elementwise-chain", ["Tanh", "Relu"])]


def test_a_value_that_one_node_reads_twice_stays_inside():
    found = grouped(lambda s, x: (lambda y: s.mul(y, y))(s.apply(Neg(), x)), (2, 3))
    assert regions(found) == [("elementwise-chain", ["Neg", "Mul"])]


def test_an_output_ends_a_region():
    def build(s, x):
        y = s.apply(Exp(), s.apply(Neg(), x))
        return y, s.apply(Relu(), s.apply(Tanh(), y))

    assert [ops for _, ops in regions(grouped(build, (2, 3)))] == [["Neg", "Exp"], ["Tanh", "Relu"]]


def test_a_diamond_makes_no_cycle():
    """Both arms join the end, what they share stays outside."""

    def build(s, x):
        y = s.apply(Neg(), x)
        return s.add(s.apply(Exp(), y), s.apply(Softmax(), y))

    found = grouped(build, (2, 3))
    assert regions(found) == [("elementwise-chain", ["Exp", "Add"])]
    assert names(found)[0] == "Neg"


def test_regions_have_a_largest_size():
    def build(s, x):
        for _ in range(10):
            x = s.apply(Neg(), x)
        return x

    found = grouped(build, (2, 3), pipeline="group-regions{max_nodes=4}")
    assert [len(ops) for _, ops in regions(found)] == [4, 4, 2]


def test_constants_stay_constants_inside():
    found = grouped(lambda s, x: s.clip(s.mul(x, s.array(np.arange(3), x)), 0.0, 1.0), (2, 3))
    assert found.first is not None and len(found.first.inputs) == 1
    body = found.first.regions[0]
    assert [isinstance(node.op, Clip | Mul) for node in body] == [True, True]


def test_symbolic_shapes_are_kept():
    found = grouped(lambda s, x: s.apply(Tanh(), s.add(x, 1.0)), ("n", 3), sizes={"n": 4})
    assert found.outputs[0].type == found.inputs[0].type


def test_regions_inside_branches():
    graph = Graph()
    x = graph.add_input("x", tensor(DType.FLOAT, (2, 3)))
    condition = graph.add_input("c", tensor(DType.BOOL, ()))
    branches = [Graph("then_branch"), Graph("else_branch")]
    for branch, op in zip(branches, (Exp(), Tanh()), strict=True):
        branch.set_outputs([branch.add(op, branch.add(Neg(), x))], ["o"])
    graph.set_outputs([graph.insert(If(), [condition], regions=branches).output], ["y"])
    copy = clone_graph(graph)
    assert run_passes(copy, "group-regions").counts == {"elementwise-chain": 2}
    verify(copy)
    for choice in (True, False):
        feeds = {"x": np.ones((2, 3), np.float32), "c": np.array(choice)}
        np.testing.assert_array_equal(interpret(copy, feeds)["y"], interpret(graph, feeds)["y"])
    run_passes(copy, "inline-regions")
    assert names(copy) == names(graph)


def test_debug_handles_and_names_survive():
    graph = graph_of(lambda s, x: s.apply(Tanh(), s.add(x, 1.0)), (2, 3))
    for index, node in enumerate(graph):
        node.sources = (f"node{index}",)
        node.output.origins = (f"value{index}",)
    result = graph.outputs[0].name
    found = transformed(graph, "group-regions")
    assert found.first is not None
    assert found.first.sources == ("node0", "node1") and found.outputs[0].name == result
    assert found.outputs[0].origins == ("value1",)
    run_passes(found, "inline-regions")
    assert [node.sources for node in found] == [("node0",), ("node1",)]
    assert [node.output.origins[0] for node in found] == ["value0", "value1"]


def test_the_text_form_reads_regions_back():
    found = grouped(lambda s, x: s.apply(Relu(), s.add(conv(s, x, 4), x)), (1, 4, 5, 5))
    text = print_graph(found)
    assert print_graph(parse_model(text).graph) == text


def test_bisection_stops_grouping():
    def build(s, x):
        for op in (Neg(), Exp(), Softmax(), Neg(), Tanh(), Softmax()):
            x = s.apply(op, x)
        return x

    graph = graph_of(build, (2, 3))
    found = transformed(graph, "group-regions", Context(rewrite_limit=1))
    assert len(regions(found)) == 1
    assert_equal(graph, found, feeds_of(graph), tolerance=0)


def shape_of_graph(graph):
    """The graph up to the order of its nodes: every node with its operator, operands and result names."""
    described = []
    for node in graph.walk():
        operands = [None if v is None else v.name if v.data is None else (str(v.type), v.data.numpy().tobytes()) for v in node.inputs]
        described.append((repr(node.op), repr(operands), [v.name for v in node.outputs], [str(v.type) for v in node.outputs]))
    return sorted(described), [v.name for v in graph.outputs], graph.output_names


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(cases())
def test_grouping_and_inlining_give_the_graph_back(case):
    copy = clone_graph(case.graph)
    run_passes(copy, "group-regions")
    verify(copy)
    for node in copy.walk():
        if isinstance(node.op, Region):
            body = node.regions[0]
            assert len(body) > 1 and len(node.outputs) == 1 and len(body.inputs) == len(set(node.inputs)) == len(node.inputs)
            products = [inner for inner in body if not inner.op.elementwise]
            assert len(products) <= 1 and all(inner is body.first or inner.op.elementwise for inner in body if products)
    grouped_values = interpret(copy, case.feeds)
    for name, array in interpret(case.graph, case.feeds).items():
        np.testing.assert_array_equal(grouped_values[name], array)
    run_passes(copy, "inline-regions")
    verify(copy)
    assert shape_of_graph(copy) == shape_of_graph(case.graph)


def test_grouping_twice_changes_nothing():
    graph = graph_of(lambda s, x: s.apply(Sigmoid(), s.apply(Add(), x, constant(np.float32(1)))), (2, 3))
    run_passes(graph, "group-regions")
    assert not run_passes(graph, "group-regions").modified
