"""Float64: LiteRT moves such elements but computes with none of them, so that arithmetic runs in float32."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.op import Op
from ....passes.rewriter import Result, Rewriter, rewrites_op
from ...wide_floats import computed_in_float32
from ..matrix import judge
from .group import GROUP


@rewrites_op(Op, name="tflite-float64", group=GROUP, benefit=-1)
def in_float32(node: Node, b: Rewriter) -> Result:
    """Operators of float64 without a kernel are computed in float32."""
    return computed_in_float32(node, b, lambda candidate: judge(candidate).runs)
