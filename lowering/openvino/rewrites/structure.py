"""Padding, pooling, scattering and reductions in the variants that OpenVINO lacks or computes wrongly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.concat import Pad
from ....ir.ops.gather import Gather
from ....ir.ops.pooling import AveragePool, MaxPool, MaxUnpool
from ....ir.ops.reduction import CumProd, ReduceMax, ReduceMin
from ....ir.ops.reshape import Expand, Reshape, Tile
from ....ir.ops.scatter import TensorScatter
from ....ir.ops.selection import TopK
from ....ir.ops.vision import SpaceToDepth
from ....passes.decompose.terms import Size, Terms
from ....passes.registry import find_rule
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .functions import GROUP


@rewrites_op(Pad, name="openvino-pad", group=GROUP)
def pad(node: Node, b: Rewriter) -> Result:
    """Padding with a value computed at run time selects between the padded tensor and the value; wrapping is a Gather."""
    op, x, pads, value, axes = node.op, *(node.operand(i) for i in range(4))
    assert isinstance(op, Pad) and x is not None and pads is not None
    t = Terms(b)
    if op.mode == "wrap":
        return _wrap_pad(t, x, pads, axes)
    if op.mode != "constant" or value is None or value.data is not None:
        return None
    rank = x.rank
    if rank is None or pads.data is None:
        return Decline("the rank or the pads are not known")
    shape = t.sizes([t.dim(x, i) for i in range(rank)])
    ones = t.apply(Expand(), t.constant(1.0, DType.FLOAT), shape)
    inside = t.greater(t.apply(op, ones, pads, None, axes), 0.5)
    return t.where(inside, t.apply(op, x, pads, None, axes), t.reshape(value, []))


def _wrap_pad(t: Terms, x: Value, pads: Value, axes: Value | None) -> Result:
    if x.shape is None or pads.ints is None or (axes is not None and axes.ints is None):
        return Decline("the pads are computed at run time")
    rank = len(x.shape)
    chosen = [a % rank for a in axes.ints] if axes is not None and axes.ints is not None else list(range(rank))
    y = x
    for position, axis in enumerate(chosen):
        before, after = pads.ints[position], pads.ints[position + len(chosen)]
        length = x.shape[axis]
        if before == after == 0:
            continue
        if not isinstance(length, int):
            return Decline("the padded dimensions are not known")
        y = t.apply(Gather(axis=axis), y, t.constant(np.arange(-before, length + after, dtype=np.int64) % length))
    return y


@rewrites_op(CumProd, name="openvino-cumulative-product", group=GROUP)
def cumulative_product(node: Node, b: Rewriter) -> Result:
    """A running product is the product over a triangle of the elements, ones elsewhere."""
    return find_rule("decompose-cumulative-product").function(node, b)


@rewrites_op(ReduceMax, ReduceMin, name="openvino-empty-extremum", group=GROUP)
def empty_extremum(node: Node, b: Rewriter) -> Result:
    """The extremum of no elements is the infinity of its type, not the greatest finite number."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if x.shape is None or 0 not in x.shape or y.tensor.static_shape is None or not y.tensor.dtype.is_float:
        return None
    if 0 in y.tensor.static_shape:
        return None
    sign = -np.inf if isinstance(node.op, ReduceMax) else np.inf
    return b.constant(np.full(y.tensor.static_shape, sign, y.tensor.dtype.numpy))


@rewrites_op(MaxPool, name="openvino-pool-ceil", group=GROUP)
def pool_ceil(node: Node, b: Rewriter) -> Result:
    """Windows that would start behind the input are dropped by explicit pads, where OpenVINO keeps them."""
    op, x, y = node.op, node.inputs[0], node.outputs[0]
    assert isinstance(op, MaxPool) and x is not None
    if pool_problem(node) is None:
        return None
    sizes, counts = (x.shape or ())[2:], (y.shape or ())[2:]
    if not sizes or not all(isinstance(n, int) for n in (*sizes, *counts)):
        return Decline("the spatial dimensions are not known")
    rank = len(op.kernel_shape)
    strides, dilations, pads = op.strides or (1,) * rank, op.dilations or (1,) * rank, op.pads or (0,) * 2 * rank
    ends = []
    for i in range(rank):
        reach = (op.kernel_shape[i] - 1) * dilations[i] + 1
        ends.append((counts[i] - 1) * strides[i] + reach - sizes[i] - pads[i])
    if min(ends) < 0:
        exact = [(n + pads[i] + max(e, 0) - (op.kernel_shape[i] - 1) * dilations[i] - 1) // strides[i] + 1
                 for i, (n, e) in enumerate(zip(sizes, ends, strict=True))]  # fmt: skip
        if exact != list(counts):
            return Decline("no pads give this number of windows")
    changed = replace(op, ceil_mode=0, pads=(*pads[:rank], *(max(e, 0) for e in ends)))
    return b.add(changed, x, outputs=len(node.outputs))


def pool_problem(node: Node) -> str | None:
    """Whether ceil_mode may let a window start behind the input, which ONNX drops and OpenVINO keeps."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, MaxPool) and x is not None
    if not op.ceil_mode or op.auto_pad not in ("NOTSET", "", "VALID"):
        return None
    rank = len(op.kernel_shape)
    strides, dilations, pads = op.strides or (1,) * rank, op.dilations or (1,) * rank, op.pads or (0,) * 2 * rank
    sizes = x.shape[2:] if x.shape is not None else (None,) * rank
    for i in range(rank):
        reach = (op.kernel_shape[i] - 1) * dilations[i] + 1
        size = sizes[i]
        if isinstance(size, int):
            steps = -(-(size + pads[i] + pads[i + rank] - reach) // strides[i])
            late = steps * strides[i] >= size + pads[i]
        else:
            late = strides[i] + pads[i + rank] > reach
        if late:
            return "with ceil_mode a window may start behind the input"
    return None


@rewrites_op(TensorScatter, name="openvino-tensor-scatter", group=GROUP)
def tensor_scatter(node: Node, b: Rewriter) -> Result:
    """Writing into a cache at each sample's position is ScatterElements at computed indices."""
    return find_rule("decompose-tensor-scatter").function(node, b)


@rewrites_op(MaxUnpool, name="openvino-max-unpool", group=GROUP)
def max_unpool(node: Node, b: Rewriter) -> Result:
    """MaxUnpool scatters into zeros, framed where the output is larger."""
    return find_rule("decompose-max-unpool").function(node, b)


@rewrites_op(AveragePool, name="openvino-average-pool", group=GROUP)
def average_pool(node: Node, b: Rewriter) -> Result:
    """Where pads count in the mean and the last window hangs over, the pads become explicit: OpenVINO divides wrongly there."""
    op, x, y = node.op, node.inputs[0], node.outputs[0]
    assert isinstance(op, AveragePool) and x is not None
    if average_problem(node) is None:
        return None
    sizes, counts = (x.shape or ())[2:], (y.shape or ())[2:]
    if not sizes or not all(isinstance(n, int) for n in (*sizes, *counts)):
        return Decline("the spatial dimensions are not known")
    rank = len(op.kernel_shape)
    strides, dilations, pads = op.strides or (1,) * rank, op.dilations or (1,) * rank, op.pads or (0,) * 2 * rank
    ends = []
    for i in range(rank):
        reach = (op.kernel_shape[i] - 1) * dilations[i] + 1
        ends.append(min(pads[i + rank], (counts[i] - 1) * strides[i] + reach - sizes[i] - pads[i]))
    t = Terms(b)
    framed = t.apply(Pad(), x, t.ints([0, 0, *pads[:rank], 0, 0, *ends]))
    return t.apply(replace(op, pads=(0,) * 2 * rank, count_include_pad=0), framed)


def average_problem(node: Node) -> str | None:
    """Whether the mean of an overhanging window is divided wrongly."""
    op = node.op
    assert isinstance(op, AveragePool)
    explicit = op.auto_pad in ("NOTSET", "")
    return "with ceil_mode and count_include_pad the overhang counts" if op.ceil_mode and op.count_include_pad and explicit else None


@rewrites_op(SpaceToDepth, name="openvino-space-to-depth", group=GROUP)
def space_to_depth(node: Node, b: Rewriter) -> Result:
    """SpaceToDepth with the columns first is a transpose between reshapes: the importer ignores the mode."""
    return find_rule("decompose-space-to-depth").function(node, b) if getattr(node.op, "mode", "DCR") != "DCR" else None


@rewrites_op(Tile, name="openvino-tile", group=GROUP)
def tile(node: Node, b: Rewriter) -> Result:
    """Repetition as often as computed at run time is an Expand between reshapes: OpenVINO gives other elements."""
    x, repeats = node.inputs
    assert x is not None and repeats is not None
    if repeats.data is not None:
        return None
    rank = x.rank
    if rank is None or rank == 0:
        return Decline("the rank is not known")
    t = Terms(b)
    parts: list[Size] = []
    for axis in range(rank):
        parts += [t.slice(repeats, 0, axis, axis + 1), t.dim(x, axis)]
    wide = t.expand(t.unsqueeze(x, list(range(0, 2 * rank, 2))), parts)
    return t.apply(Reshape(), wide, t.mul(t.sizes([t.dim(x, i) for i in range(rank)]), repeats))


@rewrites_op(TopK, name="openvino-top-k", group=GROUP)
def top_k(node: Node, b: Rewriter) -> Result:
    """The greatest elements in any order may as well be sorted, which is where OpenVINO can respect the order of equal ones."""
    op = node.op
    assert isinstance(op, TopK)
    return None if op.sorted else b.add(replace(op, sorted=1), *node.inputs, outputs=len(node.outputs))
