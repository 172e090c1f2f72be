"""Comparisons, logic, bitwise logic and selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, bounds
from ..dtypes import DType
from ..op import Op
from ..types import CONTENT_LIMIT, TensorType
from .common import broadcast_shapes, dtype_error, with_content
from .elementwise import BOOLS, INTEGERS, NUMERIC, Binary, check_same, check_type, partial

WHERE_TYPES = NUMERIC | {DType.BOOL, DType.STRING, DType.COMPLEX64, DType.COMPLEX128}


class Comparison(Binary, abstract=True):
    """An elementwise comparison of numbers; contents that are symbolic are compared by their bounds."""

    result: ClassVar[DType | None] = DType.BOOL


@dataclass(frozen=True)
class Equal(Comparison):
    """Whether the elements are equal."""

    commutative: ClassVar[bool] = True
    types: ClassVar[frozenset[DType]] = NUMERIC | {DType.BOOL, DType.STRING}

    def element(self, a: Dim, b: Dim) -> Dim | None:
        if a == b:
            return 1
        low, high = bounds(a - b, {})
        return 0 if low > 0 or high < 0 else None

    def compute(self, a: Array, b: Array) -> Any:
        return np.equal(a, b)


@dataclass(frozen=True)
class Less(Comparison):
    """Whether the first element is less."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return _less(a, b)

    def compute(self, a: Array, b: Array) -> Any:
        return np.less(a, b)


@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """Whether the first element is less or equal."""

    since: ClassVar[int] = 12

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return _less(a, b + 1)

    def compute(self, a: Array, b: Array) -> Any:
        return np.less_equal(a, b)


@dataclass(frozen=True)
class Greater(Comparison):
    """Whether the first element is greater."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return _less(b, a)

    def compute(self, a: Array, b: Array) -> Any:
        return np.greater(a, b)


@dataclass(frozen=True)
class GreaterOrEqual(Comparison):
    """Whether the first element is greater or equal."""

    since: ClassVar[int] = 12

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return _less(b, a + 1)

    def compute(self, a: Array, b: Array) -> Any:
        return np.greater_equal(a, b)


def _less(a: Dim, b: Dim) -> Dim | None:
    """Whether ``a < b`` for all values of the symbols; None when that depends on them."""
    low, high = bounds(b - a, {})
    return 1 if low > 0 else 0 if high <= 0 else None


class Logical(Binary, abstract=True):
    """An elementwise function of two booleans."""

    types: ClassVar[frozenset[DType]] = BOOLS
    commutative: ClassVar[bool] = True


class Bitwise(Binary, abstract=True):
    """An elementwise function of the bits of two integers; it follows contents that are numbers."""

    types: ClassVar[frozenset[DType]] = INTEGERS
    commutative: ClassVar[bool] = True
    since: ClassVar[int] = 18


@dataclass(frozen=True)
class And(Logical):
    """Whether both are true."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a * b

    def compute(self, a: Array, b: Array) -> Any:
        return np.logical_and(a, b)


@dataclass(frozen=True)
class Or(Logical):
    """Whether at least one is true."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a + b - a * b

    def compute(self, a: Array, b: Array) -> Any:
        return np.logical_or(a, b)


@dataclass(frozen=True)
class Xor(Logical):
    """Whether exactly one is true."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a + b - 2 * a * b

    def compute(self, a: Array, b: Array) -> Any:
        return np.logical_xor(a, b)


@dataclass(frozen=True)
class BitwiseAnd(Bitwise):
    """The bits that both have."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a & b if isinstance(a, int) and isinstance(b, int) else None

    def compute(self, a: Array, b: Array) -> Any:
        return np.bitwise_and(a, b)


@dataclass(frozen=True)
class BitwiseOr(Bitwise):
    """The bits that at least one has."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a | b if isinstance(a, int) and isinstance(b, int) else None

    def compute(self, a: Array, b: Array) -> Any:
        return np.bitwise_or(a, b)


@dataclass(frozen=True)
class BitwiseXor(Bitwise):
    """The bits that exactly one has."""

    def element(self, a: Dim, b: Dim) -> Dim | None:
        return a ^ b if isinstance(a, int) and isinstance(b, int) else None

    def compute(self, a: Array, b: Array) -> Any:
        return np.bitwise_xor(a, b)


@dataclass(frozen=True)
class Where(Op):
    """Elements of the second operand where the condition holds, elsewhere of the third; all broadcast."""

    since: ClassVar[int] = 9
    elementwise: ClassVar[bool] = True

    def infer(self, condition: TensorType, x: TensorType, y: TensorType) -> Any:
        tensors = [o for o in (condition, x, y) if isinstance(o, TensorType)]
        if len(tensors) < 3:
            unknown = partial(condition, x, y)
            known = [o for o in (x, y) if isinstance(o, TensorType)]
            return TensorType(known[0].dtype, None) if known else unknown
        if condition.dtype is not DType.BOOL:
            raise dtype_error(f"the condition of Where must be bool, not {condition.dtype}")
        check_same(self, x.dtype, y.dtype)
        check_type(self, x.dtype, WHERE_TYPES)
        shape = broadcast_shapes(condition.shape, x.shape, y.shape)
        return with_content(x.dtype, shape, _selected(shape, condition, x, y))

    def evaluate(self, condition: Array, x: Array, y: Array) -> Any:
        return np.where(condition, x, y)


def _selected(shape: tuple[Any, ...] | None, *operands: TensorType) -> list[Dim | None] | None:
    """The content of Where; an element is known where the condition is, or where both choices agree."""
    if shape is None or any(o.content is None for o in operands):
        return None
    arrays = []
    for operand in operands:
        cells = np.empty(len(operand.content or ()), dtype=object)
        cells[:] = operand.content
        arrays.append(np.broadcast_to(cells.reshape(operand.static_shape or ()), shape))
    if arrays[0].size > CONTENT_LIMIT:
        return None
    choices = zip(*(a.reshape(-1) for a in arrays), strict=True)
    return [(x if x == y else None) if c is None else x if c else y for c, x, y in choices]
