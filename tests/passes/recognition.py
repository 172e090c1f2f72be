"""What the tests of recognisers share: building a graph around a spelling, running passes, comparing before with after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

import edgec.passes
from edgec.ir.clone import clone_graph
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.manager import run_passes
from tests.spellings import Speller

assert edgec.passes  # its import registers the passes

CLEAN = "fix(fold-constants,remove-no-ops,canonicalize,simplify-shapes,cse,dead-code)"


def graph_of(build: Callable[..., Any], *shapes: Sequence[Any], dtype: DType = DType.FLOAT) -> Graph:
    """A graph with inputs x, y, z, w of some shapes (names are symbols) that returns what ``build(speller, *inputs)`` makes of them."""
    graph = Graph()
    inputs = [graph.add_input("xyzw"[i], tensor(dtype, shape)) for i, shape in enumerate(shapes)]
    results = build(Speller(graph), *inputs)
    results = results if isinstance(results, tuple) else (results,)
    graph.set_outputs(results, [f"r{i}" for i in range(len(results))])
    return graph


def tensor(dtype: DType, shape: Sequence[Any]) -> TensorType:
    """A tensor type; names are symbols."""
    return TensorType(dtype, tuple(symbol(d) if isinstance(d, str) else d for d in shape))


def feeds_of(graph: Graph, sizes: Mapping[str, int] | None = None, seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    """Normally distributed numbers for every input (ones and zeros for bools)."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for value in graph.inputs:
        shape = [d if isinstance(d, int) else (sizes or {})[str(d)] for d in value.shape or ()]
        array = scale * np.asarray(generator.standard_normal(shape))
        dtype = value.tensor.dtype
        feeds[value.name] = np.asarray(array > 0 if dtype is DType.BOOL else array, dtype.numpy)
    return feeds


def names(graph: Graph) -> list[str]:
    """The operators of all nodes, in order."""
    return [node.op.op_name for node in graph.walk()]


def transformed(graph: Graph, pipeline: str, context: Context | None = None) -> Graph:
    """A copy of the graph after some passes, verified in full."""
    copy = clone_graph(graph)
    run_passes(copy, pipeline, context)
    verify(copy)
    return copy


def run_on_onnxruntime(graph: Graph, feeds: Mapping[str, Any]) -> list[Any]:
    """The outputs as onnxruntime computes them, without its own fusions."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(Model(graph).to_bytes(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def assert_equal(before: Graph, after: Graph, feeds: Mapping[str, Any], *, tolerance: float = 1e-5, on_onnxruntime: bool = False) -> None:
    """Both graphs give the same numbers, up to ``tolerance`` times the largest one; optionally on onnxruntime too."""
    expected = list(interpret(before, feeds).values())
    found = [list(interpret(after, feeds).values())]
    if on_onnxruntime:
        found += [run_on_onnxruntime(before, feeds), run_on_onnxruntime(after, feeds)]
    for results in found:
        for reference, result in zip(expected, results, strict=True):
            assert reference.shape == result.shape and reference.dtype == result.dtype
            wide, found_wide = reference.astype(np.float64), result.astype(np.float64)
            np.testing.assert_allclose(found_wide, wide, rtol=0, atol=tolerance * max(1.0, np.abs(wide).max(initial=0.0)))


def only(graph: Graph, name: str) -> Any:
    """The operator of the only node of the graph, which must have this name."""
    assert names(graph) == [name]
    assert graph.first is not None
    return graph.first.op


def constants_of(value: Value | None) -> Any:
    """The array of a constant."""
    assert value is not None and value.data is not None
    return value.data.numpy()
