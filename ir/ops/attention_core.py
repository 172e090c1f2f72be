"""Scaled dot-product attention in numpy, shared by the attention operators of every domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .numerics import Array, softmax


@dataclass(frozen=True)
class Attended:
    """What attention computes on the way.

    Attributes:
        result: ``[batch, heads, queries, value size]``.
        raw: scaled products of queries and keys ``[batch, heads, queries, keys]``.
        capped: after the soft cap.
        biased: with the bias added.
        weights: after softmax.
    """

    result: Array
    raw: Array
    capped: Array
    biased: Array
    weights: Array


def attend(
    query: Array,
    key: Array,
    value: Array,
    scale: float,
    bias: Array | None = None,
    softcap: float = 0.0,
    sink: Array | None = None,
) -> Attended:
    """Attention of ``query [batch, heads, queries, size]`` to ``key`` and ``value [batch, kv heads, keys, size]``.

    Args:
        query: float32 or float64; the heads are a multiple of the key's, consecutive heads share one.
        key: the keys.
        value: the values; their size may differ from the keys'.
        scale: factor on the products.
        bias: added to the (capped) products, broadcast to ``[batch, heads, queries, keys]``; minus infinity masks.
        softcap: products are limited to this magnitude by a tanh, 0 for no limit.
        sink: per head, the logit of an extra key whose value is zero.
    """
    batch, heads, queries, size = query.shape
    shared = key.shape[1]
    grouped = query.reshape(batch, shared, heads // shared, queries, size)
    raw = np.matmul(grouped, key[:, :, None].swapaxes(-1, -2)) * query.dtype.type(scale)
    raw = raw.reshape(batch, heads, queries, key.shape[2])
    capped = np.tanh(raw / softcap).astype(raw.dtype) * raw.dtype.type(softcap) if softcap else raw
    biased = capped if bias is None else capped + bias
    weights = softmax(biased) if sink is None else _softmax_with_sink(biased, sink)
    shares = weights.reshape(batch, shared, heads // shared, queries, -1)
    result = np.matmul(shares, value[:, :, None]).reshape(batch, heads, queries, value.shape[-1])
    return Attended(result, raw, capped, biased, weights)


def _softmax_with_sink(scores: Array, sink: Array) -> Array:
    extra = np.broadcast_to(sink.reshape(1, -1, 1, 1).astype(scores.dtype), (*scores.shape[:3], 1))
    return softmax(np.concatenate((scores, extra), axis=-1))[..., :-1]


def split_heads(x: Array, heads: int) -> Array:
    """``[batch, tokens, heads * size]`` as ``[batch, heads, tokens, size]``."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def join_heads(x: Array) -> Array:
    """``[batch, heads, tokens, size]`` as ``[batch, tokens, heads * size]``."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def visible(queries: int, keys: int, offset: Any, left: int = -1, right: int = -1) -> Array:
    """Which keys each query may see: ``position - left <= key <= position + right``, negative bounds leave a side open.

    Args:
        queries: number of queries; query ``i`` stands at position ``offset + i``.
        keys: number of keys.
        offset: an integer, or one per batch element.

    Returns:
        A boolean array ``[queries, keys]``, or ``[batch, 1, queries, keys]`` for several offsets.
    """
    offsets = np.asarray(offset)
    positions = np.arange(queries)[:, None] + (offsets if offsets.ndim == 0 else offsets.reshape(-1, 1, 1, 1))
    ahead = np.arange(keys) - positions
    allowed = np.ones(ahead.shape, bool)
    if left >= 0:
        allowed &= ahead >= -left
    if right >= 0:
        allowed &= ahead <= right
    return allowed


def rotate(x: Array, cos: Array, sin: Array, interleaved: bool, size: int = 0) -> Array:
    """Rotate pairs of the first ``size`` elements (0: all) of the last axis by angles given as cosines and sines.

    Args:
        x: ``[..., head size]``.
        cos: broadcasts to ``[..., size / 2]``.
        sin: the same.
        interleaved: pairs are neighbours; otherwise element ``i`` pairs with element ``i + size / 2``.
        size: how many elements are rotated.
    """
    size = size or x.shape[-1]
    turned = x[..., :size]
    first, second = (turned[..., 0::2], turned[..., 1::2]) if interleaved else np.split(turned, 2, axis=-1)
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if interleaved:
        turned = np.stack((real, imaginary), axis=-1).reshape(turned.shape)
    else:
        turned = np.concatenate((real, imaginary), axis=-1)
    return turned if size == x.shape[-1] else np.concatenate((turned, x[..., size:]), axis=-1)
