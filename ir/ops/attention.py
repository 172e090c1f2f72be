"""Attention, rotary position embedding and linear attention of ai.onnx."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .attention_core import attend, join_heads, rotate, split_heads, visible
from .common import attribute_error, dtype_error, format_shape, shape_error, unify_dim
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, shape_of, unresolved


def heads_shape(operand: Any, heads: int | None, name: str) -> tuple[Any, ...] | None:
    """An operand of rank 3 or 4 as ``[batch, heads, tokens, size]``; None when its rank is not known."""
    shape = shape_of(operand)
    if shape is None:
        return None
    if len(shape) == 4:
        return shape
    if len(shape) != 3:
        raise shape_error(f"{name} must have rank 3 or 4, not {len(shape)}: {format_shape(shape)}")
    if not heads:
        raise attribute_error(f"{name} {format_shape(shape)} has rank 3, so q_num_heads and kv_num_heads are needed")
    return (shape[0], heads, shape[1], divided(shape[2], heads, f"the hidden size of {name}"))


@dataclass(frozen=True)
class Attention(Op):
    """Scaled dot-product attention with masks, grouped heads and a key-value cache.

    Results: Y, present_key, present_value and the products of queries and keys at the stage qk_matmul_output_mode names.
    """

    is_causal: int = 0
    kv_num_heads: int | None = None
    left_window_size: int = -1
    q_num_heads: int | None = None
    qk_matmul_output_mode: int = 0
    right_window_size: int = -1
    scale: float | None = None
    softcap: float = 0.0
    softmax_precision: int | None = None
    since = 23

    def infer(
        self,
        q: TensorType,
        k: TensorType,
        v: TensorType,
        attn_mask: TensorType | None = None,
        past_key: TensorType | None = None,
        past_value: TensorType | None = None,
        nonpad_kv_seqlen: TensorType | None = None,
    ) -> Any:
        if type(q) is not TensorType:
            return unresolved(q, "Q")
        dtype = float_dtype(q, k)
        value_dtype = v.dtype if type(v) is TensorType else dtype
        if (past_key is None) != (past_value is None):
            raise shape_error("past_key and past_value must be given together")
        query = heads_shape(q, self.q_num_heads, "Q")
        key, value = heads_shape(k, self.kv_num_heads, "K"), heads_shape(v, self.kv_num_heads, "V")
        if query is None or key is None or value is None:
            unknown = TensorType(dtype, None)
            return unknown, unknown, TensorType(value_dtype, None), unknown
        require_equal(query[3], key[3], "head sizes of Q and K")
        heads = unify_dim(key[1], value[1], "heads of K and V")
        if type(query[1]) is int and type(heads) is int and (heads == 0 or query[1] % heads):
            raise shape_error(f"{query[1]} query heads are not a multiple of {heads} key heads")
        batch = unify_dim(unify_dim(query[0], key[0], "batch of Q and K"), value[0], "batch of Q and V")
        tokens = unify_dim(key[2], value[2], "tokens of K and V")
        past = require_rank(past_key, 4, "past_key")
        if past is not None:
            require_equal(past[3], key[3], "head sizes of past_key and K")
            tokens = None if tokens is None else past[2] + tokens
        elif past_key is not None:
            tokens = None
        self._check_mask(shape_of(attn_mask), query, tokens)
        hidden = None if query[1] is None or value[3] is None else query[1] * value[3]
        y = (batch, query[2], hidden) if len(q.shape or ()) == 3 else (batch, query[1], query[2], value[3])
        return (
            TensorType(dtype, y),  # type: ignore[arg-type]
            TensorType(dtype, (batch, heads, tokens, key[3])),  # type: ignore[arg-type]
            TensorType(value_dtype, (batch, heads, tokens, value[3])),  # type: ignore[arg-type]
            TensorType(dtype, (batch, query[1], query[2], tokens)),  # type: ignore[arg-type]
        )

    @staticmethod
    def _check_mask(mask: Any, query: tuple[Any, ...], tokens: Any) -> None:
        if mask is None:
            return
        if not 1 <= len(mask) <= 4:
            raise shape_error(f"attn_mask must have rank 1 to 4, not {format_shape(mask)}")
        target = (*query[:3], tokens)
        for dim, goal in zip(reversed(mask[:-1]), reversed(target[:-1]), strict=False):
            if type(dim) is int and dim != 1 and type(goal) is int and dim != goal:
                raise shape_error(f"attn_mask {format_shape(mask)} does not broadcast to {format_shape(target)}")
        if type(mask[-1]) is int and type(tokens) is int and mask[-1] > tokens:
            raise shape_error(f"attn_mask {format_shape(mask)} is longer than the {tokens} keys")

    def evaluate(
        self,
        q: Array,
        k: Array,
        v: Array,
        attn_mask: Array | None = None,
        past_key: Array | None = None,
        past_value: Array | None = None,
        nonpad_kv_seqlen: Array | None = None,
    ) -> tuple[Array, Array, Array, Array]:
        flat = q.ndim == 3
        query, key, value = (
            split_heads(x, heads or 1) if x.ndim == 3 else x
            for x, heads in ((q, self.q_num_heads), (k, self.kv_num_heads), (v, self.kv_num_heads))
        )
        if past_key is not None and past_value is not None:
            key, value = np.concatenate((past_key, key), axis=2), np.concatenate((past_value, value), axis=2)
        bias = self._bias(query, key.shape[2], attn_mask, 0 if past_key is None else past_key.shape[2], nonpad_kv_seqlen)
        scale = self.scale if self.scale is not None else 1 / math.sqrt(query.shape[3])
        done = attend(widened(query), widened(key), widened(value), scale, bias, self.softcap)
        stages = (done.raw, done.capped, done.biased, done.weights)
        if not 0 <= self.qk_matmul_output_mode < 4:
            raise attribute_error(f"qk_matmul_output_mode is {self.qk_matmul_output_mode}")
        y = join_heads(done.result) if flat else done.result
        return rounded(y, q.dtype), key, value, rounded(stages[self.qk_matmul_output_mode], q.dtype)

    def _bias(self, query: Array, keys: int, mask: Array | None, past: int, lengths: Array | None) -> Array | None:
        queries, wide = query.shape[2], widened(query).dtype
        bias: Array | None = None
        if mask is not None:
            missing = keys - mask.shape[-1]
            if mask.dtype == np.bool_:
                bias = np.where(mask, 0, -np.inf).astype(wide)
            else:
                bias = widened(mask)
            if missing > 0:
                absent = np.full((*bias.shape[:-1], missing), -np.inf, wide)
                bias = np.concatenate((bias, absent), axis=-1)
        offset = past if lengths is None else lengths.reshape(-1) - queries
        right = 0 if self.is_causal and (self.right_window_size < 0 or self.right_window_size > 0) else self.right_window_size
        if self.left_window_size >= 0 or right >= 0:
            bias = _masked(bias, visible(queries, keys, offset, self.left_window_size, right), wide)
        if lengths is not None:
            bias = _masked(bias, np.arange(keys) < lengths.reshape(-1, 1, 1, 1), wide)
        return bias


def _masked(bias: Array | None, allowed: Array, dtype: Any) -> Array:
    """The bias with minus infinity where a key is not allowed."""
    extra = np.where(allowed, 0, -np.inf).astype(dtype)
    return extra if bias is None else bias + extra


_ROTARY = frozenset((DType.FLOAT, DType.FLOAT16, DType.BFLOAT16))


@dataclass(frozen=True)
class RotaryEmbedding(Op):
    """Rotary position embedding of ``X [batch, heads, tokens, size]`` or ``[batch, tokens, heads * size]``."""

    interleaved: int = 0
    num_heads: int | None = None
    rotary_embedding_dim: int = 0
    since = 23

    def infer(self, x: TensorType, cos_cache: TensorType, sin_cache: TensorType, position_ids: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if x.dtype not in _ROTARY:
            raise dtype_error(f"RotaryEmbedding does not take {x.dtype}")
        dtype = float_dtype(x, cos_cache, sin_cache)
        rank = 3 if position_ids is None else 2
        require_rank(cos_cache, rank, "cos_cache")
        require_rank(sin_cache, rank, "sin_cache")
        shape = heads_shape(x, self.num_heads, "X")
        cache = shape_of(cos_cache)
        if shape is not None and cache is not None:
            rotated = self.rotary_embedding_dim or shape[3]
            if rotated is not None:
                require_equal(cache[-1], rotated // 2, "the angles of cos_cache and half the rotated elements")
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, cos_cache: Array, sin_cache: Array, position_ids: Array | None = None) -> Array:
        heads = split_heads(x, self.num_heads or 1) if x.ndim == 3 else x
        cos, sin = (c if position_ids is None else c[position_ids] for c in (cos_cache, sin_cache))
        y = rotate(widened(heads), widened(cos)[:, None], widened(sin)[:, None], bool(self.interleaved), self.rotary_embedding_dim)
        return rounded(join_heads(y) if x.ndim == 3 else y, x.dtype)


_RULES = ("linear", "gated", "delta", "gated_delta")


@dataclass(frozen=True)
class LinearAttention(Op):
    """Attention as a recurrence over a state ``[batch, kv heads, key size, value size]``."""

    kv_num_heads: int
    q_num_heads: int
    chunk_size: int = 64
    scale: float = 0.0
    update_rule: str = "gated_delta"
    since = 27
    outputs = 2

    def infer(
        self,
        query: TensorType,
        key: TensorType,
        value: TensorType,
        past_state: TensorType | None = None,
        decay: TensorType | None = None,
        beta: TensorType | None = None,
    ) -> Any:
        if type(query) is not TensorType:
            return unresolved(query, "query")
        if self.update_rule not in _RULES:
            raise attribute_error(f"update_rule is {self.update_rule!r}", hint="choose one of: " + ", ".join(_RULES))
        if self.kv_num_heads < 1 or self.q_num_heads % self.kv_num_heads:
            raise attribute_error(f"{self.q_num_heads} query heads are not a multiple of {self.kv_num_heads} key heads")
        for name, operand, rules in (("decay", decay, ("gated", "gated_delta")), ("beta", beta, ("delta", "gated_delta"))):
            if operand is None and self.update_rule in rules:
                raise attribute_error(f"update_rule {self.update_rule!r} needs the operand {name}")
        dtype = float_dtype(query, key, value)
        q, k, v = (require_rank(o, 3, n) for o, n in ((query, "query"), (key, "key"), (value, "value")))
        known = next((s for s in (q, k, v) if s is not None), (None,) * 3)
        key_size = divided(k[2], self.kv_num_heads, "the hidden size of key") if k else None
        query_size = divided(q[2], self.q_num_heads, "the hidden size of query") if q else None
        require_equal(key_size, query_size, "head sizes of query and key")
        value_size = divided(v[2], self.kv_num_heads, "the hidden size of value") if v else None
        hidden = None if value_size is None else value_size * self.q_num_heads
        state = (known[0], self.kv_num_heads, key_size, value_size)
        state_dtype = past_state.dtype if type(past_state) is TensorType else dtype
        return TensorType(dtype, (*known[:2], hidden)), TensorType(state_dtype, state)  # type: ignore[arg-type]

    def evaluate(
        self,
        query: Array,
        key: Array,
        value: Array,
        past_state: Array | None = None,
        decay: Array | None = None,
        beta: Array | None = None,
    ) -> tuple[Array, Array]:
        heads, groups = self.kv_num_heads, self.q_num_heads // self.kv_num_heads
        q, k, v = (split_heads(widened(x), n) for x, n in ((query, self.q_num_heads), (key, heads), (value, heads)))
        batch, _, tokens, key_size = k.shape
        state = np.zeros((batch, heads, key_size, v.shape[3]), k.dtype) if past_state is None else widened(past_state)
        gates = None if decay is None or "gated" not in self.update_rule else np.exp(split_heads(widened(decay), heads))
        rates = None if beta is None or "delta" not in self.update_rule else widened(beta)[..., None]
        scale = k.dtype.type(self.scale or 1 / math.sqrt(q.shape[3]))
        steps = np.empty((batch, self.q_num_heads, tokens, v.shape[3]), k.dtype)
        for t in range(tokens):
            if gates is not None:
                state = state * gates[:, :, t, :, None]
            update = v[:, :, t]
            if rates is not None:
                update = rates[:, t] * (update - np.einsum("bhdm,bhd->bhm", state, k[:, :, t]))
            state = state + k[:, :, t, :, None] * update[:, :, None, :]
            asked = q[:, :, t].reshape(batch, heads, groups, key_size)
            steps[:, :, t] = np.matmul(asked, state).reshape(batch, self.q_num_heads, -1) * scale
        kept = query.dtype if past_state is None else past_state.dtype
        return rounded(join_heads(steps), query.dtype), rounded(state, kept)
