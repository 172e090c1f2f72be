"""Reductions along axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim, maximum, minimum
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import (
    FLOATS,
    dtype_error,
    format_shape,
    normalize_axes,
    normalize_axis,
    shape_error,
    with_content,
)
from .elementwise import NUMERIC, WIDE_NUMERIC, check_type, fit, in_float32, partial

Axes = tuple[int, ...]
EXTREME_TYPES = WIDE_NUMERIC | {DType.INT8, DType.UINT8, DType.BOOL}


def reduced_shape(shape: Sequence[Dim], axes: Axes, keepdims: int) -> tuple[Dim, ...]:
    """The shape after reducing non-negative ``axes``."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


class Reduction(Op, abstract=True):
    """A reduction over the axes that the second operand lists.

    Without axes (or with an empty list) all axes are reduced, or with ``noop_with_empty_axes`` none.

    Class attributes:
        types: the element types it admits.
        fold: for integers, the function of two elements that the reduction repeats, None if it is none.
    """

    keepdims: int
    noop_with_empty_axes: int
    types: ClassVar[frozenset[DType]] = WIDE_NUMERIC
    shape_operands: ClassVar[tuple[int, ...]] = (1,)
    fold: ClassVar[Callable[[Dim, Dim], Dim] | None] = None

    def infer(self, data: TensorType, axes: TensorType | None = None) -> Any:
        if not isinstance(data, TensorType):
            return partial(data)
        if data.dtype not in self.types:
            check_type(self, data.dtype, self.types)
        shape = data.shape
        if axes is not None:
            if not isinstance(axes, TensorType):
                partial(axes)
                return data.with_shape(self._shape_for_unknown_axes(shape, None))
            if axes.dtype is not DType.INT64:
                raise dtype_error(f"axes must be i64, not {axes.dtype}")
            if axes.shape is not None and len(axes.shape) > 1:
                raise shape_error(f"axes must be a list, not {format_shape(axes.shape)}")
            listed = () if axes.shape == (0,) else axes.static_content
            if listed is None:
                return data.with_shape(self._shape_for_unknown_axes(shape, axes.elements))
        else:
            listed = ()
        if shape is None:
            all_reduced = not listed and not self.keepdims and not self.noop_with_empty_axes
            return data.with_shape(() if all_reduced else None)
        chosen = self.chosen_axes(listed, len(shape))
        result = reduced_shape(shape, chosen, self.keepdims)
        if data.content is not None and self.fold is not None:
            return with_content(data.dtype, result, self._folded(data, chosen))
        return TensorType(data.dtype, result)

    def chosen_axes(self, axes: Sequence[int] | None, rank: int) -> Axes:
        """The axes to reduce, non-negative, for the listed ones."""
        if axes:
            return normalize_axes(axes, rank)
        return () if self.noop_with_empty_axes else tuple(range(rank))

    def _shape_for_unknown_axes(self, shape: tuple[Dim, ...] | None, count: Dim | None) -> Any:
        if shape is None:
            return None
        if self.keepdims:
            return tuple(1 if type(d) is int and d == 1 else None for d in shape)
        if type(count) is int and 0 < count <= len(shape):
            return (None,) * (len(shape) - count)
        return None

    def _folded(self, data: TensorType, axes: Axes) -> list[Dim | None] | None:
        sizes = data.static_shape
        fold = type(self).fold
        if sizes is None or fold is None or data.content is None:
            return None
        cells = np.empty(len(data.content), dtype=object)
        cells[:] = data.content
        kept = [i for i in range(len(sizes)) if i not in axes]
        rows = cells.reshape(sizes).transpose(*kept, *axes).reshape(math.prod(sizes[i] for i in kept), -1)
        if rows.shape[1] == 0:
            return None
        return [None if any(c is None for c in row) else fit(reduce(fold, row), data.dtype) for row in rows]

    def compute(self, data: Array, axes: Axes) -> Any:
        """The reduction with kept dimensions, for an array that is not a narrow float."""
        raise NotImplementedError

    def evaluate(self, data: Array, axes: Array | None = None) -> Any:
        listed = [] if axes is None else [int(a) for a in axes.reshape(-1)]
        chosen = self.chosen_axes(listed, data.ndim)
        result = in_float32(lambda x: self.compute(x, chosen), data.dtype, data)
        return result if self.keepdims else np.squeeze(result, axis=chosen)


@dataclass(frozen=True)
class ReduceSum(Reduction):
    """The sum."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    fold: ClassVar[Callable[[Dim, Dim], Dim] | None] = staticmethod(lambda a, b: a + b)

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.sum(data, axis=axes, keepdims=True, dtype=data.dtype)


@dataclass(frozen=True)
class ReduceProd(Reduction):
    """The product."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    fold: ClassVar[Callable[[Dim, Dim], Dim] | None] = staticmethod(lambda a, b: a * b)

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.prod(data, axis=axes, keepdims=True, dtype=data.dtype)


@dataclass(frozen=True)
class ReduceMax(Reduction):
    """The greatest element; of no elements, the least value of the type."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    types: ClassVar[frozenset[DType]] = EXTREME_TYPES
    fold: ClassVar[Callable[[Dim, Dim], Dim] | None] = staticmethod(maximum)

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.max(data, axis=axes, keepdims=True, initial=_extreme(data.dtype, -1))


@dataclass(frozen=True)
class ReduceMin(Reduction):
    """The least element; of no elements, the greatest value of the type."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    types: ClassVar[frozenset[DType]] = EXTREME_TYPES
    fold: ClassVar[Callable[[Dim, Dim], Dim] | None] = staticmethod(minimum)

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.min(data, axis=axes, keepdims=True, initial=_extreme(data.dtype, 1))


def _extreme(dtype: np.dtype[Any], sign: int) -> Any:
    if dtype.kind == "b":
        return sign > 0
    if dtype.kind in "iu":
        return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min
    return dtype.type(sign * np.inf)


@dataclass(frozen=True)
class ReduceMean(Reduction):
    """The arithmetic mean; integers are divided towards zero."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def compute(self, data: Array, axes: Axes) -> Any:
        count = math.prod(data.shape[a] for a in axes)
        total = np.sum(data, axis=axes, keepdims=True, dtype=data.dtype)
        if data.dtype.kind not in "iu":
            return total / data.dtype.type(count)
        return np.sign(total) * (np.abs(total) // data.dtype.type(count))


@dataclass(frozen=True)
class ReduceL1(Reduction):
    """The sum of absolute values."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.sum(np.abs(data), axis=axes, keepdims=True, dtype=data.dtype)


@dataclass(frozen=True)
class ReduceL2(Reduction):
    """The square root of the sum of squares."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.sqrt(np.sum(np.square(data), axis=axes, keepdims=True, dtype=data.dtype))


@dataclass(frozen=True)
class ReduceSumSquare(Reduction):
    """The sum of squares."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.sum(np.square(data), axis=axes, keepdims=True, dtype=data.dtype)


@dataclass(frozen=True)
class ReduceLogSum(Reduction):
    """The logarithm of the sum."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    types: ClassVar[frozenset[DType]] = FLOATS

    def compute(self, data: Array, axes: Axes) -> Any:
        return np.log(np.sum(data, axis=axes, keepdims=True))


@dataclass(frozen=True)
class ReduceLogSumExp(Reduction):
    """The logarithm of the sum of exponentials, without overflow."""

    keepdims: int = 1
    noop_with_empty_axes: int = 0
    types: ClassVar[frozenset[DType]] = FLOATS

    def compute(self, data: Array, axes: Axes) -> Any:
        peak = np.max(data, axis=axes, keepdims=True, initial=-np.inf)
        peak = np.where(np.isfinite(peak), peak, data.dtype.type(0))
        return peak + np.log(np.sum(np.exp(data - peak), axis=axes, keepdims=True))


class ArgReduction(Op, abstract=True):
    """The position of an extreme element along an axis, the first or the last of several."""

    axis: int
    keepdims: int
    select_last_index: int

    def infer(self, data: TensorType) -> Any:
        if not isinstance(data, TensorType):
            partial(data)
            return TensorType(DType.INT64, None)
        check_type(self, data.dtype, NUMERIC)
        if data.shape is None:
            return TensorType(DType.INT64, None)
        axis = normalize_axis(self.axis, len(data.shape))
        return TensorType(DType.INT64, reduced_shape(data.shape, (axis,), self.keepdims))

    def search(self, data: Array, axis: int) -> Array:
        """The first position of the extreme element."""
        raise NotImplementedError

    def evaluate(self, data: Array) -> Any:
        def positions(x: Array) -> Array:
            if not self.select_last_index:
                found = self.search(x, self.axis)
            else:
                found = x.shape[self.axis] - 1 - self.search(np.flip(x, self.axis), self.axis)
            return np.expand_dims(found, self.axis) if self.keepdims else found

        return in_float32(positions, np.dtype(np.int64), data)


@dataclass(frozen=True)
class ArgMax(ArgReduction):
    """The position of the greatest element along an axis."""

    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0

    def search(self, data: Array, axis: int) -> Array:
        return np.argmax(data, axis=axis)


@dataclass(frozen=True)
class ArgMin(ArgReduction):
    """The position of the least element along an axis."""

    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0

    def search(self, data: Array, axis: int) -> Array:
        return np.argmin(data, axis=axis)


class Cumulative(Op, abstract=True):
    """Results of all prefixes along the axis that the second operand names.

    ``exclusive`` leaves the element itself out of its prefix, ``reverse`` starts from the end.
    """

    exclusive: int
    reverse: int
    shape_operands: ClassVar[tuple[int, ...]] = (1,)
    start: ClassVar[int] = 0

    def infer(self, x: TensorType, axis: TensorType) -> Any:
        if not isinstance(x, TensorType):
            return partial(x)
        check_type(self, x.dtype, WIDE_NUMERIC)
        if isinstance(axis, TensorType):
            if axis.dtype not in (DType.INT32, DType.INT64):
                raise dtype_error(f"axis must be i32 or i64, not {axis.dtype}")
            if axis.static_content and x.shape is not None:
                normalize_axis(axis.static_content[0], len(x.shape))
        return x.with_shape(x.shape)

    def accumulate(self, data: Array, axis: int) -> Array:
        """The inclusive results from the start."""
        raise NotImplementedError

    def evaluate(self, x: Array, axis: Array) -> Any:
        along = int(axis.reshape(-1)[0])

        def prefixes(data: Array) -> Array:
            if self.reverse:
                data = np.flip(data, along)
            result = self.accumulate(data, along)
            if self.exclusive and data.shape[along]:
                first = [slice(None)] * data.ndim
                rest = list(first)
                first[along], rest[along] = slice(0, 1), slice(0, -1)
                result = np.concatenate([np.full_like(result[tuple(first)], self.start), result[tuple(rest)]], along)
            return np.flip(result, along) if self.reverse else result

        return in_float32(prefixes, x.dtype, x)


@dataclass(frozen=True)
class CumSum(Cumulative):
    """Running sums."""

    exclusive: int = 0
    reverse: int = 0
    since: ClassVar[int] = 11

    def accumulate(self, data: Array, axis: int) -> Array:
        return np.cumsum(data, axis=axis, dtype=data.dtype)


@dataclass(frozen=True)
class CumProd(Cumulative):
    """Running products."""

    exclusive: int = 0
    reverse: int = 0
    since: ClassVar[int] = 26
    start: ClassVar[int] = 1

    def accumulate(self, data: Array, axis: int) -> Array:
        return np.cumprod(data, axis=axis, dtype=data.dtype)
