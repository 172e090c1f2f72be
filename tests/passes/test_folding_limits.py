"""Folding of constants: limits, failures, and what stays alive of large constants."""

import numpy as np

import edgec.passes
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.ops.binary import Add
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.reshape import Expand
from edgec.ir.ops.transpose import Transpose
from edgec.ir.types import TensorType
from edgec.passes.context import Context
from edgec.passes.manager import PassManager, run_passes

assert edgec.passes  # its import registers the passes


def ops(graph):
    return [node.op.op_name for node in graph.walk()]


def test_what_cannot_be_evaluated_stays_with_one_note():
    graph = Graph()
    index = constant(np.array([7], np.int64), "index")
    data = constant(np.arange(3, dtype=np.float32), "data")
    graph.set_outputs([graph.add(Gather(0), data, index)])
    context = Context()
    PassManager("fix(fold-constants,dead-code),fold-constants").run(graph, context)
    assert ops(graph) == ["Gather"]
    (note,) = context.notes
    assert note.source == "fold-constants" and "Gather" in note.where


def test_the_size_limit_of_folding_comes_from_the_context_or_the_option():
    for pipeline, fold_bytes, folded in (
        ("fold-constants", 1 << 16, True),
        ("fold-constants", 100, False),
        ("fold-constants{limit=100}", 1 << 16, False),
        ("fold-constants{limit=4000}", 100, True),
    ):
        graph = Graph()
        graph.set_outputs([graph.add(Expand(), constant(np.float32(1), "one"), int64s([30, 30]))])
        run_passes(graph, pipeline, Context(fold_bytes=fold_bytes))
        assert (len(graph) == 0) is folded


def test_large_results_may_share_a_part_of_the_constants():
    """With a fiftieth two of 100 kB fit beside 12.5 MB, beside 7.5 MB only one; without a share none."""
    for elements, pipeline, left in (
        (3_125_000, "fold-constants{share=50}", 0),
        (1_875_000, "fold-constants{share=50}", 1),
        (3_125_000, "fold-constants", 2),
    ):
        graph = Graph()
        x = graph.add_input("x", TensorType(DType.FLOAT, (elements,)))
        graph.set_outputs([graph.add(Add(), x, constant(np.ones(elements, np.float32), "weight"))])
        for name in ("a", "b"):
            wide = graph.add(Expand(), constant(np.float32(1 if name == "a" else 2), name), int64s([25_000]))
            graph.set_outputs([*graph.outputs, wide])
        run_passes(graph, f"fix({pipeline})")
        assert ops(graph).count("Expand") == left


def test_folding_keeps_small_parts_of_large_constants_without_the_whole():
    graph = Graph()
    table = constant(np.arange(100_000, dtype=np.float32).reshape(1000, 100), "table")
    part = graph.add(Transpose((1, 0)), graph.add(Gather(0), table, int64s([5, 6])))
    graph.set_outputs([part])
    run_passes(graph, "fold-constants")
    array = graph.outputs[0].data.numpy()
    assert array.base is None or array.base.nbytes < 10_000
    np.testing.assert_array_equal(array, np.arange(100_000, dtype=np.float32).reshape(1000, 100)[[5, 6]].T)
