"""Poolings with windows that targets have no kernel for: spread out, uneven, or asked where the greatest elements are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ...ir.ops.concat import Pad
from ...ir.ops.logical import Or
from ...ir.ops.pooling import AveragePool, LpPool, MaxPool
from ...ir.ops.slice import Slice
from ...ir.ops.windows import explicit_pads, per_axis, resolved_pads, window_counts
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

MOST_TAPS = 256


@decomposes(MaxPool, AveragePool, LpPool, name="pool-by-slices", group="decompose-pooling", targeted=True)
def pool_by_slices(node: Node, t: Terms) -> Result:
    """A pooling as the maximum or the sum of slices, one for each position in the window along one axis after another."""
    op: Any = node.op
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    sizes = x.shape[2:] if x.shape is not None else ()
    if not sizes or not all(isinstance(size, int) for size in sizes):
        return Decline("the sizes of the image are not known", node)
    located = any(value.uses for value in node.outputs[1:])
    taps = int(np.prod(op.kernel_shape) if located else np.sum(op.kernel_shape))
    if taps > MOST_TAPS:
        return Decline(f"the pooling needs more than {MOST_TAPS} slices", node)
    geometry = _Geometry(op, tuple(int(size) for size in sizes))
    if isinstance(op, MaxPool):
        lowest = -np.inf if x.dtype.is_float else 0 if x.dtype.is_unsigned_integer else -(1 << (x.dtype.bits - 1))
        padded = geometry.padded(t, x, lowest)
        return _located(t, op, geometry, x, padded) if located else geometry.folded(t, padded, t.max)
    wide = t.widen(x)
    if isinstance(op, LpPool):
        wide = t.pow(t.abs(wide), float(op.p))
    total = geometry.folded(t, geometry.padded(t, wide, 0.0), t.add)
    if isinstance(op, LpPool):
        return t.cast(t.pow(total, 1.0 / op.p), x.dtype)
    return t.cast(
        t.div(total, t.constant(geometry.counts(bool(op.count_include_pad)).astype(wide.tensor.dtype.numpy), wide.dtype)), x.dtype
    )


def _located(t: Terms, op: MaxPool, geometry: _Geometry, x: Value, padded: Value) -> tuple[Value, Value]:
    """The greatest element of each window with its place: the first of equal ones, never in the padding."""
    first, *others = np.ndindex(*geometry.kernel)
    inside = geometry.inside(first)
    best, place = geometry.tap(t, padded, first), t.constant(np.where(inside, geometry.places(first, bool(op.storage_order)), -1))
    for offset in others:
        tap, here = geometry.tap(t, padded, offset), t.constant(geometry.places(offset, bool(op.storage_order)))
        better = t.greater(tap, best)
        if not inside.all():
            found = t.both(t.less(place, 0), t.constant(geometry.inside(offset)))
            better = t.apply(Or(), better, found)
        best, place = t.where(better, tap, best), t.where(better, here, place)
    count = int(np.prod(geometry.sizes))
    before = t.mul(t.count(t.product([t.dim(x, 0), t.dim(x, 1)])), count)
    return best, t.add(place, t.reshape(before, [t.dim(x, 0), t.dim(x, 1), *(1,) * len(geometry.sizes)]))


class _Geometry:
    """The windows of a pooling over an image of known sizes.

    Attributes:
        sizes: of the image.
        kernel: of the window.
    """

    def __init__(self, op: Any, sizes: tuple[int, ...]) -> None:
        rank = len(sizes)
        self.sizes, self.kernel = sizes, op.kernel_shape
        self._strides, self._dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
        pads = resolved_pads(sizes, self.kernel, self._strides, self._dilations, op.pads, op.auto_pad)
        given = pads if op.auto_pad.startswith("SAME") else explicit_pads(op.pads, rank, op.auto_pad)
        self._windows = window_counts(sizes, self.kernel, self._strides, self._dilations, given, op.auto_pad, op.ceil_mode)
        self._begins, self._ends = pads[:rank], pads[rank:]
        extents = zip(self._windows, self._strides, self.kernel, self._dilations, strict=True)
        reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in extents]
        self._room = [max(r - b - n, e) for r, b, n, e in zip(reach, self._begins, sizes, self._ends, strict=True)]

    def padded(self, t: Terms, x: Value, fill: float) -> Value:
        """The image with everything around it that some window covers."""
        pads = [0, 0, *self._begins, 0, 0, *self._room]
        return t.apply(Pad(), x, t.ints([int(p) for p in pads]), t.like(fill, x)) if any(pads) else x

    def folded(self, t: Terms, x: Value, combine: Any) -> Value:
        """What lies under each window combined, along one axis after the other."""
        for axis in range(len(self.kernel)):
            parts = [self._slices(t, x, [axis], [position]) for position in range(self.kernel[axis])]
            x = parts[0]
            for part in parts[1:]:
                x = combine(x, part)
        return x

    def tap(self, t: Terms, x: Value, offset: tuple[int, ...]) -> Value:
        """The elements at one position inside the windows."""
        return self._slices(t, x, list(range(len(offset))), list(offset))

    def _slices(self, t: Terms, x: Value, axes: list[int], offset: list[int]) -> Value:
        starts = [o * self._dilations[a] for a, o in zip(axes, offset, strict=True)]
        ends = [s + (self._windows[a] - 1) * self._strides[a] + 1 for a, s in zip(axes, starts, strict=True)]
        steps = [self._strides[a] for a in axes]
        return t.apply(Slice(), x, t.ints(starts), t.ints(ends), t.ints([a + 2 for a in axes]), t.ints(steps))

    def _positions(self, axis: int, offset: int) -> Any:
        return np.arange(self._windows[axis]) * self._strides[axis] - self._begins[axis] + offset * self._dilations[axis]

    def inside(self, offset: tuple[int, ...]) -> Any:
        """Whether the elements at one position inside the windows belong to the image."""
        found = np.ones((1, 1, *(1,) * len(offset)), bool)
        for axis, size in enumerate(self.sizes):
            along = self._positions(axis, offset[axis])
            found = found & ((along >= 0) & (along < size)).reshape(-1, *(1,) * (len(self.sizes) - 1 - axis))
        return found

    def places(self, offset: tuple[int, ...], column_major: bool) -> Any:
        """Where these elements lie in the image when it is counted through."""
        found = np.zeros((1, 1, *(1,) * len(offset)), np.int64)
        for axis in range(len(self.sizes)):
            stride = int(np.prod(self.sizes[:axis] if column_major else self.sizes[axis + 1 :]))
            found = found + (self._positions(axis, offset[axis]) * stride).reshape(-1, *(1,) * (len(self.sizes) - 1 - axis))
        return found

    def counts(self, include_pads: bool) -> Any:
        """How many elements each window covers; what only ceil_mode adds never counts."""
        result = np.ones((1, 1, *(1,) * len(self.sizes)), np.float32)
        for axis, size in enumerate(self.sizes):
            low, high = (-self._begins[axis], size + self._ends[axis]) if include_pads else (0, size)
            starts = np.arange(self._windows[axis])[:, None] * self._strides[axis] - self._begins[axis]
            positions = starts + np.arange(self.kernel[axis]) * self._dilations[axis]
            covered = ((positions >= low) & (positions < high)).sum(axis=1)
            result = result * covered.reshape(-1, *(1,) * (len(self.sizes) - 1 - axis))
        return result.astype(np.float32)
