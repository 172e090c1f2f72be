"""Contributed (com.microsoft) operators on quantised tensors with one scale and one zero point each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..diagnostics import E_OPERANDS, Diagnostic
from ..dims import Dim
from ..dtypes import DType
from ..op import MICROSOFT, Op
from ..types import TensorType
from .activation import sigmoid
from .common import broadcast_shapes, format_shape, normalize_axis, shape_error, unify_dim
from .elementwise import check_same, check_type, partial
from .pooling import AveragePool
from .quantize import integer_range, quantize
from .quantized_products import BYTES, check_quantized, known

FLOAT32 = frozenset((DType.FLOAT,))


def check_scales(op: Op, *scales: Any) -> None:
    """Check that the known scales are float32 and single."""
    for scale in known(*scales):
        check_type(op, scale.dtype, FLOAT32)
        if scale.shape is not None and scale.shape not in ((), (1,)):
            raise shape_error(f"{op.op_name} takes one scale per tensor, not {format_shape(scale.shape)}")


def require(op: Op, **operands: Any) -> None:
    """Check that operands are present which follow optional ones."""
    for name, operand in operands.items():
        if operand is None:
            raise Diagnostic(E_OPERANDS, f"{op.qualified_name} needs the operand {name}")


def zero_of(zero_point: Array | None) -> np.float32:
    """A zero point as float32; absent is zero."""
    return np.float32(0) if zero_point is None else np.float32(int(zero_point.reshape(-1)[0]))


def one(scale: Array) -> np.float32:
    """The only element of a scale."""
    return np.float32(scale.reshape(-1)[0])


def stored(values: Any, dtype: np.dtype[Any]) -> Array:
    """Float results rounded half to even and limited to a quantised type."""
    low, high = integer_range(DType.from_numpy(dtype))
    return np.asarray(np.clip(np.rint(values), low, high)).astype(dtype)


def multiply_add(values: Array, factor: np.float32, addend: Any) -> Array:
    """``values * factor + addend`` in float32, rounded once at the end as fused hardware instructions do."""
    return (values.astype(np.float64) * np.float64(factor) + np.float64(addend)).astype(np.float32)


class QuantizedBinary(Op, abstract=True):
    """An elementwise function of two quantised tensors, with numpy broadcasting."""

    domain: ClassVar[str] = MICROSOFT
    elementwise: ClassVar[bool] = True

    def infer(
        self,
        a: TensorType,
        a_scale: TensorType,
        a_zero_point: TensorType | None = None,
        b: TensorType | None = None,
        b_scale: TensorType | None = None,
        b_zero_point: TensorType | None = None,
        c_scale: TensorType | None = None,
        c_zero_point: TensorType | None = None,
    ) -> Any:
        require(self, b=b, b_scale=b_scale, c_scale=c_scale)
        check_scales(self, a_scale, b_scale, c_scale)
        check_quantized(self, a, a_zero_point)
        check_quantized(self, b, b_zero_point)
        check_quantized(self, a, c_zero_point)
        if not isinstance(a, TensorType) or not isinstance(b, TensorType):
            tensors = known(a, b)
            return TensorType(tensors[0].dtype, None) if tensors else partial(a, b)
        check_same(self, a.dtype, b.dtype)
        return TensorType(a.dtype, broadcast_shapes(a.shape, b.shape))


@dataclass(frozen=True)
class QLinearAdd(QuantizedBinary):
    """The sum of two quantised tensors, quantised again."""

    def evaluate(
        self,
        a: Array,
        a_scale: Array,
        a_zero_point: Array | None,
        b: Array,
        b_scale: Array,
        b_zero_point: Array | None,
        c_scale: Array,
        c_zero_point: Array | None = None,
    ) -> Any:
        ratio_a, ratio_b = one(a_scale) / one(c_scale), one(b_scale) / one(c_scale)
        moved = zero_of(c_zero_point) - (ratio_a * zero_of(a_zero_point) + ratio_b * zero_of(b_zero_point))
        return stored(multiply_add(a, ratio_a, multiply_add(b, ratio_b, moved)), a.dtype)


@dataclass(frozen=True)
class QLinearMul(QuantizedBinary):
    """The product of two quantised tensors, quantised again."""

    def evaluate(
        self,
        a: Array,
        a_scale: Array,
        a_zero_point: Array | None,
        b: Array,
        b_scale: Array,
        b_zero_point: Array | None,
        c_scale: Array,
        c_zero_point: Array | None = None,
    ) -> Any:
        ratio = one(a_scale) * one(b_scale) / one(c_scale)
        left = a.astype(np.float32) - zero_of(a_zero_point)
        right = b.astype(np.float32) - zero_of(b_zero_point)
        return stored(left * right * ratio + zero_of(c_zero_point), a.dtype)


class QuantizedUnary(Op, abstract=True):
    """An elementwise function of one quantised tensor, applied to the real numbers that it stands for."""

    domain: ClassVar[str] = MICROSOFT
    elementwise: ClassVar[bool] = True

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType | None = None,
        y_scale: TensorType | None = None,
        y_zero_point: TensorType | None = None,
    ) -> Any:
        require(self, y_scale=y_scale)
        check_scales(self, x_scale, y_scale)
        check_quantized(self, x, x_zero_point)
        check_quantized(self, x, y_zero_point)
        return x.with_shape(x.shape) if isinstance(x, TensorType) else partial(x)

    def function(self, x: Array) -> Any:
        """The function of float32 numbers."""
        raise NotImplementedError

    def evaluate(
        self,
        x: Array,
        x_scale: Array,
        x_zero_point: Array | None,
        y_scale: Array,
        y_zero_point: Array | None = None,
    ) -> Any:
        real = one(x_scale) * (x.astype(np.float32) - zero_of(x_zero_point))
        zero_point = np.zeros((), x.dtype) if y_zero_point is None else y_zero_point.reshape(())
        with np.errstate(all="ignore"):
            values = np.asarray(self.function(real), np.float32)
        return quantize(values, y_scale.reshape(()), zero_point, DType.from_numpy(x.dtype))


@dataclass(frozen=True)
class QLinearSigmoid(QuantizedUnary):
    """The sigmoid of a quantised tensor, quantised again."""

    def function(self, x: Array) -> Any:
        return sigmoid(x)


@dataclass(frozen=True)
class QLinearLeakyRelu(QuantizedUnary):
    """The leaky rectifier of a quantised tensor, quantised again."""

    alpha: float = 0.01

    def function(self, x: Array) -> Any:
        return np.where(x >= 0, x, np.float32(self.alpha) * x)


@dataclass(frozen=True)
class QLinearConcat(Op):
    """Quantised tensors joined along an axis after quantising each with the result's scale and zero point.

    The operands after the result's scale and zero point are tensor, scale and zero point of each part.
    """

    axis: int
    domain: ClassVar[str] = MICROSOFT

    def infer(self, y_scale: TensorType, y_zero_point: TensorType, *inputs: TensorType) -> Any:
        if not inputs or len(inputs) % 3:
            raise shape_error(f"QLinearConcat needs tensor, scale and zero point of each part, not {len(inputs)} operands")
        check_scales(self, y_scale, *inputs[1::3])
        for part, zero_point in zip(inputs[::3], inputs[2::3], strict=True):
            check_quantized(self, part, zero_point)
        if not isinstance(y_zero_point, TensorType):
            return partial(y_zero_point)
        check_type(self, y_zero_point.dtype, BYTES)
        parts = known(*inputs[::3])
        shapes = [p.shape for p in parts if p.shape is not None]
        if len(shapes) < len(inputs) // 3:
            return TensorType(y_zero_point.dtype, (None,) * len(shapes[0]) if shapes else None)  # type: ignore[arg-type]
        result: list[Any] = list(shapes[0])
        along = normalize_axis(self.axis, len(result))
        for shape in shapes[1:]:
            if len(shape) != len(result):
                raise shape_error(f"shapes {', '.join(map(format_shape, shapes))} have different ranks")
            for i, dim in enumerate(shape):
                result[i] = result[i] + dim if i == along else unify_dim(result[i], dim, f"dimension {i} of the parts")
        return TensorType(y_zero_point.dtype, tuple(result))

    def evaluate(self, y_scale: Array, y_zero_point: Array, *inputs: Array) -> Any:
        dtype = DType.from_numpy(y_zero_point.dtype)
        parts = []
        for part, scale, zero_point in zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True):
            if one(scale) == one(y_scale) and zero_of(zero_point) == zero_of(y_zero_point):
                parts.append(part)
                continue
            real = one(scale) * (part.astype(np.float32) - zero_of(zero_point))
            parts.append(quantize(real, y_scale.reshape(()), y_zero_point.reshape(()), dtype))
        return np.concatenate(parts, axis=self.axis)


@dataclass(frozen=True)
class QLinearGlobalAveragePool(Op):
    """The mean over all spatial positions of a quantised tensor, quantised again."""

    channels_last: int = 0
    domain: ClassVar[str] = MICROSOFT

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType,
        y_scale: TensorType,
        y_zero_point: TensorType,
    ) -> Any:
        check_scales(self, x_scale, y_scale)
        check_quantized(self, x, x_zero_point)
        check_quantized(self, x, y_zero_point)
        if not isinstance(x, TensorType) or x.shape is None:
            return x if isinstance(x, TensorType) else partial(x)
        rank = len(x.shape)
        if rank < 3:
            raise shape_error(f"a global pool needs batch, channels and spatial dimensions, not {format_shape(x.shape)}")
        kept = (0, rank - 1) if self.channels_last else (0, 1)
        shape: tuple[Dim, ...] = tuple(d if i in kept else 1 for i, d in enumerate(x.shape))
        return TensorType(x.dtype, shape)

    def evaluate(self, x: Array, x_scale: Array, x_zero_point: Array, y_scale: Array, y_zero_point: Array) -> Any:
        axes = tuple(range(1, x.ndim - 1)) if self.channels_last else tuple(range(2, x.ndim))
        count = math.prod(x.shape[i] for i in axes)
        total = x.astype(np.int32).sum(axis=axes, keepdims=True, dtype=np.int32)
        total = total - np.int32(count) * np.int32(zero_of(x_zero_point))
        multiplier = one(x_scale) / (one(y_scale) * np.float32(count))
        return stored(np.rint(total.astype(np.float32) * multiplier) + zero_of(y_zero_point), x.dtype)


@dataclass(frozen=True)
class QLinearAveragePool(Op):
    """The mean of each window of a quantised tensor, quantised again."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    channels_last: int = 0
    count_include_pad: int = 0
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    domain: ClassVar[str] = MICROSOFT

    def _pool(self) -> AveragePool:
        return AveragePool(
            kernel_shape=self.kernel_shape,
            auto_pad=self.auto_pad,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
            pads=self.pads,
            strides=self.strides,
        )

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType | None = None,
        y_scale: TensorType | None = None,
        y_zero_point: TensorType | None = None,
    ) -> Any:
        require(self, y_scale=y_scale)
        check_scales(self, x_scale, y_scale)
        check_quantized(self, x, x_zero_point)
        check_quantized(self, x, y_zero_point)
        if not isinstance(x, TensorType):
            return partial(x)
        shape = x.shape
        if shape is not None and self.channels_last:
            shape = (shape[0], shape[-1], *shape[1:-1])
        pooled = self._pool().infer(TensorType(DType.FLOAT, shape)).shape
        if pooled is not None and self.channels_last:
            pooled = (pooled[0], *pooled[2:], pooled[1])
        return TensorType(x.dtype, pooled)

    def evaluate(
        self,
        x: Array,
        x_scale: Array,
        x_zero_point: Array | None,
        y_scale: Array,
        y_zero_point: Array | None = None,
    ) -> Any:
        real = one(x_scale) * (x.astype(np.float32) - zero_of(x_zero_point))
        if self.channels_last:
            real = np.moveaxis(real, -1, 1)
        mean = self._pool().evaluate(real)
        if self.channels_last:
            mean = np.moveaxis(mean, 1, -1)
        return stored(mean / one(y_scale) + zero_of(y_zero_point), x.dtype)


@dataclass(frozen=True)
class QLinearSoftmax(Op):
    """The softmax of a quantised tensor, quantised again.

    Attributes:
        opset: the ai.onnx opset whose Softmax is meant: before 13 all dimensions from the axis on are one.
        axis: the axis, or the first of the dimensions.
    """

    opset: int
    axis: int = -1
    domain: ClassVar[str] = MICROSOFT

    def infer(
        self,
        x: TensorType,
        x_scale: TensorType,
        x_zero_point: TensorType | None = None,
        y_scale: TensorType | None = None,
        y_zero_point: TensorType | None = None,
    ) -> Any:
        require(self, y_scale=y_scale, y_zero_point=y_zero_point)
        check_scales(self, x_scale, y_scale)
        check_quantized(self, x, x_zero_point)
        check_quantized(self, x, y_zero_point)
        if not isinstance(x, TensorType):
            return partial(x)
        if x.shape is not None:
            normalize_axis(self.axis, len(x.shape))
        return x.with_shape(x.shape)

    def evaluate(self, x: Array, x_scale: Array, x_zero_point: Array | None, y_scale: Array, y_zero_point: Array) -> Any:
        axis = normalize_axis(self.axis, x.ndim)
        flat = x.reshape(*x.shape[:axis], -1) if self.opset < 13 else np.moveaxis(x, axis, -1)
        below = flat.astype(np.float64) - flat.max(axis=-1, keepdims=True, initial=np.iinfo(x.dtype).min)
        # the kernel raises all powers by what float32 can hold, and counts whole steps of the result's scale
        room = max(0.0, math.log(np.finfo(np.float32).max / max(flat.shape[-1], 1)) - 5)
        powers = np.exp((below + room / float(one(x_scale))) * float(one(x_scale))).astype(np.float32)
        total = np.cumsum(powers, axis=-1, dtype=np.float32)[..., -1:]
        steps = np.floor(np.float32(1) / one(y_scale))
        result = stored(np.rint(powers * steps / total) + zero_of(y_zero_point), x.dtype)
        return result.reshape(x.shape) if self.opset < 13 else np.moveaxis(result, -1, axis)
