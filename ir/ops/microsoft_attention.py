"""The attention operators of onnxruntime's com.microsoft domain, as its CPU kernels compute them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnostics import E_EVALUATE, Diagnostic
from ..op import MICROSOFT, Op
from ..types import TensorType
from .attention_core import attend, join_heads, rotate, split_heads, visible
from .common import attribute_error, format_shape, shape_error
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, require_vector, shape_of, unresolved

_FILTER = -10000.0  # what a masked product is lowered by unless mask_filter_value says otherwise


def padding_bias(mask: Array, batch: int, queries: int, keys: int, filter_value: float) -> Array:
    """An integer mask as an additive bias that broadcasts to ``[batch, heads, queries, keys]``.

    Args:
        mask: ``[batch]`` key counts, ``[2 * batch]`` ends and starts, ``[batch, keys]`` or ``[batch, queries, keys]``
            flags, or ``[batch, 1, longest, longest]`` flags.
        batch: batch size.
        queries: number of queries.
        keys: number of keys, cached ones included.
        filter_value: what a masked product is lowered by.
    """
    places = np.arange(keys)
    if mask.ndim == 1:
        allowed = places < mask[:batch, None]
        if mask.size == 2 * batch:
            allowed &= places >= mask[batch:, None]
        allowed = allowed[:, None, None]
    elif mask.ndim == 2:
        allowed = (mask > 0)[:, None, None]
    elif mask.ndim == 3:
        allowed = (mask > 0)[:, None]
    else:
        allowed = (mask > 0)[:, :, keys - queries : keys, :keys]
    return np.where(allowed, 0, filter_value).astype(np.float32)


def _causal_bias(queries: int, keys: int, past: int) -> Array:
    lowest = np.finfo(np.float32).min
    return np.where(visible(queries, keys, past, right=0), 0, lowest).astype(np.float32)


def _total(*parts: Array | None) -> Array | None:
    """The sum of the parts that are present, kept within float32."""
    present = [p for p in parts if p is not None]
    if not present:
        return None
    result = present[0]
    for part in present[1:]:
        result = np.maximum(result.astype(np.float64) + part, np.finfo(np.float32).min).astype(np.float32)
    return result


def attention_scale(scale: float | None, size: int) -> float:
    """The scale attribute; absent or zero means one over the root of the head size."""
    return scale if scale else 1 / math.sqrt(size)


@dataclass(frozen=True)
class MsAttention(Op):
    """Self-attention with the projection of its input: ``input [batch, tokens, hidden]``; results output and present."""

    num_heads: int
    do_rotary: int = 0
    mask_filter_value: float | None = None
    past_present_share_buffer: int = 0
    qkv_hidden_sizes: tuple[int, ...] | None = None
    rotary_embedding_dim: int | None = None
    scale: float | None = None
    unidirectional: int = 0
    domain = MICROSOFT
    op_name = "Attention"

    def infer(
        self,
        input: TensorType,
        weights: TensorType,
        bias: TensorType | None = None,
        mask_index: TensorType | None = None,
        past: TensorType | None = None,
        attention_bias: TensorType | None = None,
        past_sequence_length: TensorType | None = None,
    ) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        dtype = float_dtype(input, weights, bias, past, attention_bias)
        shape, matrix = require_rank(input, 3, "input"), require_rank(weights, 2, "weights")
        if shape is not None and matrix is not None:
            require_equal(shape[2], matrix[0], "the hidden size of input and the rows of weights")
        widths = self._widths(matrix[1] if matrix is not None else None)
        require_vector(bias, matrix[1] if matrix is not None else None, "the bias")
        batch, tokens = (shape[0], shape[1]) if shape is not None else (None, None)
        present = projected_present(self, past, batch, tokens, widths[1])
        return TensorType(dtype, (batch, tokens, widths[2])), TensorType(dtype, present)  # type: ignore[arg-type]

    def _widths(self, columns: Any) -> tuple[Any, Any, Any]:
        if self.qkv_hidden_sizes:
            if len(self.qkv_hidden_sizes) != 3:
                raise attribute_error(f"qkv_hidden_sizes {list(self.qkv_hidden_sizes)} must name three sizes")
            require_equal(sum(self.qkv_hidden_sizes), columns, "the sum of qkv_hidden_sizes and the columns of weights")
            q, k, v = self.qkv_hidden_sizes
            return q, k, v
        each = divided(columns, 3, "the number of columns of weights")
        return each, each, each

    def evaluate(
        self,
        input: Array,
        weights: Array,
        bias: Array | None = None,
        mask_index: Array | None = None,
        past: Array | None = None,
        attention_bias: Array | None = None,
        past_sequence_length: Array | None = None,
    ) -> tuple[Array, ...]:
        if self.do_rotary or self.past_present_share_buffer:
            raise Diagnostic(E_EVALUATE, "com.microsoft.Attention with do_rotary or a shared buffer is not evaluated")
        projected = widened(input) @ widened(weights)
        if bias is not None:
            projected = projected + widened(bias)
        widths = self._widths(weights.shape[1])
        results = self_attention(self, projected, widths, mask_index, past, attention_bias)
        return tuple(rounded(a, input.dtype) for a in results)


def projected_present(op: Any, past: Any, batch: Any, tokens: Any, width: Any) -> tuple[Any, ...]:
    """The shape ``[2, batch, heads, keys, size]`` of the cache that self-attention returns."""
    size = divided(width, op.num_heads, "the hidden size")
    cache = require_rank(past, 5, "past")
    if cache is None:
        keys = tokens if past is None else None
    elif op.past_present_share_buffer:
        keys = cache[3]
    else:
        keys = None if tokens is None else cache[3] + tokens
    if cache is not None:
        require_equal(cache[2], op.num_heads, "heads of past and of the attribute")
    return (2, batch, op.num_heads, keys, size)


def self_attention(
    op: Any, projected: Array, widths: tuple[int, int, int], mask: Array | None, past: Array | None, extra: Array | None
) -> tuple[Array, ...]:
    """Attention of tokens whose query, key and value lie side by side in ``projected [batch, tokens, columns]``.

    Returns:
        The output, and the cache of keys and values unless their sizes differ (then there is none).
    """
    batch, queries = projected.shape[:2]
    parts = np.split(projected, (widths[0], widths[0] + widths[1]), axis=-1)
    query, key, value = (split_heads(p, op.num_heads) for p in parts)
    before = 0
    if past is not None:
        before = past.shape[3]
        key = np.concatenate((widened(past[0]), key), axis=2)
        value = np.concatenate((widened(past[1]), value), axis=2)
    keys = key.shape[2]
    filter_value = _FILTER if op.mask_filter_value is None else op.mask_filter_value
    bias = _total(
        None if mask is None else padding_bias(mask, batch, queries, keys, filter_value),
        _causal_bias(queries, keys, before) if op.unidirectional else None,
        None if extra is None else widened(extra),
    )
    done = attend(query, key, value, attention_scale(op.scale, query.shape[3]), bias)
    y = join_heads(done.result)
    return (y, np.stack((key, value))) if key.shape == value.shape else (y,)


@dataclass(frozen=True)
class MultiHeadAttention(Op):
    """Attention of projected queries, keys and values ``[batch, tokens, hidden]``.

    Key and value may be packed into the key (``[batch, tokens, heads, 2, size]``), all three into the query, or come as
    ``[batch, heads, tokens, size]``. Results: output, present_key, present_value, the products of queries and keys.
    """

    num_heads: int
    mask_filter_value: float | None = None
    scale: float | None = None
    unidirectional: int = 0
    domain = MICROSOFT

    def infer(
        self,
        query: TensorType,
        key: TensorType | None = None,
        value: TensorType | None = None,
        bias: TensorType | None = None,
        key_padding_mask: TensorType | None = None,
        attention_bias: TensorType | None = None,
        past_key: TensorType | None = None,
        past_value: TensorType | None = None,
        past_sequence_length: TensorType | None = None,
        cache_indirection: TensorType | None = None,
    ) -> Any:
        if type(query) is not TensorType:
            return unresolved(query, "query")
        dtype = float_dtype(query, key, value, bias, attention_bias, past_key, past_value)
        q = shape_of(query)
        if q is None or (key is not None and shape_of(key) is None):
            return tuple(TensorType(dtype, None) for _ in range(4))
        if len(q) not in (3, 5):
            raise shape_error(f"query must have rank 3 or 5, not {format_shape(q)}")
        batch, tokens = q[0], q[1]
        size = q[4] if len(q) == 5 else divided(q[2], self.num_heads, "the hidden size of query")
        keys, value_size = self._keys(tokens, size, shape_of(key), value)
        past = require_rank(past_key, 4, "past_key")
        total = keys
        if past_key is not None:
            total = None if past is None or keys is None else past[2] if past_sequence_length is not None else past[2] + keys
        hidden = None if value_size is None else value_size * self.num_heads
        cache = (batch, self.num_heads, total)
        return (
            TensorType(dtype, (batch, tokens, hidden)),  # type: ignore[arg-type]
            TensorType(dtype, (*cache, size)),  # type: ignore[arg-type]
            TensorType(dtype, (*cache, value_size)),  # type: ignore[arg-type]
            TensorType(dtype, (batch, self.num_heads, tokens, total)),  # type: ignore[arg-type]
        )

    def _keys(self, tokens: Any, size: Any, key: Any, value: Any) -> tuple[Any, Any]:
        """The number of new keys and the size of a value head."""
        if key is None:
            return tokens, size
        if len(key) == 5:
            return key[1], key[4]
        if len(key) == 4:
            require_equal(key[1], self.num_heads, "heads of key and of the attribute")
            own = require_rank(value, 4, "value")
            return key[2], None if own is None else own[3]
        if len(key) != 3:
            raise shape_error(f"key must have rank 3, 4 or 5, not {format_shape(key)}")
        require_equal(divided(key[2], self.num_heads, "the hidden size of key"), size, "head sizes of query and key")
        own = require_rank(value, 3, "value")
        return key[1], None if own is None else divided(own[2], self.num_heads, "the hidden size of value")

    def evaluate(
        self,
        query: Array,
        key: Array | None = None,
        value: Array | None = None,
        bias: Array | None = None,
        key_padding_mask: Array | None = None,
        attention_bias: Array | None = None,
        past_key: Array | None = None,
        past_value: Array | None = None,
        past_sequence_length: Array | None = None,
        cache_indirection: Array | None = None,
    ) -> tuple[Array, ...]:
        if past_sequence_length is not None or cache_indirection is not None:
            raise Diagnostic(E_EVALUATE, "com.microsoft.MultiHeadAttention with a shared buffer is not evaluated")
        q, k, v = self._split(query, key, value, bias)
        before = 0
        if past_key is not None and past_value is not None:
            before = past_key.shape[2]
            k, v = np.concatenate((widened(past_key), k), axis=2), np.concatenate((widened(past_value), v), axis=2)
        batch, _, queries, size = q.shape
        keys = k.shape[2]
        filter_value = _FILTER if self.mask_filter_value is None else self.mask_filter_value
        extra = _total(
            None if key_padding_mask is None else padding_bias(key_padding_mask, batch, queries, keys, filter_value),
            _causal_bias(queries, keys, before) if self.unidirectional else None,
            None if attention_bias is None else widened(attention_bias),
        )
        done = attend(q, k, v, attention_scale(self.scale, size), extra)
        return tuple(rounded(a, query.dtype) for a in (join_heads(done.result), k, v, done.raw))

    def _split(self, query: Array, key: Array | None, value: Array | None, bias: Array | None) -> tuple[Array, Array, Array]:
        """Query, key and value as ``[batch, heads, tokens, size]`` with their biases added."""
        if query.ndim == 5:
            packed = [widened(query[:, :, :, i]) for i in range(3)]
        elif key is not None and key.ndim == 5:
            packed = [widened(query), widened(key[:, :, :, 0]), widened(key[:, :, :, 1])]
        elif key is not None and value is not None:
            packed = [widened(query), widened(key), widened(value)]
        else:
            raise shape_error("key and value must be given unless query holds all three")
        heads = [
            split_heads(p, self.num_heads) if p.ndim == 3 else p if original_is_heads else p.transpose(0, 2, 1, 3)
            for p, original_is_heads in zip(packed, (False, *(key is not None and key.ndim == 4,) * 2), strict=True)
        ]
        if bias is not None:
            ends = np.cumsum([h.shape[1] * h.shape[3] for h in heads])
            for i, part in enumerate(np.split(widened(bias), ends[:2])):
                if part.size:
                    heads[i] = heads[i] + part.reshape(self.num_heads, 1, -1)
        return heads[0], heads[1], heads[2]


@dataclass(frozen=True)
class MsRotaryEmbedding(Op):
    """Rotary position embedding of ``input [batch, tokens, hidden]`` or ``[batch, heads, tokens, size]``."""

    interleaved: int = 0
    is_packed_batching: int = 0
    num_heads: int = 0
    rotary_embedding_dim: int = 0
    scale: float = 1.0
    domain = MICROSOFT
    op_name = "RotaryEmbedding"

    def infer(self, input: TensorType, position_ids: TensorType, cos_cache: TensorType, sin_cache: TensorType) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        dtype = float_dtype(input, cos_cache, sin_cache)
        cos, sin = require_rank(cos_cache, 2, "cos_cache"), require_rank(sin_cache, 2, "sin_cache")
        if cos is not None and sin is not None:
            for a, b in zip(cos, sin, strict=True):
                require_equal(a, b, "dimensions of cos_cache and sin_cache")
        if input.shape is not None and len(input.shape) not in (3, 4):
            raise shape_error(f"input must have rank 3 or 4, not {format_shape(input.shape)}")
        return TensorType(dtype, input.shape)

    def evaluate(self, input: Array, position_ids: Array, cos_cache: Array, sin_cache: Array) -> Array:
        size = self.rotary_embedding_dim or 2 * cos_cache.shape[1]
        if input.ndim == 4:
            heads = widened(input)
        else:
            count = self.num_heads or input.shape[2] // size
            heads = split_heads(widened(input), count)
        batch, tokens = heads.shape[0], heads.shape[2]
        places = position_ids if position_ids.size > 1 or position_ids.ndim == 2 else position_ids + np.arange(tokens)
        places = np.broadcast_to(places, (batch, tokens))
        y = rotate(heads, widened(cos_cache)[places][:, None], widened(sin_cache)[places][:, None], bool(self.interleaved), size)
        return rounded(y if input.ndim == 4 else join_heads(y), input.dtype)
