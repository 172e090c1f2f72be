"""Matrix products and convolutions of quantised tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import dtype_error
from .conv import conv_shape, convolve
from .elementwise import FLOAT8, check_same, check_type, partial, widen
from .matmul import matmul_shape
from .operands import require_vector, shape_of
from .quantize import REAL, integer_range
from .windows import per_axis, resolved_pads

BYTES = frozenset((DType.INT8, DType.UINT8))


def known(*operands: Any) -> list[TensorType]:
    """The operands that are tensor types; diagnostics for sequences and optionals."""
    for operand in operands:
        if operand is not None and not isinstance(operand, TensorType):
            partial(operand)
    return [o for o in operands if isinstance(o, TensorType)]


def check_quantized(op: Op, tensor: Any, zero_point: Any, allowed: frozenset[DType] = BYTES) -> None:
    """Check a quantised operand's element type against what the operator admits and against its zero point's."""
    if isinstance(tensor, TensorType):
        check_type(op, tensor.dtype, allowed)
        if isinstance(zero_point, TensorType):
            check_same(op, tensor.dtype, zero_point.dtype)


def per_row(values: Array) -> Array:
    """Row parameters (one, ``[M]`` or ``[..., M, 1]``) in a form that broadcasts against ``[..., M, K]``."""
    return values.reshape(()) if values.size == 1 else values[:, None] if values.ndim == 1 else values


def per_column(values: Array) -> Array:
    """Column parameters (one, ``[N]`` or ``[..., 1, N]``) in a form that broadcasts against ``[..., K, N]``."""
    return values.reshape(()) if values.size == 1 else values


def centred(x: Array, zero_point: Array | None) -> Array:
    """Quantised elements minus their zero point as float64, in which the products below are exact."""
    wide = widen(x).astype(np.float64)
    return wide if zero_point is None else wide - widen(zero_point).astype(np.float64)


def requantize(accumulated: Array, multiplier: Any, zero_point: Array, dtype: DType) -> Array:
    """Accumulated products times a float32 multiplier, rounded half to even, as a quantised type."""
    scaled = accumulated.astype(np.float32) * np.asarray(multiplier, np.float32)
    if not dtype.is_integer:
        from .cast import cast_array

        return cast_array(scaled + widen(zero_point), dtype)
    low, high = integer_range(dtype)
    moved = np.rint(scaled) + zero_point.astype(np.float32)
    return np.asarray(np.clip(moved, low, high).astype(dtype.numpy))


@dataclass(frozen=True)
class MatMulInteger(Op):
    """The product of two 8-bit matrices minus their zero points, as i32."""

    since: ClassVar[int] = 10

    def infer(
        self,
        a: TensorType,
        b: TensorType,
        a_zero_point: TensorType | None = None,
        b_zero_point: TensorType | None = None,
    ) -> Any:
        known(a, b)
        check_quantized(self, a, a_zero_point)
        check_quantized(self, b, b_zero_point)
        return TensorType(DType.INT32, matmul_shape(shape_of(a), shape_of(b)))

    def evaluate(self, a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None) -> Any:
        left = centred(a, None if a_zero_point is None else per_row(a_zero_point))
        right = centred(b, None if b_zero_point is None else per_column(b_zero_point))
        return np.asarray(np.matmul(left, right)).astype(np.int32)


@dataclass(frozen=True)
class QLinearMatMul(Op):
    """The product of two quantised matrices, quantised again."""

    since: ClassVar[int] = 10
    types: ClassVar[frozenset[DType]] = BYTES | FLOAT8

    def infer(
        self,
        a: TensorType,
        a_scale: TensorType,
        a_zero_point: TensorType,
        b: TensorType,
        b_scale: TensorType,
        b_zero_point: TensorType,
        y_scale: TensorType,
        y_zero_point: TensorType,
    ) -> Any:
        check_quantized(self, a, a_zero_point, self.types)
        check_quantized(self, b, b_zero_point, self.types)
        for scale in known(a_scale, b_scale, y_scale):
            check_type(self, scale.dtype, REAL)
        if not isinstance(y_zero_point, TensorType):
            return partial(y_zero_point)
        check_type(self, y_zero_point.dtype, self.types)
        return TensorType(y_zero_point.dtype, matmul_shape(shape_of(a), shape_of(b)))

    def evaluate(
        self,
        a: Array,
        a_scale: Array,
        a_zero_point: Array,
        b: Array,
        b_scale: Array,
        b_zero_point: Array,
        y_scale: Array,
        y_zero_point: Array,
    ) -> Any:
        product = np.matmul(centred(a, per_row(a_zero_point)), centred(b, per_column(b_zero_point)))
        scale_a, scale_b, scale_y = (s.astype(np.float32) for s in (a_scale, b_scale, y_scale))
        multiplier = per_row(scale_a) * per_column(scale_b) / per_row(scale_y)
        return requantize(product, multiplier, per_row(y_zero_point), DType.from_numpy(y_zero_point.dtype))


def integer_convolution(op: Any, x: Array, w: Array, x_zero_point: Array | None, w_zero_point: Array | None) -> Array:
    """The exact convolution of quantised tensors minus their zero points, as float64.

    Args:
        op: has the attributes of Conv.
        x: the input ``[batch, channels, *spatial]``; padding stands for its zero point.
        w: the weight ``[filters, channels / group, *kernel]``.
        x_zero_point: one zero point.
        w_zero_point: one zero point, or one per filter.
    """
    rank = x.ndim - 2
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    pads = resolved_pads(x.shape[2:], w.shape[2:], strides, dilations, op.pads, op.auto_pad)
    per_filter = None
    if w_zero_point is not None:
        per_filter = w_zero_point.reshape(()) if w_zero_point.size == 1 else w_zero_point.reshape(-1, *(1,) * (rank + 1))
    image = centred(x, None if x_zero_point is None else x_zero_point.reshape(()))
    return convolve(image, centred(w, per_filter), strides, dilations, pads, op.group)


@dataclass(frozen=True)
class ConvInteger(Op):
    """The convolution of 8-bit tensors minus their zero points, as i32."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    since: ClassVar[int] = 10

    def infer(
        self,
        x: TensorType,
        w: TensorType,
        x_zero_point: TensorType | None = None,
        w_zero_point: TensorType | None = None,
    ) -> Any:
        known(x, w)
        check_quantized(self, x, x_zero_point)
        check_quantized(self, w, w_zero_point)
        return TensorType(DType.INT32, conv_shape(self, shape_of(x), shape_of(w)))

    def evaluate(self, x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None) -> Any:
        return integer_convolution(self, x, w, x_zero_point, w_zero_point).astype(np.int32)


@dataclass(frozen=True)
class QLinearConv(Op):
    """The convolution of quantised tensors, quantised again; the bias is i32 in units of x_scale * w_scale."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    since: ClassVar[int] = 10

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType,
        w: TensorType,
        w_scale: TensorType,
        w_zero_point: TensorType,
        y_scale: TensorType,
        y_zero_point: TensorType,
        b: TensorType | None = None,
    ) -> Any:
        check_quantized(self, x, x_zero_point)
        check_quantized(self, w, w_zero_point)
        for scale in known(x_scale, w_scale, y_scale):
            check_type(self, scale.dtype, frozenset((DType.FLOAT,)))
        shape = conv_shape(self, shape_of(x), shape_of(w))
        if isinstance(b, TensorType):
            if b.dtype is not DType.INT32:
                raise dtype_error(f"the bias of QLinearConv must be i32, not {b.dtype}")
            require_vector(b, None if shape is None else shape[1], "the bias")
        if not isinstance(y_zero_point, TensorType):
            return partial(y_zero_point)
        check_type(self, y_zero_point.dtype, BYTES)
        return TensorType(y_zero_point.dtype, shape)

    def evaluate(
        self,
        x: Array,
        x_scale: Array,
        x_zero_point: Array,
        w: Array,
        w_scale: Array,
        w_zero_point: Array,
        y_scale: Array,
        y_zero_point: Array,
        b: Array | None = None,
    ) -> Any:
        channels = (-1, *(1,) * (x.ndim - 2))
        total = integer_convolution(self, x, w, x_zero_point, w_zero_point)
        if b is not None:
            total = total + b.reshape(channels)
        multiplier = x_scale.reshape(()) * w_scale.reshape(-1) / y_scale.reshape(())
        dtype = DType.from_numpy(y_zero_point.dtype)
        return requantize(total, multiplier.reshape(channels), y_zero_point.reshape(()), dtype)
