"""Normalisations that onnxruntime's optimiser writes: with a skip connection, simplified, and of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .common import dtype_error, format_shape, normalize_axis, shape_error
from .normalization import check_tail, rms_normalized, standardized, stash_dtype
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_rank, require_vector, shape_of, unresolved


class _SkipNormalization(Op, abstract=True):
    """Results: the normalised sum, mean and inverse deviation (used in training only), and the sum."""

    domain = MICROSOFT

    def _infer(self, input: Any, skip: Any, vectors: tuple[tuple[str, Any], ...]) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        dtype = float_dtype(input, skip, *(v for _, v in vectors))
        shape, other = input.shape, shape_of(skip)
        if shape is None:
            statistic = TensorType(DType.FLOAT, None)
            return TensorType(dtype, None), statistic, statistic, TensorType(dtype, None)
        if len(shape) not in (2, 3):
            raise shape_error(f"input must have rank 2 or 3, not {format_shape(shape)}")
        for name, vector in vectors:
            require_vector(vector, shape[-1], name)
        if other is not None:
            for ours, theirs in zip(reversed(shape), reversed(other), strict=False):
                if type(theirs) is int and theirs != 1 and type(ours) is int and ours != theirs:
                    raise shape_error(f"skip {format_shape(other)} does not broadcast to {format_shape(shape)}")
        statistic = TensorType(DType.FLOAT, (*shape[:-1], 1))
        return TensorType(dtype, shape), statistic, statistic, TensorType(dtype, shape)


@dataclass(frozen=True)
class SkipLayerNormalization(_SkipNormalization):
    """Layer normalisation of ``input + skip + bias`` over the last dimension."""

    epsilon: float = 1e-12

    def infer(
        self,
        input: TensorType,
        skip: TensorType,
        gamma: TensorType,
        beta: TensorType | None = None,
        bias: TensorType | None = None,
    ) -> Any:
        return self._infer(input, skip, (("gamma", gamma), ("beta", beta), ("bias", bias)))

    def evaluate(self, input: Array, skip: Array, gamma: Array, beta: Array | None = None, bias: Array | None = None) -> tuple[Array, ...]:
        total = widened(input) + widened(skip) + (0 if bias is None else widened(bias))
        y, mean, inverse = standardized(total, -1, self.epsilon)
        y = y * widened(gamma) + (0 if beta is None else widened(beta))
        return rounded(y, input.dtype), rounded(mean, np.float32), rounded(inverse, np.float32), rounded(total, input.dtype)


@dataclass(frozen=True)
class SkipSimplifiedLayerNormalization(_SkipNormalization):
    """Root-mean-square normalisation of ``input + skip + bias`` over the last dimension."""

    epsilon: float = 1e-12

    def infer(self, input: TensorType, skip: TensorType, gamma: TensorType, bias: TensorType | None = None) -> Any:
        return self._infer(input, skip, (("gamma", gamma), ("bias", bias)))

    def evaluate(self, input: Array, skip: Array, gamma: Array, bias: Array | None = None) -> tuple[Array, ...]:
        total = widened(input) + widened(skip) + (0 if bias is None else widened(bias))
        y, inverse = rms_normalized(total, -1, self.epsilon)
        mean = np.zeros_like(inverse)
        y = rounded(y * widened(gamma), input.dtype)
        return y, rounded(mean, np.float32), rounded(inverse, np.float32), rounded(total, input.dtype)


class _Simplified(Op, abstract=True):
    axis: int
    epsilon: float
    stash_type: int

    def infer(self, x: TensorType, scale: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        float_dtype(x)
        dtype = scale.dtype if type(scale) is TensorType else x.dtype
        statistic = stash_dtype(self.stash_type)
        if x.shape is None:
            return TensorType(dtype, None), TensorType(statistic, None)
        axis = normalize_axis(self.axis, len(x.shape))
        check_tail(scale, x.shape, axis, "scale")
        return TensorType(dtype, x.shape), TensorType(statistic, x.shape[:axis] + (1,) * (len(x.shape) - axis))

    def evaluate(self, x: Array, scale: Array) -> tuple[Array, Array]:
        y, inverse = rms_normalized(widened(x), self.axis, self.epsilon)
        return rounded(y * widened(scale), scale.dtype), rounded(inverse, stash_dtype(self.stash_type).numpy)


@dataclass(frozen=True)
class SimplifiedLayerNormalization(_Simplified):
    """Root-mean-square normalisation under the name onnxruntime gave it in ai.onnx; results Y and the inverse root."""

    axis: int = -1
    epsilon: float = 1e-05
    stash_type: int = 1


@dataclass(frozen=True)
class MsSimplifiedLayerNormalization(_Simplified):
    """The same in the com.microsoft domain."""

    axis: int = -1
    epsilon: float = 1e-05
    stash_type: int = 1
    domain = MICROSOFT
    op_name = "SimplifiedLayerNormalization"


@dataclass(frozen=True)
class EmbedLayerNormalization(Op):
    """Layer normalisation of the sum of word, position and segment embeddings; results output, mask_index, the sum."""

    epsilon: float = 1e-12
    mask_index_type: int | None = None
    domain = MICROSOFT
    outputs = 2

    def infer(
        self,
        input_ids: TensorType,
        segment_ids: TensorType | None = None,
        word_embedding: TensorType | None = None,
        position_embedding: TensorType | None = None,
        segment_embedding: TensorType | None = None,
        gamma: TensorType | None = None,
        beta: TensorType | None = None,
        mask: TensorType | None = None,
        position_ids: TensorType | None = None,
    ) -> Any:
        if word_embedding is None or position_embedding is None or gamma is None or beta is None:
            raise shape_error("word_embedding, position_embedding, gamma and beta are needed")
        if type(word_embedding) is not TensorType:
            return unresolved(word_embedding, "word_embedding")
        dtype = float_dtype(word_embedding, position_embedding, segment_embedding, gamma, beta)
        for name, operand in (("input_ids", input_ids), ("segment_ids", segment_ids), ("mask", mask)):
            if type(operand) is TensorType and operand.dtype is not DType.INT32:
                raise dtype_error(f"{name} must be i32, not {operand.dtype}")
        ids, table = require_rank(input_ids, 2, "input_ids"), require_rank(word_embedding, 2, "word_embedding")
        hidden = table[1] if table is not None else None
        for name, vector in (("gamma", gamma), ("beta", beta)):
            require_vector(vector, hidden, name)
        batch, tokens = ids if ids is not None else (None, None)
        y = TensorType(dtype, (batch, tokens, hidden))  # type: ignore[arg-type]
        return y, TensorType(DType.INT32, (batch,)), y  # type: ignore[arg-type]

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        ids, segments, words, positions, segment_table, gamma, beta, mask, places = (*operands, *(None,) * (9 - len(operands)))
        if ids is None or words is None or positions is None or gamma is None or beta is None:
            raise shape_error("input_ids, both embeddings, gamma and beta are needed")
        where = np.arange(ids.shape[1])[None] if places is None else places
        total = widened(words)[ids] + widened(positions)[where]
        if segments is not None and segment_table is not None:
            total = total + widened(segment_table)[segments]
        y = standardized(total, -1, self.epsilon)[0] * widened(gamma) + widened(beta)
        counts = np.zeros(ids.shape[0], np.int32) if mask is None else (mask == 1).sum(axis=1).astype(np.int32)
        return rounded(y, words.dtype), counts, rounded(total, words.dtype)
