"""Linear quantisation: per tensor, per axis and per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, ceildiv
from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .cast import cast_array
from .common import attribute_error, dtype_error, format_shape, normalize_axis, shape_error, unify_dim
from .elementwise import FLOAT8, check_same, check_type, partial, widen

SMALL_FLOATS = FLOAT8 | {DType.FLOAT4E2M1, DType.FLOAT6E2M3, DType.FLOAT6E3M2}
QUANTIZED = SMALL_FLOATS | frozenset(DType.from_short(f"{kind}{bits}") for kind in "iu" for bits in (2, 4, 8, 16))
ONE: tuple[tuple[Dim, ...], ...] = ((), (1,))
REAL = frozenset((DType.FLOAT, DType.FLOAT16, DType.BFLOAT16))


def integer_range(dtype: DType) -> tuple[int, int]:
    """The least and the greatest value of an integer type."""
    if dtype.is_signed_integer:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1


def check_parameters(op: Op, x: TensorType, scale: Any, zero_point: Any, axis: int | None, block_size: int) -> None:
    """Check that scale and zero point fit the tensor per tensor, per axis or per block.

    Args:
        op: the operator, for messages.
        x: the tensor that is quantised or dequantised.
        scale: its scale's type, or another type when it is not known.
        zero_point: its zero point's type, None when absent.
        axis: the axis of one-dimensional scales and of blocks; None allows only one scale.
        block_size: elements per block, 0 without blocks.
    """
    if block_size < 0:
        raise attribute_error(f"block_size is {block_size}")
    shape = scale.shape if isinstance(scale, TensorType) else None
    if isinstance(zero_point, TensorType) and zero_point.shape is not None and shape is not None:
        if len(zero_point.shape) != len(shape) and not (zero_point.shape in ONE and shape in ONE):
            raise shape_error(f"zero point {format_shape(zero_point.shape)} and scale {format_shape(shape)} must agree")
        for ours, theirs in zip(zero_point.shape, shape, strict=False):
            unify_dim(ours, theirs, "the sizes of zero point and scale")
    if shape is None or x.shape is None or shape in ONE:
        return
    if axis is None:
        raise shape_error(f"{op.op_name} without an axis needs one scale, not {format_shape(shape)}")
    along = normalize_axis(axis, len(x.shape))
    if len(shape) == 1 and not (block_size and len(x.shape) == 1):
        unify_dim(shape[0], x.shape[along], f"the number of scales and axis {along} of {format_shape(x.shape)}")
        return
    if not block_size:
        raise shape_error(f"scale {format_shape(shape)} must be a scalar or a list", hint="blocks need a block_size")
    if len(shape) != len(x.shape):
        raise shape_error(f"scale {format_shape(shape)} does not fit {format_shape(x.shape)} in blocks of {block_size}")
    for i, (ours, theirs) in enumerate(zip(shape, x.shape, strict=True)):
        wanted: Dim = ceildiv(theirs, block_size) if i == along else theirs
        unify_dim(ours, wanted, f"axis {i} of the scales for {format_shape(x.shape)} in blocks of {block_size}")


def spread(values: Array, shape: tuple[int, ...], axis: int | None, block_size: int = 0) -> Array:
    """Scales or zero points in a form that broadcasts against a tensor of ``shape``."""
    if values.ndim <= 1 and values.size == 1:
        return values.reshape(())
    along = axis if axis is not None else 0
    if block_size and values.ndim == len(shape):
        repeated = np.repeat(values, block_size, axis=along)
        kept = [slice(None)] * len(shape)
        kept[along] = slice(0, shape[along])
        return repeated[tuple(kept)]
    target = [1] * len(shape)
    target[along] = -1
    return values.reshape(target)


def quantize(
    x: Array,
    scale: Array,
    zero_point: Array | None,
    dtype: DType,
    saturate: bool = True,
    precision: DType | None = None,
) -> Array:
    """``x / scale``, rounded half to even, moved by the zero point and limited to the type; operands broadcast."""
    with np.errstate(all="ignore"):
        quotient = np.divide(widen(x), widen(scale))
        if precision is not None and precision.bits < 32:
            quotient = quotient.astype(precision.numpy).astype(np.float32)
        if not dtype.is_integer:
            if zero_point is not None:
                quotient = quotient + widen(zero_point)
            return cast_array(quotient, dtype, saturate)
        rounded = np.rint(quotient)
        if zero_point is not None:
            rounded = rounded + zero_point.astype(rounded.dtype)
        low, high = integer_range(dtype)
        limited = np.nan_to_num(np.clip(rounded, low, high), nan=low)
        return np.asarray(limited.astype(np.int32).astype(dtype.numpy))


def dequantize(x: Array, scale: Array, zero_point: Array | None, dtype: DType) -> Array:
    """``(x - zero_point) * scale``, computed in float32; operands broadcast."""
    with np.errstate(all="ignore"):
        if DType.from_numpy(x.dtype).is_float:
            centred = widen(x) if zero_point is None else widen(x) - widen(zero_point)
        else:
            whole = x.astype(np.int32)
            centred = whole if zero_point is None else whole - zero_point.astype(np.int32)
        product = centred.astype(np.float32) * scale.astype(np.float32)
        return np.asarray(product).astype(dtype.numpy, copy=False)


@dataclass(frozen=True)
class QuantizeLinear(Op):
    """``saturate(round(x / y_scale) + y_zero_point)``.

    Attributes:
        axis: the axis of one-dimensional scales and of blocks.
        block_size: elements that share a scale along the axis, 0 without blocks.
        output_dtype: the result's element type when there is no zero point; u8 unless stated.
        precision: the element type of the division when it is not the scale's.
        saturate: whether values out of the range of a float8 type become its greatest value.
    """

    axis: int = 1
    block_size: int = 0
    output_dtype: DType | None = None
    precision: DType | None = None
    saturate: int = 1
    since: ClassVar[int] = 10
    inputs: ClassVar[frozenset[DType]] = REAL | {DType.INT32}
    scales: ClassVar[frozenset[DType]] = REAL | {DType.INT32, DType.FLOAT8E8M0}

    def infer(self, x: TensorType, y_scale: TensorType, y_zero_point: TensorType | None = None) -> Any:
        dtype = self.output_dtype or DType.UINT8
        if isinstance(y_zero_point, TensorType):
            dtype = y_zero_point.dtype
            if self.output_dtype not in (None, dtype):
                raise dtype_error(f"the zero point is {dtype}, output_dtype is {self.output_dtype}")
        elif y_zero_point is not None and self.output_dtype is None:
            return partial(y_zero_point)
        check_type(self, dtype, QUANTIZED)
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(dtype, None)
        check_type(self, x.dtype, self.inputs)
        if isinstance(y_scale, TensorType):
            check_type(self, y_scale.dtype, self.scales)
        check_parameters(self, x, y_scale, y_zero_point, self.axis, self.block_size)
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, y_scale: Array, y_zero_point: Array | None = None) -> Any:
        dtype = self.output_dtype or DType.UINT8
        if y_zero_point is not None:
            dtype = DType.from_numpy(y_zero_point.dtype)
            y_zero_point = spread(y_zero_point, x.shape, self.axis, self.block_size)
        scale = spread(y_scale, x.shape, self.axis, self.block_size)
        return quantize(x, scale, y_zero_point, dtype, bool(self.saturate), self.precision)


@dataclass(frozen=True)
class DequantizeLinear(Op):
    """``(x - x_zero_point) * x_scale``.

    Attributes:
        axis: the axis of one-dimensional scales and of blocks.
        block_size: elements that share a scale along the axis, 0 without blocks.
        output_dtype: the result's element type; the scale's unless stated.
    """

    axis: int = 1
    block_size: int = 0
    output_dtype: DType | None = None
    since: ClassVar[int] = 10
    inputs: ClassVar[frozenset[DType]] = QUANTIZED | {DType.INT32}
    scales: ClassVar[frozenset[DType]] = REAL | {DType.FLOAT8E8M0}

    def infer(self, x: TensorType, x_scale: TensorType, x_zero_point: TensorType | None = None) -> Any:
        if isinstance(x_scale, TensorType):
            check_type(self, x_scale.dtype, self.scales)
            dtype = self.output_dtype or x_scale.dtype
        elif self.output_dtype is not None:
            dtype = self.output_dtype
        else:
            return partial(x_scale)
        check_type(self, dtype, REAL)
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(dtype, None)
        check_type(self, x.dtype, self.inputs)
        if isinstance(x_zero_point, TensorType):
            check_same(self, x.dtype, x_zero_point.dtype)
        check_parameters(self, x, x_scale, x_zero_point, self.axis, self.block_size)
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, x_scale: Array, x_zero_point: Array | None = None) -> Any:
        dtype = self.output_dtype or DType.from_numpy(x_scale.dtype)
        zero_point = None if x_zero_point is None else spread(x_zero_point, x.shape, self.axis, self.block_size)
        return dequantize(x, spread(x_scale, x.shape, self.axis, self.block_size), zero_point, dtype)


def dynamic_parameters(x: Array) -> tuple[Array, Array]:
    """The float32 scale and u8 zero point that cover the range of ``x`` and zero."""
    low = np.minimum(np.min(x, initial=np.inf), np.float32(0))
    high = np.maximum(np.max(x, initial=-np.inf), np.float32(0))
    scale = np.float32(1) if low == high else np.float32((high - low) / np.float32(255))
    zero_point = np.clip(np.rint(-low / scale), 0, 255)
    return np.asarray(scale, np.float32), np.asarray(zero_point).astype(np.uint8)


@dataclass(frozen=True)
class DynamicQuantizeLinear(Op):
    """A float32 tensor quantised to u8 over its own range; also gives the scale and the zero point."""

    since: ClassVar[int] = 11
    outputs: ClassVar[int] = 3

    def infer(self, x: TensorType) -> Any:
        shape = None
        if isinstance(x, TensorType):
            check_type(self, x.dtype, frozenset((DType.FLOAT,)))
            shape = x.shape
        else:
            partial(x)
        return TensorType(DType.UINT8, shape), TensorType(DType.FLOAT, ()), TensorType(DType.UINT8, ())

    def evaluate(self, x: Array) -> Any:
        scale, zero_point = dynamic_parameters(x)
        return quantize(x, scale, zero_point, DType.UINT8), scale, zero_point


@dataclass(frozen=True)
class MsQuantizeLinear(Op):
    """The contributed form of QuantizeLinear, with integers of 4, 8 and 16 bits; without an axis it has one scale."""

    axis: int | None = None
    domain: ClassVar[str] = MICROSOFT
    op_name: ClassVar[str] = "QuantizeLinear"
    inputs: ClassVar[frozenset[DType]] = frozenset((DType.FLOAT, DType.FLOAT16))
    results: ClassVar[frozenset[DType]] = frozenset(d for d in QUANTIZED - SMALL_FLOATS if d.bits > 2)

    def infer(self, x: TensorType, y_scale: TensorType, y_zero_point: TensorType | None = None) -> Any:
        if y_zero_point is not None and not isinstance(y_zero_point, TensorType):
            return partial(y_zero_point)
        dtype = y_zero_point.dtype if y_zero_point is not None else DType.UINT8
        check_type(self, dtype, self.results)
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(dtype, None)
        check_type(self, x.dtype, self.inputs)
        if isinstance(y_scale, TensorType):
            check_same(self, x.dtype, y_scale.dtype)
        check_parameters(self, x, y_scale, y_zero_point, self.axis, 0)
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, y_scale: Array, y_zero_point: Array | None = None) -> Any:
        dtype = DType.UINT8 if y_zero_point is None else DType.from_numpy(y_zero_point.dtype)
        zero_point = None if y_zero_point is None else spread(y_zero_point, x.shape, self.axis)
        return quantize(x, spread(y_scale, x.shape, self.axis), zero_point, dtype)


@dataclass(frozen=True)
class MsDequantizeLinear(Op):
    """The contributed form of DequantizeLinear, with integers of 4 to 32 bits; without an axis it has one scale."""

    axis: int | None = None
    domain: ClassVar[str] = MICROSOFT
    op_name: ClassVar[str] = "DequantizeLinear"
    inputs: ClassVar[frozenset[DType]] = MsQuantizeLinear.results | {DType.INT32}
    scales: ClassVar[frozenset[DType]] = frozenset((DType.FLOAT, DType.FLOAT16))

    def infer(self, x: TensorType, x_scale: TensorType, x_zero_point: TensorType | None = None) -> Any:
        if not isinstance(x_scale, TensorType):
            return partial(x_scale)
        check_type(self, x_scale.dtype, self.scales)
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(x_scale.dtype, None)
        check_type(self, x.dtype, self.inputs)
        if isinstance(x_zero_point, TensorType):
            check_same(self, x.dtype, x_zero_point.dtype)
        check_parameters(self, x, x_scale, x_zero_point, self.axis, 0)
        return TensorType(x_scale.dtype, x.shape)

    def evaluate(self, x: Array, x_scale: Array, x_zero_point: Array | None = None) -> Any:
        zero_point = None if x_zero_point is None else spread(x_zero_point, x.shape, self.axis)
        return dequantize(x, spread(x_scale, x.shape, self.axis), zero_point, DType.from_numpy(x_scale.dtype))
