"""Writing at computed positions by ScatterElements."""

from __future__ import annotations

import math

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.binary import Max, Min, Mod, Mul
from ...ir.ops.concat import Pad
from ...ir.ops.pooling import MaxUnpool
from ...ir.ops.reduction import ReduceMax, ReduceMin, ReduceProd
from ...ir.ops.scatter import ScatterElements, ScatterND, TensorScatter
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-scattering"
LARGEST = 1 << 22  # elements of the comparison of all updates with all places


@decomposes(TensorScatter, name="decompose-tensor-scatter", group=GROUP)
def tensor_scatter(node: Node, t: Terms) -> Result:
    """Writing into a cache at each sample's position is ScatterElements at computed indices."""
    op, cache, update, starts = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, TensorScatter) and cache is not None and update is not None
    rank = cache.rank
    if rank is None or update.rank is None:
        return Decline("the rank is not known")
    axis = op.axis % rank
    length = t.dim(update, axis)
    places = t.reshape(t.count(length), [1] * axis + [-1] + [1] * (rank - axis - 1))
    if starts is not None:
        places = t.add(places, t.reshape(t.cast(starts, DType.INT64), [-1] + [1] * (rank - 1)))
    if op.mode == "circular":
        places = t.apply(Mod(), places, t.scalar(t.dim(cache, axis)))
    indices = t.expand(places, [t.dim(update, i) for i in range(rank)])
    return t.apply(ScatterElements(axis=axis), cache, indices, update)


@decomposes(MaxUnpool, name="decompose-max-unpool", group=GROUP, targeted=True)
def max_unpool(node: Node, t: Terms) -> Result:
    """MaxUnpool scatters into zeros, framed where the output is larger."""
    op, x, positions, wanted = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, MaxUnpool) and x is not None and positions is not None
    shape = x.tensor.static_shape
    target = node.outputs[0].tensor.static_shape
    if shape is None or target is None:
        return Decline("the dimensions are not known")
    natural = op._natural_shape(shape)
    zeros = t.constant(np.zeros(int(np.prod(natural)), x.tensor.dtype.numpy))
    flat = t.apply(ScatterElements(axis=0), zeros, t.reshape(positions, [-1]), t.reshape(x, [-1]))
    y = t.reshape(flat, list(natural))
    if wanted is None or tuple(natural) == target:
        return y
    ends = [n - m for n, m in zip(target, natural, strict=True)]
    return t.apply(Pad(), y, t.ints([0] * len(target) + ends))


@decomposes(ScatterElements, ScatterND, name="scatter-by-comparison", group=GROUP, targeted=True)
def scatter_by_comparison(node: Node, t: Terms) -> Result:
    """The greatest, the least or the product of all updates of a place, found by comparing every update's place with every place."""
    op, data, index, updates = node.op, *node.inputs
    assert isinstance(op, ScatterElements | ScatterND) and data is not None and index is not None and updates is not None
    shape, places = data.tensor.static_shape, index.tensor.static_shape
    if op.reduction not in ("max", "min", "mul"):
        return None
    if shape is None or places is None or data.dtype is None:
        return Decline("the sizes are not known")
    if isinstance(op, ScatterElements):
        rows, flat = _element_rows(t, op.axis % len(shape), shape, places, index)
        width, total = 1, math.prod(shape)
    else:
        axes = shape[: places[-1]]
        width, total = math.prod(shape[len(axes) :]), math.prod(axes)
        strides = [math.prod(axes[i + 1 :]) for i in range(len(axes))]
        known = t.where(t.less(index, 0), t.add(index, t.ints(list(axes))), index)
        rows, flat = t.total(t.mul(known, t.ints(strides)), [-1], keepdims=False), math.prod(places[:-1])
    if flat * total * width > LARGEST:
        return Decline("there are too many updates and places to compare all of them")
    reducer, combine, neutral = {
        "max": (ReduceMax, Max, _bound(data, False)), "min": (ReduceMin, Min, _bound(data, True)), "mul": (ReduceProd, Mul, 1)
    }[op.reduction]  # fmt: skip
    same = t.equal(t.reshape(rows, [flat, 1, 1]), t.constant(np.arange(total, dtype=np.int64).reshape(1, total, 1)))
    held = t.where(same, t.reshape(updates, [flat, 1, width]), t.constant(np.asarray(neutral, data.tensor.dtype.numpy), data.dtype))
    reduced = t.reshape(t.apply(reducer(keepdims=0), held, t.ints([0])), list(shape))
    return t.apply(combine(), data, reduced)


def _element_rows(t: Terms, axis: int, shape: tuple[int, ...], places: tuple[int, ...], index: Value) -> tuple[Value, int]:
    """The places of single elements in the flattened operand."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    base = sum((grid * strides[i] for i, grid in enumerate(np.indices(places)) if i != axis), np.zeros(places, np.int64))
    wide = t.cast(index, DType.INT64)
    known = t.where(t.less(wide, 0), t.add(wide, shape[axis]), wide)
    return t.add(t.mul(known, strides[axis]), t.constant(base.astype(np.int64))), math.prod(places)


def _bound(value: Value, greatest: bool) -> float:
    """The infinity or the last integer of an element type."""
    dtype = value.tensor.dtype
    if dtype.is_float:
        return float("inf") if greatest else float("-inf")
    limits = np.iinfo(dtype.numpy)
    return limits.max if greatest else limits.min
