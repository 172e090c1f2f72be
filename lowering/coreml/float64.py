"""Float64: MIL has no such elements; they are carried in float32, and arithmetic runs there."""

from __future__ import annotations

from ...ir.graph import Node
from ...ir.op import Op
from ...passes.rewriter import Result, Rewriter, rewrites_op
from ..wide_floats import computed_in_float32
from .emit.dispatch import judge
from .high_rank import GROUP
from .versions import NEWEST


@rewrites_op(Op, name="coreml-float64", group=GROUP, benefit=-1)
def in_float32(node: Node, b: Rewriter) -> Result:
    """Operators of float64 are computed in float32."""
    return computed_in_float32(node, b, lambda candidate: judge(candidate, NEWEST).runs)
