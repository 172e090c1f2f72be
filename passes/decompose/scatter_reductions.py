"""Updates of places that are added, multiplied or compared, for targets that only write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.binary import Add, Max, Min, Mul
from ...ir.ops.reduction import ReduceMax, ReduceMin, ReduceProd, ReduceSum
from ...ir.ops.scatter import ScatterElements, ScatterND
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-scattering"
LARGEST = 1 << 22  # elements of the updates of all places beside each other
REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "add": (ReduceSum, Add), "mul": (ReduceProd, Mul), "max": (ReduceMax, Max), "min": (ReduceMin, Min)
}  # fmt: skip


@decomposes(ScatterElements, ScatterND, name="scatter-by-gathering", group=GROUP, targeted=True, benefit=2)
def scatter_by_gathering(node: Node, t: Terms) -> Result:
    """All updates of a place, which is a constant, taken by one gather and reduced."""
    s = _Scatter.of(node)
    if not isinstance(s, _Scatter):
        return s
    if s.index.data is None:
        return None
    rows = s.constant_rows()
    order, counts = np.argsort(rows, kind="stable"), np.bincount(rows, minlength=s.total)
    most = int(counts.max(initial=1))
    if s.total * most * s.width > LARGEST:
        return Decline("there are too many updates of a place to take all of them together")
    table = np.full((s.total, most), s.count, np.int64)  # the last row changes nothing
    rank = np.arange(s.count) - (np.cumsum(counts) - counts)[rows[order]]
    table[rows[order], rank] = order
    updates = t.reshape(t.widen(s.updates), [s.count, s.width])
    idle = np.full((1, s.width), s.neutral(), updates.tensor.dtype.numpy)
    return s.reduced(t, t.take(t.concat([updates, t.constant(idle, updates.dtype)], 0), t.constant(table), 0), 1)


@decomposes(ScatterElements, ScatterND, name="scatter-by-comparison", group=GROUP, targeted=True)
def scatter_by_comparison(node: Node, t: Terms) -> Result:
    """All updates of a place, found by comparing every update's place with every place, and reduced."""
    s = _Scatter.of(node)
    if not isinstance(s, _Scatter):
        return s
    if s.count * s.total * s.width > LARGEST:
        return Decline("there are too many updates and places to compare all of them")
    everywhere = t.constant(np.arange(s.total, dtype=np.int64).reshape(1, s.total, 1))
    same = t.equal(t.reshape(s.rows(t), [s.count, 1, 1]), everywhere)
    updates = t.reshape(t.widen(s.updates), [s.count, 1, s.width])
    return s.reduced(t, t.where(same, updates, t.like(s.neutral(), updates)), 0)


class _Scatter:
    """A scatter with a reduction: ``count`` updates of ``width`` elements for ``total`` places.

    Attributes:
        index: the places as the operator has them.
        updates: the updates as the operator has them.
    """

    def __init__(self, node: Node, shape: tuple[int, ...], places: tuple[int, ...]) -> None:
        op, data, index, updates = node.op, *node.inputs
        assert isinstance(op, ScatterElements | ScatterND) and data is not None and index is not None and updates is not None
        self.reduction, self.data, self.index, self.updates = op.reduction, data, index, updates
        self._shape, self._places = shape, places
        self._along = op.axis % len(shape) if isinstance(op, ScatterElements) else None
        self._axes = shape if self._along is not None else shape[: places[-1]]
        self.count = math.prod(places if self._along is not None else places[:-1])
        self.total, self.width = math.prod(self._axes), math.prod(shape[len(self._axes) :])
        self._strides = np.array([math.prod(self._axes[i + 1 :]) for i in range(len(self._axes))], np.int64)

    @classmethod
    def of(cls, node: Node) -> _Scatter | Decline | None:
        """The scatter of a node with a reduction and known sizes."""
        op, data, index = node.op, node.inputs[0], node.inputs[1]
        assert isinstance(op, ScatterElements | ScatterND) and data is not None and index is not None
        if op.reduction not in REDUCTIONS:
            return None
        shape, places = data.tensor.static_shape, index.tensor.static_shape
        if shape is None or places is None:
            return Decline("the sizes are not known")
        if data.dtype in (DType.BOOL, DType.STRING):
            return Decline("only numbers are reduced")
        return cls(node, shape, places)

    def neutral(self) -> float:
        """What changes nothing in the reduction."""
        if self.reduction in ("add", "mul"):
            return int(self.reduction == "mul")
        dtype, least = self.data.tensor.dtype, self.reduction == "max"
        if dtype.is_float:
            return -math.inf if least else math.inf
        limits = np.iinfo(dtype.numpy)
        return limits.min if least else limits.max

    def constant_rows(self) -> Any:
        """The place of every update, the places being constants."""
        assert self.index.data is not None
        index = self.index.data.numpy().astype(np.int64)
        if self._along is None:
            return (np.where(index < 0, index + np.array(self._axes), index) * self._strides).sum(axis=-1).reshape(-1)
        known = np.where(index < 0, index + self._shape[self._along], index)
        return (self._base() + known * self._strides[self._along]).reshape(-1)

    def rows(self, t: Terms) -> Value:
        """Likewise, computed at run time."""
        wide = t.cast(self.index, DType.INT64)
        if self._along is None:
            known = t.where(t.less(wide, 0), t.add(wide, t.ints(list(self._axes))), wide)
            return t.total(t.mul(known, t.ints(self._strides.tolist())), [-1], keepdims=False)
        known = t.where(t.less(wide, 0), t.add(wide, self._shape[self._along]), wide)
        return t.add(t.mul(known, int(self._strides[self._along])), t.constant(self._base()))

    def _base(self) -> Any:
        """Where single elements lie by their positions along the other axes."""
        grids = enumerate(np.indices(self._places))
        return sum((grid * self._strides[i] for i, grid in grids if i != self._along), np.zeros(self._places, np.int64))

    def reduced(self, t: Terms, together: Value, axis: int) -> Value:
        """The updates beside each other along an axis, reduced there and brought together with the data."""
        reducer, combine = REDUCTIONS[self.reduction]
        change = t.reshape(t.apply(reducer(keepdims=0), together, t.ints([axis])), list(self._shape))
        return t.cast(t.apply(combine(), t.widen(self.data), change), self.data.dtype)
