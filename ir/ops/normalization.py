"""Normalisations: batch, instance, layer, group, root-mean-square, local response, mean-variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, dtype_error, format_shape, normalize_axis, shape_error
from .numerics import Array, rounded, widened
from .operands import divided, float_dtype, require_vector, shape_of, unresolved
from .windows import padded

_STASH = {1: DType.FLOAT, 10: DType.FLOAT16, 11: DType.DOUBLE, 16: DType.BFLOAT16}


def _channels(shape: Any) -> Any:
    if shape is None:
        return None
    if len(shape) < 2:
        raise shape_error(f"the input needs batch and channels, not {format_shape(shape)}")
    return shape[1]


def _per_channel(vector: Array, rank: int) -> Array:
    return widened(vector).reshape(-1, *(1,) * (rank - 2))


@dataclass(frozen=True)
class BatchNormalization(Op):
    """``(X - mean) / sqrt(variance + epsilon) * scale + B`` per channel, with running statistics updated in training mode."""

    epsilon: float = 1e-05
    momentum: float = 0.9
    training_mode: int = 0

    def infer(self, x: TensorType, scale: TensorType, b: TensorType, input_mean: TensorType, input_var: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype, shape = float_dtype(x), x.shape
        channels = shape[1] if shape is not None and len(shape) > 1 else 1 if shape is not None else None
        for name, vector in (("scale", scale), ("B", b), ("input_mean", input_mean), ("input_var", input_var)):
            require_vector(vector, channels, name)
        y = TensorType(dtype, shape)
        if not self.training_mode:
            return y
        statistic = input_mean.dtype if type(input_mean) is TensorType else dtype
        running = TensorType(statistic, (channels,))  # type: ignore[arg-type]
        return y, running, running

    def evaluate(self, x: Array, scale: Array, b: Array, input_mean: Array, input_var: Array) -> Any:
        wide, mean, variance = widened(x), widened(input_mean), widened(input_var)
        if not self.training_mode:
            return self._scaled(wide, scale, b, mean, variance, x.dtype)
        axes = (0, *range(2, x.ndim))
        batch_mean, batch_variance = wide.mean(axis=axes), wide.var(axis=axes)
        running_mean = mean * self.momentum + batch_mean * (1 - self.momentum)
        running_variance = variance * self.momentum + batch_variance * (1 - self.momentum)
        y = self._scaled(wide, scale, b, batch_mean, batch_variance, x.dtype)
        return y, rounded(running_mean, input_mean.dtype), rounded(running_variance, input_var.dtype)

    def _scaled(self, x: Array, scale: Array, b: Array, mean: Array, variance: Array, dtype: Any) -> Array:
        form = (-1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (-1,)
        factor = widened(scale) / np.sqrt(variance + x.dtype.type(self.epsilon))
        offset = widened(b) - mean * factor
        return rounded(x * factor.reshape(form) + offset.reshape(form), dtype)


def standardized(x: Array, axes: Any, epsilon: float) -> tuple[Array, Array, Array]:
    """The centred and scaled array, the mean and the inverse standard deviation over ``axes`` (kept as ones)."""
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    inverse = 1 / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + x.dtype.type(epsilon))
    return centred * inverse, mean, inverse


@dataclass(frozen=True)
class InstanceNormalization(Op):
    """Normalisation of each channel of each image over its spatial dimensions."""

    epsilon: float = 1e-05

    def infer(self, input: TensorType, scale: TensorType, b: TensorType) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        dtype = float_dtype(input, scale, b)
        channels = _channels(input.shape)
        require_vector(scale, channels, "scale")
        require_vector(b, channels, "B")
        return TensorType(dtype, input.shape)

    def evaluate(self, input: Array, scale: Array, b: Array) -> Array:
        y, _, _ = standardized(widened(input), tuple(range(2, input.ndim)), self.epsilon)
        return rounded(y * _per_channel(scale, input.ndim) + _per_channel(b, input.ndim), input.dtype)


def check_tail(operand: Any, shape: Any, axis: int, name: str) -> None:
    """Check that scale or bias broadcasts to the normalised trailing dimensions."""
    tail, own = shape[axis:], shape_of(operand)
    if own is None:
        return
    if len(own) > len(shape):
        raise shape_error(f"{name} {format_shape(own)} has more dimensions than the input {format_shape(shape)}")
    for dim, target in zip(reversed(own), reversed(shape if len(own) > len(tail) else tail), strict=False):
        if type(dim) is int and dim != 1 and type(target) is int and dim != target:
            raise shape_error(f"{name} {format_shape(own)} does not broadcast to the normalised {format_shape(tail)}")


@dataclass(frozen=True)
class LayerNormalization(Op):
    """Normalisation over the dimensions from ``axis`` on, with the mean and the inverse deviation as optional results."""

    axis: int = -1
    epsilon: float = 1e-05
    stash_type: int = 1
    since = 17

    def infer(self, x: TensorType, scale: TensorType, b: TensorType | None = None) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype, shape = float_dtype(x), x.shape
        statistic = stash_dtype(self.stash_type)
        if shape is None:
            return TensorType(dtype, None), TensorType(statistic, None), TensorType(statistic, None)
        axis = normalize_axis(self.axis, len(shape))
        check_tail(scale, shape, axis, "Scale")
        if b is not None:
            check_tail(b, shape, axis, "B")
        reduced = TensorType(statistic, shape[:axis] + (1,) * (len(shape) - axis))
        return TensorType(dtype, shape), reduced, reduced

    def evaluate(self, x: Array, scale: Array, b: Array | None = None) -> Any:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        y, mean, inverse = standardized(widened(x), axes, self.epsilon)
        y = y * widened(scale)
        if b is not None:
            y = y + widened(b)
        statistic = stash_dtype(self.stash_type).numpy
        return rounded(y, x.dtype), rounded(mean, statistic), rounded(inverse, statistic)


def stash_dtype(code: int) -> DType:
    """The element type that a stash_type attribute names."""
    found = _STASH.get(code)
    if found is None:
        raise attribute_error(f"stash_type {code} is not a floating-point type")
    return found


@dataclass(frozen=True)
class RMSNormalization(Op):
    """``X / sqrt(mean(X²) + epsilon) * scale`` over the dimensions from ``axis`` on."""

    axis: int = -1
    epsilon: float = 1e-05
    stash_type: int = 1
    since = 23

    def infer(self, x: TensorType, scale: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        float_dtype(x)
        stash_dtype(self.stash_type)
        if x.shape is not None:
            check_tail(scale, x.shape, normalize_axis(self.axis, len(x.shape)), "scale")
        dtype = scale.dtype if type(scale) is TensorType else x.dtype
        if dtype not in FLOATS:
            raise dtype_error(f"scale may not be {dtype}")
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, scale: Array) -> Array:
        y, _ = rms_normalized(widened(x), self.axis, self.epsilon)
        return rounded(y * widened(scale), scale.dtype)


def rms_normalized(x: Array, axis: int, epsilon: float) -> tuple[Array, Array]:
    """``x`` divided by the root of its mean square over the axes from ``axis`` on, and the inverse root."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    inverse = 1 / np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + x.dtype.type(epsilon))
    return x * inverse, inverse


@dataclass(frozen=True)
class GroupNormalization(Op):
    """Normalisation over groups of channels; scale and bias are per channel."""

    num_groups: int
    epsilon: float = 1e-05
    stash_type: int = 1
    since = 18

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        dtype = float_dtype(x, scale, bias)
        channels = _channels(x.shape)
        if self.num_groups < 1:
            raise attribute_error(f"num_groups is {self.num_groups}")
        divided(channels, self.num_groups, "the number of channels")
        require_vector(scale, channels, "scale")
        require_vector(bias, channels, "bias")
        return TensorType(dtype, x.shape)

    def evaluate(self, x: Array, scale: Array, bias: Array) -> Array:
        grouped = widened(x).reshape(x.shape[0], self.num_groups, -1)
        y = standardized(grouped, -1, self.epsilon)[0].reshape(x.shape)
        return rounded(y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim), x.dtype)


@dataclass(frozen=True)
class LRN(Op):
    """Local response normalisation: each element divided by a power of the squares of ``size`` neighbouring channels."""

    size: int
    alpha: float = 0.0001
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if self.size < 1:
            raise attribute_error(f"size is {self.size}")
        _channels(x.shape)
        return TensorType(float_dtype(x), x.shape)

    def evaluate(self, x: Array) -> Array:
        wide = widened(x)
        squares = np.moveaxis(np.square(wide), 1, -1)
        before = (self.size - 1) // 2
        filled = padded(squares, (before,), (self.size - 1 - before,))
        total = np.zeros_like(squares)
        for offset in range(self.size):
            total += filled[..., offset : offset + x.shape[1]]
        divisor = (self.bias + self.alpha / self.size * np.moveaxis(total, -1, 1)) ** self.beta
        return rounded(wide / divisor, x.dtype)


@dataclass(frozen=True)
class MeanVarianceNormalization(Op):
    """``(X - mean) / (standard deviation + 1e-9)`` over the given axes."""

    axes: tuple[int, ...] = (0, 2, 3)
    since = 9

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if x.shape is not None:
            for axis in self.axes:
                normalize_axis(axis, len(x.shape))
        return TensorType(float_dtype(x), x.shape)

    def evaluate(self, x: Array) -> Array:
        wide, axes = widened(x), tuple(self.axes)
        mean = wide.mean(axis=axes, keepdims=True)
        deviation = np.sqrt(np.square(wide).mean(axis=axes, keepdims=True) - np.square(mean))
        return rounded((wide - mean) / (deviation + wide.dtype.type(1e-9)), x.dtype)
