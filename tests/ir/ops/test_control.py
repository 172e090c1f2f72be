"""If, Loop, Scan and SequenceMap: types of their regions and results, evaluation with captures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.inference import bind_dims, infer_graph
from edgec.ir.interpreter import interpret
from edgec.ir.op import OPS
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.control import If, Loop, Scan
from edgec.ir.ops.region import Region
from edgec.ir.ops.reshape import Shape, Squeeze, Unsqueeze
from edgec.ir.ops.sequence import SequenceConstruct, SequenceMap
from edgec.ir.types import SequenceType, TensorType
from edgec.ir.verifier import verify
from tests.ir.ops.shapes import BATCH, SEQ, f32

Add, Mul, Identity, Less = (OPS["", name] for name in ("Add", "Mul", "Identity", "Less"))
INT, BOOL = TensorType(DType.INT64, ()), TensorType(DType.BOOL, ())


def branch(name: str, op: Any, *operands: Any) -> Graph:
    """A region with one node that reads values around it."""
    region = Graph(name)
    region.set_outputs([region.insert(op, operands, names=[f"{name}_result"]).output])
    return region


def conditional() -> tuple[Graph, Any]:
    """If(c) then x + x else x ++ x."""
    graph = Graph()
    x = graph.add_input("x", f32(BATCH, 3))
    condition = graph.add_input("c", BOOL)
    regions = [branch("then", Add(), x, x), branch("else", Concat(axis=0), x, x)]
    node = graph.insert(If(), [condition], regions=regions, names=["y"])
    graph.set_outputs([node.output])
    return graph, node


def test_if_joins_branches_and_runs_one() -> None:
    graph, node = conditional()
    verify(graph)
    assert node.output.type == f32(symbol("y.0"), 3)
    x = np.ones((2, 3), np.float32)
    assert interpret(graph, {"x": x, "c": np.array(True)})["y"].tolist() == (x + x).tolist()
    assert interpret(graph, {"x": x, "c": np.array([False]).reshape(())})["y"].shape == (4, 3)


def test_known_condition_gives_the_types_of_its_branch() -> None:
    graph, node = conditional()
    graph.replace(graph.inputs[1], constant(np.array(False)))
    infer_graph(graph)
    verify(graph)
    assert node.output.type == f32(2 * BATCH, 3)


def test_dead_branches_need_not_fit() -> None:
    """Squeeze in the branch for size 1, as exporters write it, is no error when the size is bound to 3."""
    graph = Graph()
    x = graph.add_input("x", f32(BATCH, 4))
    size = graph.add(OPS["", "Gather"](), graph.add(Shape(), x), constant(np.array(0)))
    condition = graph.add(OPS["", "Equal"](), size, constant(np.array(1)))
    squeeze = branch("then", Squeeze(), x, constant(np.array([0])))
    node = graph.insert(If(), [condition], regions=[squeeze, branch("else", Identity(), x)], names=["y"])
    graph.set_outputs([node.output])
    assert node.output.shape is None
    bind_dims(graph, {"batch": 3})
    verify(graph)
    assert node.output.type == f32(3, 4)


def test_if_contradictions() -> None:
    graph = Graph()
    x = graph.add_input("x", f32(2))
    condition = graph.add_input("c", BOOL)
    with pytest.raises(Diagnostic, match="results 0 of the branches have the types"):
        graph.insert(If(), [condition], regions=[branch("a", Identity(), x), branch("b", Shape(), x)])
    with pytest.raises(Diagnostic, match="condition must be bool"):
        graph.insert(If(), [x], regions=[branch("a", Identity(), x), branch("b", Identity(), x)])


def loop(initial: Any, body_op: Any, trips: Any, *, scan: bool = False) -> tuple[Graph, Any]:
    """A Loop whose carried value becomes body_op(value, value of the graph)."""
    graph = Graph()
    x = graph.add_input("x", initial)
    body = Graph("body")
    body.add_input("i", INT)
    again = body.add_input("again", BOOL)
    carried = body.add_input("carried", TensorType(DType.FLOAT, None))
    following = body.add(body_op, carried, x)
    body.set_outputs([again, following, *([following] if scan else [])])
    count = graph.add_input("n", INT) if trips is None else constant(np.array(trips))
    node = graph.insert(Loop(), [count, None, x], regions=[body], outputs=1 + scan, names=["y", "z"][: 1 + scan])
    graph.set_outputs(node.outputs)
    infer_graph(graph)
    verify(graph)
    return graph, node


def test_loop_keeps_stable_shapes_and_stacks() -> None:
    graph, node = loop(f32(BATCH, 3), Mul(), 4, scan=True)
    assert [v.type for v in node.outputs] == [f32(BATCH, 3), f32(4, BATCH, 3)]
    results = interpret(graph, {"x": np.full((1, 3), 2, np.float32)})
    assert results["y"].tolist() == [[32, 32, 32]]
    assert results["z"][:, 0, 0].tolist() == [4, 8, 16, 32]


def test_loop_widens_growing_dimensions() -> None:
    graph, node = loop(f32(2, SEQ), Concat(axis=0), None)
    body = node.regions[0]
    assert body.inputs[2].type == f32(symbol("carried.0"), SEQ)
    assert body.outputs[1].type == f32(symbol("carried.0") + 2, SEQ)
    assert node.output.type == f32(symbol("y.0"), SEQ)
    for trips in (0, 1, 3):
        result = interpret(graph, {"x": np.zeros((2, 5), np.float32), "n": np.array(trips)})["y"]
        assert result.shape == (2 + 2 * trips, 5)


def test_widening_forgets_what_narrow_rounds_stored() -> None:
    """A body typed for the first iteration only must not keep those sizes."""
    graph = Graph()
    x = graph.add_input("x", f32(1))
    body = Graph("body")
    body.add_input("i", INT)
    again, carried = body.add_input("again", BOOL), body.add_input("carried", f32(1))
    body.set_outputs([again, body.insert(Concat(axis=0), [carried, carried], names=["twice"]).output])
    assert body.outputs[1].type == f32(2)
    node = graph.insert(Loop(), [constant(np.array(3)), None, x], regions=[body], names=["y"])
    graph.set_outputs(node.outputs)
    infer_graph(graph)
    verify(graph)
    assert body.outputs[1].type == f32(2 * symbol("carried.0"))
    assert interpret(graph, {"x": np.ones(1, np.float32)})["y"].shape == (8,)


def test_loop_stops_on_its_condition() -> None:
    graph = Graph()
    start, limit = graph.add_input("start", INT), graph.add_input("limit", INT)
    one = constant(np.array(1))
    body = Graph("body")
    body.add_input("i", INT)
    body.add_input("again", BOOL)
    carried = body.add_input("carried", INT)
    following = body.add(Add(), carried, one)
    body.set_outputs([body.add(Less(), following, limit), following, carried])
    node = graph.insert(Loop(), [None, graph.add(Less(), start, limit), start], regions=[body], outputs=2, names=["y", "seen"])
    graph.set_outputs(node.outputs)
    infer_graph(graph)
    verify(graph)
    assert [v.type for v in node.outputs] == [INT, TensorType(DType.INT64, (symbol("seen.0"),))]
    results = interpret(graph, {"start": np.array(2), "limit": np.array(5)})
    assert results["y"] == 5 and results["seen"].tolist() == [2, 3, 4]
    assert interpret(graph, {"start": np.array(9), "limit": np.array(5)})["seen"].shape == (0,)


def test_loop_checks_its_body() -> None:
    graph = Graph()
    x = graph.add_input("x", f32(2))
    body = Graph("body")
    body.set_outputs([body.add_input("again", BOOL)])
    with pytest.raises(Diagnostic, match="the body takes 1 inputs for 1 carried values"):
        graph.insert(Loop(), [None, None, x], regions=[body])


@pytest.mark.parametrize("reverse", [0, 1])
def test_scan_carries_and_stacks(reverse: int) -> None:
    graph = Graph()
    total, rows = graph.add_input("total", f32(2)), graph.add_input("rows", f32(2, SEQ))
    body = Graph("body")
    state, row = body.add_input("state", f32(2)), body.add_input("row", TensorType(DType.FLOAT, None))
    following = body.add(Add(), state, row)
    body.set_outputs([following, following])
    op = Scan(1, scan_input_axes=(1,), scan_input_directions=(reverse,), scan_output_axes=(-1,), scan_output_directions=(reverse,))
    node = graph.insert(op, [total, rows], regions=[body], outputs=2, names=["sum", "partial"])
    graph.set_outputs(node.outputs)
    infer_graph(graph)
    verify(graph)
    assert row.type == f32(2)
    assert [v.type for v in node.outputs] == [f32(2), f32(2, SEQ)]
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    results = interpret(graph, {"total": np.zeros(2, np.float32), "rows": data})
    assert results["sum"].tolist() == data.sum(1).tolist()
    expected = np.flip(np.cumsum(np.flip(data, 1), 1), 1) if reverse else np.cumsum(data, 1)
    assert results["partial"].tolist() == expected.tolist()


def test_sequence_map_runs_on_elements() -> None:
    graph = Graph()
    x, y = graph.add_input("x", f32(2)), graph.add_input("y", f32(3))
    items = graph.add(SequenceConstruct(), x, y)
    body = Graph("body")
    element, axes = body.add_input("element", TensorType(DType.FLOAT, None)), body.add_input("axes", TensorType(DType.INT64, (1,)))
    body.set_outputs([body.add(Unsqueeze(), element, axes)])
    node = graph.insert(SequenceMap(), [items, constant(np.array([0]))], regions=[body], names=["mapped"])
    graph.set_outputs(node.outputs)
    infer_graph(graph)
    verify(graph)
    assert node.output.type == SequenceType(f32(1, None))
    mapped: Any = interpret(graph, {"x": np.zeros(2, np.float32), "y": np.zeros(3, np.float32)})["mapped"]
    assert [m.shape for m in mapped] == [(1, 2), (1, 3)]


def test_region_runs_its_body_and_follows_its_operands() -> None:
    graph = Graph()
    x = graph.add_input("x", f32(BATCH, 3))
    body = Graph("body")
    inner = body.add_input("inner", f32(BATCH, 3))
    body.set_outputs([body.add(Add(), inner, inner)])
    node = graph.insert(Region("elementwise-chain"), [x], regions=[body], names=["y"])
    graph.set_outputs([node.output])
    bind_dims(graph, {"batch": 2})
    verify(graph)
    assert inner.shape == node.output.shape == (2, 3)
    assert interpret(graph, {"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[2] * 3] * 2
