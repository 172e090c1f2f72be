"""The interpreter: feeds, memory, errors; the reference evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import _last_uses, _Machine, check_feeds, interpret
from edgec.ir.op import OPS, Opaque
from edgec.ir.ops.control import If
from edgec.ir.ops.sequence import SequenceAt
from edgec.ir.ops.text import TfIdfVectorizer
from edgec.ir.reference import evaluate_by_reference
from edgec.ir.types import SequenceType, TensorType

BATCH = symbol("batch")
Add, Neg, MatMul = (OPS["", name] for name in ("Add", "Neg", "MatMul"))


def chain() -> Graph:
    """y = -((x + x) + x)."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (BATCH, 2)))
    graph.set_outputs([graph.add(Neg(), graph.add(Add(), graph.add(Add(), x, x), x))], ["y"])
    return graph


def test_runs_in_order_and_shows_every_value() -> None:
    seen: list[tuple[str, float]] = []
    result = interpret(chain(), {"x": np.ones((1, 2), np.float32)}, watch=lambda v, a: seen.append((v.name, a[0, 0])))
    assert list(result) == ["y"] and result["y"].tolist() == [[-3, -3]]
    assert [value for _, value in seen] == [2, 3, -3]


def test_dead_values_are_freed() -> None:
    graph = chain()
    machine = _Machine(None)
    machine.memory[graph.inputs[0]] = np.ones((1, 2), np.float32)
    alive: list[int] = []
    machine.watch = lambda value, array: alive.append(len(machine.memory))
    machine.run(graph)
    assert max(alive) == 3 and not machine.memory


def test_values_that_a_region_captures_stay_alive() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (2,)))
    doubled = graph.add(Add(), x, x)
    condition = graph.add(OPS["", "Equal"](), constant(np.array(1)), constant(np.array(1)))
    regions = []
    for name in ("then", "else"):
        region = Graph(name)
        region.set_outputs([region.add(Neg(), doubled)])
        regions.append(region)
    node = graph.insert(If(), [condition], regions=regions, names=["y"])
    graph.set_outputs(node.outputs)
    assert doubled in _last_uses(graph)[node]
    assert interpret(graph, {"x": np.ones(2, np.float32)})["y"].tolist() == [-2, -2]


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "no feed for %x"),
        ({"z": np.zeros(1)}, "no input 'z'"),
        ({"x": np.zeros((1, 2))}, "f32[batch, 2] is needed, not f64[1, 2]"),
        ({"x": np.zeros(2, np.float32)}, "the ranks differ"),
        ({"x": np.zeros((1, 3), np.float32)}, "is needed, not f32[1, 3]"),
    ],
)
def test_bad_feeds(feeds: dict[str, Any], words: str) -> None:
    with pytest.raises(Diagnostic) as error:
        interpret(chain(), feeds)
    assert error.value.code == "E0221" and words in error.value.message


def test_symbols_agree_across_inputs() -> None:
    graph = Graph()
    graph.add_input("x", TensorType(DType.FLOAT, (BATCH, 2)))
    graph.add_input("y", TensorType(DType.FLOAT, (BATCH * 2,)))
    graph.add_input("z", SequenceType(TensorType(DType.FLOAT, None)))
    x = np.zeros((3, 2), np.float32)
    assert len(check_feeds(graph, {"x": x, "y": np.zeros(6, np.float32), "z": ()})) == 3
    with pytest.raises(Diagnostic, match=r"f32\[2\*batch\] is needed"):
        check_feeds(graph, {"x": x, "y": np.zeros(5, np.float32), "z": []})
    with pytest.raises(Diagnostic, match="a list of arrays"):
        check_feeds(graph, {"x": x, "y": np.zeros(6, np.float32), "z": x})


def test_failures_name_the_node() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, None))
    graph.set_outputs([graph.insert(MatMul(), [x, x], names=["product"]).output])
    with pytest.raises(Diagnostic) as error:
        interpret(graph, {"x": np.zeros((2, 3), np.float32)})
    assert error.value.code == "E0207" and error.value.where == "node 'product' (MatMul)"
    assert "f32[2, 3]" in str(error.value)


def test_wrong_dtypes_of_evaluation_are_found() -> None:
    graph = chain()
    node = graph.last
    assert node is not None
    node.output.type = TensorType(DType.DOUBLE, (BATCH, 2))
    with pytest.raises(Diagnostic, match="gives f32 for '.*', inference says f64"):
        interpret(graph, {"x": np.ones((1, 2), np.float32)})


def test_missing_sequence_element() -> None:
    graph = Graph()
    items = graph.add_input("items", SequenceType(TensorType(DType.FLOAT, None)))
    graph.set_outputs([graph.insert(SequenceAt(), [items, constant(np.array(2))], names=["third"]).output])
    with pytest.raises(Diagnostic, match="IndexError"):
        interpret(graph, {"items": [np.zeros(1, np.float32)]})


def test_reference_evaluates_an_operator_without_evaluate() -> None:
    op = TfIdfVectorizer(1, 0, 1, "TF", (0,), (0, 1), pool_int64s=(2, 3))
    assert evaluate_by_reference(op, [np.array([3, 3, 2], np.int64)]).tolist() == [1, 2]


def test_reference_gives_all_results_and_takes_absent_operands() -> None:
    values, places = evaluate_by_reference(OPS["", "TopK"](), [np.array([1.0, 3.0]), np.array([1])])
    assert (values.tolist(), places.tolist()) == ([3], [1])
    clipped = evaluate_by_reference(OPS["", "Clip"](), [np.array([1.0, 3.0]), None, np.array(2.0)])
    assert clipped.tolist() == [1, 2]


def test_reference_failures_name_the_operator() -> None:
    with pytest.raises(Diagnostic) as error:
        evaluate_by_reference(OPS["", "MatMul"](), [np.zeros((2, 3)), np.zeros((2, 3))])
    assert error.value.code == "E0207" and "MatMul" in error.value.message and "f64[2, 3]" in str(error.value)
    with pytest.raises(Diagnostic, match="Nonsense"):
        evaluate_by_reference(Opaque("", "Nonsense", 20), [np.zeros(1)])
