"""Respellings of what TensorRT's parser or builder refuses and no portable decomposition removes.

Every rule here is tried only on nodes that the parser or the builder refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.concat import Pad
from ...ir.ops.generate import Range
from ...ir.ops.matmul import MatMul
from ...ir.ops.normalization import BatchNormalization
from ...ir.ops.pooling import AveragePool, LpPool, MaxPool
from ...ir.ops.slice import Slice
from ...ir.ops.unary import BitwiseNot
from ...ir.ops.windows import explicit_pads, per_axis, resolved_pads, window_counts
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "tensorrt-spelling"
BORROWED = (
    "openvino-col2im", "openvino-cumulative-product", "openvino-deform-conv", "openvino-determinant", "openvino-flex-attention",
    "openvino-function-body", "openvino-lstm-peepholes", "openvino-max-unpool", "openvino-resize", "openvino-tensor-scatter",
)  # fmt: skip
"""Exact respellings by portable operators that another target's rewrites have already."""
MOST_TAPS = 256


@rewrites_op(MatMul, name="tensorrt-vector-product", group=GROUP)
def vector_product(node: Node, b: Rewriter) -> Result:
    """A product with a vector as one with a matrix of one row or column."""
    x, y = node.inputs
    assert x is not None and y is not None
    if x.rank is None or y.rank is None or 1 not in (x.rank, y.rank):
        return None
    t = Terms(b)
    left = t.unsqueeze(x, [0]) if x.rank == 1 else x
    right = t.unsqueeze(y, [1]) if y.rank == 1 else y
    axes = ([-2] if x.rank == 1 else []) + ([-1] if y.rank == 1 else [])
    return t.squeeze(t.matmul(left, right), axes)


@rewrites_op(BitwiseNot, name="tensorrt-bitwise-not", group=GROUP)
def bitwise_not(node: Node, b: Rewriter) -> Result:
    """All bits turned: -1 - x, or the greatest number less x without a sign."""
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    if not x.dtype.is_integer or x.dtype is DType.UINT64:
        return None
    t = Terms(b)
    return t.sub(t.like(-1 if x.dtype.is_signed_integer else (1 << x.dtype.bits) - 1, x), x)


@rewrites_op(BatchNormalization, name="tensorrt-batch-statistics", group=GROUP)
def batch_statistics(node: Node, b: Rewriter) -> Result:
    """A normalisation in training mode: by the mean and variance of the batch, which also move the running ones."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BatchNormalization) and x is not None
    if not op.training_mode or x.rank is None or x.rank < 2:
        return None
    t = Terms(b)
    axes = [axis for axis in range(x.rank) if axis != 1]
    wide = t.cast(x, DType.FLOAT)
    scale, shift, mean, variance = (t.cast(v, DType.FLOAT) for v in node.inputs[1:5] if v is not None)
    here = t.mean(wide, axes)
    centred = t.sub(wide, here)
    spread = t.mean(t.square(centred), axes)

    def along(value: Value) -> Value:
        return t.reshape(value, [-1] + [1] * (len(axes) - 1))

    normal = t.div(centred, t.sqrt(t.add(spread, op.epsilon)))
    y = t.cast(t.add(t.mul(normal, along(scale)), along(shift)), x.dtype)

    def moved(running: Value, batch: Value) -> Value:
        return t.add(t.mul(running, op.momentum), t.mul(t.squeeze(batch, axes), 1.0 - op.momentum))

    results = (y, moved(mean, here), moved(variance, spread))
    kinds = [value.dtype for value in node.outputs]
    return tuple(t.cast(value, kind) for value, kind in zip(results, kinds, strict=False))


@rewrites_op(Range, name="tensorrt-wide-range", group=GROUP)
def wide_range(node: Node, b: Rewriter) -> Result:
    """A range of narrow floats counted in float32."""
    dtype = node.output.dtype
    if dtype not in (DType.FLOAT16, DType.BFLOAT16):
        return None
    t = Terms(b)
    return t.cast(t.apply(Range(), *(None if v is None else t.cast(v, DType.FLOAT) for v in node.inputs)), dtype)


@rewrites_op(MaxPool, AveragePool, LpPool, name="tensorrt-pool-taps", group=GROUP)
def pool_taps(node: Node, b: Rewriter) -> Result:
    """A pooling as the maximum or the sum of the slices that lie under each position of the window."""
    op: Any = node.op
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    sizes = x.shape[2:] if x.shape is not None else ()
    if not sizes or not all(isinstance(size, int) for size in sizes):
        return Decline("the sizes of the image are not known", node)
    if any(value.uses for value in node.outputs[1:]):
        return Decline("the positions of the greatest elements are asked for", node)
    if int(np.prod(op.kernel_shape)) > MOST_TAPS:
        return Decline(f"the window has more than {MOST_TAPS} elements", node)
    t = Terms(b)
    geometry = _Geometry(op, tuple(int(size) for size in sizes))
    if isinstance(op, MaxPool):
        lowest = -np.inf if x.dtype.is_float else 0 if x.dtype.is_unsigned_integer else -(1 << (x.dtype.bits - 1))
        parts = geometry.taps(t, geometry.padded(t, x, lowest))
        result = parts[0]
        for part in parts[1:]:
            result = t.max(result, part)
        return result
    wide = t.cast(x, DType.FLOAT)
    if isinstance(op, LpPool):
        wide = t.pow(t.abs(wide), float(op.p))
    parts = geometry.taps(t, geometry.padded(t, wide, 0.0))
    total = parts[0]
    for part in parts[1:]:
        total = t.add(total, part)
    if isinstance(op, LpPool):
        return t.cast(t.pow(total, 1.0 / op.p), x.dtype)
    return t.cast(t.div(total, t.constant(geometry.counts(bool(op.count_include_pad)), DType.FLOAT)), x.dtype)


class _Geometry:
    """The windows of a pooling over an image of known sizes."""

    def __init__(self, op: Any, sizes: tuple[int, ...]) -> None:
        rank = len(sizes)
        self.sizes, self.kernel = sizes, op.kernel_shape
        self.strides, self.dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
        pads = resolved_pads(sizes, self.kernel, self.strides, self.dilations, op.pads, op.auto_pad)
        given = pads if op.auto_pad.startswith("SAME") else explicit_pads(op.pads, rank, op.auto_pad)
        self.windows = window_counts(sizes, self.kernel, self.strides, self.dilations, given, op.auto_pad, op.ceil_mode)
        self.begins, self.ends = pads[:rank], pads[rank:]
        reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(self.windows, self.strides, self.kernel, self.dilations, strict=True)]
        self.room = [max(r - b - n, e) for r, b, n, e in zip(reach, self.begins, sizes, self.ends, strict=True)]

    def padded(self, t: Terms, x: Value, fill: float) -> Value:
        """The image with everything around it that some window covers."""
        pads = [0, 0, *self.begins, 0, 0, *self.room]
        return t.apply(Pad(), x, t.ints([int(p) for p in pads]), t.like(fill, x)) if any(pads) else x

    def taps(self, t: Terms, x: Value) -> list[Value]:
        """For each position inside the window the elements under it."""
        axes = t.ints(range(2, 2 + len(self.kernel)))
        found = []
        for offset in np.ndindex(*self.kernel):
            starts = [o * d for o, d in zip(offset, self.dilations, strict=True)]
            ends = [s + (n - 1) * step + 1 for s, n, step in zip(starts, self.windows, self.strides, strict=True)]
            found.append(t.apply(Slice(), x, t.ints(starts), t.ints(ends), axes, t.ints(self.strides)))
        return found

    def counts(self, include_pads: bool) -> Any:
        """How many elements each window covers; what only ceil_mode adds never counts."""
        result = np.ones((1, 1, *(1,) * len(self.sizes)), np.float32)
        for axis, size in enumerate(self.sizes):
            low, high = (-self.begins[axis], size + self.ends[axis]) if include_pads else (0, size)
            starts = np.arange(self.windows[axis])[:, None] * self.strides[axis] - self.begins[axis]
            positions = starts + np.arange(self.kernel[axis]) * self.dilations[axis]
            covered = ((positions >= low) & (positions < high)).sum(axis=1)
            result = result * covered.reshape(-1, *(1,) * (len(self.sizes) - 1 - axis))
        return result.astype(np.float32)
