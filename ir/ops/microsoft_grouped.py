"""Grouped-query attention with a key-value cache (com.microsoft), as onnxruntime's CPU kernel computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnostics import E_EVALUATE, Diagnostic
from ..dims import maximum
from ..op import MICROSOFT, Op
from ..types import TensorType
from .attention_core import attend, join_heads, rotate, split_heads, visible
from .common import attribute_error, shape_error
from .microsoft_attention import attention_scale
from .normalization import rms_normalized
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_equal, require_rank, require_vector, unresolved


@dataclass(frozen=True)
class GroupQueryAttention(Op):
    """Causal attention of grouped heads to a cache that it extends; results output, present_key, present_value, products.

    ``query [batch, tokens, heads * size]`` may hold key and value too; ``seqlens_k [batch]`` is the number of keys of
    each element less one, the new tokens included.
    """

    num_heads: int
    kv_num_heads: int
    causal: int = 1
    do_rotary: int = 0
    k_norm_epsilon: float | None = None
    k_quant_type: str = "NONE"
    kv_cache_bit_width: int | None = None
    local_window_size: int = -1
    q_norm_epsilon: float | None = None
    qk_norm_epsilon: float = 1e-06
    qk_output: int = 0
    rotary_interleaved: int = 0
    scale: float | None = None
    sliding_window_cache: int = 0
    smooth_softmax: int = -1
    softcap: float = 0.0
    v_quant_type: str = "NONE"
    domain = MICROSOFT
    outputs = 3

    def infer(
        self,
        query: TensorType,
        key: TensorType | None = None,
        value: TensorType | None = None,
        past_key: TensorType | None = None,
        past_value: TensorType | None = None,
        seqlens_k: TensorType | None = None,
        total_sequence_length: TensorType | None = None,
        cos_cache: TensorType | None = None,
        sin_cache: TensorType | None = None,
        position_ids: TensorType | None = None,
        attention_bias: TensorType | None = None,
        head_sink: TensorType | None = None,
        k_scale: TensorType | None = None,
        v_scale: TensorType | None = None,
        q_norm_weight: TensorType | None = None,
        k_norm_weight: TensorType | None = None,
        query_seqlens: TensorType | None = None,
    ) -> Any:
        if type(query) is not TensorType:
            return unresolved(query, "query")
        if self.kv_num_heads < 1 or self.num_heads % self.kv_num_heads:
            raise attribute_error(f"{self.num_heads} query heads are not a multiple of {self.kv_num_heads} key heads")
        if seqlens_k is None or total_sequence_length is None or (key is None) != (value is None):
            raise shape_error("seqlens_k and total_sequence_length are needed, and key and value go together")
        dtype = float_dtype(query, key, value, cos_cache, sin_cache, attention_bias, head_sink)
        shape = require_rank(query, 3, "query")
        cache, cache_dtype = require_rank(past_key, 4, "past_key"), dtype
        for past in (past_key, past_value):
            if type(past) is TensorType:
                cache_dtype = past.dtype
        batch, tokens, hidden = shape if shape is not None else (None, None, None)
        if key is None:
            size = divided(hidden, self.num_heads + 2 * self.kv_num_heads, "the width of the packed query")
        else:
            size = divided(hidden, self.num_heads, "the hidden size of query")
            own = require_rank(key, 3, "key")
            if own is not None:
                require_equal(own[2], None if size is None else size * self.kv_num_heads, "the hidden size of key and its heads")
        if cache is not None:
            require_equal(cache[1], self.kv_num_heads, "heads of past_key and of the attribute")
        require_vector(seqlens_k, batch, "seqlens_k")
        require_vector(head_sink, self.num_heads, "head_sink")
        width = None if size is None else size * self.num_heads
        total = self._total(past_key, cache, tokens, total_sequence_length)
        stored = cache[3] if cache is not None else size
        present = TensorType(cache_dtype, (batch, self.kv_num_heads, total, stored))  # type: ignore[arg-type]
        products = TensorType(dtype, (batch, self.num_heads, tokens, None))  # type: ignore[arg-type]
        return TensorType(dtype, (batch, tokens, width)), present, present, products  # type: ignore[arg-type]

    @staticmethod
    def _total(past_key: Any, cache: Any, tokens: Any, total_sequence_length: Any) -> Any:
        """The length of the returned cache: the total, or the length of a longer (preallocated) cache."""
        content = total_sequence_length.content if type(total_sequence_length) is TensorType else None
        total = content[0] if content is not None and len(content) == 1 else None
        if past_key is None:
            return total if total is not None else tokens
        if cache is None:
            return None
        if total is not None:
            return maximum(total, cache[2])
        return None

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        given = [*operands, *(None,) * (17 - len(operands))]
        query, key, value, past_key, past_value, lengths, total, cos, sin, positions, extra, sink = given[:12]
        if any(g is not None for g in (given[12], given[13], given[16])) or self.sliding_window_cache or not self.causal:
            raise Diagnostic(E_EVALUATE, "GroupQueryAttention with a quantised, windowed or ragged cache is not evaluated")
        if query is None or lengths is None or total is None:
            raise Diagnostic(E_EVALUATE, "GroupQueryAttention needs query, seqlens_k and total_sequence_length")
        new_query, new_key, new_value = self._split(query, key, value)
        if given[14] is not None and given[15] is not None:
            new_query = self._normalized(new_query, given[14], self.q_norm_epsilon)
            new_key = self._normalized(new_key, given[15], self.k_norm_epsilon)
        batch, _, tokens, size = new_query.shape
        ends = lengths.reshape(-1).astype(np.int64) + 1
        whole = int(total.reshape(-1)[0])
        starts = np.zeros(batch, np.int64) if tokens == whole else ends - tokens
        if self.do_rotary:
            new_query, new_key = self._rotated(new_query, new_key, starts, cos, sin, positions)
        kept = 0 if past_key is None else past_key.shape[2]
        present = [np.zeros((batch, self.kv_num_heads, max(whole, kept), size), new_key.dtype) for _ in range(2)]
        for store, past, new in zip(present, (past_key, past_value), (new_key, new_value), strict=True):
            for b in range(batch):
                if past is not None:
                    store[b, :, : starts[b]] = widened(past)[b, :, : starts[b]]
                store[b, :, starts[b] : starts[b] + tokens] = new[b]
        keys = min(present[0].shape[2], int((starts + tokens).max()))
        window = self.local_window_size - 1 if self.local_window_size > 0 else -1
        allowed = visible(tokens, keys, starts, left=window, right=0) & (np.arange(keys) < ends.reshape(-1, 1, 1, 1))
        bias = np.where(allowed, 0, -np.inf).astype(np.float32)
        if extra is not None:
            bias = bias + widened(extra)[..., :keys]
        if sink is None and self.smooth_softmax > 0:
            sink = np.zeros(self.num_heads, np.float32)
        done = attend(
            new_query,
            present[0][:, :, :keys],
            present[1][:, :, :keys],
            attention_scale(self.scale, size),
            bias,
            self.softcap,
            None if sink is None else widened(sink),
        )
        products = done.weights if self.qk_output == 2 else done.capped
        return tuple(rounded(a, query.dtype) for a in (join_heads(done.result), *present, products))

    def _split(self, query: Array, key: Array | None, value: Array | None) -> tuple[Array, Array, Array]:
        if key is None or value is None:
            size = query.shape[2] // (self.num_heads + 2 * self.kv_num_heads)
            ends = (self.num_heads * size, (self.num_heads + self.kv_num_heads) * size)
            query, key, value = np.split(query, ends, axis=-1)
        return (
            split_heads(widened(query), self.num_heads),
            split_heads(widened(key), self.kv_num_heads),
            split_heads(widened(value), self.kv_num_heads),
        )

    def _normalized(self, heads: Array, weight: Array, epsilon: float | None) -> Array:
        normal, _ = rms_normalized(heads, -1, self.qk_norm_epsilon if epsilon is None else epsilon)
        return normal * widened(weight)

    def _rotated(self, query: Array, key: Array, starts: Array, cos: Any, sin: Any, positions: Any) -> tuple[Array, Array]:
        if cos is None or sin is None:
            raise Diagnostic(E_EVALUATE, "GroupQueryAttention with do_rotary needs cos_cache and sin_cache")
        tokens = query.shape[2]
        places = starts[:, None] + np.arange(tokens) if positions is None or positions.size == 1 else positions
        cosines, sines = widened(cos)[places][:, None], widened(sin)[places][:, None]
        size, paired = 2 * cos.shape[1], bool(self.rotary_interleaved)
        return rotate(query, cosines, sines, paired, size), rotate(key, cosines, sines, paired, size)
