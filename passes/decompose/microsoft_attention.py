"""The attention operators of com.microsoft by matrix products and a softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.gather import GatherElements
from ...ir.ops.microsoft_attention import MsAttention, MsRotaryEmbedding, MultiHeadAttention
from ...ir.ops.microsoft_grouped import GroupQueryAttention
from ..rewriter import Decline, Result
from .attention import rotate
from .attention_core import append, as_bias, attend, join_heads, joined, padded_mask, split_heads, visible
from .base import decomposes
from .terms import Size, Terms

GROUP = "decompose-microsoft-attention"
_FILTER = -10000.0
_LOWEST = float(np.finfo(np.float32).min)


def _scale(op: Any, size: Size) -> float | None:
    if op.scale:
        return op.scale
    return 1 / math.sqrt(size) if isinstance(size, int) else None


def _padding_bias(t: Terms, mask: Value, batch: Any, queries: Size, keys: Size, low: float) -> Value | None:
    """A key padding mask as a bias; None for a form whose meaning depends on sizes that are not known."""
    shape = mask.shape
    if shape is None or len(shape) not in (1, 2, 3, 4):
        return None
    if len(shape) == 1:
        if shape[0] != batch:
            return None
        seen = t.less(t.count(keys), t.reshape(t.cast(mask, DType.INT64), [-1, 1, 1, 1]))
        return t.where(seen, t.constant(0.0, DType.FLOAT), t.constant(low, DType.FLOAT))
    if len(shape) == 4:
        mask = t.slice(t.slice(mask, 2, t.minus(keys, queries), keys), 3, 0, keys)
    else:
        mask = t.unsqueeze(mask, [1, 2] if len(shape) == 2 else [1])
    return t.where(t.greater(mask, 0), t.constant(0.0, DType.FLOAT), t.constant(low, DType.FLOAT))


def _causal_bias(t: Terms, queries: Size, keys: Size, past: Size) -> Value:
    seen = visible(t, queries, keys, past, -1, 0)
    assert seen is not None
    if seen.data is not None:
        return t.constant(np.where(seen.data.numpy(), 0, _LOWEST).astype(np.float32))
    return t.where(seen, t.constant(0.0, DType.FLOAT), t.constant(_LOWEST, DType.FLOAT))


def _limited(t: Terms, parts: list[Value]) -> Value | None:
    """The sum of biases, kept finite."""
    total = joined(t, *parts)
    return total if total is None or len(parts) < 2 else t.max(total, _LOWEST)


@decomposes(MultiHeadAttention, name="decompose-multi-head-attention", group=GROUP)
def multi_head_attention(node: Node, t: Terms) -> Result:
    """Heads split, biases added, cache appended; products and a softmax."""
    op = node.op
    assert isinstance(op, MultiHeadAttention)
    query, key, value = node.inputs[0], node.operand(1), node.operand(2)
    assert query is not None
    if node.operand(8) is not None or node.operand(9) is not None:
        return Decline("the cache is a shared buffer")
    if query.rank != 3 or key is None or value is None or key.rank not in (3, 4) or value.rank != key.rank:
        return Decline("query, key and value are packed into one tensor")
    parts = [t.widen(x) for x in (query, key, value)]
    bias = node.operand(3)
    if bias is not None:
        if any(p.rank != 3 for p in parts) or not all(isinstance(p.shape[2], int) for p in parts if p.shape is not None):
            return Decline("the biases cannot be told apart")
        sizes = [int(p.shape[2]) for p in parts if p.shape is not None]
        parts = [t.add(p, b) for p, b in zip(parts, t.halves(t.widen(bias), 0, sizes), strict=True)]
    heads = [split_heads(t, p, op.num_heads) for p in parts]
    past_key, past_value = node.operand(6), node.operand(7)
    past: Size = 0
    if past_key is not None and past_value is not None:
        past = t.dim(past_key, 2)
        heads[1:] = [append(t, t.widen(past_key), heads[1]), append(t, t.widen(past_value), heads[2])]
    extra = _extra(node.operand(4), node.operand(5), t, op, heads[0], heads[1], past)
    scale = _scale(op, t.dim(heads[0], 3))
    if extra is None or scale is None:
        return Decline("the mask or the head size has a form that is not known")
    done = attend(t, heads[0], heads[1], heads[2], scale, _limited(t, extra))
    results = (join_heads(t, done.result), heads[1], heads[2], done.raw)
    return tuple(t.cast(new, old.dtype) if old.uses else None for new, old in zip(results, node.outputs, strict=False))


def _extra(mask: Value | None, bias: Value | None, t: Terms, op: Any, query: Value, key: Value, past: Size) -> list[Value] | None:
    """The biases of an attention operator, None when the mask has an unknown form."""
    queries, keys = t.dim(query, 2), t.dim(key, 2)
    parts = []
    if mask is not None:
        low = _FILTER if op.mask_filter_value is None else op.mask_filter_value
        padding = _padding_bias(t, mask, query.shape[0] if query.shape else None, queries, keys, low)
        if padding is None:
            return None
        parts.append(padding)
    if op.unidirectional:
        parts.append(_causal_bias(t, queries, keys, past))
    if bias is not None:
        parts.append(t.widen(bias))
    return parts


@decomposes(MsAttention, name="decompose-packed-attention", group=GROUP)
def packed_attention(node: Node, t: Terms) -> Result:
    """The projection of the input, split into queries, keys and values; products and a softmax."""
    op = node.op
    assert isinstance(op, MsAttention)
    x, weights, bias = node.inputs[0], node.inputs[1], node.operand(2)
    assert x is not None and weights is not None
    if op.do_rotary or op.past_present_share_buffer:
        return Decline("rotary embedding and shared buffers are not taken apart")
    columns = weights.shape[1] if weights.shape is not None else None
    widths = list(op.qkv_hidden_sizes or ()) or ([columns // 3] * 3 if isinstance(columns, int) else [])
    if not widths or x.rank != 3:
        return Decline("the sizes of queries, keys and values are not known")
    projected = t.matmul(t.widen(x), t.widen(weights))
    if bias is not None:
        projected = t.add(projected, t.widen(bias))
    heads = [split_heads(t, part, op.num_heads) for part in t.halves(projected, 2, widths)]
    past = node.operand(4)
    before: Size = 0
    if past is not None:
        before = t.dim(past, 3)
        cached = [t.squeeze(p, [0]) for p in t.halves(t.widen(past), 0, [1, 1])]
        heads[1:] = [append(t, cached[0], heads[1]), append(t, cached[1], heads[2])]
    extra = _extra(node.operand(3), node.operand(5), t, op, heads[0], heads[1], before)
    scale = _scale(op, t.dim(heads[0], 3))
    if extra is None or scale is None:
        return Decline("the mask or the head size has a form that is not known")
    done = attend(t, heads[0], heads[1], heads[2], scale, _limited(t, extra))
    results: list[Value | None] = [t.cast(join_heads(t, done.result), node.output.dtype)]
    if len(node.outputs) > 1 and node.outputs[1].uses:
        present = t.concat([t.unsqueeze(heads[1], [0]), t.unsqueeze(heads[2], [0])], 0)
        results.append(t.cast(present, node.outputs[1].dtype))
    return tuple(results)


@decomposes(MsRotaryEmbedding, name="decompose-microsoft-rotary-embedding", group=GROUP)
def microsoft_rotary_embedding(node: Node, t: Terms) -> Result:
    """Angles looked up by position, pairs of elements turned."""
    op = node.op
    assert isinstance(op, MsRotaryEmbedding)
    x, positions, cos, sin = (node.inputs[i] for i in range(4))
    assert x is not None and positions is not None and cos is not None and sin is not None
    pairs = cos.shape[1] if cos.shape is not None else None
    if x.rank not in (3, 4) or x.shape is None or not isinstance(pairs, int) or positions.rank is None:
        return Decline("the shapes are not known")
    size = op.rotary_embedding_dim or 2 * pairs
    count = op.num_heads or (x.shape[2] // size if isinstance(x.shape[2], int) else 0)
    if x.rank == 3 and not count:
        return Decline("the number of heads is not known")
    heads = split_heads(t, t.widen(x), count)
    if positions.rank == 1:
        positions = t.unsqueeze(t.add(positions, t.count(t.dim(heads, 2))), [0])
    angles = [t.unsqueeze(t.widen(t.take(c, positions, 0)), [1]) for c in (cos, sin)]
    turned = rotate(t, heads, angles[0], angles[1], bool(op.interleaved), size)
    if turned is None:
        return Decline("the head size is not known")
    return t.cast(join_heads(t, turned) if x.rank == 3 else turned, node.output.dtype)


@decomposes(GroupQueryAttention, name="decompose-group-query-attention", group=GROUP)
def group_query_attention(node: Node, t: Terms) -> Result:
    """Rotary embedding, the new keys put behind those of the cache that are valid, products and a softmax."""
    op: Any = node.op
    if any(node.operand(i) is not None for i in (12, 13, 14, 15, 16)) or op.sliding_window_cache or not op.causal:
        return Decline("normalised, quantised, windowed and ragged caches are not taken apart")
    query, key, value, past_key, past_value, lengths, total, cos, sin, positions, extra, sink = (node.operand(i) for i in range(12))
    assert query is not None and lengths is not None and total is not None
    if query.rank != 3 or query.shape is None:
        return Decline("the rank of the query is not known")
    if key is None or value is None:
        width = query.shape[2]
        if not isinstance(width, int):
            return Decline("the head size is not known")
        each = width // (op.num_heads + 2 * op.kv_num_heads)
        query, key, value = t.halves(query, 2, [op.num_heads * each, op.kv_num_heads * each, op.kv_num_heads * each])
    heads = [split_heads(t, t.widen(x), n) for x, n in ((query, op.num_heads), (key, op.kv_num_heads), (value, op.kv_num_heads))]
    tokens, size = t.dim(heads[0], 2), t.dim(heads[0], 3)
    scale = _scale(op, size)
    if scale is None:
        return Decline("the head size is not known")
    whole = t.reshape(t.cast(total, DType.INT64), [1])
    ends = t.add(t.reshape(t.cast(lengths, DType.INT64), [-1, 1, 1, 1]), 1)
    starts = t.where(t.equal(whole, t.sizes([tokens])), t.mul(ends, 0), t.sub(ends, t.sizes([tokens])))
    if op.do_rotary:
        if cos is None or sin is None:
            return Decline("the angles are missing")
        turned = [_turned(t, h, starts, tokens, cos, sin, positions, op) for h in heads[:2]]
        if turned[0] is None or turned[1] is None:
            return Decline("the head size is not known")
        heads[:2] = [h for h in turned if h is not None]
    kept: Size = 0 if past_key is None else t.dim(past_key, 2)
    longest = whole if past_key is None else t.max(whole, t.sizes([kept]))
    present = [_stored(t, past, new, starts, tokens, kept, longest) for past, new in ((past_key, heads[1]), (past_value, heads[2]))]
    keys = t.dim(present[0], 2)
    window = op.local_window_size - 1 if op.local_window_size > 0 else -1
    seen = visible(t, tokens, keys, None, window, 0, starts)
    assert seen is not None
    bias = as_bias(t, t.both(seen, t.less(t.count(keys), ends)), DType.FLOAT)
    if extra is not None:
        bias = t.add(bias, padded_mask(t, t.widen(extra), keys))
    if sink is None and op.smooth_softmax > 0:
        sink = t.constant(np.zeros(op.num_heads, np.float32))
    done = attend(t, heads[0], present[0], present[1], scale, bias, op.softcap, False, None if sink is None else t.widen(sink))
    products = done.weights if op.qk_output == 2 else done.capped
    results = (join_heads(t, done.result), *present, products)
    return tuple(t.cast(new, old.dtype) if old.uses else None for new, old in zip(results, node.outputs, strict=False))


def _turned(t: Terms, x: Value, starts: Value, tokens: Size, cos: Value, sin: Value, positions: Value | None, op: Any) -> Value | None:
    pairs = cos.shape[1] if cos.shape is not None else None
    if not isinstance(pairs, int):
        return None
    if positions is None or positions.shape in ((1,), (1, 1)):
        places = t.add(t.reshape(starts, [-1, 1]), t.count(tokens))
    else:
        places = positions
    angles = [t.unsqueeze(t.widen(t.take(c, places, 0)), [1]) for c in (cos, sin)]
    return rotate(t, x, angles[0], angles[1], bool(op.rotary_interleaved), 2 * pairs)


def _stored(t: Terms, past: Value | None, new: Value, starts: Value, tokens: Size, kept: Size, longest: Value) -> Value:
    """The cache ``[batch, heads, longest, size]``: cached elements before each start, the new ones behind it, zeros after those."""
    source = append(t, None if past is None else t.widen(past), new)
    column = t.reshape(t.count(longest), [1, 1, -1, 1])
    behind = t.sub(column, starts)
    last = t.minus(t.plus(kept, tokens), 1)
    moved = t.min(t.add(behind, t.sizes([kept])), t.sizes([last]))
    place = t.where(t.less(behind, 0), t.min(column, t.sizes([last])), moved)
    dims = [t.dim(new, 0), t.dim(new, 1), longest, t.dim(new, 3)]
    taken = t.apply(GatherElements(axis=2), source, t.expand(place, dims))
    return t.where(t.less(behind, t.sizes([tokens])), taken, 0.0)
