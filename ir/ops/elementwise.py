"""Bases of the elementwise operators: type checks, broadcasting, known contents, half-precision evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, Expr, bounds
from ..dtypes import DType
from ..op import Op
from ..types import UNKNOWN, OptionalType, SequenceType, TensorType
from .common import FLOATS, broadcast_shapes, dtype_error, map_content, with_content

SIGNED = frozenset((DType.INT8, DType.INT16, DType.INT32, DType.INT64))
UNSIGNED = frozenset((DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64))
INTEGERS = SIGNED | UNSIGNED
NUMERIC = FLOATS | INTEGERS
WIDE_NUMERIC = FLOATS | {DType.INT32, DType.INT64, DType.UINT32, DType.UINT64}
FLOAT8 = frozenset((DType.FLOAT8E4M3FN, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2, DType.FLOAT8E5M2FNUZ))
BOOLS = frozenset((DType.BOOL,))


def partial(*operands: Any) -> Any:
    """The result type when an operand is no tensor type: unknown, a diagnostic for sequences and optionals."""
    for operand in operands:
        if isinstance(operand, SequenceType | OptionalType):
            raise dtype_error(f"a tensor is needed, not {operand}")
    return UNKNOWN


def check_type(op: Op, dtype: DType, allowed: frozenset[DType]) -> None:
    """Check that an operator admits an element type."""
    if dtype not in allowed:
        names = ", ".join(sorted(str(d) for d in allowed))
        raise dtype_error(f"{op.qualified_name} is not defined for {dtype}", hint=f"it takes {names}")


def check_same(op: Op, first: DType, second: DType) -> None:
    """Check that two operands have one element type."""
    if first is not second:
        raise dtype_error(f"{op.qualified_name} needs one element type, not {first} and {second}", hint="insert a Cast")


def fit(value: Dim | None, dtype: DType) -> Dim | None:
    """A computed element as the type holds it: integers wrap around, expressions are taken not to overflow."""
    if isinstance(value, Expr):
        return None if dtype.is_unsigned_integer and bounds(value, {})[0] < 0 else value
    if value is None or not dtype.is_integer:
        return value
    span = 1 << dtype.bits
    value %= span
    return value - span if dtype.is_signed_integer and value >= span >> 1 else value


def combine(
    dtype: DType,
    shape: tuple[Any, ...] | None,
    function: Callable[..., Dim | None],
    *operands: TensorType,
) -> TensorType:
    """A result type whose content is ``function`` of the operands' contents, where they are known."""
    if any(o.content is None for o in operands):
        return TensorType(dtype, shape)
    first = operands[0].shape
    if all(o.shape == first for o in operands):
        cells = zip(*(o.content for o in operands if o.content is not None), strict=True)
        content: Sequence[Any] | None = [None if None in c else function(*c) for c in cells]
    else:
        content = map_content(function, *operands)
    if content is None:
        return TensorType(dtype, shape)
    return with_content(dtype, shape, [fit(c, dtype) for c in content])


def widen(array: Array) -> Array:
    """Half-precision and narrower floats as float32, everything else as it is."""
    kind = array.dtype.kind
    if kind in "biuOc" or (kind == "f" and array.dtype.itemsize >= 4):
        return array
    return array.astype(np.float32) if DType.from_numpy(array.dtype).is_float else array


def in_float32(compute: Callable[..., Any], dtype: np.dtype[Any], *arrays: Array) -> Array:
    """``compute`` of the arrays, narrow floats widened, cast to ``dtype``; overflow and the like are silent."""
    with np.errstate(all="ignore"):
        return np.asarray(compute(*[widen(a) for a in arrays])).astype(dtype, copy=False)


class Unary(Op, abstract=True):
    """An elementwise operator of one tensor that keeps shape and element type.

    Class attributes:
        types: the element types it admits.
        result: the result's element type when it is not the operand's.
    """

    elementwise: ClassVar[bool] = True
    types: ClassVar[frozenset[DType]] = FLOATS
    result: ClassVar[DType | None] = None

    def infer(self, x: TensorType) -> Any:
        if type(x) is not TensorType:
            return partial(x)
        if x.dtype not in self.types:
            check_type(self, x.dtype, self.types)
        dtype = self.result or x.dtype
        if x.content is not None:
            return combine(dtype, x.shape, self.element, x)
        return x if dtype is x.dtype and x.numbers is None else TensorType(dtype, x.shape)

    def element(self, x: Dim) -> Dim | None:
        """The result for one known integer element, None where it is not known."""
        return None

    def compute(self, x: Array) -> Any:
        """The result for an array that is not a narrow float."""
        raise NotImplementedError

    def evaluate(self, x: Array) -> Any:
        return in_float32(self.compute, self.result.numpy if self.result else x.dtype, x)


class Binary(Op, abstract=True):
    """An elementwise operator of two tensors of one element type, with numpy broadcasting.

    Class attributes:
        types: the element types it admits.
        result: the result's element type when it is not the operands'.
    """

    elementwise: ClassVar[bool] = True
    types: ClassVar[frozenset[DType]] = NUMERIC
    result: ClassVar[DType | None] = None

    def infer(self, a: TensorType, b: TensorType) -> Any:
        if type(a) is not TensorType or type(b) is not TensorType:
            return self._partial(a, b)
        dtype = a.dtype
        if dtype is not b.dtype:
            check_same(self, dtype, b.dtype)
        if dtype not in self.types:
            check_type(self, dtype, self.types)
        shape = a.shape if a.shape == b.shape else broadcast_shapes(a.shape, b.shape)
        if a.content is not None and b.content is not None:
            return combine(self.result or dtype, shape, self.element, a, b)
        return TensorType(self.result or dtype, shape)

    def _partial(self, a: Any, b: Any) -> Any:
        unknown = partial(a, b)
        if self.result is not None:
            return TensorType(self.result, None)
        known = a if isinstance(a, TensorType) else b
        return TensorType(known.dtype, None) if isinstance(known, TensorType) else unknown

    def element(self, a: Dim, b: Dim) -> Dim | None:
        """The result for two known integer elements, None where it is not known."""
        return None

    def compute(self, a: Array, b: Array) -> Any:
        """The result for arrays that are not narrow floats."""
        raise NotImplementedError

    def evaluate(self, a: Array, b: Array) -> Any:
        return in_float32(self.compute, self.result.numpy if self.result else a.dtype, a, b)
