"""Writing at computed positions by ScatterElements."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.binary import Mod
from ...ir.ops.concat import Pad
from ...ir.ops.pooling import MaxUnpool
from ...ir.ops.scatter import ScatterElements, TensorScatter
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-scattering"


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
