"""Tensors without elements: what is computed from them is known before the run."""

from __future__ import annotations

import math

import numpy as np

from ....ir.custom import is_custom
from ....ir.diagnostics import Diagnostic
from ....ir.graph import Node, Value
from ....ir.op import Op, Opaque
from ....ir.ops.concat import Concat
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .group import GROUP

LARGEST = 1 << 20  # elements of a result that is made in advance


def is_empty(value: Value | None) -> bool:
    """Whether a value certainly has no elements."""
    return value is not None and any(d == 0 for d in value.shape or () if isinstance(d, int))


@rewrites_op(Op, name="tflite-from-nothing", group=GROUP)
def from_nothing(node: Node, b: Rewriter) -> Result:
    """What only depends on constants and tensors without elements becomes a constant."""
    if node.regions or not node.op.pure or isinstance(node.op, Opaque) or is_custom(node.op):
        return None
    shapes = [v.tensor.static_shape if v.dtype is not None else None for v in node.outputs]
    if any(s is None or math.prod(s) > LARGEST for s in shapes):
        return None
    if all(0 in (s or ()) for s in shapes):
        return tuple(b.constant(np.zeros(v.tensor.static_shape or (), v.tensor.dtype.numpy), v.dtype) for v in node.outputs)
    return _evaluated(node, b)


def _evaluated(node: Node, b: Rewriter) -> Result:
    operands = []
    for value in node.inputs:
        if value is None or value.data is not None:
            operands.append(None if value is None else value.data.numpy())  # type: ignore[union-attr]
        elif is_empty(value) and value.tensor.static_shape is not None:
            operands.append(np.zeros(value.tensor.static_shape, value.tensor.dtype.numpy))
        else:
            return None
    if not any(is_empty(v) for v in node.inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            results = node.op.evaluate(*operands)
    except (Diagnostic, ValueError, IndexError):
        return None
    results = results if isinstance(results, tuple) else (results,)
    return tuple(b.constant(np.asarray(r), v.dtype) for r, v in zip(results, node.outputs, strict=False))


@rewrites_op(Concat, name="tflite-concat-nothing", group=GROUP)
def concat_nothing(node: Node, b: Rewriter) -> Result:
    """Parts without elements are left out of a concatenation."""
    kept = [v for v in node.inputs if not is_empty(v)]
    if len(kept) == len(node.inputs) or not kept:
        return None
    return b.add(node.op, *kept) if len(kept) > 1 else kept[0]
