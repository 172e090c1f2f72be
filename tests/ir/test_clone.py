"""Copies are equal, independent and share constant data; inlining maps inputs and captures."""

from __future__ import annotations

import numpy as np

from edgec.ir.clone import clone_graph, clone_into, clone_model
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import OPS
from edgec.ir.ops.control import If, Loop
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify

Add, Mul, Identity = (OPS["", name] for name in ("Add", "Mul", "Identity"))
F32 = TensorType(DType.FLOAT, (symbol("batch"), 2))


def sample() -> Graph:
    """A Loop whose body holds an If that captures values of the body and of the main graph."""
    graph = Graph("sample")
    x = graph.add_input("x", F32)
    weight = constant(np.array([2, 3], np.float32), "w")
    scaled = graph.insert(Mul(), [x, weight], names=["scaled"], name="scale").output
    assert scaled.producer is not None
    scaled.producer.sources, scaled.producer.metadata = ("onnx_scale",), {"key": "text"}
    scaled.origins = ("scaled", "alias")
    body = Graph("body")
    number = body.add_input("i", TensorType(DType.INT64, ()))
    again, carried = body.add_input("again", TensorType(DType.BOOL, ())), body.add_input("carried", F32)
    condition = body.insert(OPS["", "Equal"](), [number, constant(np.array(0))], names=["first"]).output
    branches = []
    for name, operator in (("then", Add()), ("else", Mul())):
        region = Graph(name)
        region.set_outputs([region.insert(operator, [carried, scaled], names=[f"{name}_r"]).output])
        branches.append(region)
    body.set_outputs([again, body.insert(If(), [condition], regions=branches, names=["next"]).output])
    node = graph.insert(Loop(), [constant(np.array(2)), None, x], regions=[body], names=["y"])
    graph.set_outputs([node.output, weight], ["result", "weight"])
    return graph


FEEDS = {"x": np.array([[1, 2]], np.float32)}


def test_copies_compute_the_same() -> None:
    graph = sample()
    copy = clone_graph(graph)
    verify(copy)
    verify(graph)
    first, second = interpret(graph, FEEDS), interpret(copy, FEEDS)
    assert list(second) == ["result", "weight"]
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_copies_keep_names_handles_and_share_data() -> None:
    graph = sample()
    copy = clone_graph(graph)
    for old, new in zip(graph.walk(), copy.walk(), strict=True):
        assert new is not old and new.op is old.op and new.name == old.name and new.sources == old.sources
        assert new.metadata == old.metadata and (not old.metadata or new.metadata is not old.metadata)
        for a, b in zip(old.outputs, new.outputs, strict=True):
            assert (a.name, a.type, a.origins) == (b.name, b.type, b.origins)
    assert [v.data for v in copy.constants()] == [v.data for v in graph.constants()]
    assert not set(graph.constants()) & set(copy.constants()) and not set(graph.values()) & set(copy.values())


def test_copies_are_independent() -> None:
    graph = sample()
    copy = clone_graph(graph)
    graph.clear()
    verify(copy)
    copy.add(Add(), copy.inputs[0], copy.inputs[0])
    assert not graph.inputs[0].uses and len(graph) == 0


def test_models_are_copied_with_their_tables() -> None:
    model = Model(sample(), {"": 20}, metadata={"a": "b"}, properties={"producer_name": "p"})
    copy = clone_model(model)
    copy.opsets[""], copy.metadata["a"], copy.properties["producer_name"] = 21, "c", "q"
    assert (model.opsets, model.metadata, model.properties) == ({"": 20}, {"a": "b"}, {"producer_name": "p"})
    assert copy.graph is not model.graph and copy.ir_version == model.ir_version


def test_inlining_a_branch() -> None:
    """The then branch takes the place of the If in front of it, under fresh or under its own names."""
    for rename in (True, False):
        graph = Graph()
        x, flag = graph.add_input("x", F32), graph.add_input("flag", TensorType(DType.BOOL, ()))
        branches = []
        for name, operator in (("then", Add()), ("else", Mul())):
            region = Graph(name)
            region.set_outputs([region.insert(operator, [x, x], names=[f"{name}_r"]).output])
            branches.append(region)
        node = graph.insert(If(), [flag], regions=branches, names=["y"])
        graph.set_outputs([graph.insert(Identity(), [node.output], names=["z"]).output], ["z"])
        (value,) = clone_into(branches[0], graph, {}, node, rename=rename)
        assert (value.name == "then_r") is not rename
        graph.replace(node.output, value)
        graph.remove(node)
        verify(graph)
        assert [n.op.op_name for n in graph] == ["Add", "Identity"]
        assert interpret(graph, {**FEEDS, "flag": np.array(False)})["z"].tolist() == [[2, 4]]


def test_unrolling_a_body_with_regions() -> None:
    graph = sample()
    node = next(n for n in graph if isinstance(n.op, Loop))
    expected = interpret(graph, FEEDS)["result"]
    body, carried = node.regions[0], node.inputs[2]
    assert carried is not None
    flag = constant(np.array(True))
    for trip in range(2):
        mapping = dict(zip(body.inputs, (constant(np.array(trip)), flag, carried), strict=True))
        carried = clone_into(body, graph, mapping, node)[1]
    graph.replace(node.output, carried)
    graph.remove(node)
    verify(graph)
    names = [value.name for value in graph.values()]
    assert len(set(names)) == len(names)
    assert interpret(graph, FEEDS)["result"].tolist() == expected.tolist()
