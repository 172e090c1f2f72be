"""Inference over graphs: exporters' shape computations, refinement, contradictions, binding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.inference import bind_dims, infer_graph
from edgec.ir.op import OPS, Opaque
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.generate import ConstantOfShape, Range
from edgec.ir.ops.reshape import Expand, Reshape, Shape, Unsqueeze
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.transpose import Transpose
from edgec.ir.text import parse_model
from edgec.ir.types import UNKNOWN, TensorType
from edgec.ir.verifier import verify

BATCH, SEQ, PAST = symbol("batch"), symbol("seq"), symbol("past")


def op(name: str, **attributes: Any) -> Any:
    return OPS["", name](**attributes)


def graph_of(**inputs: Any) -> Graph:
    graph = Graph()
    for name, shape in inputs.items():
        graph.add_input(name, TensorType(DType.FLOAT, shape))
    return graph


def size(graph: Graph, value: Any, axis: int) -> Any:
    """The exporters' Gather(Shape(x), axis)."""
    return graph.add(Gather(), graph.add(Shape(), value), constant(np.array(axis)))


def vector(graph: Graph, *scalars: Any) -> Any:
    """The exporters' Concat of Unsqueezed scalars; integers are constants."""
    parts = [int64s([s]) if isinstance(s, int) else graph.add(Unsqueeze(), s, int64s([0])) for s in scalars]
    return graph.add(Concat(axis=0), *parts)


def test_split_heads() -> None:
    """view(batch, seq, heads, size).transpose(1, 2), and back."""
    graph = graph_of(x=(BATCH, SEQ, 768))
    x = graph.inputs[0]
    target = vector(graph, size(graph, x, 0), size(graph, x, 1), 12, 64)
    heads = graph.add(Transpose((0, 2, 1, 3)), graph.add(Reshape(), x, target))
    assert heads.shape == (BATCH, 12, SEQ, 64)
    merged = graph.add(Reshape(), graph.add(Transpose((0, 2, 1, 3)), heads), vector(graph, size(graph, x, 0), -1, 768))
    assert merged.shape == (BATCH, SEQ, 768)


def test_expand_with_minus_one_spelled_by_where() -> None:
    """expand(batch, -1, -1): ConstantOfShape → Mul(-1) → Equal → Where → Expand, as TorchScript writes it."""
    graph = graph_of(x=(BATCH, SEQ), mask=(1, 1, SEQ))
    x, mask = graph.inputs
    wanted = vector(graph, size(graph, x, 0), -1, size(graph, x, 1))
    ones = graph.add(ConstantOfShape(ArrayData([1], DType.INT64)), int64s([3]))
    minus = graph.add(op("Mul"), ones, constant(np.array(-1)))
    repaired = graph.add(op("Where"), graph.add(op("Equal"), wanted, minus), ones, wanted)
    assert repaired.content == (BATCH, 1, SEQ)
    assert graph.add(Expand(), mask, repaired).shape == (BATCH, 1, SEQ)


def test_causal_window_of_a_cache() -> None:
    """arange(past, past + seq) and the rows of a mask table between them."""
    graph = graph_of(keys=(BATCH, 12, PAST, 64), x=(BATCH, SEQ, 768), table=(1, 1, 1024, 1024))
    keys, x, table = graph.inputs
    past, seq = size(graph, keys, 2), size(graph, x, 1)
    total = graph.add(op("Add"), past, seq)
    positions = graph.add(Range(), past, total, constant(np.array(1)))
    assert positions.shape == (SEQ,)
    rows = graph.add(Slice(), table, vector(graph, past), vector(graph, total), int64s([2]), int64s([1]))
    scores = graph.add(op("Add"), rows, graph.add_input("scores", TensorType(DType.FLOAT, (BATCH, 12, SEQ, 1024))))
    assert scores.shape == (BATCH, 12, SEQ, 1024)
    joined = graph.add(Concat(axis=2), keys, graph.add_input("new", TensorType(DType.FLOAT, (BATCH, 12, SEQ, 64))))
    assert joined.shape == (BATCH, 12, PAST + SEQ, 64)
    last = graph.add(Slice(), joined, vector(graph, past), int64s([2**63 - 1]), int64s([2]))
    assert last.shape == (BATCH, 12, SEQ, 64)


def test_window_partition() -> None:
    """Swin: view(b, h // 7, 7, w // 7, 7, c) and the windows merged into the batch."""
    graph = graph_of(x=(BATCH, 56, 56, 96))
    x = graph.inputs[0]
    part = graph.add(op("Div"), size(graph, x, 1), constant(np.array(7)))
    windows = graph.add(Reshape(), x, vector(graph, size(graph, x, 0), part, 7, part, 7, 96))
    assert windows.shape == (BATCH, 8, 7, 8, 7, 96)
    assert graph.add(Reshape(), windows, int64s([-1, 49, 96])).shape == (64 * BATCH, 49, 96)


def test_stored_types_refine_and_contradict() -> None:
    graph = graph_of(x=(BATCH, 4))
    node = graph.insert(op("NonZero"), [graph.inputs[0]], names=["places"])
    node.output.type = TensorType(DType.INT64, (2, 7))
    infer_graph(graph)
    assert node.output.shape == (2, 7)  # the file knows more than inference
    node.output.type = TensorType(DType.INT64, (3, 7))
    with pytest.raises(Diagnostic) as error:
        infer_graph(graph)
    assert error.value.code == "E0201" and "i64[3, 7]" in error.value.message and "i64[2, ?]" in error.value.message
    assert error.value.where == "node 'places' (NonZero)"
    notes: list[str] = []
    infer_graph(graph, notes)
    assert node.output.shape == (2, symbol("places.1")) and len(notes) == 1


def test_opaque_results_keep_their_declared_types() -> None:
    graph = graph_of(x=(BATCH, 4))
    unknown = graph.add(Opaque("my.domain", "Thing", 1), graph.inputs[0])
    assert unknown.type == UNKNOWN
    shape = graph.add(Shape(), unknown)
    assert shape.type == UNKNOWN
    unknown.type = TensorType(DType.FLOAT, (BATCH, 2))
    infer_graph(graph)
    assert shape.content == (BATCH, 2)


def test_bind_dims() -> None:
    graph = graph_of(x=(BATCH, SEQ, 8))
    x = graph.inputs[0]
    flat = graph.add(Reshape(), x, vector(graph, -1, size(graph, x, 2)))
    graph.set_outputs([flat])
    assert flat.shape == (BATCH * SEQ, 8)
    assert bind_dims(graph, {"batch": 2}) is graph
    assert (x.shape, flat.shape) == ((2, SEQ, 8), (2 * SEQ, 8))
    bind_dims(graph, {"seq": PAST + 1})
    assert flat.shape == (2 * PAST + 2, 8)
    bind_dims(graph, {"past": 4})
    assert flat.shape == (10, 8)
    verify(graph)


def test_bind_dims_rejects_unknown_names_and_misfits() -> None:
    graph = graph_of(x=(BATCH, 6), y=(SEQ, 6))
    with pytest.raises(Diagnostic) as error:
        bind_dims(graph, {"bach": 1})
    assert "batch" in error.value.hint
    with pytest.raises(Diagnostic, match="cannot be -1"):
        bind_dims(graph, {"batch": -1})
    graph.add(op("Add"), *graph.inputs)
    with pytest.raises(Diagnostic, match="dimensions 2 and 3 do not broadcast") as error:
        bind_dims(graph, {"batch": 2, "seq": 3})
    assert "(Add)" in error.value.where


def test_what_a_loop_carries_has_the_contents_of_every_iteration() -> None:
    """The initial value of a carried number says nothing about the later ones."""
    graph = parse_model(
        """
        edgec 1
        graph main {
          %trips = const i64[] [2]
          %start = const i64[1] [10]
          %step = const i64[1] [-3]
          %last, %all = Loop(%trips, none, %start) {
            body body {
              input %i: i64[]
              input %go: bool[]
              input %previous: i64[1]
              %next = Add(%previous, %step)
              return %go, %next, %previous
            }
          }
          return %last, %all
        }
        """
    ).graph
    infer_graph(graph)
    (loop,) = graph
    assert loop.regions[0].inputs[2].content is None
    assert loop.regions[0].outputs[1].content is None and loop.outputs[0].content is None
