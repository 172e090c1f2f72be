"""The verifier finds every kind of damage and names the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Node, Value, constant
from edgec.ir.op import OPS
from edgec.ir.ops.control import If
from edgec.ir.types import UNKNOWN, OptionalType, SequenceType, TensorType
from edgec.ir.verifier import admits, verify

BATCH = symbol("batch")
F32 = TensorType(DType.FLOAT, (BATCH, 4))
Add, Neg, Relu = (OPS["", name] for name in ("Add", "Neg", "Relu"))


def sample() -> Graph:
    """x → Neg a → Relu b → If c (branches read a) → Add d."""
    graph = Graph()
    x = graph.add_input("x", F32)
    flag = graph.add_input("flag", TensorType(DType.BOOL, ()))
    first = graph.insert(Neg(), [x], names=["a"]).output
    second = graph.insert(Relu(), [first], names=["b"]).output
    regions = []
    for name in ("then", "else"):
        region = Graph(name)
        region.set_outputs([region.insert(Neg(), [first], names=[f"{name}_r"]).output])
        regions.append(region)
    chosen = graph.insert(If(), [flag], regions=regions, names=["c"]).output
    graph.set_outputs([graph.insert(Add(), [chosen, second], names=["d"]).output])
    return graph


def nodes(graph: Graph) -> dict[str, Node]:
    return {node.outputs[0].name: node for node in graph.walk()}


def test_accepts_a_sound_graph() -> None:
    verify(sample())
    verify(sample(), types=False)


def _operand_unlisted(graph: Graph) -> None:
    node = nodes(graph)["b"]
    node.inputs[0].uses.pop((node, 0))  # type: ignore[union-attr]


def _stale_use(graph: Graph) -> None:
    graph.inputs[0].uses[(nodes(graph)["d"], 1)] = None


def _foreign_use(graph: Graph) -> None:
    graph.inputs[0].uses[(Node(Neg(), ()), 0)] = None


def _before_definition(graph: Graph) -> None:
    found = nodes(graph)
    graph.move_before(found["b"], found["a"])


def _cycle(graph: Graph) -> None:
    found = nodes(graph)
    found["a"].set_operand(0, found["d"].output)


def _escaping_region(graph: Graph) -> None:
    found = nodes(graph)
    found["d"].set_operand(0, found["then_r"].output)


def _undefined(graph: Graph) -> None:
    nodes(graph)["d"].set_operand(0, Value("ghost", F32))


def _removed_producer(graph: Graph) -> None:
    found = nodes(graph)
    graph._unlink(found["b"])


def _wrong_producer(graph: Graph) -> None:
    found = nodes(graph)
    found["b"].output.producer = found["a"]


def _broken_link(graph: Graph) -> None:
    nodes(graph)["b"].previous = None


def _wrong_last(graph: Graph) -> None:
    graph.last = nodes(graph)["b"]


def _wrong_count(graph: Graph) -> None:
    graph.count += 1


def _wrong_owner(graph: Graph) -> None:
    nodes(graph)["b"].graph = Graph()


def _wrong_parent(graph: Graph) -> None:
    nodes(graph)["c"].regions[0].parent = None


def _shared_region(graph: Graph) -> None:
    node = nodes(graph)["c"]
    node.regions = (node.regions[0], node.regions[0])


def _double_input(graph: Graph) -> None:
    graph.inputs[1].name = "x"


def _misplaced_input(graph: Graph) -> None:
    graph.inputs.reverse()


def _unnamed_output(graph: Graph) -> None:
    graph.output_names = ()


def _unlisted_output(graph: Graph) -> None:
    graph.outputs[0].uses.clear()


def _foreign_output(graph: Graph) -> None:
    nodes(graph)["c"].regions[0].set_outputs([nodes(graph)["d"].output])


def _constant_with_producer(graph: Graph) -> None:
    value = constant(np.zeros(4, np.float32), "k")
    nodes(graph)["d"].set_operand(0, value)
    value.producer = nodes(graph)["a"]


DAMAGE: list[tuple[Callable[[Graph], None], str]] = [
    (_operand_unlisted, "operand 0 'a' does not list this use"),
    (_stale_use, "lists a use at position 1 that does not read it"),
    (_foreign_use, "that is not part of the graph"),
    (_before_definition, "reads 'a', before it is defined"),
    (_cycle, "reads 'd', before it is defined"),
    (_escaping_region, "reads 'then_r', before it is defined, or from a region"),
    (_undefined, "reads 'ghost', which nothing defines"),
    (_removed_producer, "whose producer was removed"),
    (_wrong_producer, "does not name the node as its producer"),
    (_broken_link, "link to its predecessor is wrong"),
    (_wrong_last, "link to the last node is wrong"),
    (_wrong_count, "4 nodes are linked, 5 are counted"),
    (_wrong_owner, "does not belong to the graph whose list it is in"),
    (_wrong_parent, "does not name the node as its parent"),
    (_shared_region, "is used twice"),
    (_double_input, "two inputs have the name 'x'"),
    (_misplaced_input, "does not belong to the graph at position 0"),
    (_unnamed_output, "1 outputs have 0 names"),
    (_unlisted_output, "does not list the graph among its uses"),
    (_foreign_output, "is not a value of the graph or of one around it"),
    (_constant_with_producer, "constant 'k' has a producer"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=[d.__name__.strip("_") for d, _ in DAMAGE])
def test_finds_damage(damage: Callable[[Graph], None], words: str) -> None:
    graph = sample()
    damage(graph)
    with pytest.raises(Diagnostic) as error:
        verify(graph, types=False)
    assert error.value.code == "E0205" and words in error.value.message


def test_errors_print_the_node_and_its_producers() -> None:
    graph = sample()
    nodes(graph)["d"].output.type = TensorType(DType.FLOAT, (BATCH, 5))
    with pytest.raises(Diagnostic) as error:
        verify(graph)
    text = str(error.value)
    assert "'d' has the type f32[batch, 5], but inference gives f32[batch, 4]" in text
    assert "%d = Add(%c, %b)" in text and "%b: f32[batch, 4] is %b = Relu(%a)" in text and "node 'd' (Add)" in text
    verify(graph, types=False)


def test_inference_failures_are_reported() -> None:
    graph = sample()
    nodes(graph)["b"].output.type = TensorType(DType.FLOAT, (BATCH, 4))
    nodes(graph)["d"].set_operand(0, constant(np.zeros((1, 3), np.float32), "k"))
    with pytest.raises(Diagnostic, match="inference fails: shapes"):
        verify(graph)


@pytest.mark.parametrize(
    ("stored", "inferred", "expected"),
    [
        ((4, 8), (4, 8), True),
        ((4, 8), (BATCH, None), True),
        ((BATCH,), (4,), True),
        ((4,), (5,), False),
        ((4,), (4, 1), False),
        ((2 * BATCH,), (3 * BATCH,), False),
        ((BATCH + 1,), (BATCH,), False),
        ((symbol("x.0"),), (BATCH + 1,), True),
        ((BATCH + 5,), (4,), False),
        ((7,), (2 * BATCH,), True),
        (None, (4,), True),
    ],
)
def test_stored_types_may_be_more_precise(stored: Any, inferred: Any, expected: bool) -> None:
    assert admits(TensorType(DType.FLOAT, stored), TensorType(DType.FLOAT, inferred)) is expected
    assert admits(SequenceType(TensorType(DType.FLOAT, stored)), SequenceType(TensorType(DType.FLOAT, inferred))) is expected


def test_kinds_and_element_types_must_agree() -> None:
    assert not admits(F32, F32.with_dtype(DType.INT64))
    assert not admits(F32, OptionalType(F32))
    assert admits(F32, UNKNOWN)


def test_large_graphs_are_quick() -> None:
    graph = Graph()
    value = graph.add_input("x", F32)
    for _ in range(3000):
        value = graph.add(Neg(), value)
    graph.set_outputs([value])
    started = time.process_time()
    verify(graph, types=False)
    assert time.process_time() - started < 0.2
