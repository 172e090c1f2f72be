"""Depthwise convolutions with more taps than XNNPACK has fast kernels for, as sums of dilated ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.binary import Add
from ....ir.ops.conv import Conv
from ....ir.ops.windows import explicit_pads, per_axis
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .group import GROUP

MOST_TAPS = 25  # of one pass of XNNPACK's depthwise kernels; LiteRT 2.3 takes 7 to 23 times as long beyond


@dataclass(frozen=True)
class Split:
    """Every so many taps along an axis belong together."""

    axis: int
    parts: int


def split_of(kernel: Sequence[int]) -> Split | None:
    """The axis along which the fewest parts have few enough taps; None when one row has too many already.

    >>> split_of((7, 7)), split_of((31,))
    (Split(axis=0, parts=3), Split(axis=0, parts=2))
    """
    found: list[Split] = []
    for axis, size in enumerate(kernel):
        rows = MOST_TAPS // max(math.prod(kernel) // size, 1)
        if rows:
            found.append(Split(axis, -(-size // rows)))
    return min(found, key=lambda s: s.parts, default=None)


@rewrites_op(Conv, name="tflite-large-depthwise-kernel", group=GROUP, benefit=2)
def large_depthwise(node: Node, b: Rewriter) -> Result:
    """A depthwise convolution of many taps is the sum of dilated ones, each with the taps of one remainder; exact up to rounding.

    With g parts, part r has the taps r, r + g, r + 2 g … along the axis, g times the dilation, and as much less padding as they begin later
    and end earlier.
    """
    op, x, weight, bias = node.op, node.inputs[0], node.inputs[1], node.operand(2)
    assert isinstance(op, Conv)
    if x is None or weight is None or weight.data is None or weight.dtype is not DType.FLOAT or op.auto_pad not in ("NOTSET", "VALID"):
        return None
    shape = weight.tensor.static_shape
    if shape is None or len(shape) not in (3, 4) or op.group == 1 or shape[1] != 1 or shape[0] != op.group:
        return None
    kernel = tuple(shape[2:])
    split = split_of(kernel) if math.prod(kernel) > MOST_TAPS else None
    if split is None:
        return None
    rank, axis = len(kernel), split.axis
    pads, dilations = explicit_pads(op.pads, rank, op.auto_pad), per_axis(op.dilations, rank, "dilations")
    step, last = dilations[axis], kernel[axis] - 1
    parts: list[tuple[int, int, int]] = []
    for first in range(split.parts):
        final = first + (last - first) // split.parts * split.parts
        parts.append((first, pads[axis] - first * step, pads[rank + axis] - (last - final) * step))
    if min(min(begin, end) for _, begin, end in parts) < 0:
        return Decline("parts of the kernel would begin inside of the operand", node)
    total: Value | None = None
    for first, begin, end in parts:
        chosen = np.ascontiguousarray(np.take(weight.data.numpy(), range(first, last + 1, split.parts), axis + 2))
        around = list(pads)
        around[axis], around[rank + axis] = begin, end
        wider = tuple(d * split.parts if i == axis else d for i, d in enumerate(dilations))
        part = replace(op, pads=tuple(around), auto_pad="NOTSET", dilations=wider, kernel_shape=tuple(chosen.shape[2:]))
        result = b.add(part, x, b.constant(chosen), *([bias] if total is None and bias is not None else []))
        total = result if total is None else b.add(Add(), total, result)
    return total
