"""Respellings of what TensorRT's parser or builder refuses and no portable decomposition removes.

Every rule here is tried only on nodes that the parser or the builder refuses.
"""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.generate import Range
from ...ir.ops.matmul import MatMul
from ...ir.ops.unary import BitwiseNot
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Result, Rewriter, rewrites_op

GROUP = "tensorrt-spelling"
BORROWED = (
    "openvino-col2im", "openvino-cumulative-product", "openvino-deform-conv", "openvino-determinant", "openvino-flex-attention",
    "openvino-function-body", "openvino-lstm-peepholes", "openvino-max-unpool", "openvino-resize", "openvino-tensor-scatter",
)  # fmt: skip
"""Exact respellings by portable operators that another target's rewrites have already."""


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


@rewrites_op(Range, name="tensorrt-wide-range", group=GROUP)
def wide_range(node: Node, b: Rewriter) -> Result:
    """A range of narrow floats counted in float32."""
    dtype = node.output.dtype
    if dtype not in (DType.FLOAT16, DType.BFLOAT16):
        return None
    t = Terms(b)
    return t.cast(t.apply(Range(), *(None if v is None else t.cast(v, DType.FLOAT) for v in node.inputs)), dtype)
