"""Float64: LiteRT moves such elements but computes with none of them, so that arithmetic runs in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.op import Op, Opaque
from ....ir.ops.cast import Cast
from ....ir.serial.attributes import dtype_fields
from ....ir.types import TensorType
from ....passes.legalize import TYPED
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ..matrix import judge
from .group import GROUP

MARK = "edgec.float64"  # the metadata key of conversions that lose precision
FLOAT_MAX = float(np.finfo(np.float32).max)
INFINITE = 1e300  # constants beyond this stand for infinity in masks; smaller ones are numbers that float32 cannot hold


@rewrites_op(Op, name="tflite-float64", group=GROUP, benefit=-1)
def in_float32(node: Node, b: Rewriter) -> Result:
    """Operators of float64 without a kernel are computed in float32."""
    if isinstance(node.op, (*TYPED, Opaque)) or node.regions or not node.op.pure:
        return None
    if all(v is None or v.dtype is not DType.DOUBLE for v in (*node.inputs, *node.outputs)) or judge(node).runs:
        return None
    if any(not isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs) if v is not None):
        return Decline("a sequence or optional value of float64", node)
    operands: list[Value | None] = []
    for value in node.inputs:
        if value is None or value.dtype is not DType.DOUBLE:
            operands.append(value)
        elif value.data is not None:
            array = _narrowed(value.data.numpy())
            if array is None:
                return Decline(f"float32 cannot hold the constant '{value.name}'", node)
            operands.append(b.constant(array))
        else:
            operands.append(_cast(b, value, DType.FLOAT))
    fields = {name: DType.FLOAT for name in sorted(dtype_fields(type(node.op))) if getattr(node.op, name) is DType.DOUBLE}
    op = replace(node.op, **fields) if fields else node.op  # type: ignore[type-var]
    results = b.add(op, *operands, outputs=len(node.outputs))
    results = results if isinstance(results, tuple) else (results,)
    if any(new.dtype is DType.DOUBLE for new in results):
        return Decline("the result is float64 whatever the operands are", node)
    return tuple(
        (new if new.dtype is old.dtype else _cast(b, new, DType.DOUBLE)) if old.uses else None
        for new, old in zip(results, node.outputs, strict=True)
    )


def _cast(b: Rewriter, value: Value, dtype: DType) -> Value:
    result: Value = b.add(Cast(to=dtype), value)
    assert result.producer is not None
    result.producer.metadata[MARK] = "computed in float32"
    return result


def _narrowed(array: Any) -> Any:
    """A float64 array as float32, None when that cannot hold it."""
    finite = np.abs(array[np.isfinite(array)])
    large = finite.max() if finite.size else 0.0
    if FLOAT_MAX < large < INFINITE:
        return None
    if large >= INFINITE:
        array = np.where(np.isfinite(array), np.clip(array, -FLOAT_MAX, FLOAT_MAX), array)
    return array.astype(np.float32)
