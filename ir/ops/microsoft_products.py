"""Contributed (com.microsoft) matrix products of quantised operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .common import attribute_error, broadcast_shapes, dtype_error, format_shape, shape_error, unify_dim
from .elementwise import check_same, check_type, partial
from .matmul import matmul_shape
from .operands import require_rank, require_vector, shape_of
from .quantize import dynamic_parameters, quantize
from .quantized_products import BYTES, centred, check_quantized, known, per_column, per_row, requantize

FLOAT32 = frozenset((DType.FLOAT,))


def check_columns(operand: Any, columns: Any, what: str) -> None:
    """Check that per-column parameters are one, or one per column."""
    shape = shape_of(operand)
    if shape is not None and len(shape) == 1 and shape != (1,):
        unify_dim(shape[0], columns, what)


def product(a: Array, b: Array, a_zero_point: Array | None, b_zero_point: Array | None) -> Array:
    """The exact product of quantised matrices minus their zero points, as float32."""
    left = centred(a, None if a_zero_point is None else per_row(a_zero_point))
    right = centred(b, None if b_zero_point is None else per_column(b_zero_point))
    return np.asarray(np.matmul(left, right)).astype(np.float32)


@dataclass(frozen=True)
class MatMulIntegerToFloat(Op):
    """The product of two 8-bit matrices as real numbers, plus a bias."""

    domain: ClassVar[str] = MICROSOFT
    results: ClassVar[frozenset[DType]] = frozenset((DType.FLOAT, DType.FLOAT16))

    def infer(
        self,
        a: TensorType,
        b: TensorType,
        a_scale: TensorType,
        b_scale: TensorType,
        a_zero_point: TensorType | None = None,
        b_zero_point: TensorType | None = None,
        bias: TensorType | None = None,
    ) -> Any:
        check_quantized(self, a, a_zero_point)
        check_quantized(self, b, b_zero_point)
        reals = known(a_scale, b_scale, bias)
        for real in reals:
            check_type(self, real.dtype, self.results)
            check_same(self, reals[0].dtype, real.dtype)
        shape = matmul_shape(shape_of(a), shape_of(b))
        if shape:
            check_columns(b_scale, shape[-1], "the number of scales and columns of B")
            if bias is not None:
                require_vector(bias, shape[-1], "the bias")
        return TensorType(reals[0].dtype, shape) if reals else partial(a_scale)

    def evaluate(
        self,
        a: Array,
        b: Array,
        a_scale: Array,
        b_scale: Array,
        a_zero_point: Array | None = None,
        b_zero_point: Array | None = None,
        bias: Array | None = None,
    ) -> Any:
        scale = a_scale.astype(np.float32).reshape(-1) * per_column(b_scale.astype(np.float32))
        result = product(a, b, a_zero_point, b_zero_point) * scale
        if bias is not None:
            result = result + bias.astype(np.float32)
        return np.asarray(result).astype(a_scale.dtype, copy=False)


@dataclass(frozen=True)
class DynamicQuantizeMatMul(Op):
    """The product of a float32 matrix, quantised to u8 over its own range, with an 8-bit matrix, plus a bias."""

    domain: ClassVar[str] = MICROSOFT

    def infer(
        self,
        a: TensorType,
        b: TensorType,
        b_scale: TensorType,
        b_zero_point: TensorType | None = None,
        bias: TensorType | None = None,
    ) -> Any:
        check_quantized(self, b, b_zero_point)
        for real in known(a, b_scale, bias):
            check_type(self, real.dtype, FLOAT32)
        shape = matmul_shape(shape_of(a), shape_of(b))
        if shape:
            check_columns(b_scale, shape[-1], "the number of scales and columns of B")
            if bias is not None:
                require_vector(bias, shape[-1], "the bias")
        return TensorType(DType.FLOAT, shape)

    def evaluate(self, a: Array, b: Array, b_scale: Array, b_zero_point: Array | None = None, bias: Array | None = None) -> Any:
        scale, zero_point = dynamic_parameters(a)
        quantized = quantize(a, scale, zero_point, DType.UINT8)
        return MatMulIntegerToFloat().evaluate(quantized, b, scale, b_scale, zero_point, b_zero_point, bias)


@dataclass(frozen=True)
class QGemm(Op):
    """``alpha * A' B' + C`` of quantised matrices; float32 unless the result has a scale.

    ``C`` is i32 in units of ``alpha * a_scale * b_scale``; the primes transpose if transA or transB is set.
    """

    alpha: float = 1.0
    transA: int = 0
    transB: int = 0
    domain: ClassVar[str] = MICROSOFT

    def infer(
        self,
        a: TensorType,
        a_scale: TensorType,
        a_zero_point: TensorType,
        b: TensorType,
        b_scale: TensorType,
        b_zero_point: TensorType,
        c: TensorType | None = None,
        y_scale: TensorType | None = None,
        y_zero_point: TensorType | None = None,
    ) -> Any:
        check_quantized(self, a, a_zero_point)
        check_quantized(self, b, b_zero_point)
        for scale in known(a_scale, b_scale, y_scale):
            check_type(self, scale.dtype, FLOAT32)
        if (y_scale is None) != (y_zero_point is None):
            raise attribute_error("QGemm needs both the scale and the zero point of its result, or neither")
        left, right = require_rank(a, 2, "A"), require_rank(b, 2, "B")
        shape: Any = (None, None)
        if left is not None and right is not None:
            shape = matmul_shape(left[::-1] if self.transA else left, right[::-1] if self.transB else right)
        if isinstance(c, TensorType):
            if c.dtype is not DType.INT32:
                raise dtype_error(f"C must be i32, not {c.dtype}")
            self._check_addend(c, shape)
        check_columns(b_scale, shape[1], "the number of scales and columns of B")
        if y_zero_point is None:
            return TensorType(DType.FLOAT, shape)
        if not isinstance(y_zero_point, TensorType):
            return partial(y_zero_point)
        check_type(self, y_zero_point.dtype, BYTES)
        return TensorType(y_zero_point.dtype, shape)

    def _check_addend(self, c: TensorType, shape: tuple[Any, ...]) -> None:
        if c.shape is None or None in shape:
            return
        joined = broadcast_shapes(c.shape, shape)
        for ours, theirs in zip(joined or (), shape, strict=True):
            if isinstance(ours, int) and isinstance(theirs, int) and ours != theirs:
                raise shape_error(f"C {format_shape(c.shape)} does not broadcast to {format_shape(shape)}")

    def evaluate(
        self,
        a: Array,
        a_scale: Array,
        a_zero_point: Array,
        b: Array,
        b_scale: Array,
        b_zero_point: Array,
        c: Array | None = None,
        y_scale: Array | None = None,
        y_zero_point: Array | None = None,
    ) -> Any:
        left = centred(a, a_zero_point.reshape(()))
        right = centred(b, None)
        right = (right.T if self.transB else right) - per_column(b_zero_point).astype(np.float64)
        total = np.matmul(left.T if self.transA else left, right)
        if c is not None:
            total = total + c
        multiplier = np.float32(self.alpha) * a_scale.reshape(()) * per_column(b_scale)
        if y_scale is None or y_zero_point is None:
            return (total.astype(np.float32) * multiplier).astype(np.float32, copy=False)
        scale = multiplier / y_scale.reshape(())
        return requantize(total, scale, y_zero_point.reshape(()), DType.from_numpy(y_zero_point.dtype))
