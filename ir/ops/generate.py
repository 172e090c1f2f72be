"""Operators that make tensors: Range, ConstantOfShape, EyeLike, OneHot, Trilu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import TensorData
from ..dims import Dim, ceildiv, maximum
from ..dtypes import DType
from ..op import Op
from ..types import CONTENT_LIMIT, TensorType
from .cells import at_least, elements_of, scalar_of, unknown_of
from .common import attribute_error, format_shape, normalize_axis, same_dtype, shape_error, with_content


@dataclass(frozen=True)
class Range(Op):
    """The numbers from ``start`` (inclusive) to ``limit`` (exclusive) in steps of ``delta``."""

    stash_type: int = 1
    since = 11
    shape_operands = (0, 1, 2)

    def infer(self, start: TensorType, limit: TensorType, delta: TensorType) -> Any:
        tensors = [t for t in (start, limit, delta) if isinstance(t, TensorType)]
        if not tensors:
            return unknown_of(start, "start")
        dtype = same_dtype(*tensors)
        first, last, step = scalar_of(start), scalar_of(limit), scalar_of(delta)
        count = None if first is None or last is None or step is None else range_length(first, last, step)
        if type(count) is not int or count > CONTENT_LIMIT or first is None or step is None:
            return TensorType(dtype, (count,))  # type: ignore[arg-type]
        return with_content(dtype, (count,), [first + step * i for i in range(count)])

    def evaluate(self, start: Any, limit: Any, delta: Any) -> Any:
        first, last, step = (np.asarray(v).reshape(()) for v in (start, limit, delta))
        dtype = first.dtype
        if dtype.kind in "iu":
            return np.arange(int(first), int(last), int(step), dtype=dtype)
        wide = np.float32 if dtype.itemsize == 2 and self.stash_type == 1 else dtype
        first, last, step = first.astype(wide), last.astype(wide), step.astype(wide)
        count = max(int(np.ceil((last - first) / step)), 0)
        return (first + np.arange(count).astype(wide) * step).astype(dtype)


def range_length(start: Dim, limit: Dim, delta: Dim) -> Dim | None:
    """How many numbers a range has: the quotient rounded up, not below 0; None for a step of unknown sign."""
    if type(delta) is not int:
        return None
    if delta == 0:
        raise shape_error("the step of Range is 0")
    span = limit - start if delta > 0 else start - limit
    if isinstance(span, int):
        return max(-(-span // abs(delta)), 0)
    count = ceildiv(span, abs(delta))
    return count if at_least(span, 0) else maximum(count, 0)


@dataclass(frozen=True)
class ConstantOfShape(Op):
    """A tensor of the requested shape, every element equal to ``value`` (default: float 0)."""

    value: TensorData | None = None
    since = 9
    shape_operands = (0,)

    def infer(self, input: TensorType) -> TensorType:
        dtype = DType.FLOAT if self.value is None else self.value.dtype
        dims = elements_of(input)
        if dims is None:
            return TensorType(dtype, None)
        count = 1
        for dim in dims:
            if type(dim) is int and dim < 0:
                raise shape_error(f"shape {format_shape(dims)} has the impossible dimension {dim}")
            count = count * dim if type(dim) is int and count <= CONTENT_LIMIT else CONTENT_LIMIT + 1
        if count > CONTENT_LIMIT or not (dtype.is_integer or dtype is DType.BOOL) or self.value is None:
            return TensorType(dtype, dims)  # type: ignore[arg-type]
        return with_content(dtype, dims, (int(self.value.numpy().reshape(-1)[0]),) * count)

    def evaluate(self, input: Any) -> Any:
        dims = [int(d) for d in input]
        if self.value is None:
            return np.zeros(dims, np.float32)
        return np.full(dims, self.value.numpy().reshape(-1)[0], self.value.dtype.numpy)


@dataclass(frozen=True)
class EyeLike(Op):
    """A matrix of the operand's shape with ones on the k-th diagonal."""

    dtype: DType | None = None
    k: int = 0
    since = 9
    shape_operands = (0,)

    def infer(self, input: TensorType) -> Any:
        if not isinstance(input, TensorType):
            unknown = unknown_of(input, "input")
            return unknown if self.dtype is None else TensorType(self.dtype, (None, None))  # type: ignore[arg-type]
        if input.shape is not None and len(input.shape) != 2:
            raise shape_error(f"EyeLike needs a matrix, not {format_shape(input.shape)}")
        shape = (None, None) if input.shape is None else input.shape
        return TensorType(self.dtype or input.dtype, shape)  # type: ignore[arg-type]

    def evaluate(self, input: Any) -> Any:
        dtype = input.dtype if self.dtype is None else self.dtype.numpy
        return np.eye(*input.shape, k=self.k, dtype=np.float32).astype(dtype)


@dataclass(frozen=True)
class OneHot(Op):
    """``values[1]`` where the position on the new axis equals the index, ``values[0]`` elsewhere."""

    axis: int = -1
    since = 9
    shape_operands = (1,)

    def infer(self, indices: TensorType, depth: TensorType, values: TensorType) -> Any:
        if not isinstance(values, TensorType):
            return unknown_of(values, "values")
        shape = indices.shape if isinstance(indices, TensorType) else None
        if shape is None:
            return TensorType(values.dtype, None)
        axis = normalize_axis(self.axis, len(shape) + 1)
        size = scalar_of(depth)
        if type(size) is int and size < 0:
            raise shape_error(f"depth {size} is negative")
        return TensorType(values.dtype, (*shape[:axis], size, *shape[axis:]))  # type: ignore[arg-type]

    def evaluate(self, indices: Any, depth: Any, values: Any) -> Any:
        size = int(np.asarray(depth).reshape(-1)[0])
        axis = normalize_axis(self.axis, indices.ndim + 1)
        wanted = np.expand_dims(np.where(indices < 0, indices + size, indices), axis)
        places = np.arange(size).reshape([-1 if i == axis else 1 for i in range(indices.ndim + 1)])
        return np.where(wanted == places, values[1], values[0]).astype(values.dtype)


@dataclass(frozen=True)
class Trilu(Op):
    """The upper or lower triangle of the last two dimensions, zero elsewhere."""

    upper: int = 1
    since = 14
    shape_operands = (1,)

    def infer(self, input: TensorType, k: TensorType | None = None) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        if input.shape is not None and len(input.shape) < 2:
            raise shape_error(f"Trilu needs at least two dimensions, not {format_shape(input.shape)}")
        if self.upper not in (0, 1):
            raise attribute_error(f"upper {self.upper} is neither 0 nor 1")
        return input.with_shape(input.shape)

    def evaluate(self, input: Any, k: Any = None) -> Any:
        offset = 0 if k is None else int(np.asarray(k).reshape(-1)[0])
        rows, columns = input.shape[-2:]
        distance = np.arange(columns) - np.arange(rows)[:, None]
        keep = distance >= offset if self.upper else distance <= offset
        return np.where(keep, input, np.zeros((), input.dtype))
