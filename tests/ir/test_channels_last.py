"""Channels-last operators: they are their ONNX counterparts between two transpositions."""

import numpy as np
import pytest

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.costmodel.work import graph_work
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.op import EDGEC, OPS, attribute_names
from edgec.ir.ops.channels_last import (
    CHANNELS_LAST,
    ChannelsLastConv,
    ChannelsLastMaxPool,
    ChannelsLastResize,
    channels_last_form,
    to_first,
    to_last,
)
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.normalization import LRN
from edgec.ir.ops.pooling import AveragePool, LpPool, MaxPool
from edgec.ir.ops.resize import Resize
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.vision import DepthToSpace, GridSample, SpaceToDepth
from edgec.ir.text import parse_model, print_graph
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify

RANDOM = np.random.default_rng(7)


def numbers(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


CASES = [
    (Conv(pads=(1, 0, 1, 2), strides=(2, 1), group=2), (2, 4, 7, 6), [numbers(6, 2, 3, 2), numbers(6)]),
    (Conv(auto_pad="SAME_LOWER", dilations=(2,)), (1, 3, 9), [numbers(2, 3, 3)]),
    (Conv(), (1, 2, 4, 5, 3), [numbers(3, 2, 2, 2, 2)]),
    (ConvTranspose(strides=(2, 3), output_padding=(1, 0), pads=(1, 1, 0, 0)), (1, 3, 4, 5), [numbers(3, 2, 3, 3), numbers(2)]),
    (MaxPool(kernel_shape=(3, 2), strides=(2, 2), ceil_mode=1, pads=(1, 0, 1, 1)), (2, 3, 7, 6), []),
    (AveragePool(kernel_shape=(2, 2), count_include_pad=1, pads=(1, 1, 0, 0)), (1, 3, 4, 5), []),
    (LpPool(kernel_shape=(2,), p=3), (1, 2, 6), []),
    (LRN(size=3, alpha=0.3), (1, 5, 2, 3), []),
    (DepthToSpace(blocksize=2, mode="CRD"), (1, 8, 2, 3), []),
    (SpaceToDepth(blocksize=2), (1, 2, 4, 6), []),
    (Resize(mode="linear"), (1, 2, 3, 4), [None, np.array([1, 1, 2, 1.5], np.float32)]),
    (GridSample(padding_mode="border"), (1, 2, 4, 5), [RANDOM.uniform(-1.2, 1.2, (1, 3, 2, 2)).astype(np.float32)]),
]


def between(op, shape, others, form):
    """A graph of one operator, its ONNX form between Transposes or its channels-last form alone."""
    rank = len(shape)
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (symbol("n"), *(shape[a] for a in to_last(rank)[1:]))))
    operands = [None if o is None else constant(o, f"w{i}") for i, o in enumerate(others)]
    if form is not None:
        graph.set_outputs([graph.add(form, x, *operands)], ["y"])
    else:
        y = graph.insert(op, [graph.add(Transpose(perm=to_first(rank)), x), *operands], outputs=1).output
        graph.set_outputs([graph.add(Transpose(perm=to_last(rank)), y)], ["y"])
    return graph


@pytest.mark.parametrize(("op", "shape", "others"), CASES, ids=lambda value: type(value).__name__ if hasattr(value, "op_name") else "")
def test_counterpart_between_transpositions(op, shape, others):
    form = channels_last_form(op)
    assert form is not None and form.domain == EDGEC and not isinstance(form, type(op))
    assert form.counterpart() == op
    moved, plain = between(op, shape, others, form), between(op, shape, others, None)
    verify(moved)
    assert moved.outputs[0].type == plain.outputs[0].type
    feeds = {"x": numbers(*(shape[a] for a in to_last(len(shape))))}
    np.testing.assert_array_equal(interpret(moved, feeds)["y"], interpret(plain, feeds)["y"])
    assert print_graph(parse_model(print_graph(moved)).graph) == print_graph(moved)
    macs = graph_work(moved).macs
    assert macs == graph_work(plain).macs and (macs != 0) == isinstance(op, Conv | ConvTranspose)


def test_every_form_is_registered():
    for plain, form in CHANNELS_LAST.items():
        assert OPS[EDGEC, form.op_name] is form and form.plain is plain
        assert set(attribute_names(plain)) - set(attribute_names(form)) <= {"storage_order"}
    assert channels_last_form(Transpose()) is None


def test_mismatches_are_diagnosed():
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 8, 8, 3)))
    with pytest.raises(Diagnostic, match="8 channels|has 3 channels"):
        graph.add(ChannelsLastConv(), x, constant(numbers(4, 5, 3, 3)))
    with pytest.raises(Diagnostic, match="rank"):
        graph.add(ChannelsLastMaxPool(kernel_shape=(2,)), x)


def test_resize_parameters_keep_their_order():
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 4, 6, 3)))
    y = graph.add(ChannelsLastResize(), x, None, None, int64s([1, 3, 8, 9]))
    assert y.shape == (1, 8, 9, 3)
