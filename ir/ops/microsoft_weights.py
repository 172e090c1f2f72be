"""Products with weights quantised in small blocks (com.microsoft): MatMulNBits, MatMulBnb4, GatherBlockQuantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import ceildiv
from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .common import attribute_error, dtype_error, format_shape, normalize_axis, shape_error
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_equal, require_rank, require_vector, shape_of, unresolved


def unpack_low_first(packed: Array, bits: int) -> Array:
    """Unsigned codes of ``bits`` bits from bytes along the last axis, the low bits first."""
    if bits == 8:
        return packed
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    codes = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return codes.reshape(*packed.shape[:-1], -1)


def _product(dtype: DType, a: TensorType, inner: int, columns: int) -> TensorType:
    shape = a.shape
    if shape is None:
        return TensorType(dtype, None)
    if not shape:
        raise shape_error("A must have at least one dimension")
    require_equal(shape[-1], inner, "the last dimension of A and K")
    return TensorType(dtype, (*shape[:-1], columns))


@dataclass(frozen=True)
class MatMulNBits(Op):
    """``A [..., K]`` times a weight ``[N, K]`` of 2, 4 or 8 bits with a scale (and zero point) per block of K."""

    K: int
    N: int
    block_size: int
    accuracy_level: int = 0
    bits: int = 4
    weight_prepacked: int = 0
    domain = MICROSOFT

    def infer(
        self,
        a: TensorType,
        b: TensorType,
        scales: TensorType,
        zero_points: TensorType | None = None,
        g_idx: TensorType | None = None,
        bias: TensorType | None = None,
    ) -> Any:
        if type(a) is not TensorType:
            return unresolved(a, "A")
        if self.bits not in (2, 4, 8):
            raise attribute_error(f"bits is {self.bits}", hint="choose one of: 2, 4, 8")
        if self.block_size < 16 or self.block_size & (self.block_size - 1):
            raise attribute_error(f"block_size {self.block_size} must be a power of two of at least 16")
        dtype = float_dtype(a, scales, bias)
        if type(b) is TensorType and b.dtype is not DType.UINT8:
            raise dtype_error(f"B must be u8, not {b.dtype}")
        blocks, weight = ceildiv(self.K, self.block_size), shape_of(b)
        if weight is not None and len(weight) == 3 and not self.weight_prepacked:
            for actual, expected, what in zip(
                weight, (self.N, blocks, self.block_size * self.bits // 8), ("N", "the blocks of K", "bytes per block"), strict=True
            ):
                require_equal(actual, expected, f"a dimension of B and {what}")
        own = shape_of(scales)
        if own is not None and all(type(d) is int for d in own) and int(np.prod(own)) != self.N * blocks:  # type: ignore[arg-type]
            raise shape_error(f"scales {format_shape(own)} should have {self.N} * {blocks} elements")
        require_vector(bias, self.N, "the bias")
        return _product(dtype, a, self.K, self.N)

    def weight(self, b: Array, scales: Array, zero_points: Array | None = None, g_idx: Array | None = None) -> Array:
        """The weight ``[N, K]`` in float32 (float64 for float64 scales)."""
        blocks = -(-self.K // self.block_size)
        codes = unpack_low_first(b.reshape(self.N, blocks, -1), self.bits)[..., : self.block_size]
        steps = widened(scales).reshape(self.N, blocks)
        if zero_points is None:
            zeros: Any = np.full((self.N, blocks), 1 << (self.bits - 1), steps.dtype)
        elif zero_points.dtype == np.uint8:
            zeros = unpack_low_first(zero_points.reshape(self.N, -1), self.bits)[:, :blocks].astype(steps.dtype)
        else:
            zeros = widened(zero_points).reshape(self.N, blocks)
        if g_idx is not None:
            flat = codes.reshape(self.N, -1)[:, : self.K].astype(steps.dtype)
            owner = g_idx[: self.K]
            return (flat - zeros[:, owner]) * steps[:, owner]
        values = (codes.astype(steps.dtype) - zeros[..., None]) * steps[..., None]
        return values.reshape(self.N, -1)[:, : self.K]

    def evaluate(
        self,
        a: Array,
        b: Array,
        scales: Array,
        zero_points: Array | None = None,
        g_idx: Array | None = None,
        bias: Array | None = None,
    ) -> Array:
        y = widened(a) @ self.weight(b, scales, zero_points, g_idx).T
        return rounded(y if bias is None else y + widened(bias), a.dtype)


_FP4 = (0.0, 0.00520833333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
FLOAT4_CODES = np.array([*_FP4, *(-x for x in _FP4)], np.float32)
NORMAL4_CODES = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)


@dataclass(frozen=True)
class MatMulBnb4(Op):
    """``A [..., K]`` times a weight ``[N, K]`` of 4-bit floats (quant_type 0) or normal floats (1) in flat blocks."""

    K: int
    N: int
    block_size: int
    quant_type: int
    training_mode: int = 0
    transB: int = 1
    domain = MICROSOFT

    def infer(self, a: TensorType, b: TensorType, absmax: TensorType) -> Any:
        if type(a) is not TensorType:
            return unresolved(a, "A")
        if self.quant_type not in (0, 1):
            raise attribute_error(f"quant_type is {self.quant_type}", hint="0 is FP4, 1 is NF4")
        if type(b) is TensorType and b.dtype is not DType.UINT8:
            raise dtype_error(f"B must be u8, not {b.dtype}")
        return _product(float_dtype(a, absmax), a, self.K, self.N)

    def evaluate(self, a: Array, b: Array, absmax: Array) -> Array:
        count = self.N * self.K
        packed = b.reshape(-1)
        codes = np.stack((packed >> 4, packed & 15), axis=-1).reshape(-1)[:count]
        steps = np.repeat(widened(absmax).reshape(-1), self.block_size)[:count]
        weight = ((NORMAL4_CODES if self.quant_type else FLOAT4_CODES)[codes] * steps).astype(steps.dtype)
        matrix = weight.reshape(self.N, self.K).T if self.transB else weight.reshape(self.K, self.N)
        return rounded(widened(a) @ matrix, a.dtype)


@dataclass(frozen=True)
class GatherBlockQuantized(Op):
    """Rows of a block-quantised table, dequantised."""

    bits: int = 4
    block_size: int = 128
    gather_axis: int = 0
    quantize_axis: int = 1
    domain = MICROSOFT

    def infer(self, data: TensorType, indices: TensorType, scales: TensorType, zero_points: TensorType | None = None) -> Any:
        if type(scales) is not TensorType:
            return unresolved(scales, "scales")
        dtype, table, chosen = float_dtype(scales), shape_of(data), shape_of(indices)
        if table is None or chosen is None:
            return TensorType(dtype, None)
        gather, along = normalize_axis(self.gather_axis, len(table)), normalize_axis(self.quantize_axis, len(table))
        sizes = list(table)
        if data.dtype is DType.UINT8:
            if along != len(table) - 1:
                raise attribute_error(f"packed bytes are quantised along the last axis, not {along}")
            sizes[-1] = sizes[-1] * (8 // self.bits)
        own = require_rank(scales, len(table), "scales")
        if own is not None and self.block_size:
            require_equal(own[along], ceildiv(sizes[along], self.block_size), "scales and blocks along the quantised axis")
        return TensorType(dtype, (*sizes[:gather], *chosen, *sizes[gather + 1 :]))

    def evaluate(self, data: Array, indices: Array, scales: Array, zero_points: Array | None = None) -> Array:
        along = self.quantize_axis % data.ndim
        packed = data.dtype == np.uint8
        codes = unpack_low_first(data, self.bits) if packed else data
        steps = widened(scales)
        size = codes.shape[along]
        zeros: Any = np.float32(1 << (self.bits - 1)) if packed else np.float32(0)
        if zero_points is not None:
            unpacked = unpack_low_first(zero_points, self.bits) if packed else zero_points
            zeros = self._spread(unpacked[..., : steps.shape[-1]] if packed else unpacked, size, along).astype(np.float32)
        table = (codes.astype(np.float32) - zeros) * self._spread(steps, size, along)
        axis, count = self.gather_axis % data.ndim, data.shape[self.gather_axis % data.ndim]
        places = indices.astype(np.int64)
        valid = (places >= -count) & (places < count)
        result = np.take(table, np.where(valid, places, 0) % count, axis=axis)
        mask = valid.reshape(*(1,) * axis, *valid.shape, *(1,) * (data.ndim - 1 - axis))
        return rounded(np.where(mask, result, 0), scales.dtype)

    def _spread(self, blocks: Array, size: int, axis: int) -> Array:
        """One element per block repeated for every element of its block."""
        if not self.block_size:
            return blocks
        return np.take(np.repeat(blocks, self.block_size, axis=axis), np.arange(size), axis=axis)
