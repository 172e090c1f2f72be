"""Activation functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, maximum, minimum
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import (
    FLOATS,
    attribute_error,
    broadcast_shapes,
    format_shape,
    normalize_axis,
    shape_error,
    unify_dim,
)
from .elementwise import (
    NUMERIC,
    SIGNED,
    WIDE_NUMERIC,
    Unary,
    check_same,
    check_type,
    combine,
    in_float32,
    partial,
    widen,
)
from .unary import erf


def sigmoid(x: Array) -> Any:
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Any:
    """``log(1 + exp(x))`` without overflow."""
    return np.logaddexp(x.dtype.type(0), x)


def gelu(x: Array) -> Any:
    """``x`` times the normal distribution function of ``x``."""
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Array) -> Any:
    """The approximation of `gelu` by a hyperbolic tangent."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@dataclass(frozen=True)
class Relu(Unary):
    """``max(x, 0)``."""

    types: ClassVar[frozenset[DType]] = FLOATS | SIGNED

    def element(self, x: Dim) -> Dim | None:
        return maximum(x, 0)

    def compute(self, x: Array) -> Any:
        return np.maximum(x, x.dtype.type(0))


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """``x`` where positive, ``alpha * x`` elsewhere."""

    alpha: float = 0.01

    def compute(self, x: Array) -> Any:
        return np.where(x >= 0, x, self.alpha * x)


@dataclass(frozen=True)
class ThresholdedRelu(Unary):
    """``x`` where it exceeds ``alpha``, zero elsewhere."""

    alpha: float = 1.0
    since: ClassVar[int] = 10

    def compute(self, x: Array) -> Any:
        return np.where(x > self.alpha, x, x.dtype.type(0))


@dataclass(frozen=True)
class Elu(Unary):
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""

    alpha: float = 1.0

    def compute(self, x: Array) -> Any:
        return np.where(x > 0, x, self.alpha * np.expm1(x))


@dataclass(frozen=True)
class Celu(Unary):
    """``max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))``."""

    alpha: float = 1.0
    since: ClassVar[int] = 12

    def compute(self, x: Array) -> Any:
        return np.maximum(x, 0) + np.minimum(0, self.alpha * np.expm1(x / self.alpha))


@dataclass(frozen=True)
class Selu(Unary):
    """``gamma * x`` where positive, ``gamma * alpha * (exp(x) - 1)`` elsewhere."""

    alpha: float = 1.6732632
    gamma: float = 1.050701

    def compute(self, x: Array) -> Any:
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(x))


@dataclass(frozen=True)
class Gelu(Unary):
    """The Gaussian error linear unit, exact or with ``approximate="tanh"``."""

    approximate: str = "none"
    since: ClassVar[int] = 20

    def infer(self, x: TensorType) -> Any:
        if self.approximate not in ("none", "tanh"):
            raise attribute_error(f"approximate is none or tanh, not {self.approximate!r}")
        return super().infer(x)

    def compute(self, x: Array) -> Any:
        return gelu_tanh(x) if self.approximate == "tanh" else gelu(x)


@dataclass(frozen=True)
class Sigmoid(Unary):
    """``1 / (1 + exp(-x))``."""

    def compute(self, x: Array) -> Any:
        return sigmoid(x)


@dataclass(frozen=True)
class HardSigmoid(Unary):
    """``alpha * x + beta`` limited to 0 … 1."""

    alpha: float = 0.2
    beta: float = 0.5

    def compute(self, x: Array) -> Any:
        return np.clip(self.alpha * x + self.beta, 0, 1)


@dataclass(frozen=True)
class HardSwish(Unary):
    """``x`` times the hard sigmoid with slope 1/6 and offset 1/2."""

    since: ClassVar[int] = 14

    def compute(self, x: Array) -> Any:
        return x * np.clip(x * (1 / 6) + 0.5, 0, 1)


@dataclass(frozen=True)
class Swish(Unary):
    """``x * sigmoid(alpha * x)``."""

    alpha: float = 1.0
    since: ClassVar[int] = 24

    def compute(self, x: Array) -> Any:
        return x * sigmoid(self.alpha * x)


@dataclass(frozen=True)
class Mish(Unary):
    """``x * tanh(softplus(x))``."""

    since: ClassVar[int] = 18

    def compute(self, x: Array) -> Any:
        return x * np.tanh(softplus(x))


@dataclass(frozen=True)
class Softplus(Unary):
    """``log(1 + exp(x))``."""

    def compute(self, x: Array) -> Any:
        return softplus(x)


@dataclass(frozen=True)
class Softsign(Unary):
    """``x / (1 + |x|)``."""

    def compute(self, x: Array) -> Any:
        return x / (1 + np.abs(x))


@dataclass(frozen=True)
class Shrink(Unary):
    """Zero within ``±lambd``; outside, ``x`` moved towards zero by ``bias``."""

    bias: float = 0.0
    lambd: float = 0.5
    since: ClassVar[int] = 9
    types: ClassVar[frozenset[DType]] = NUMERIC - {DType.BFLOAT16}

    def compute(self, x: Array) -> Any:
        outside = np.where(x < -self.lambd, x + self.bias, x - self.bias)
        return np.where((x < -self.lambd) | (x > self.lambd), outside, 0)


@dataclass(frozen=True)
class PRelu(Op):
    """``x`` where positive, ``slope * x`` elsewhere; the slope broadcasts to the shape of ``x``."""

    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType, slope: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x, slope)
        check_type(self, x.dtype, WIDE_NUMERIC)
        if not isinstance(slope, TensorType):
            partial(slope)
            return x.with_shape(x.shape)
        check_same(self, x.dtype, slope.dtype)
        if x.shape is not None and slope.shape is not None:
            if len(slope.shape) > len(x.shape):
                raise shape_error(f"slope {format_shape(slope.shape)} does not broadcast to {format_shape(x.shape)}")
            for merged, own in zip(broadcast_shapes(x.shape, slope.shape) or (), x.shape, strict=True):
                unify_dim(merged, own, f"slope {format_shape(slope.shape)} of {format_shape(x.shape)}")
        return x.with_shape(x.shape)

    def evaluate(self, x: Array, slope: Array) -> Any:
        return in_float32(lambda a, b: np.where(a < 0, a * b, a), x.dtype, x, slope)


@dataclass(frozen=True)
class SwiGLU(Op):
    """``a * sigmoid(alpha * a) * b`` for a gate ``a`` and a value ``b`` of one shape."""

    alpha: float = 1.0
    since: ClassVar[int] = 28
    elementwise: ClassVar[bool] = True

    def infer(self, a: TensorType, b: TensorType) -> Any:
        if not isinstance(a, TensorType) or not isinstance(b, TensorType):
            unknown = partial(a, b)
            known = a if isinstance(a, TensorType) else b
            return known.with_shape(known.shape) if isinstance(known, TensorType) else unknown
        check_same(self, a.dtype, b.dtype)
        check_type(self, a.dtype, FLOATS)
        if a.shape is None or b.shape is None:
            return a.with_shape(a.shape if b.shape is None else b.shape)
        if len(a.shape) != len(b.shape):
            raise shape_error(f"SwiGLU needs equal shapes, not {format_shape(a.shape)} and {format_shape(b.shape)}")
        dims = [unify_dim(m, n, f"dimension {i} of the gate and the value") for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True))]
        return TensorType(a.dtype, tuple(dims))  # type: ignore[arg-type]

    def evaluate(self, a: Array, b: Array) -> Any:
        return in_float32(lambda gate, value: gate * sigmoid(self.alpha * gate) * value, a.dtype, a, b)


@dataclass(frozen=True)
class Clip(Op):
    """Elements limited to ``min`` … ``max``; the maximum wins where the two cross."""

    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType, min: TensorType | None = None, max: TensorType | None = None) -> Any:
        if not isinstance(x, TensorType):
            return partial(x)
        check_type(self, x.dtype, NUMERIC)
        result = x if x.content is None else combine(x.dtype, x.shape, lambda c: c, x)
        for limit, name, bound in ((min, "min", maximum), (max, "max", minimum)):
            if not isinstance(limit, TensorType):
                if limit is not None:
                    result = result.with_shape(x.shape)
                continue
            check_same(self, x.dtype, limit.dtype)
            if limit.shape is not None and limit.shape not in ((), (1,)):
                raise shape_error(f"{name} of Clip must be a scalar, not {format_shape(limit.shape)}")
            scalar = TensorType(limit.dtype, (), limit.content)
            result = combine(x.dtype, x.shape, bound, result, scalar)
        return result

    def evaluate(self, x: Array, min: Array | None = None, max: Array | None = None) -> Any:
        result = x if min is None else in_float32(np.maximum, x.dtype, x, min.reshape(()))
        return result if max is None else in_float32(np.minimum, x.dtype, result, max.reshape(()))


@dataclass(frozen=True)
class Hardmax(Op):
    """One at the first greatest element along an axis, zero elsewhere."""

    axis: int = -1

    def infer(self, x: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x)
        check_type(self, x.dtype, FLOATS)
        if x.shape is not None:
            normalize_axis(self.axis, len(x.shape))
        return x.with_shape(x.shape)

    def evaluate(self, x: Array) -> Any:
        result = np.zeros(x.shape, x.dtype)
        best = np.expand_dims(np.argmax(widen(x), axis=self.axis), self.axis)
        np.put_along_axis(result, best, x.dtype.type(1), self.axis)
        return result
