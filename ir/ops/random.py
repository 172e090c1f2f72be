"""Random generators. A seed makes them reproducible here; every runtime draws its own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, dtype_error, format_shape, shape_error
from .elementwise import BOOLS, FLOAT8, INTEGERS, check_type, in_float32, partial, widen


def generator(seed: float | None) -> np.random.Generator:
    """A generator for an optional seed attribute; without a seed it is not reproducible."""
    if seed is None:
        return np.random.default_rng()
    return np.random.default_rng(abs(int(np.float64(seed).view(np.int64))))


class Draw(Op, abstract=True):
    """A generator of a tensor whose shape is an attribute."""

    shape: tuple[int, ...]
    dtype: DType
    pure: ClassVar[bool] = False

    def infer(self) -> Any:
        if any(d < 0 for d in self.shape):
            raise attribute_error(f"shape {list(self.shape)} has a negative dimension")
        return TensorType(_float_dtype(self, self.dtype), self.shape)

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Random float64 numbers."""
        raise NotImplementedError

    def evaluate(self) -> Any:
        return self.draw(self.shape).astype(self.dtype.numpy)


class DrawLike(Op, abstract=True):
    """A generator of a tensor with the operand's shape, and its element type unless one is stated."""

    dtype: DType | None
    pure: ClassVar[bool] = False

    def infer(self, x: TensorType) -> Any:
        if not isinstance(x, TensorType):
            unknown = partial(x)
            return unknown if self.dtype is None else TensorType(self.dtype, None)
        return TensorType(_float_dtype(self, self.dtype or x.dtype), x.shape)

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Random float64 numbers."""
        raise NotImplementedError

    def evaluate(self, x: Array) -> Any:
        return self.draw(x.shape).astype(self.dtype.numpy if self.dtype else x.dtype)


def _float_dtype(op: Op, dtype: DType) -> DType:
    check_type(op, dtype, FLOATS)
    return dtype


@dataclass(frozen=True)
class RandomNormal(Draw):
    """Normally distributed numbers."""

    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT
    mean: float = 0.0
    scale: float = 1.0
    seed: float | None = None

    def draw(self, shape: tuple[int, ...]) -> Array:
        return generator(self.seed).normal(self.mean, self.scale, shape)


@dataclass(frozen=True)
class RandomUniform(Draw):
    """Uniformly distributed numbers between ``low`` and ``high``."""

    shape: tuple[int, ...]
    dtype: DType = DType.FLOAT
    high: float = 1.0
    low: float = 0.0
    seed: float | None = None

    def draw(self, shape: tuple[int, ...]) -> Array:
        return generator(self.seed).uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class RandomNormalLike(DrawLike):
    """Normally distributed numbers in the operand's shape."""

    dtype: DType | None = None
    mean: float = 0.0
    scale: float = 1.0
    seed: float | None = None

    def draw(self, shape: tuple[int, ...]) -> Array:
        return generator(self.seed).normal(self.mean, self.scale, shape)


@dataclass(frozen=True)
class RandomUniformLike(DrawLike):
    """Uniformly distributed numbers between ``low`` and ``high`` in the operand's shape."""

    dtype: DType | None = None
    high: float = 1.0
    low: float = 0.0
    seed: float | None = None

    def draw(self, shape: tuple[int, ...]) -> Array:
        return generator(self.seed).uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Bernoulli(Op):
    """One with the probability that the operand's element gives, else zero."""

    dtype: DType | None = None
    seed: float | None = None
    since: ClassVar[int] = 15
    pure: ClassVar[bool] = False
    results: ClassVar[frozenset[DType]] = FLOATS | INTEGERS | BOOLS

    def infer(self, x: TensorType) -> Any:
        if self.dtype is not None:
            check_type(self, self.dtype, self.results)
        if not isinstance(x, TensorType):
            unknown = partial(x)
            return unknown if self.dtype is None else TensorType(self.dtype, None)
        check_type(self, x.dtype, FLOATS)
        return TensorType(self.dtype or x.dtype, x.shape)

    def evaluate(self, x: Array) -> Any:
        drawn = generator(self.seed).random(x.shape) < widen(x)
        return drawn.astype(self.dtype.numpy if self.dtype else x.dtype)


@dataclass(frozen=True)
class Multinomial(Op):
    """Classes drawn for each row of unnormalised log-probabilities: [batch, classes] gives [batch, sample_size]."""

    dtype: DType = DType.INT32
    sample_size: int = 1
    seed: float | None = None
    since: ClassVar[int] = 7
    pure: ClassVar[bool] = False

    def infer(self, x: TensorType) -> Any:
        if self.dtype not in (DType.INT32, DType.INT64):
            raise dtype_error(f"Multinomial gives i32 or i64, not {self.dtype}")
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(self.dtype, (None, self.sample_size))  # type: ignore[arg-type]
        check_type(self, x.dtype, FLOATS)
        if x.shape is not None and len(x.shape) != 2:
            raise shape_error(f"Multinomial needs [batch, classes], not {format_shape(x.shape)}")
        rows: Any = None if x.shape is None else x.shape[0]
        return TensorType(self.dtype, (rows, self.sample_size))

    def evaluate(self, x: Array) -> Any:
        weights = np.exp(x.astype(np.float64) - np.max(x.astype(np.float64), axis=1, keepdims=True))
        edges = np.cumsum(weights, axis=1)
        drawn = generator(self.seed).random((x.shape[0], self.sample_size)) * edges[:, -1:]
        chosen = (drawn[:, :, None] >= edges[:, None, :]).sum(axis=2)
        return np.minimum(chosen, x.shape[1] - 1).astype(self.dtype.numpy)


@dataclass(frozen=True)
class Dropout(Op):
    """In training mode, elements dropped at random and the rest scaled up; the identity otherwise.

    The second result is the mask of kept elements.
    """

    seed: int | None = None
    pure: ClassVar[bool] = False
    types: ClassVar[frozenset[DType]] = FLOATS | FLOAT8

    def infer(self, data: TensorType, ratio: TensorType | None = None, training_mode: TensorType | None = None) -> Any:
        if isinstance(training_mode, TensorType) and training_mode.dtype is not DType.BOOL:
            raise dtype_error(f"training_mode must be bool, not {training_mode.dtype}")
        if isinstance(ratio, TensorType):
            check_type(self, ratio.dtype, self.types)
        if not isinstance(data, TensorType):
            return partial(data), TensorType(DType.BOOL, None)
        check_type(self, data.dtype, self.types)
        return data.with_shape(data.shape), TensorType(DType.BOOL, data.shape)

    def evaluate(self, data: Array, ratio: Array | None = None, training_mode: Array | None = None) -> Any:
        share = 0.5 if ratio is None else float(ratio.reshape(-1)[0])
        if training_mode is None or not bool(training_mode.reshape(-1)[0]) or share == 0:
            return data, np.ones(data.shape, np.bool_)
        kept = generator(self.seed).random(data.shape) >= share
        return in_float32(lambda x: np.where(kept, x / (1 - share), 0), data.dtype, data), kept
