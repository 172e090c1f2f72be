"""Attention and rotary position embedding of ai.onnx."""

from __future__ import annotations

import math

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.attention import Attention, RotaryEmbedding
from ..rewriter import Decline, Result
from .attention_core import append, as_bias, attend, has_empty_row, join_heads, joined, padded_mask, split_heads, visible
from .base import decomposes
from .terms import Size, Terms

GROUP = "decompose-attention"


@decomposes(Attention, name="decompose-attention", group=GROUP)
def attention(node: Node, t: Terms) -> Result:
    """Matrix products and a softmax, with masks, windows, soft cap, shared heads and cache."""
    op = node.op
    assert isinstance(op, Attention)
    q, k, v = (node.inputs[i] for i in range(3))
    assert q is not None and k is not None and v is not None
    if q.rank not in (3, 4) or k.rank not in (3, 4) or v.rank not in (3, 4):
        return Decline("the rank of an operand is not known")
    query = split_heads(t, q, op.q_num_heads or 1)
    new_key, new_value = split_heads(t, k, op.kv_num_heads or 1), split_heads(t, v, op.kv_num_heads or 1)
    past_key, past_value = node.operand(4), node.operand(5)
    key, value = append(t, past_key, new_key), append(t, past_value, new_value)
    size = t.dim(query, 3)
    if op.scale is None and not isinstance(size, int):
        return Decline("the head size is not known")
    scale = op.scale if op.scale is not None else 1 / math.sqrt(size) if isinstance(size, int) else 1.0
    wide = t.widen(query)
    bias, empty = _bias(node, op, t, query, key, past_key, wide.dtype or DType.FLOAT)
    done = attend(t, wide, t.widen(key), t.widen(value), scale, bias, op.softcap, empty)
    y = join_heads(t, done.result) if q.rank == 3 else done.result
    stages = (done.raw, done.capped, done.biased, done.weights)
    results: list[Value | None] = [t.cast(y, node.output.dtype), key, value, None]
    if len(node.outputs) > 3:
        results[3] = t.cast(stages[op.qk_matmul_output_mode], node.outputs[3].dtype)
    return tuple(r if old.uses else None for r, old in zip(results, node.outputs, strict=False))


def _bias(node: Node, op: Attention, t: Terms, query: Value, key: Value, past: Value | None, dtype: DType) -> tuple[Value | None, bool]:
    """What is added to the products, and whether it may mask all keys of a query."""
    mask, lengths = node.operand(3), node.operand(6)
    queries, keys = t.dim(query, 2), t.dim(key, 2)
    empty = has_empty_row(mask)
    if mask is not None:
        mask = padded_mask(t, mask, keys)
        mask = as_bias(t, mask, dtype) if mask.dtype is DType.BOOL else t.cast(mask, dtype)
    right = 0 if op.is_causal and op.right_window_size != 0 else op.right_window_size
    offset: Size | None = 0 if past is None else t.dim(past, 2)
    offsets = hidden = None
    if lengths is not None:
        column = t.reshape(lengths, [-1, 1, 1, 1])
        offsets = t.sub(column, t.sizes([queries]))
        hidden = as_bias(t, t.less(t.count(keys), column), dtype)
    seen = visible(t, queries, keys, offset, op.left_window_size, right, offsets)
    window = None if seen is None else as_bias(t, seen, dtype)
    return joined(t, mask, window, hidden), empty or lengths is not None or has_empty_row(seen) and seen is not None and (
        seen.data is not None or mask is not None or op.left_window_size >= 0
    )


@decomposes(RotaryEmbedding, name="decompose-rotary-embedding", group=GROUP)
def rotary_embedding(node: Node, t: Terms) -> Result:
    """Pairs of elements turned by the angles whose cosines and sines are given."""
    op = node.op
    assert isinstance(op, RotaryEmbedding)
    x, cos, sin = (node.inputs[i] for i in range(3))
    assert x is not None and cos is not None and sin is not None
    if x.rank not in (3, 4):
        return Decline("the rank of the operand is not known")
    heads = split_heads(t, t.widen(x), op.num_heads or 1)
    positions = node.operand(3)
    if positions is not None:
        cos, sin = t.take(cos, positions, 0), t.take(sin, positions, 0)
    angles = [t.unsqueeze(t.widen(c), [1]) for c in (cos, sin)]
    turned = rotate(t, heads, angles[0], angles[1], bool(op.interleaved), op.rotary_embedding_dim)
    if turned is None:
        return Decline("the head size is not known")
    return t.cast(join_heads(t, turned) if x.rank == 3 else turned, node.output.dtype)


def rotate(t: Terms, x: Value, cos: Value, sin: Value, interleaved: bool, size: int) -> Value | None:
    """The first ``size`` elements (0: all) of ``[batch, heads, tokens, head size]`` turned; None when the head size is not known."""
    whole = t.dim(x, 3)
    if not isinstance(whole, int):
        return None
    size = size or whole
    turned, rest = (x, None) if size == whole else t.halves(x, 3, [size, whole - size])
    if interleaved:
        pairs = t.reshape(turned, [0, 0, 0, size // 2, 2])
        first, second = (t.squeeze(part, [4]) for part in t.halves(pairs, 4, [1, 1]))
    else:
        first, second = t.halves(turned, 3, [size // 2, size // 2])
    real = t.sub(t.mul(cos, first), t.mul(sin, second))
    imaginary = t.add(t.mul(sin, first), t.mul(cos, second))
    if interleaved:
        stacked = t.concat([t.unsqueeze(real, [4]), t.unsqueeze(imaginary, [4])], 4)
        turned = t.reshape(stacked, [0, 0, 0, size])
    else:
        turned = t.concat([real, imaginary], 3)
    return turned if rest is None else t.concat([turned, rest], 3)
