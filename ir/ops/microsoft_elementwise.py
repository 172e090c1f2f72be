"""Contributed (com.microsoft) activations, biases and fused products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..diagnostics import did_you_mean
from ..op import MICROSOFT, Op
from ..types import TensorType
from .activation import gelu, gelu_tanh, sigmoid, softplus
from .common import FLOATS, attribute_error, format_shape, shape_error, unify_dim
from .conv import Conv
from .elementwise import Unary, check_same, check_type, in_float32, partial
from .matmul import Gemm, matmul_shape
from .operands import require_vector

Activation = Callable[..., Any]
COMMON_ACTIVATIONS: dict[str, Activation] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": sigmoid,
    "LeakyRelu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "HardSigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
}
CONV_ACTIVATIONS: dict[str, Activation] = {
    **COMMON_ACTIVATIONS,
    "Clip": np.clip,
    "HardSwish": lambda x: x * np.clip(x * (1 / 6) + 0.5, 0, 1),
}
GEMM_ACTIVATIONS: dict[str, Activation] = {
    **COMMON_ACTIVATIONS,
    "Elu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
    "ThresholdedRelu": lambda x, alpha: np.where(x > alpha, x, 0),
    "Softplus": softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "ParametricSoftplus": lambda x, alpha, beta: alpha * softplus(beta * x),
    "ScaledTanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
}
PARAMETERS = {"LeakyRelu": 1, "Elu": 1, "ThresholdedRelu": 1}
PARAMETERS |= {"HardSigmoid": 2, "Clip": 2, "ParametricSoftplus": 2, "ScaledTanh": 2}


def check_activation(name: str | None, parameters: Sequence[float], known: dict[str, Activation]) -> None:
    """Check that a fused activation is one that the operator knows and that its parameters are all given."""
    if not name:
        return
    if name not in known:
        raise attribute_error(f"activation is {name!r}", hint=did_you_mean(name, sorted(known)))
    if len(parameters) < PARAMETERS.get(name, 0):
        raise attribute_error(f"activation {name} needs {PARAMETERS[name]} parameters, not {len(parameters)}")


@dataclass(frozen=True)
class MsGelu(Unary):
    """The exact Gaussian error linear unit."""

    domain: ClassVar[str] = MICROSOFT
    op_name: ClassVar[str] = "Gelu"

    def compute(self, x: Array) -> Any:
        return gelu(x)


@dataclass(frozen=True)
class QuickGelu(Unary):
    """``x * sigmoid(alpha * x)``."""

    alpha: float = 1.702
    domain: ClassVar[str] = MICROSOFT

    def compute(self, x: Array) -> Any:
        return x * sigmoid(self.alpha * x)


def _with_bias(op: Op, x: Any, bias: Any) -> Any:
    """The type of ``x`` plus a one-dimensional bias of its last dimension."""
    if not isinstance(x, TensorType):
        return partial(x)
    check_type(op, x.dtype, FLOATS)
    if isinstance(bias, TensorType):
        check_same(op, x.dtype, bias.dtype)
        if x.shape == ():
            raise shape_error(f"{op.op_name} needs a last dimension for its bias")
        require_vector(bias, None if x.shape is None else x.shape[-1], "the bias")
    return x.with_shape(x.shape)


@dataclass(frozen=True)
class FastGelu(Op):
    """The tanh approximation of the Gaussian error linear unit of ``x``, or of ``x + bias``."""

    domain: ClassVar[str] = MICROSOFT
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType, bias: TensorType | None = None) -> Any:
        return _with_bias(self, x, bias)

    def evaluate(self, x: Array, bias: Array | None = None) -> Any:
        if bias is None:
            return in_float32(gelu_tanh, x.dtype, x)
        return in_float32(lambda a, b: gelu_tanh(a + b), x.dtype, x, bias)


@dataclass(frozen=True)
class BiasGelu(Op):
    """The exact Gaussian error linear unit of ``a + b``, where ``b`` is one-dimensional."""

    domain: ClassVar[str] = MICROSOFT
    elementwise: ClassVar[bool] = True

    def infer(self, a: TensorType, b: TensorType) -> Any:
        return _with_bias(self, a, b)

    def evaluate(self, a: Array, b: Array) -> Any:
        return in_float32(lambda x, y: gelu(x + y), a.dtype, a, b)


@dataclass(frozen=True)
class BiasAdd(Op):
    """``x + bias + skip`` for ``x`` and ``skip`` of shape [batch, positions, channels]."""

    domain: ClassVar[str] = MICROSOFT
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType, bias: TensorType, skip: TensorType) -> Any:
        result = _with_bias(self, x, bias)
        if not isinstance(x, TensorType) or not isinstance(skip, TensorType):
            return result
        check_same(self, x.dtype, skip.dtype)
        if x.shape is None or skip.shape is None:
            return x.with_shape(skip.shape if x.shape is None else x.shape)
        if len(x.shape) != len(skip.shape):
            raise shape_error(f"x {format_shape(x.shape)} and skip {format_shape(skip.shape)} must agree")
        pairs = zip(x.shape, skip.shape, strict=True)
        dims: Any = tuple(unify_dim(a, b, f"dimension {i} of x and skip") for i, (a, b) in enumerate(pairs))
        return TensorType(x.dtype, dims)

    def evaluate(self, x: Array, bias: Array, skip: Array) -> Any:
        return in_float32(lambda a, b, c: a + b + c, x.dtype, x, bias, skip)


@dataclass(frozen=True)
class FusedMatMul(Op):
    """``alpha`` times a matrix product of operands that may be transposed first.

    Attributes:
        transA: whether the last two dimensions of A are exchanged.
        transB: whether the last two dimensions of B are exchanged.
        transBatchA: whether A's first dimension moves behind its other batch dimensions, just before the last two.
        transBatchB: the same for B.
    """

    alpha: float = 1.0
    transA: int = 0
    transB: int = 0
    transBatchA: int = 0
    transBatchB: int = 0
    domain: ClassVar[str] = MICROSOFT

    def infer(self, a: TensorType, b: TensorType) -> Any:
        if not isinstance(a, TensorType) or not isinstance(b, TensorType):
            unknown = partial(a, b)
            known = a if isinstance(a, TensorType) else b
            return TensorType(known.dtype, None) if isinstance(known, TensorType) else unknown
        check_same(self, a.dtype, b.dtype)
        check_type(self, a.dtype, FLOATS)
        if a.shape is None or b.shape is None:
            return TensorType(a.dtype, None)
        left = tuple(a.shape[i] for i in _matrix_order(len(a.shape), self.transA, self.transBatchA))
        right = tuple(b.shape[i] for i in _matrix_order(len(b.shape), self.transB, self.transBatchB))
        return TensorType(a.dtype, matmul_shape(left, right))

    def evaluate(self, a: Array, b: Array) -> Any:
        left = a.transpose(_matrix_order(a.ndim, self.transA, self.transBatchA))
        right = b.transpose(_matrix_order(b.ndim, self.transB, self.transBatchB))
        return in_float32(lambda x, y: np.matmul(x, y) * x.dtype.type(self.alpha), a.dtype, left, right)


def _matrix_order(rank: int, transposed: int, batch_transposed: int) -> tuple[int, ...]:
    order = list(range(rank))
    if rank > 2 and batch_transposed:
        order = [*order[1:-1], 0, order[-1]]
    if rank > 1 and transposed:
        order[-2], order[-1] = order[-1], order[-2]
    return tuple(order)


@dataclass(frozen=True)
class FusedGemm(Op):
    """Gemm followed by an activation; the activation's parameters are given only where it has them."""

    activation: str | None = None
    activation_alpha: float | None = None
    activation_beta: float | None = None
    activation_gamma: float | None = None
    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0
    domain: ClassVar[str] = MICROSOFT

    def _parameters(self) -> list[float]:
        given = (self.activation_alpha, self.activation_beta, self.activation_gamma)
        return [p for p in given if p is not None]

    def _gemm(self) -> Gemm:
        return Gemm(alpha=self.alpha, beta=self.beta, transA=self.transA, transB=self.transB)

    def infer(self, a: TensorType, b: TensorType, c: TensorType | None = None) -> Any:
        check_activation(self.activation, self._parameters(), GEMM_ACTIVATIONS)
        return self._gemm().infer(a, b, c)

    def evaluate(self, a: Array, b: Array, c: Array | None = None) -> Any:
        product = self._gemm().evaluate(a, b, c)
        if not self.activation:
            return product
        function, count = GEMM_ACTIVATIONS[self.activation], PARAMETERS.get(self.activation, 0)
        return in_float32(lambda y: function(y, *self._parameters()[:count]), a.dtype, product)


@dataclass(frozen=True)
class FusedConv(Op):
    """Conv, plus a tensor ``z`` of the result's shape, followed by an activation with its parameters in order."""

    activation: str | None = None
    activation_params: tuple[float, ...] | None = None
    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    domain: ClassVar[str] = MICROSOFT

    def _conv(self) -> Conv:
        return Conv(
            auto_pad=self.auto_pad,
            dilations=self.dilations,
            group=self.group,
            kernel_shape=self.kernel_shape,
            pads=self.pads,
            strides=self.strides,
        )

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None, z: TensorType | None = None) -> Any:
        check_activation(self.activation, self.activation_params or (), CONV_ACTIVATIONS)
        result = self._conv().infer(x, w, b)
        if isinstance(z, TensorType) and isinstance(result, TensorType):
            check_same(self, result.dtype, z.dtype)
            if result.shape is not None and z.shape is not None:
                if len(result.shape) != len(z.shape):
                    raise shape_error(f"z {format_shape(z.shape)} must be {format_shape(result.shape)}")
                for i, (ours, theirs) in enumerate(zip(result.shape, z.shape, strict=True)):
                    unify_dim(ours, theirs, f"dimension {i} of z and the result")
        return result

    def evaluate(self, x: Array, w: Array, b: Array | None = None, z: Array | None = None) -> Any:
        result = self._conv().evaluate(x, w, b)
        if z is not None:
            result = in_float32(np.add, x.dtype, result, z)
        if not self.activation:
            return result
        function, count = CONV_ACTIVATIONS[self.activation], PARAMETERS.get(self.activation, 0)
        return in_float32(lambda y: function(y, *(self.activation_params or ())[:count]), x.dtype, result)
