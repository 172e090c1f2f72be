"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.matmul import Gemm, MatMul
from ....ir.ops.quantized_products import MatMulInteger
from .context import Emission
from .translation import NUMBERS, Obstacle, translates

_EXACT = 1 << 24
_WORST_PRODUCT = 255 * 255


def _gemm(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, Gemm)
    b, c = node.inputs[1], node.operand(2)
    assert b is not None
    fixed = b.data is not None and not op.transA and op.alpha == 1.0 and (c is None or c.data is not None and op.beta == 1.0)
    if not fixed:
        return Obstacle("dynamic-parameter", "MIL's linear wants constant weights and no factors")
    return None


@translates(Gemm, when=_gemm)
def linear(e: Emission, node: Node) -> None:
    """``x @ weight.T + bias`` with constants."""
    op = node.op
    assert isinstance(op, Gemm)
    weight = e.known(node, 1)
    outputs = weight.shape[0] if op.transB else weight.shape[1]
    bias = e.known(node, 2)
    small = bias is None or bias.size == 1 or bias.ndim == 1 or bias.shape[0] == 1
    if op.transB:
        made = e.weight(node, 1)
    else:
        made = e.stored(np.ascontiguousarray(weight.T), e.required(node, 1).name)
    flat = None if bias is None or not small else np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))
    result = e.mil.linear(x=e.operand(node), weight=made, bias=flat)
    if not small:
        result = e.mil.add(x=result, y=bias)
    e.bind(node, result)


@translates(Gemm, dtypes=NUMBERS, level="decomposed")
def gemm(e: Emission, node: Node) -> None:
    """``alpha * A @ B + beta * C``."""
    op = node.op
    assert isinstance(op, Gemm)
    result = e.mil.matmul(x=e.operand(node, 0), y=e.weight(node, 1), transpose_x=bool(op.transA), transpose_y=bool(op.transB))
    result = _scaled(e, result, op.alpha)
    if node.operand(2) is not None:
        result = e.mil.add(x=result, y=_scaled(e, e.operand(node, 2), op.beta))
    e.bind(node, result)


def _scaled(e: Emission, x: Any, factor: float) -> Any:
    return x if factor == 1.0 else e.mil.mul(x=x, y=e.like(factor, x))


@translates(MatMul, dtypes=NUMBERS, level="native")
def matmul(e: Emission, node: Node) -> None:
    """Products with broadcast batches; vectors become matrices for the time of the product."""
    x, y = e.operand(node, 0), e.weight(node, 1)
    squeezed = []
    if len(x.shape) == 1:
        x = e.mil.expand_dims(x=x, axes=[0])
        squeezed.append(-2)
    if len(y.shape) == 1:
        y = e.mil.expand_dims(x=y, axes=[1])
        squeezed.append(-1)
    result = e.mil.matmul(x=x, y=y, transpose_x=False, transpose_y=False)
    e.bind(node, e.mil.squeeze(x=result, axes=squeezed) if squeezed else result)


@translates(MatMulInteger, dtypes=frozenset((DType.INT8, DType.UINT8)), level="decomposed")
def integer_matmul(e: Emission, node: Node) -> None:
    """Differences from the zero points, multiplied in float32 where it holds every sum exactly, else as int32."""
    x, y = e.operand(node, 0), e.operand(node, 1)
    if node.operand(2) is not None:
        point = e.operand(node, 2)
        rows = len(point.shape) == 1 and int(point.shape[0]) != 1 and len(x.shape) > 1
        x = e.mil.sub(x=x, y=e.mil.expand_dims(x=point, axes=[1]) if rows else point)
    if node.operand(3) is not None:
        y = e.mil.sub(x=y, y=e.operand(node, 3))
    shape: Any = node.inputs[1].shape  # type: ignore[union-attr]
    length = shape[-2] if len(shape) > 1 else shape[0]
    if isinstance(length, int) and length * _WORST_PRODUCT < _EXACT:
        product = e.mil.matmul(x=e.cast(x, "fp32"), y=e.cast(y, "fp32"), transpose_x=False, transpose_y=False)
        e.bind(node, e.cast(product, "int32"))
        return
    e.bind(node, e.mil.matmul(x=x, y=y, transpose_x=False, transpose_y=False))
