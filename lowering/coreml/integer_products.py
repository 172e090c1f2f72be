"""Convolutions of integers that are too long for float32: split along the channels, summed as integers."""

from __future__ import annotations

import math
from dataclasses import replace

from ...ir.graph import Node
from ...ir.ops.quantized_products import ConvInteger
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "coreml-rewrites"
_EXACT = 1 << 24
_WORST = 255 * 255


@rewrites_op(ConvInteger, name="coreml-split-conv-integer", group=GROUP)
def split_conv_integer(node: Node, b: Rewriter) -> Result:
    """Sums that may pass 2**24 become sums of parts that float32 holds exactly."""
    op, x, w = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, ConvInteger) and x is not None and w is not None
    shape = w.tensor.static_shape
    if shape is None or op.group != 1:
        return None
    taps = math.prod(shape[2:])
    if shape[1] * taps * _WORST < _EXACT:
        return None
    each = (_EXACT - 1) // (_WORST * taps)
    if not each:
        return Decline("one channel alone may pass 2**24")
    t = Terms(b)
    total = None
    for start in range(0, shape[1], each):
        end = min(start + each, shape[1])
        operands = (t.slice(x, 1, start, end), t.slice(w, 1, start, end), *node.inputs[2:])
        part = t.apply(replace(op, kernel_shape=shape[2:]), *operands)
        total = part if total is None else t.add(total, part)
    return total
