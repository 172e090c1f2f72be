"""Declaring rules, applying them, explaining them."""

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.ops.activation import Relu, Sigmoid
from edgec.ir.ops.binary import Add, Mul, Sub
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Split
from edgec.ir.ops.control import If
from edgec.ir.ops.unary import Abs, Exp, Identity, Neg
from edgec.ir.types import TensorType
from edgec.passes.context import Context
from edgec.passes.driver import apply_rules
from edgec.passes.explain import explain_rule
from edgec.passes.pattern import C, P
from edgec.passes.registry import RULES, find_rule
from edgec.passes.rewriter import Decline, rewrites, rewrites_op

F32 = TensorType(DType.FLOAT, (2, 3))


@pytest.fixture(autouse=True)
def own_rules():
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def new_graph():
    graph = Graph()
    graph.add_input("x", F32)
    graph.add_input("y", F32)
    return graph


def ops(graph):
    return [node.op.op_name for node in graph.walk()]


def double_negation():
    @rewrites(P(Neg)(P(Neg)("x")), name="test-neg-neg", group="test")
    def rule(m, b):
        """-(-x) is x."""
        return m["x"]

    return rule


def test_a_rule_rewrites_everywhere_until_nothing_is_left():
    graph = new_graph()
    value = graph.inputs[0]
    for _ in range(6):
        value = graph.add(Neg(), value)
    graph.set_outputs([value], ["out"])
    change = apply_rules(graph, [double_negation()], Context())
    assert ops(graph) == [] and graph.outputs == (graph.inputs[0],) and graph.output_names == ("out",)
    assert change.modified and change.counts == {"test-neg-neg": 3}


def test_nothing_matched_nothing_changed():
    graph = new_graph()
    graph.set_outputs([graph.add(Neg(), graph.inputs[0])])
    assert not apply_rules(graph, [double_negation()], Context()).modified


def test_new_nodes_inherit_names_and_debug_handles():
    graph = new_graph()
    inner = graph.insert(Sigmoid(), [graph.inputs[0]], names=["s"], name="sigmoid")
    root = graph.insert(Mul(), [graph.inputs[0], inner.output], names=["swish"], name="mul")
    inner.sources, root.sources = ("sigmoid",), ("mul",)
    root.output.origins = ("swish",)
    graph.set_outputs([root.output])

    @rewrites(P(Mul)("x", P(Sigmoid)("x")), name="test-swish")
    def rule(m, b):
        return b.add(Abs(), m["x"])

    apply_rules(graph, [rule], Context())
    (node,) = graph
    assert node.op == Abs() and node.output.name == "swish" and node.output.origins == ("swish",)
    assert node.sources == ("mul", "sigmoid")


def test_a_rewrite_can_enable_another_above_and_below():
    """Removing a use makes a node used once; the rule that wants single uses must see it again."""
    graph = new_graph()
    shared = graph.add(Exp(), graph.inputs[0])
    kept = graph.add(Relu(), shared)
    graph.add(Neg(), graph.add(Neg(), shared))
    graph.set_outputs([kept, graph.first.next.next.next.output])

    @rewrites(P(Relu)(P(Exp)("x")), name="test-relu-exp")
    def rule(m, b):
        return b.add(Exp(), m["x"])

    @rewrites_op(Neg, name="test-drop-neg")
    def drop(node, b):
        inner = node.inputs[0].producer
        return b.graph.inputs[1] if inner is not None and isinstance(inner.op, Neg) else None

    change = apply_rules(graph, [rule, drop], Context())
    assert change.counts == {"test-drop-neg": 1, "test-relu-exp": 1} and ops(graph) == ["Exp"]


def test_greater_benefit_goes_first():
    order = []
    for name, benefit in (("test-low", 1), ("test-high", 5), ("test-low-too", 1)):

        @rewrites_op(Relu, name=name, benefit=benefit)
        def rule(node, b, name=name):
            order.append(name)
            return None

    graph = new_graph()
    graph.set_outputs([graph.add(Relu(), graph.inputs[0])])
    apply_rules(graph, [find_rule(n) for n in ("test-low", "test-high", "test-low-too")], Context())
    assert order == ["test-high", "test-low", "test-low-too"]


def test_regions_are_rewritten_too():
    graph = new_graph()
    condition = graph.add_input("condition", TensorType(DType.BOOL, ()))
    branches = [Graph("then"), Graph("else")]
    for branch in branches:
        branch.set_outputs([branch.add(Neg(), branch.add(Neg(), branch.add(Exp(), graph.inputs[0])))], ["o"])
    node = graph.insert(If(), [condition], regions=branches)
    graph.set_outputs([node.output])
    assert apply_rules(graph, [double_negation()], Context()).counts == {"test-neg-neg": 2}
    assert ops(graph) == ["If", "Exp", "Exp"]


def test_removing_a_node_with_regions_releases_what_they_captured():
    graph = new_graph()
    condition = graph.add_input("condition", TensorType(DType.BOOL, ()))
    outer = graph.add(Exp(), graph.inputs[0])
    branches = [Graph("then"), Graph("else")]
    for branch in branches:
        branch.set_outputs([branch.add(Neg(), outer)], ["o"])
    node = graph.insert(If(), [condition], regions=branches)
    graph.set_outputs([graph.add(Abs(), node.output)])

    @rewrites(P(Abs)(P(If)), name="test-drop-if")
    def rule(m, b):
        return graph.inputs[1]

    apply_rules(graph, [rule], Context())
    assert ops(graph) == [] and graph.outputs == (graph.inputs[1],)


def test_declines_leave_no_trace_and_are_recorded_on_request():
    graph = new_graph()
    root = graph.add(Relu(), graph.inputs[0])
    graph.set_outputs([root])

    @rewrites(P(Relu)("x"), name="test-decline")
    def rule(m, b):
        b.add(Exp(), m["x"])
        return Decline("the weather is bad", m.root)

    context = Context(declines=[])
    assert not apply_rules(graph, [rule], context).modified
    assert ops(graph) == ["Relu"]
    (record,) = context.declines
    assert (record.rule, record.reason, record.root) == ("test-decline", "the weather is bad", root.producer)


@pytest.mark.parametrize("wrong", ["dtype", "rank", "dimension"])
def test_a_result_that_does_not_fit_names_the_rule(wrong):
    graph = new_graph()
    graph.set_outputs([graph.add(Relu(), graph.inputs[0])])

    @rewrites(P(Relu)("x"), name="test-wrong")
    def rule(m, b):
        if wrong == "dtype":
            return b.add(Cast(DType.FLOAT16), m["x"])
        return b.constant(np.zeros((2, 3, 1) if wrong == "rank" else (2, 4), np.float32))

    with pytest.raises(Diagnostic, match="test-wrong") as caught:
        apply_rules(graph, [rule], Context())
    assert caught.value.code == "E0407" and "Relu" in caught.value.where


def test_rules_that_undo_each_other_are_stopped():
    @rewrites_op(Relu, name="test-there")
    def there(node, b):
        return b.add(Abs(), node.inputs[0])

    @rewrites_op(Abs, name="test-back")
    def back(node, b):
        return b.add(Relu(), node.inputs[0])

    graph = new_graph()
    graph.set_outputs([graph.add(Relu(), graph.inputs[0])])
    with pytest.raises(Diagnostic) as caught:
        apply_rules(graph, [there, back], Context(), max_rewrites=50)
    assert caught.value.code == "E0408" and any("test-there" in note for note in caught.value.notes)


def test_bisection_limits_the_rewrites_exactly():
    for limit in range(4):
        graph = new_graph()
        value = graph.inputs[0]
        for _ in range(6):
            value = graph.add(Neg(), value)
        graph.set_outputs([value])
        context = Context(rewrite_limit=limit)
        apply_rules(graph, [double_negation()], context)
        assert len(graph) == 6 - 2 * limit and context.rewrites == limit


def test_results_of_a_node_with_several_can_be_replaced_one_by_one():
    graph = new_graph()
    first, second = graph.add(Split(1, 3), graph.inputs[0], outputs=3)[:2]
    graph.set_outputs([graph.add(Abs(), first), graph.add(Abs(), second)])

    @rewrites_op(Split, name="test-first")
    def rule(node, b):
        if not node.outputs[0].uses:
            return None
        return (b.constant(np.zeros((2, 1), np.float32)), None, None)

    assert apply_rules(graph, [rule], Context()).counts == {"test-first": 1}
    assert ops(graph) == ["Split", "Abs", "Abs"]
    assert graph.outputs[0].producer.inputs[0].is_constant
    assert graph.outputs[1].producer.inputs[0] is second


def test_types_downstream_follow_a_better_known_result():
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, None))
    root = graph.add(Relu(), graph.add(Identity(), x))
    graph.set_outputs([root])

    @rewrites_op(Identity, name="test-known")
    def rule(node, b):
        return b.constant(np.zeros((4, 5), np.float32))

    apply_rules(graph, [rule], Context())
    assert graph.outputs[0].shape == (4, 5)


def test_explanations_list_matches_near_misses_and_declines():
    graph = new_graph()
    x, y = graph.inputs
    half, third = (constant(np.float32(c), f"c{i}") for i, c in enumerate((0.5, 0.33)))
    good = graph.insert(Relu(), [graph.add(Mul(), x, half)], name="good")
    near = graph.insert(Relu(), [graph.add(Mul(), x, third)], name="near")
    far = graph.insert(Relu(), [y], name="far")
    odd = graph.insert(Relu(), [graph.add(Mul(), y, half)], name="odd")
    graph.set_outputs([n.output for n in (good, near, far, odd)])

    @rewrites(P(Relu)(P(Mul)("x", C(0.5))), name="test-explained")
    def rule(m, b):
        """Relu of a half."""
        return Decline("y is odd", m.root) if m["x"] is y else b.add(Sub(), m["x"], m["x"])

    text = repr([n for n in graph.walk()])
    explanation = explain_rule("test-explained", graph)
    assert repr([n for n in graph.walk()]) == text, "explaining changes nothing"
    assert [f.root for f in explanation.matches] == ["node 'good' (Relu)"]
    assert [(f.root, f.reason) for f in explanation.declines] == [("node 'odd' (Relu)", "y is odd")]
    assert [f.root for f in explanation.near_misses] == ["node 'near' (Relu)"]
    assert "is 0.33, not 0.5" in explanation.near_misses[0].reason
    plain = explanation.to_json()
    assert plain["candidates"] == 4 and plain["near_misses"][0]["depth"] == 2
    assert "near miss at node 'near' (Relu)" in str(explanation)


def test_misses_at_the_root_are_told_when_there_is_nothing_nearer():
    graph = new_graph()
    graph.set_outputs([graph.add(Relu(), graph.inputs[0])])
    double_negation()

    @rewrites(P(Relu)(P(Add)), name="test-relu-add")
    def rule(m, b):
        return None

    assert "Add expected" in explain_rule("test-relu-add", graph).near_misses[0].reason


def test_unknown_rules_are_answered_with_a_suggestion():
    double_negation()
    with pytest.raises(Diagnostic) as caught:
        explain_rule("test-neg-negg", Graph())
    assert "test-neg-neg" in caught.value.hint
