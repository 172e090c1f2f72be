"""Formulas over graph values: what decompositions are written with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Value
from ...ir.op import Op
from ...ir.ops.activation import Sigmoid
from ...ir.ops.binary import Add, Div, Max, Min, Mul, Pow, Sub
from ...ir.ops.cast import Cast
from ...ir.ops.concat import Concat, Split
from ...ir.ops.gather import Gather
from ...ir.ops.generate import Range
from ...ir.ops.logical import And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Where
from ...ir.ops.matmul import MatMul
from ...ir.ops.reduction import ReduceMax, ReduceMean, ReduceSum
from ...ir.ops.reshape import Expand, Reshape, Shape, Squeeze, Unsqueeze
from ...ir.ops.slice import Slice
from ...ir.ops.softmax import Softmax
from ...ir.ops.transpose import Transpose
from ...ir.ops.unary import Abs, Exp, Floor, Log, Neg, Not, Reciprocal, Sqrt, Tanh
from ..rewriter import Rewriter

Number = int | float | bool
Term = Value | int | float
Size = int | Value  # a dimension: an integer, or an i64 vector of one element computed at run time
NARROW = (DType.FLOAT16, DType.BFLOAT16)


class Terms:
    """Builds formulas. Python numbers become constants of the other operand's element type.

    Attributes:
        b: the rewriter that inserts the nodes.
    """

    def __init__(self, b: Rewriter) -> None:
        self.b = b

    def apply(self, op: Op, *operands: Value | None, outputs: int | None = None) -> Any:
        """Apply any operator; gives its result, or the tuple of its results."""
        return self.b.add(op, *operands, outputs=outputs)

    def constant(self, data: Any, dtype: DType | None = None) -> Value:
        """A constant from an array, or from numbers of an element type."""
        return self.b.constant(data, dtype)

    def ints(self, values: Sequence[int]) -> Value:
        """A vector of i64."""
        return self.b.ints(values)

    def like(self, number: Number, value: Value) -> Value:
        """A scalar of the element type of a value."""
        return self.b.scalar_like(value, number)

    def _pair(self, x: Term, y: Term) -> tuple[Value, Value]:
        if isinstance(x, Value):
            return x, y if isinstance(y, Value) else self.like(y, x)
        assert isinstance(y, Value)
        return self.like(x, y), y

    # -- arithmetic -------------------------------------------------------------------------------------------------------
    def add(self, x: Term, y: Term) -> Value:
        return self.apply(Add(), *self._pair(x, y))

    def sub(self, x: Term, y: Term) -> Value:
        return self.apply(Sub(), *self._pair(x, y))

    def mul(self, x: Term, y: Term) -> Value:
        return self.apply(Mul(), *self._pair(x, y))

    def div(self, x: Term, y: Term) -> Value:
        return self.apply(Div(), *self._pair(x, y))

    def pow(self, x: Term, y: Term) -> Value:
        return self.apply(Pow(), *self._pair(x, y))

    def max(self, x: Term, y: Term) -> Value:
        return self.apply(Max(), *self._pair(x, y))

    def min(self, x: Term, y: Term) -> Value:
        return self.apply(Min(), *self._pair(x, y))

    def square(self, x: Value) -> Value:
        return self.apply(Mul(), x, x)

    def neg(self, x: Value) -> Value:
        return self.apply(Neg(), x)

    def abs(self, x: Value) -> Value:
        return self.apply(Abs(), x)

    def exp(self, x: Value) -> Value:
        return self.apply(Exp(), x)

    def log(self, x: Value) -> Value:
        return self.apply(Log(), x)

    def sqrt(self, x: Value) -> Value:
        return self.apply(Sqrt(), x)

    def tanh(self, x: Value) -> Value:
        return self.apply(Tanh(), x)

    def floor(self, x: Value) -> Value:
        return self.apply(Floor(), x)

    def sigmoid(self, x: Value) -> Value:
        return self.apply(Sigmoid(), x)

    def reciprocal(self, x: Value) -> Value:
        return self.apply(Reciprocal(), x)

    def matmul(self, x: Value, y: Value) -> Value:
        return self.apply(MatMul(), x, y)

    def softmax(self, x: Value, axis: int = -1) -> Value:
        return self.apply(Softmax(axis=axis), x)

    # -- choices ----------------------------------------------------------------------------------------------------------
    def where(self, condition: Value, x: Term, y: Term) -> Value:
        return self.apply(Where(), condition, *self._pair(x, y))

    def equal(self, x: Term, y: Term) -> Value:
        return self.apply(Equal(), *self._pair(x, y))

    def less(self, x: Term, y: Term) -> Value:
        return self.apply(Less(), *self._pair(x, y))

    def at_most(self, x: Term, y: Term) -> Value:
        return self.apply(LessOrEqual(), *self._pair(x, y))

    def greater(self, x: Term, y: Term) -> Value:
        return self.apply(Greater(), *self._pair(x, y))

    def at_least(self, x: Term, y: Term) -> Value:
        return self.apply(GreaterOrEqual(), *self._pair(x, y))

    def both(self, x: Value, y: Value) -> Value:
        return self.apply(And(), x, y)

    def negate(self, x: Value) -> Value:
        return self.apply(Not(), x)

    # -- element types ----------------------------------------------------------------------------------------------------
    def cast(self, x: Value, dtype: DType | None) -> Value:
        """The value in an element type; the value itself when it has it."""
        assert dtype is not None
        if x.dtype is dtype:
            return x
        if x.data is not None and dtype.is_float and x.dtype is not None and x.dtype.is_float:
            return self.constant(x.data.numpy().astype(dtype.numpy), dtype)
        return self.apply(Cast(to=dtype), x)

    def widen(self, x: Value) -> Value:
        """16-bit floats as float32: formulas of several steps are computed there and rounded once."""
        return self.cast(x, DType.FLOAT) if x.dtype in NARROW else x

    # -- reductions -------------------------------------------------------------------------------------------------------
    def mean(self, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        return self.apply(ReduceMean(keepdims=int(keepdims)), x, self.ints(axes))

    def total(self, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        return self.apply(ReduceSum(keepdims=int(keepdims)), x, self.ints(axes))

    def greatest(self, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        return self.apply(ReduceMax(keepdims=int(keepdims)), x, self.ints(axes))

    # -- shapes -----------------------------------------------------------------------------------------------------------
    def dim(self, x: Value, axis: int) -> Size:
        """One dimension of a value of known rank."""
        shape = x.shape
        assert shape is not None
        axis %= len(shape)
        return shape[axis] if isinstance(shape[axis], int) else self.apply(Shape(start=axis, end=axis + 1), x)

    def sizes(self, dims: Sequence[Size]) -> Value:
        """A shape vector."""
        if all(isinstance(d, int) for d in dims):
            return self.ints([d for d in dims if isinstance(d, int)])
        parts = [self.ints([d]) if isinstance(d, int) else d for d in dims]
        return parts[0] if len(parts) == 1 else self.apply(Concat(axis=0), *parts)

    def product(self, dims: Sequence[Size]) -> Size:
        """The product of dimensions."""
        known, result = 1, None
        for d in dims:
            if isinstance(d, int):
                known *= d
            else:
                result = d if result is None else self.mul(result, d)
        if result is None:
            return known
        return result if known == 1 else self.mul(result, self.ints([known]))

    def plus(self, x: Size, y: Size) -> Size:
        """The sum of two dimensions."""
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        return self.add(self.sizes([x]), self.sizes([y]))

    def minus(self, x: Size, y: Size) -> Size:
        """The difference of two dimensions."""
        if isinstance(x, int) and isinstance(y, int):
            return x - y
        return self.sub(self.sizes([x]), self.sizes([y]))

    def reshape(self, x: Value, dims: Sequence[Size]) -> Value:
        """A reshape; 0 keeps a dimension and -1 takes what is left."""
        return self.apply(Reshape(), x, self.sizes(dims))

    def expand(self, x: Value, dims: Sequence[Size]) -> Value:
        return self.apply(Expand(), x, self.sizes(dims))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        perm = tuple(perm)
        return x if perm == tuple(range(len(perm))) else self.apply(Transpose(perm=perm), x)

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        return self.apply(Unsqueeze(), x, self.ints(axes)) if axes else x

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        return self.apply(Squeeze(), x, self.ints(axes)) if axes else x

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        return parts[0] if len(parts) == 1 else self.apply(Concat(axis=axis), *parts)

    def slice(self, x: Value, axis: int, start: Size, end: Size, step: int = 1) -> Value:
        """Part of one axis."""
        return self.apply(Slice(), x, self.sizes([start]), self.sizes([end]), self.ints([axis]), self.ints([step]) if step != 1 else None)

    def take(self, x: Value, indices: Value, axis: int) -> Value:
        return self.apply(Gather(axis=axis), x, indices)

    def halves(self, x: Value, axis: int, sizes: Sequence[int]) -> tuple[Value, ...]:
        """Parts of one axis with these sizes."""
        return self.apply(Split(axis=axis), x, self.ints(sizes), outputs=len(sizes))

    def scalar(self, size: Size) -> Value:
        """A dimension as a scalar."""
        return self.constant(size, DType.INT64) if isinstance(size, int) else self.squeeze(size, [0])

    def count(self, size: Size) -> Value:
        """``0 … size - 1``."""
        if isinstance(size, int):
            return self.constant(np.arange(size, dtype=np.int64))
        return self.apply(Range(), self.constant(0, DType.INT64), self.scalar(size), self.constant(1, DType.INT64))
