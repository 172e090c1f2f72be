"""Elementwise mathematics of one operand, and the few other operators of one tensor without attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, bounds, maximum
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, format_shape, shape_error
from .elementwise import BOOLS, FLOAT8, INTEGERS, NUMERIC, SIGNED, Unary, check_type, in_float32, partial

_ERF = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function of a float array, in its element type."""
    values: Any = _ERF(x.astype(np.float64))
    return np.asarray(values).astype(x.dtype)


@dataclass(frozen=True)
class Identity(Op):
    """The operand itself: any tensor, sequence or optional."""

    def infer(self, x: Any) -> Any:
        return x

    def evaluate(self, x: Any) -> Any:
        return x


@dataclass(frozen=True)
class Abs(Unary):
    """The absolute value."""

    types: ClassVar[frozenset[DType]] = NUMERIC

    def element(self, x: Dim) -> Dim | None:
        return abs(x) if isinstance(x, int) else maximum(x, -x)

    def compute(self, x: Array) -> Any:
        return np.abs(x)


@dataclass(frozen=True)
class Neg(Unary):
    """The negative."""

    types: ClassVar[frozenset[DType]] = FLOATS | SIGNED

    def element(self, x: Dim) -> Dim | None:
        return -x

    def compute(self, x: Array) -> Any:
        return -x


@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1 by the sign."""

    since: ClassVar[int] = 9
    types: ClassVar[frozenset[DType]] = NUMERIC

    def element(self, x: Dim) -> Dim | None:
        low, high = bounds(x, {})
        return 1 if low > 0 else -1 if high < 0 else 0 if low == high == 0 else None

    def compute(self, x: Array) -> Any:
        return np.sign(x)


@dataclass(frozen=True)
class Not(Unary):
    """Logical negation."""

    types: ClassVar[frozenset[DType]] = BOOLS

    def element(self, x: Dim) -> Dim | None:
        return 1 - x

    def compute(self, x: Array) -> Any:
        return np.logical_not(x)


@dataclass(frozen=True)
class BitwiseNot(Unary):
    """All bits inverted."""

    since: ClassVar[int] = 18
    types: ClassVar[frozenset[DType]] = INTEGERS

    def element(self, x: Dim) -> Dim | None:
        return -1 - x

    def compute(self, x: Array) -> Any:
        return np.invert(x)


@dataclass(frozen=True)
class IsInf(Unary):
    """Whether an element is infinite, of the signs asked for."""

    detect_negative: int = 1
    detect_positive: int = 1
    since: ClassVar[int] = 10
    types: ClassVar[frozenset[DType]] = FLOATS | FLOAT8
    result: ClassVar[DType | None] = DType.BOOL

    def compute(self, x: Array) -> Any:
        found = np.zeros(x.shape, np.bool_)
        if self.detect_positive:
            found = found | np.isposinf(x)
        if self.detect_negative:
            found = found | np.isneginf(x)
        return found


@dataclass(frozen=True)
class IsNaN(Unary):
    """Whether an element is not a number."""

    since: ClassVar[int] = 9
    types: ClassVar[frozenset[DType]] = FLOATS | FLOAT8
    result: ClassVar[DType | None] = DType.BOOL

    def compute(self, x: Array) -> Any:
        return np.isnan(x)


@dataclass(frozen=True)
class Erf(Unary):
    """The error function."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return erf(x)


@dataclass(frozen=True)
class Reciprocal(Unary):
    """One divided by the element."""

    def compute(self, x: Array) -> Any:
        return 1 / x


@dataclass(frozen=True)
class Sqrt(Unary):
    """The square root."""

    def compute(self, x: Array) -> Any:
        return np.sqrt(x)


@dataclass(frozen=True)
class Exp(Unary):
    """The exponential."""

    def compute(self, x: Array) -> Any:
        return np.exp(x)


@dataclass(frozen=True)
class Log(Unary):
    """The natural logarithm."""

    def compute(self, x: Array) -> Any:
        return np.log(x)


@dataclass(frozen=True)
class Ceil(Unary):
    """Rounded up to an integer."""

    def compute(self, x: Array) -> Any:
        return np.ceil(x)


@dataclass(frozen=True)
class Floor(Unary):
    """Rounded down to an integer."""

    def compute(self, x: Array) -> Any:
        return np.floor(x)


@dataclass(frozen=True)
class Round(Unary):
    """Rounded to the nearest integer, halves to even."""

    since: ClassVar[int] = 11

    def compute(self, x: Array) -> Any:
        return np.rint(x)


@dataclass(frozen=True)
class Sin(Unary):
    """The sine of an angle in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.sin(x)


@dataclass(frozen=True)
class Cos(Unary):
    """The cosine of an angle in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.cos(x)


@dataclass(frozen=True)
class Tan(Unary):
    """The tangent of an angle in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.tan(x)


@dataclass(frozen=True)
class Asin(Unary):
    """The inverse sine, in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.arcsin(x)


@dataclass(frozen=True)
class Acos(Unary):
    """The inverse cosine, in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.arccos(x)


@dataclass(frozen=True)
class Atan(Unary):
    """The inverse tangent, in radians."""

    since: ClassVar[int] = 7

    def compute(self, x: Array) -> Any:
        return np.arctan(x)


@dataclass(frozen=True)
class Sinh(Unary):
    """The hyperbolic sine."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return np.sinh(x)


@dataclass(frozen=True)
class Cosh(Unary):
    """The hyperbolic cosine."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return np.cosh(x)


@dataclass(frozen=True)
class Tanh(Unary):
    """The hyperbolic tangent."""

    def compute(self, x: Array) -> Any:
        return np.tanh(x)


@dataclass(frozen=True)
class Asinh(Unary):
    """The inverse hyperbolic sine."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return np.arcsinh(x)


@dataclass(frozen=True)
class Acosh(Unary):
    """The inverse hyperbolic cosine."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return np.arccosh(x)


@dataclass(frozen=True)
class Atanh(Unary):
    """The inverse hyperbolic tangent."""

    since: ClassVar[int] = 9

    def compute(self, x: Array) -> Any:
        return np.arctanh(x)


@dataclass(frozen=True)
class Det(Op):
    """The determinant of the square matrices in the last two dimensions."""

    since: ClassVar[int] = 11

    def infer(self, x: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x)
        check_type(self, x.dtype, FLOATS)
        if x.shape is None:
            return x
        if len(x.shape) < 2:
            raise shape_error(f"Det needs matrices, not the shape {format_shape(x.shape)}")
        rows, columns = x.shape[-2:]
        if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
            raise shape_error(f"Det needs square matrices, not {rows} by {columns}")
        return TensorType(x.dtype, x.shape[:-2])

    def evaluate(self, x: Array) -> Any:
        return in_float32(np.linalg.det, x.dtype, x)
