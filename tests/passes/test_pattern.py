"""The pattern language: what matches, what does not, and why."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.ops.activation import Relu, Sigmoid
from edgec.ir.ops.binary import Add, Div, Mul, Sub
from edgec.ir.ops.concat import Concat, Split
from edgec.ir.ops.control import If
from edgec.ir.ops.unary import Erf, Exp, Identity
from edgec.ir.types import TensorType
from edgec.passes.match import Match, Mismatch, match, quick_match
from edgec.passes.pattern import ANY, C, P, optional

F32 = TensorType(DType.FLOAT, (2, 3))


@pytest.fixture
def graph():
    graph = Graph()
    graph.add_input("x", F32)
    graph.add_input("y", F32)
    return graph


def scalar(number):
    return constant(np.float32(number), "c")


def test_names_bind_values_nodes_and_operators(graph):
    x, y = graph.inputs
    total = graph.add(Add(), x, y)
    root = graph.add(Relu(), total)
    found = match(P(Relu, "out")(P(Add, "sum")("a", "b")), root)
    assert isinstance(found, Match)
    assert (found["a"], found["b"], found["sum"]) == (x, y, total)
    assert found.node("sum") is total.producer and found.op("sum") == Add()
    assert found.root is root.producer and found.nodes == (root.producer, total.producer)
    assert found.value is root


@pytest.mark.parametrize("swap", [False, True])
def test_commutative_operands_match_in_both_orders(graph, swap):
    x, _ = graph.inputs
    half = scalar(0.5)
    root = graph.add(Mul(), *((half, x) if swap else (x, half)))
    found = match(P(Mul)("x", C(0.5, "half")), root)
    assert found and found["x"] is x and found.scalar("half") == 0.5


def test_order_matters_where_the_operator_does_not_commute(graph):
    x, _ = graph.inputs
    root = graph.add(Sub(), scalar(1), x)
    assert not match(P(Sub)("x", C(1)), root)
    assert match(P(Sub)(C(1), "x"), root)


def test_backtracking_revises_an_order_chosen_deep_inside(graph):
    """x * (x + y): the order of the inner Add that binds first does not fit the outer use of the name."""
    x, y = graph.inputs
    inner = graph.add(Add(), y, x)
    root = graph.add(Mul(), x, inner)
    found = match(P(Mul)(P(Add)("a", "b"), "a"), root)
    assert found and found["a"] is x and found["b"] is y


def test_gelu_written_with_erf_in_any_order(graph):
    x, _ = graph.inputs
    erf = graph.add(Erf(), graph.add(Div(), x, scalar(2**0.5)))
    shifted = graph.add(Add(), scalar(1), erf)
    pattern = P(Mul)(C(0.5), P(Mul)("x", P(Add)(P(Erf)(P(Div)("x", C(1.41421356))), C(1.0))))
    root = graph.add(Mul(), graph.add(Mul(), shifted, x), scalar(0.5))
    assert match(pattern, root)["x"] is x


def test_a_repeated_name_needs_the_same_value(graph):
    x, y = graph.inputs
    same = graph.add(Mul(), x, graph.add(Sigmoid(), x))
    other = graph.add(Mul(), x, graph.add(Sigmoid(), y))
    pattern = P(Mul)("v", P(Sigmoid)("v"))
    assert match(pattern, same)
    missed = match(pattern, other)
    assert isinstance(missed, Mismatch) and "at once" in missed.reason and missed.depth == 2


def test_alternatives_are_tried_in_order_and_backtrack(graph):
    x, y = graph.inputs
    pattern = P(Relu)(P(Add, "add")("a", "b") | P(Sub, "sub")("a", "b") | "plain")
    assert "add" in match(pattern, graph.add(Relu(), graph.add(Add(), x, y)))
    assert "sub" in match(pattern, graph.add(Relu(), graph.add(Sub(), x, y)))
    found = match(pattern, graph.add(Relu(), x))
    assert found["plain"] is x and "add" not in found and found.get("add") is None


def test_alternatives_at_the_root(graph):
    x, y = graph.inputs
    pattern = P(Add)("a", "b") | P(Sub)("a", "b")
    assert match(pattern, graph.add(Sub(), x, y)) and match(pattern, graph.add(Add(), x, y))
    assert not match(pattern, graph.add(Mul(), x, y))


def test_intermediates_used_elsewhere_prevent_a_match_unless_shared(graph):
    x, y = graph.inputs
    total = graph.add(Add(), x, y)
    root = graph.add(Relu(), total)
    graph.add(Exp(), total)
    missed = match(P(Relu)(P(Add)("a", "b")), root)
    assert "also used by" in missed.reason and missed.depth == 2
    assert match(P(Relu)(P(Add)("a", "b").shared()), root)
    graph.remove(graph.last)
    graph.set_outputs([total, root])
    assert "the outputs" in match(P(Relu)(P(Add)("a", "b")), root).reason


def test_an_intermediate_used_twice_inside_the_match_is_fine(graph):
    x, y = graph.inputs
    total = graph.add(Add(), x, y)
    root = graph.add(Mul(), total, graph.add(Sigmoid(), total))
    inner = P(Add, "sum")("a", "b")
    assert match(P(Mul)(inner, P(Sigmoid)(inner)), root)


def test_attributes_and_conditions_on_them(graph):
    x, y = graph.inputs
    root = graph.add(Concat(1), x, y)
    assert match(P(Concat, axis=1)("a", "b"), root)
    assert match(P(Concat, axis=lambda a: a > 0)("a", "b"), root)
    assert match(P(Concat, axis=0)("a", "b"), root).reason == "axis of Concat is 1, not 0"
    with pytest.raises(TypeError, match="no attribute 'axes'"):
        P(Concat, axes=1)


def test_operand_counts(graph):
    x, y = graph.inputs
    root = graph.add(Concat(0), x, y, x)
    assert "3 operands, not 2" in match(P(Concat)("a", "b"), root).reason
    assert match(P(Concat)("a", ...), root)
    assert match(P(Concat), root)
    assert match(P(Concat)(ANY, ANY, ANY), root)
    assert match(P(Concat)("a", "b", "a", optional("d")), root).get("d") is None
    assert match(P(Concat)("a", "b", optional("c"), None), root)["c"] is x
    assert "should be absent" in match(P(Concat)("a", "b", None), root).reason


def test_other_results_of_a_node(graph):
    x, _ = graph.inputs
    first, second = graph.add(Split(0, 2), x, outputs=2)
    pattern = P(Relu)(P(Split, "s").result(1)("x"))
    assert match(pattern, graph.add(Relu(), second))
    assert "result 1" in match(pattern, graph.add(Relu(), first)).reason


def test_constants_by_number_tolerance_and_condition(graph):
    x, _ = graph.inputs
    assert match(P(Mul)("x", C(0.70710678)), graph.add(Mul(), x, scalar(0.7071)))
    assert not match(P(Mul)("x", C(0.70710678, tolerance=1e-7)), graph.add(Mul(), x, scalar(0.7071)))
    full = constant(np.full((2, 3), 3, np.float32), "full")
    assert match(P(Mul)("x", C(3.0)), graph.add(Mul(), x, full))
    mixed = constant(np.arange(6, dtype=np.float32).reshape(2, 3), "mixed")
    root = graph.add(Mul(), x, mixed)
    assert "not a single number" in match(P(Mul)("x", C(3.0)), root).reason
    assert match(P(Mul)("x", C("c", pred=lambda v: v.shape == (2, 3))), root)["c"] is mixed
    assert not match(P(Mul)("x", C(pred=lambda v: v.shape == ())), root)
    assert "not a constant" in match(P(Sub)("x", C("c")), graph.add(Sub(), x, x)).reason


def test_where_gives_the_reason_and_makes_the_search_go_on(graph):
    x, y = graph.inputs
    root = graph.add(Add(), x, y)
    refused = match(P(Add)("a", "b").where(lambda m: "too small"), root)
    assert refused.reason == "too small" and refused.node is root.producer
    found = match(P(Add)("a", "b").where(lambda m: m["a"] is y), root)
    assert found["a"] is y and found["b"] is x
    assert not match(P(Add)("a", "b").where(lambda m: False), root)


def test_the_deepest_attempt_gives_the_reason(graph):
    """Of both orders of the Add, the one that recognises the Exp gets further."""
    x, y = graph.inputs
    exponential = graph.add(Exp(), graph.add(Sub(), x, y))
    root = graph.add(Add(), graph.add(Identity(), y), exponential)
    missed = match(P(Add)(P(Exp)(P(Mul)("a", "b")), P(Identity)("c")), root)
    assert missed.reason == "Mul expected, not Sub" and missed.depth == 2
    assert missed.node.op == Sub()


def test_inputs_and_constants_are_named_as_such(graph):
    x, _ = graph.inputs
    assert match(P(Relu)(P(Add)), graph.add(Relu(), x)).reason == "Add expected, the operand is %x, an input"
    assert "%c, a constant" in match(P(Relu)(P(Add)), graph.add(Relu(), scalar(1))).reason


def test_a_node_outside_the_region_of_the_root_does_not_match(graph):
    x, y = graph.inputs
    condition = graph.add_input("condition", TensorType(DType.BOOL, ()))
    total = graph.add(Add(), x, y)
    branches = [Graph("then"), Graph("else")]
    for branch in branches:
        branch.set_outputs([branch.add(Relu(), total)], ["out"])
    graph.insert(If(), [condition], regions=branches)
    root = branches[0].outputs[0]
    assert "outside the region" in match(P(Relu)(P(Add).shared()), root).reason
    assert match(P(Relu)("any"), root)["any"] is total


def test_the_quick_matcher_agrees_with_the_explaining_one(graph):
    x, y = graph.inputs
    values = [graph.add(Add(), x, y), graph.add(Mul(), y, x)]
    values += [graph.add(Relu(), v) for v in values] + [graph.add(Add(), values[0], scalar(0.5))]
    patterns = [P(Add)("a", "b"), P(Relu)(P(Add)), P(Relu)(P(Mul)), P((Add, Mul))("a", "a"), P(Add)("a", C(0.5))]
    for pattern in patterns:
        for value in values:
            assert bool(quick_match(pattern, value)) == bool(match(pattern, value))
