"""Elementwise arithmetic of two or more operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..diagnostics import E_EVALUATE, Diagnostic
from ..dims import Dim, bounds, floordiv, maximum, minimum, modulo
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import FLOATS, attribute_error, broadcast_shapes
from .elementwise import (
    INTEGERS,
    NUMERIC,
    Binary,
    check_same,
    check_type,
    combine,
    in_float32,
    partial,
)


@dataclass(frozen=True)
class Add(Binary):
    """The sum of two tensors."""

    commutative: ClassVar[bool] = True

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a + b

    def compute(self, a: Array, b: Array) -> Any:
        return np.add(a, b)


@dataclass(frozen=True)
class Sub(Binary):
    """The difference of two tensors."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a - b

    def compute(self, a: Array, b: Array) -> Any:
        return np.subtract(a, b)


@dataclass(frozen=True)
class Mul(Binary):
    """The product of two tensors."""

    commutative: ClassVar[bool] = True

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a * b

    def compute(self, a: Array, b: Array) -> Any:
        return np.multiply(a, b)


@dataclass(frozen=True)
class Div(Binary):
    """The quotient of two tensors; integers are divided towards zero."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        if isinstance(b, int) and b == 0:
            return None
        if isinstance(a, int) and isinstance(b, int):
            quotient = abs(a) // abs(b)
            return quotient if (a < 0) == (b < 0) else -quotient
        if isinstance(b, int) and b < 0:
            a, b = -a, -b
        if bounds(a, {})[0] < 0 or bounds(b, {})[0] < 0:
            return floordiv(a, b) if modulo(a, b) == 0 else None
        return floordiv(a, b)

    def compute(self, a: Array, b: Array) -> Any:
        if a.dtype.kind not in "iu":
            return np.divide(a, b)
        _check_divisor(self, b)
        quotient = np.floor_divide(a, b)
        if a.dtype.kind == "i":
            quotient = quotient + ((quotient < 0) & (quotient * b != a))
        return quotient


@dataclass(frozen=True)
class Mod(Binary):
    """The remainder with the sign of the divisor, or with ``fmod`` that of the dividend."""

    fmod: int = 0
    since: ClassVar[int] = 10

    def element(self, a: Dim, b: Dim) -> Dim | None:
        if isinstance(b, int) and b == 0:
            return None
        if self.fmod and isinstance(a, int) and isinstance(b, int):
            return abs(a) % abs(b) * (-1 if a < 0 else 1)
        if self.fmod and (bounds(a, {})[0] < 0 or bounds(b, {})[0] < 0):
            return None
        return modulo(a, b)

    def compute(self, a: Array, b: Array) -> Any:
        if a.dtype.kind in "iu":
            _check_divisor(self, b)
        return np.fmod(a, b) if self.fmod else np.mod(a, b)


def _check_divisor(op: Op, divisor: Array) -> None:
    if not np.all(divisor):
        raise Diagnostic(E_EVALUATE, f"{op.op_name} divides an integer by zero")


@dataclass(frozen=True)
class Pow(Op):
    """The base raised to the exponent; the result has the base's element type."""

    elementwise: ClassVar[bool] = True
    base_types: ClassVar[frozenset[DType]] = FLOATS | {DType.INT32, DType.INT64}

    def infer(self, x: TensorType, y: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x, y)
        if not isinstance(y, TensorType):
            partial(y)
            return TensorType(x.dtype, None)
        check_type(self, x.dtype, self.base_types)
        check_type(self, y.dtype, NUMERIC)
        shape = broadcast_shapes(x.shape, y.shape)
        return combine(x.dtype, shape, _power, x, y)

    def evaluate(self, x: Array, y: Array) -> Any:
        return in_float32(_power_array, x.dtype, x, y)


def _power(base: Dim, exponent: Dim) -> Dim | None:
    return base**exponent if isinstance(exponent, int) and 0 <= exponent <= 64 else None


def _power_array(base: Array, exponent: Array) -> Array:
    if base.dtype.kind in "iu" and exponent.dtype.kind in "iu" and np.all(exponent >= 0):
        return np.power(base, exponent.astype(base.dtype))
    if base.dtype == exponent.dtype and base.dtype.kind == "f":
        return np.power(base, exponent)
    return np.power(base.astype(np.float64), exponent.astype(np.float64))


class Variadic(Op, abstract=True):
    """An elementwise operator of one or more tensors of one element type, with numpy broadcasting."""

    elementwise: ClassVar[bool] = True
    commutative: ClassVar[bool] = True
    types: ClassVar[frozenset[DType]] = FLOATS

    def infer(self, data_0: TensorType, *others: TensorType) -> Any:
        operands = (data_0, *others)
        tensors = [o for o in operands if isinstance(o, TensorType)]
        if len(tensors) < len(operands):
            unknown = partial(*operands)
            return TensorType(tensors[0].dtype, None) if tensors else unknown
        dtype = data_0.dtype
        check_type(self, dtype, self.types)
        for other in others:
            check_same(self, dtype, other.dtype)
        shape = broadcast_shapes(*(o.shape for o in operands)) if others else data_0.shape
        return combine(dtype, shape, self.element, *operands)

    def element(self, *elements: Dim) -> Dim | None:
        """The result for known integer elements, None where it is not known."""
        return None

    def compute(self, *arrays: Array) -> Any:
        """The result for arrays that are not narrow floats."""
        raise NotImplementedError

    def evaluate(self, *arrays: Array) -> Any:
        return in_float32(self.compute, arrays[0].dtype, *arrays)


@dataclass(frozen=True)
class Max(Variadic):
    """The greatest element at each position; not-a-number wins."""

    types: ClassVar[frozenset[DType]] = NUMERIC

    def element(self, *elements: Dim) -> Dim | None:
        return maximum(*elements)

    def compute(self, *arrays: Array) -> Any:
        result = arrays[0]
        for array in arrays[1:]:
            result = np.maximum(result, array)
        return result


@dataclass(frozen=True)
class Min(Variadic):
    """The least element at each position; not-a-number wins."""

    types: ClassVar[frozenset[DType]] = NUMERIC

    def element(self, *elements: Dim) -> Dim | None:
        return minimum(*elements)

    def compute(self, *arrays: Array) -> Any:
        result = arrays[0]
        for array in arrays[1:]:
            result = np.minimum(result, array)
        return result


@dataclass(frozen=True)
class Sum(Variadic):
    """The sum of all operands."""

    def compute(self, *arrays: Array) -> Any:
        return _total(arrays)


@dataclass(frozen=True)
class Mean(Variadic):
    """The arithmetic mean of all operands."""

    def compute(self, *arrays: Array) -> Any:
        return _total(arrays) / len(arrays)


def _total(arrays: tuple[Array, ...]) -> Any:
    result: Any = arrays[0]
    for array in arrays[1:]:
        result = result + array
    return result


@dataclass(frozen=True)
class BitShift(Binary):
    """Bits shifted ``LEFT`` or ``RIGHT`` by the second operand; to the right, a sign is kept."""

    direction: str
    since: ClassVar[int] = 11
    types: ClassVar[frozenset[DType]] = INTEGERS

    def infer(self, a: TensorType, b: TensorType) -> Any:
        if self.direction not in ("LEFT", "RIGHT"):
            raise attribute_error(f"direction is LEFT or RIGHT, not {self.direction!r}")
        return super().infer(a, b)

    def element(self, a: Dim, b: Dim) -> Dim | None:
        if not isinstance(a, int) or not isinstance(b, int) or not 0 <= b < 8:
            return None
        return a << b if self.direction == "LEFT" else a >> b

    def compute(self, a: Array, b: Array) -> Any:
        return np.left_shift(a, b) if self.direction == "LEFT" else np.right_shift(a, b)
