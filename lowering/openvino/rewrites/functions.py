"""Operators and variants that the importer lacks or computes wrongly, taken apart by their ONNX function bodies."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.op import Opaque
from ....ir.ops.attention import Attention, LinearAttention
from ....ir.ops.conv_special import CausalConvWithState
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .function_body import expand

GROUP = "openvino"
EXACT = "openvino-exact"


@rewrites_op(LinearAttention, CausalConvWithState, name="openvino-function-body", group=GROUP)
def function_body(node: Node, b: Rewriter) -> Result:
    """Operators without a translation become their ONNX function bodies."""
    return expand(node, b)


@rewrites_op(Opaque, name="openvino-flex-attention", group=GROUP)
def flex_attention(node: Node, b: Rewriter) -> Result:
    """FlexAttention with its score and probability functions becomes its ONNX function body."""
    if (node.op.domain, node.op.op_name) != ("ai.onnx.preview", "FlexAttention"):
        return None
    return expand(node, b)


@rewrites_op(Attention, name="openvino-attention", group=GROUP)
def attention(node: Node, b: Rewriter) -> Result:
    """Attention with a sliding window, or giving the scores of masked attention over a cache, is spelled out: the importer
    ignores the windows and leaves the causal mask out of the scores.
    """
    return expand(node, b) if attention_problem(node) else None


def attention_problem(node: Node) -> str | None:
    """What of an Attention the importer gets wrong, None when it is right."""
    op = node.op
    assert isinstance(op, Attention)
    if op.left_window_size >= 0 or op.right_window_size >= 0:
        return "the importer ignores sliding windows"
    gives_scores = len(node.outputs) > 3 and bool(node.outputs[3].uses)
    if gives_scores and node.operand(3) is not None and op.is_causal:
        return "the importer leaves the causal mask out of qk_matmul_output when there is also attn_mask"
    return None
