"""Scaled dot-product attention by matrix products and a softmax, shared by the attention operators of every domain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Value
from ...ir.ops.concat import Concat, Pad
from .terms import Size, Terms

INFINITY = float("inf")


@dataclass(frozen=True)
class Attended:
    """What attention computes on the way: scaled products, capped products, biased products, weights, and the result."""

    raw: Value
    capped: Value
    biased: Value
    weights: Value
    result: Value


def split_heads(t: Terms, x: Value, heads: int) -> Value:
    """``[batch, tokens, heads * size]`` as ``[batch, heads, tokens, size]``; rank 4 stays."""
    if x.rank == 4:
        return x
    shape = x.shape
    hidden = shape[2] if shape is not None else None
    size = hidden // heads if isinstance(hidden, int) else -1
    return t.transpose(t.reshape(x, [0, 0, heads, size]), (0, 2, 1, 3))


def join_heads(t: Terms, x: Value) -> Value:
    """``[batch, heads, tokens, size]`` as ``[batch, tokens, heads * size]``."""
    heads, size = t.dim(x, 1), t.dim(x, 3)
    hidden = heads * size if isinstance(heads, int) and isinstance(size, int) else -1
    return t.reshape(t.transpose(x, (0, 2, 1, 3)), [0, 0, hidden])


def attend(
    t: Terms,
    query: Value,
    key: Value,
    value: Value,
    scale: float,
    bias: Value | None = None,
    softcap: float = 0.0,
    empty_rows: bool = False,
    sink: Value | None = None,
) -> Attended:
    """Attention of float32 (or wider) ``[batch, heads, tokens, size]``; query heads may share keys.

    Args:
        scale: factor on the products.
        bias: added to the products; minus infinity masks.
        softcap: limit of the products by a tanh, 0 for none.
        empty_rows: whether a row of the bias may mask every key; its result is then zero.
        sink: the logit per head of an extra key whose value is zero, ``[heads]``.
    """
    heads, shared = t.dim(query, 1), t.dim(key, 1)
    queries, keys = t.dim(query, 2), t.dim(key, 2)
    grouped = heads != shared
    folded = _fold(t, query, shared) if grouped else query
    scaled = folded if scale == 1 else t.mul(folded, scale)
    raw = t.matmul(scaled, t.transpose(key, (0, 1, 3, 2)))
    if grouped:
        raw = t.reshape(raw, [0, heads, queries, keys])
    capped = t.mul(t.tanh(t.div(raw, softcap)), softcap) if softcap else raw
    biased = capped if bias is None else t.add(capped, bias)
    weights = _softmax(t, biased, bias is not None and empty_rows, sink)
    shares = _fold(t, weights, shared) if grouped else weights
    result = t.matmul(shares, value)
    if grouped:
        result = t.reshape(result, [0, heads, queries, t.dim(value, 3)])
    return Attended(raw, capped, biased, weights, result)


def _fold(t: Terms, x: Value, shared: Size) -> Value:
    """The heads that share a key as more rows: ``[batch, shared, heads / shared * rows, …]``."""
    return t.reshape(x, [0, shared, -1, t.dim(x, 3)])


def _softmax(t: Terms, scores: Value, empty_rows: bool, sink: Value | None) -> Value:
    if sink is not None:
        heads, keys = t.dim(scores, 1), t.dim(scores, 3)
        column = t.expand(t.reshape(sink, [1, heads, 1, 1]), [t.dim(scores, 0), heads, t.dim(scores, 2), 1])
        return t.slice(t.softmax(t.concat([scores, column], 3)), 3, 0, keys)
    if not empty_rows:
        return t.softmax(scores)
    dead = t.equal(t.greatest(scores, [-1]), -INFINITY)
    return t.where(dead, 0.0, t.softmax(t.where(dead, 0.0, scores)))


def visible(t: Terms, queries: Size, keys: Size, offset: Size | None, left: int, right: int, offsets: Value | None = None) -> Value | None:
    """Which keys each query sees, as booleans ``[queries, keys]``; None when all.

    Args:
        offset: the position of the first query.
        left: how far back a query sees, negative for no limit; ``right`` likewise forward.
        offsets: instead of ``offset``, positions ``[batch, 1, 1, 1]`` in i64.
    """
    if left < 0 and right < 0:
        return None
    if isinstance(queries, int) and isinstance(keys, int) and isinstance(offset, int) and offsets is None:
        ahead = np.arange(keys) - (np.arange(queries)[:, None] + offset)
        allowed = np.ones(ahead.shape, bool)
        if left >= 0:
            allowed &= ahead >= -left
        if right >= 0:
            allowed &= ahead <= right
        return t.constant(allowed)
    rows = t.reshape(t.count(queries), [-1, 1])
    if offsets is not None:
        rows = t.add(rows, offsets)
    elif not isinstance(offset, int) and offset is not None:
        rows = t.add(rows, offset)
    elif offset:
        rows = t.add(rows, offset)
    ahead_of = t.sub(t.count(keys), rows)
    within = None if left < 0 else t.at_least(ahead_of, -left)
    if right >= 0:
        before = t.at_most(ahead_of, right)
        within = before if within is None else t.both(within, before)
    return within


def as_bias(t: Terms, allowed: Value, dtype: DType) -> Value:
    """A boolean mask as numbers to add: 0 where true, minus infinity elsewhere."""
    if allowed.data is not None:
        return t.constant(np.where(allowed.data.numpy(), 0, -np.inf).astype(dtype.numpy), dtype)
    return t.where(allowed, t.constant(0.0, dtype), t.constant(-INFINITY, dtype))


def joined(t: Terms, *biases: Value | None) -> Value | None:
    """The sum of the biases that are there."""
    result = None
    for bias in biases:
        if bias is not None:
            result = bias if result is None else t.add(result, bias)
    return result


def padded_mask(t: Terms, mask: Value, keys: Size) -> Value:
    """A mask whose last dimension may be shorter than the keys, with the missing ones masked."""
    shape = mask.shape
    assert shape is not None
    width = shape[-1]
    if isinstance(width, int) and isinstance(keys, int):
        if width in (keys, 1) and not (width == 1 and keys > 1):
            return mask
    elif not isinstance(keys, int) and keys.content is not None and keys.content[0] == width:
        return mask
    missing = t.minus(keys, t.dim(mask, -1))
    zeros = [0] * len(shape)
    pads = t.sizes([*zeros, *zeros[:-1], missing])
    hidden = t.constant(False, DType.BOOL) if mask.dtype is DType.BOOL else t.like(-INFINITY, mask)
    return t.apply(Pad(), mask, pads, hidden)


def append(t: Terms, past: Value | None, new: Value) -> Value:
    """Cached keys or values followed by the new ones."""
    return new if past is None else t.apply(Concat(axis=2), past, new)


def has_empty_row(mask: Value | None) -> bool:
    """Whether some row of a mask may hide every key; a constant mask is looked at."""
    if mask is None:
        return False
    if mask.data is None:
        return True
    array = mask.data.numpy()
    rows = array if array.dtype == np.bool_ else array > -np.inf
    return bool((~rows.any(axis=-1)).any())
